"""Plots: take an annotated AnnData and a key, return a figure. Nothing is shown or saved here."""

__all__: list[str] = []
