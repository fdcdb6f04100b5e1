"""What a person sees: figures that are returned, and one HTML page that needs nothing else.

Reads :mod:`whycell.results` and nothing above it, so that a saved answer can be drawn years later without its model.
"""
