"""Kinds of sequence: which motifs work together in which sequences, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

__all__ = ["Kinds"]


@dataclass(frozen=True)
class Kinds:
    """Sequences by what their motifs contribute.

    Parameters
    ----------
    kinds
        One row a kind, the largest first: ``kind`` (from 1), ``motifs`` (what it is called), ``size``, ``share``,
        ``stability`` (mean Jaccard index with its like, found in half of the sequences; NaN where there is one kind)
        and ``examples`` (names, the most typical first, with a comma between).
    profile
        One row a kind and motif: ``kind``, ``task``, ``motif``, ``called``, ``share`` (of the kind's sequences that
        hold a hit), ``contribution`` (mean total over all of the kind's sequences) and ``named`` (whether the kind is
        called by it).
    sequences
        One row a sequence: ``sequence``, ``name``, ``kind``, ``distance`` (to the kind's middle) and ``margin``
        (1 - distance / distance to the next kind's middle; NaN where there is one kind).
    numbers
        One row a number of kinds tried: ``n_kinds``, ``agreement`` (adjusted Rand index between kinds carried over from
        one half of the sequences to the other, and those found there), ``low``, ``high`` (where 95 % of the halvings
        lie), ``expected`` (of data in one piece), ``chosen``.
    p_value
        Share of data sets in one piece that stand out as much.
    how
        ``"chosen"`` by agreement, ``"given"``, or why none were looked for.
    totals
        (n, m) total contribution of each motif in each sequence.
    """

    kinds: pd.DataFrame
    profile: pd.DataFrame
    sequences: pd.DataFrame
    numbers: pd.DataFrame
    p_value: float
    how: str
    totals: np.ndarray

    @property
    def n_kinds(self) -> int:
        """How many; 1 is none."""
        return len(self.kinds)
