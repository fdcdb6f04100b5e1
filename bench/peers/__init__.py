"""What whycell is measured against, on the same cells, folds, label map and back-off.

Nothing here is part of the package: ``bench/*.py`` and nobody else imports it.
"""
