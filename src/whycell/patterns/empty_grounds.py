"""Backgrounds that hold none of the motifs: what real sequences are made of, without their sites.

The letters of hits are cut out, what is left of one sequence is joined to the next, and pieces of the length wanted are
shuffled, dinucleotides kept. A shuffle may hold a motif by chance: many more are made than needed, and those are kept
whose best match to any motif is the least like a site.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from whycell.encode.sequences import dinucleotide_shuffle
from whycell.errors import DataError
from whycell.patterns.scan import log_odds
from whycell.results.motifs import Motif

__all__ = ["empty_backgrounds", "likeness"]

_CANDIDATES = 20
_WEAKEST = 0.1  # sites below this quantile of scores are no clear sites


def empty_backgrounds(
    x: np.ndarray, hits: pd.DataFrame, motifs: Sequence[Motif], *, n: int, seed: int = 0
) -> tuple[np.ndarray, int]:
    """Shuffles of sequences without their sites.

    Parameters
    ----------
    x
        (n_sequences, 4, length) one-hot.
    hits
        ``sequence`` (row of ``x``), ``start``, ``stop``.
    motifs
        None of which a background should hold; with the sites in ``x`` that tell how alike a site is.
    n
        How many.
    seed
        Of the order of the sequences and of the shuffles.

    Returns
    -------
    (n, 4, length) uint8, and how many of them still hold a match that is as good as a clear site.

    Raises
    ------
    DataError
        Too few letters lie outside the hits.
    """
    rest, length = _without(x, hits, seed=seed), x.shape[2]
    pieces = min(len(rest) // length, _CANDIDATES * n)
    if pieces < 1:
        msg = f"{len(rest):,} letters lie outside the places of motifs; backgrounds need {length} at least: give more."
        raise DataError(msg)
    whole = np.eye(4, dtype=np.uint8)[rest[: pieces * length]].reshape(pieces, length, 4).transpose(0, 2, 1)
    each = -(-_CANDIDATES * n // pieces)
    made = dinucleotide_shuffle(whole, each, seed=seed).astype(np.uint8).reshape(-1, 4, length)
    beyond = np.full(len(made), -np.inf, dtype=np.float32)
    share = np.maximum(whole.mean(axis=(0, 2)), 1e-3)
    for motif in motifs:
        clear = _clear_site(motif, x, share)
        beyond = np.maximum(beyond, likeness(motif, made, share).max(axis=1) - clear)
    kept = np.sort(np.argsort(beyond, kind="stable")[:n])
    return made[kept], int((beyond[kept] >= 0).sum())


def likeness(motif: Motif, x: np.ndarray, share: np.ndarray) -> np.ndarray:
    """(n, n_places) log odds in bits of a motif over the background, on the better strand.

    Parameters
    ----------
    motif
        Read on both strands.
    x
        (n, 4, length) one-hot.
    share
        (4,) of each letter in the background.
    """
    odds = log_odds(motif.letters, share).astype(np.float32)
    turned = log_odds(motif.letters[::-1, ::-1], share).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(x, motif.width, axis=2)
    forward, backward = (np.einsum("nblw,bw->nl", windows, table, optimize=True) for table in (odds, turned))
    return np.asarray(np.maximum(forward, backward))


def _clear_site(motif: Motif, x: np.ndarray, share: np.ndarray) -> float:
    """Log odds that all but the weakest sites have; half of the best there can be where sites are not known."""
    sites = motif.sites
    known = len(sites) and bool(((sites["stop"] <= x.shape[2]) & (sites["start"] >= 0)).all())
    best = float(log_odds(motif.letters, share).max(axis=0).sum())
    if not known:
        return best / 2
    rows, starts = sites["sequence"].to_numpy(), sites["start"].to_numpy()
    scores = likeness(motif, x[rows].astype(np.float32), share)
    wide = int(sites["stop"].iloc[0] - sites["start"].iloc[0])
    near = np.arange(max(1, wide - motif.width + 1))
    places = np.minimum(starts[:, None] + near, scores.shape[1] - 1)
    return float(np.quantile(scores[np.arange(len(rows))[:, None], places].max(axis=1), _WEAKEST))


def _without(x: np.ndarray, hits: pd.DataFrame, *, seed: int) -> np.ndarray:
    """Codes of all letters outside the hits, sequence after sequence in a drawn order; unknown bases are left out."""
    kept = x.sum(axis=1) > 0
    for row, start, stop in zip(hits["sequence"], hits["start"], hits["stop"], strict=True):
        kept[row, start:stop] = False
    order = np.random.default_rng(seed).permutation(len(x))
    return np.asarray(x.argmax(axis=1)[order][kept[order]])
