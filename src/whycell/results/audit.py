"""The answer to ``audit``: which training samples look wrong, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["Audit"]


@dataclass(frozen=True)
class Audit:
    """Training samples that look mislabelled, copied or out of place.

    Parameters
    ----------
    suspects
        What ``audit.tsv`` holds, the most suspicious first: ``drop, flag, score, cell, file, row, donor, label,
        suggested, suggested_term_id, evidence, q, margin, self_influence, neighbours, agreeing``. ``flag`` holds
        ``mislabelled``, ``duplicate``, ``out_of_place`` joined by ``;``, or nothing for samples merely worth a look.
    samples
        One row a sample audited, in the order of the files: ``cell, file, row, donor, label, score, flag, suggested``.
    per_label, per_donor
        Counts: samples, flagged by kind, expected to be mislabelled (the sum of scores).
    confusions
        Rows ``label, looks_like, expected`` of the commonest mistakes, the sum of scores.
    map_rows, map_xy, map_method
        Rows of ``samples`` that the map shows, their coordinates (m, 2), and what made them.
    summary
        Plain values: counts, the estimated share of wrong labels, what planted mistakes were found.
    provenance
        Plain values: inputs, versions, seed, models.
    """

    suspects: pd.DataFrame
    samples: pd.DataFrame
    per_label: pd.DataFrame
    per_donor: pd.DataFrame
    confusions: pd.DataFrame
    map_rows: np.ndarray
    map_xy: np.ndarray
    map_method: str
    summary: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)
