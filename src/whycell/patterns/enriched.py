"""Is a motif commoner in the sequences than in their shuffles, though no single place of it is sure?

A word of six letters stands everywhere by chance: its places cannot meet a false-discovery rate by their letters. The
motif may be real all the same. Letters are read off the sites in one half of the sequences and looked for in the other
half, so that a motif cannot be borne out by the very sites that it was read off.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import binom

from whycell.encode.sequences import dinucleotide_shuffle
from whycell.patterns.motifs import motif_from_sites
from whycell.patterns.scan import codes_of, scan
from whycell.results.motifs import Motif

__all__ = ["Enrichment", "enrichment"]

_SHUFFLES = 4
_FEWEST_READ = 10  # sites in a half


class Enrichment(NamedTuple):
    """Sequences that hold a motif, those of their shuffles that do, how many were looked at, and the p-value."""

    held: int
    by_chance: float
    looked_at: int
    p: float


def enrichment(motif: Motif, x: np.ndarray, *, covered: np.ndarray, seed: int = 0) -> Enrichment:
    """Sequences that hold the motif as well as half of its sites do, against dinucleotide shuffles of them.

    Parameters
    ----------
    motif
        With its ``sites`` in ``x``.
    x
        (n, 4, length) one-hot sequences.
    covered
        (n, length) bool: letters that belong to a place of another motif, which must not bear this one out. Sites that
        hold one are not read, and sequences are searched without them; their shuffles with them, to be on the safe
        side.
    seed
        Of the halves and the shuffles.

    Returns
    -------
    Counts over both halves, each judged by the letters of the other; p is binomial, one-sided.
    """
    x = np.asarray(x)
    background = np.maximum(x.mean(axis=(0, 2), dtype=np.float64), 1e-3)
    seen = np.where(covered[:, None], 0, x)
    free = motif.sites[~_touches(motif.sites, covered)]
    half = np.random.default_rng(seed).integers(0, 2, len(x))
    held = looked_at = 0
    by_chance = 0.0
    for side in (0, 1):
        sites = free[half[free["sequence"].to_numpy()] == side]
        others = x[half != side]
        if len(sites) < _FEWEST_READ or not len(others):
            continue
        letters = motif_from_sites(x, x, sites).letters
        own = scan(codes_of(_cut(x, sites)), letters, background=background, least=-np.inf).score
        least = float(np.median(own))
        shuffles = dinucleotide_shuffle(others, _SHUFFLES, seed=seed)
        held += _holding(seen[half != side], letters, background, least)
        by_chance += sum(_holding(shuffles[:, at], letters, background, least) for at in range(_SHUFFLES)) / _SHUFFLES
        looked_at += len(others)
    if not looked_at:
        return Enrichment(0, 0.0, 0, 1.0)
    share = min(1.0, (by_chance + 1 / _SHUFFLES) / looked_at)
    return Enrichment(held, by_chance, looked_at, float(binom.sf(held - 1, looked_at, share)))


def _holding(x: np.ndarray, letters: np.ndarray, background: np.ndarray, least: float) -> int:
    return len(np.unique(scan(codes_of(x), letters, background=background, least=least - 1e-4).sequence))


def _touches(sites: pd.DataFrame, covered: np.ndarray) -> np.ndarray:
    summed = np.concatenate([np.zeros((len(covered), 1), dtype=np.int64), np.cumsum(covered, axis=1)], axis=1)
    rows, last = sites["sequence"].to_numpy(), covered.shape[1]
    start, stop = (np.clip(sites[name].to_numpy(), 0, last) for name in ("start", "stop"))
    touched: np.ndarray = summed[rows, stop] > summed[rows, start]
    return touched


def _cut(x: np.ndarray, sites: pd.DataFrame) -> np.ndarray:
    """(n_sites, 4, width) letters of the sites; those beyond an end of their sequence are unknown."""
    rows, start = sites["sequence"].to_numpy(), sites["start"].to_numpy()
    columns = start[:, None] + np.arange(int((sites["stop"] - sites["start"]).iloc[0]))
    inside = (columns >= 0) & (columns < x.shape[2])
    letters = x[rows[:, None], :, np.clip(columns, 0, x.shape[2] - 1)]
    return np.where(inside[:, :, None], letters, 0).transpose(0, 2, 1)
