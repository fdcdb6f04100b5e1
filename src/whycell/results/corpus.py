"""The answer to ``corpus report``: what many files hold together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

__all__ = ["CorpusSummary"]


@dataclass(frozen=True)
class CorpusSummary:
    """What a catalogue says, ready to be drawn.

    Parameters
    ----------
    summary
        Plain values: ``files, unreadable, cells, twice, types, donors, studies, tissues, bytes, bytes_read``;
        ``twice`` counts the cells that their files mark as in another file too.
    files
        One row a readable file, outliers first, then the largest: ``address, name, n_cells, n_genes, matrix, values,
        encoding, organism, size, counts, genes`` (medians), ``counts_sampled, genes_sampled, counts_histogram,
        genes_histogram`` (lists of 64, or None) and ``outlier`` (why, or empty).
    edges
        The 65 edges of the histograms.
    unreadable
        ``address, reason``.
    types
        ``cell_type_id, name, cells, donors, studies, files``, the commonest first.
    rules
        By which rule labels were understood: ``column, rule, labels, cells``.
    unmapped
        Labels that no rule explains: ``column, value, cells, files``.
    columns
        What the files call their fields: ``field, column, rule, files``.
    provenance
        Plain values: the folder, versions.
    """

    summary: dict[str, Any]
    files: pd.DataFrame
    edges: list[float]
    unreadable: pd.DataFrame
    types: pd.DataFrame
    rules: pd.DataFrame
    unmapped: pd.DataFrame
    columns: pd.DataFrame
    provenance: dict[str, Any] = field(default_factory=dict)
