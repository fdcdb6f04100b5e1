"""Answers of a lookup: what lies near a text, and what is known of a cell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

__all__ = ["CellLookup", "Lookup"]


@dataclass(frozen=True)
class Lookup:
    """What lies near a text.

    Parameters
    ----------
    text
        The text asked for.
    types
        ``term_id, name, similarity, definition``, the nearest first; with a model also ``known``: whether it can call
        the term. ``similarity`` is the cosine between two texts.
    genes
        ``gene_id, symbol, similarity, text``; with a file also ``cells``: in how many of its cells it is detected.
    cells
        ``cell, score, call, genes``: ``score`` in standard deviations over the file's mean, ``genes`` those that speak
        for it most; ``None`` without a file.
    calls
        ``call, cells, score``: the mean score of the cells of each call; ``None`` without a typed file.
    provenance
        Encoder, vectors, release, file.
    """

    text: str
    types: pd.DataFrame
    genes: pd.DataFrame
    cells: pd.DataFrame | None = None
    calls: pd.DataFrame | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CellLookup:
    """What is known of a cell.

    Parameters
    ----------
    cell
        Its name.
    types
        ``what`` (``"call"``, ``"leaf"``, ``"runner-up"``, ``"unseen"``), ``term_id, name, score, definition``.
    genes
        ``gene_id, symbol, expression, above, fits, text``: log(1 + counts per ten thousand), by how much that is above
        the file's mean (the order), and the cosine between the gene's text and the definition of the call.
    note
        A sentence on the types that training never saw; empty where none were asked for.
    provenance
        Encoder, vectors, release, file.
    """

    cell: str
    types: pd.DataFrame
    genes: pd.DataFrame
    note: str = ""
    provenance: dict[str, Any] = field(default_factory=dict)
