"""Hits: every place where a motif stands, with a false-discovery rate against shuffles, and what it adds there.

A place is scored by its letters: log odds of the motif's letter shares over the background's, on the better strand. The
shares that discovery gives are those of the strongest sites, so they are read again off the hits themselves.

*Null.* Dinucleotide shuffles of the sequences would hold more of the motifs than chance makes: the letters of their
sites are shuffled with the rest. The likely sites of all motifs are therefore cut out before the sequences are shuffled
again, and again once they are known better: what is shuffled in the end is the ground on which false hits can arise.

*What it adds.* The contributions of the network to the letters of a hit, summed, stand beside it. They do not decide
whether a place is a hit: where a sequence holds a motif five times a network is convinced by the third, and the other
two would be lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from whycell.encode.sequences import dinucleotide_shuffle
from whycell.errors import DataError
from whycell.results.motifs import Motif

__all__ = ["find_hits"]

_COLUMNS = ["motif", "sequence", "start", "stop", "strand", "score", "q", "contribution"]
_LEAST = 1.0  # bits: a place below this is not looked at, hit or null
_FEWEST_READ = 20
_PSEUDO = 0.5  # sites added to the counts of every letter
_ROUNDS = 5
_LIKELY = 0.3  # sites are cut out up to this share of false ones


def find_hits(
    motifs: Sequence[Motif], x: np.ndarray, hypothetical: np.ndarray, *, fdr: float = 0.05, seed: int = 0
) -> pd.DataFrame:
    """Places of the motifs.

    Parameters
    ----------
    motifs
        From ``find_motifs``.
    x
        (n, 4, length) one-hot sequences.
    hypothetical
        (n, 4, length) contribution that each letter would have, for the task that the motifs are of.
    fdr
        Share of false hits that is allowed, motif by motif.
    seed
        Of the shuffles.

    Returns
    -------
    One row a hit: ``motif``, ``sequence``, ``start``, ``stop``, ``strand``, ``score`` (bits), ``q`` and
    ``contribution`` (sum over the place). Hits of one motif do not overlap by half or more.

    Raises
    ------
    DataError
        Shapes differ.
    """
    if x.shape != hypothetical.shape:
        msg = f"sequences of shape {x.shape} and scores of shape {hypothetical.shape}: wanted the same (n, 4, length)."
        raise DataError(msg)
    x = np.asarray(x, dtype=np.float32)
    motifs = [motif for motif in motifs if motif.width <= x.shape[2]]
    background = np.maximum(x.mean(axis=(0, 2)), 1e-3)
    null, tables = [_shuffle(x, seed)], list[pd.DataFrame]()
    for at in range(_ROUNDS):
        places = [_judged(motif, x, null, background) for motif in motifs]
        tables = [table[table["q"] <= fdr] for table in places]
        if at < _ROUNDS - 1:
            null = _shuffled_rest(x, [table[table["q"] <= _LIKELY] for table in places], motifs, seed)
            motifs = [_read_again(motif, x, found, background) for motif, found in zip(motifs, tables, strict=True)]
    named = [table.assign(motif=m.name, stop=table["start"] + m.width) for m, table in zip(motifs, tables, strict=True)]
    tables = [table.sort_values(["sequence", "start"], kind="stable") for table in named if len(table)]
    if not tables:
        return pd.DataFrame(columns=_COLUMNS)
    found = pd.concat(tables, ignore_index=True)
    totals = np.concatenate([np.zeros((len(x), 1)), np.cumsum((x * hypothetical).sum(axis=1), axis=1)], axis=1)
    at = found["sequence"].to_numpy()
    found["contribution"] = totals[at, found["stop"].to_numpy()] - totals[at, found["start"].to_numpy()]
    return found[_COLUMNS]


def _judged(motif: Motif, x: np.ndarray, null: Sequence[np.ndarray], background: np.ndarray) -> pd.DataFrame:
    """Places of the motif with their q-values."""
    places = _places(motif, x, background)
    false = np.concatenate([_places(motif, part, background)["score"].to_numpy() for part in null])
    return places.assign(q=_q_values(places["score"].to_numpy(), false))


def _shuffle(x: np.ndarray, seed: int) -> np.ndarray:
    return dinucleotide_shuffle(x, 1, seed=seed)[:, 0]


def _places(motif: Motif, x: np.ndarray, background: np.ndarray) -> pd.DataFrame:
    """Places above the least score, on the better strand, none covered by half or more by a better one."""
    odds = np.log2(np.maximum(motif.letters, 1e-4) / background[:, None]).astype(np.float32)
    turned = np.log2(np.maximum(motif.letters[::-1, ::-1], 1e-4) / background[:, None]).astype(np.float32)
    forward, backward = _slid(x, odds), _slid(x, turned)
    score = np.maximum(forward, backward)
    sequence, start = np.nonzero(score > _LEAST)
    table = pd.DataFrame(
        {
            "sequence": sequence,
            "start": start,
            "strand": np.where(forward[sequence, start] >= backward[sequence, start], "+", "-"),
            "score": score[sequence, start],
        }
    )
    return table[_best_apart(table, motif.width)]


def _best_apart(table: pd.DataFrame, width: int) -> np.ndarray:
    keep = np.zeros(len(table), dtype=bool)
    sequence, start = table["sequence"].to_numpy(), table["start"].to_numpy()
    taken: dict[int, list[int]] = {}
    for row in np.argsort(-table["score"].to_numpy(), kind="stable"):
        others = taken.setdefault(int(sequence[row]), [])
        if all(2 * abs(int(start[row]) - other) > width for other in others):
            others.append(int(start[row]))
            keep[row] = True
    return keep


def _slid(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(n, length - width + 1) sums of ``values`` (n, 4, length) times ``weights`` (4, width) at every place."""
    n, _, length = values.shape
    width = weights.shape[1]
    found = np.zeros((n, max(0, length - width + 1)), dtype=np.float32)
    for at in range(width):
        found += np.einsum("nbl,b->nl", values[:, :, at : at + found.shape[1]], weights[:, at])
    return found


def _shuffled_rest(
    x: np.ndarray, found: Sequence[pd.DataFrame], motifs: Sequence[Motif], seed: int
) -> list[np.ndarray]:
    """Shuffles of the sequences without the letters of their sites, grouped by the length that is left."""
    kept = np.ones((len(x), x.shape[2]), dtype=bool)
    for table, motif in zip(found, motifs, strict=True):
        for sequence, start in zip(table["sequence"], table["start"], strict=True):
            kept[sequence, start : start + motif.width] = False
    left = kept.sum(axis=1)
    groups = []
    for length in np.unique(left[left > 1]):
        rows = np.flatnonzero(left == length)
        rest = x[rows].transpose(0, 2, 1)[kept[rows]].reshape(len(rows), int(length), 4).transpose(0, 2, 1)
        groups.append(_shuffle(np.ascontiguousarray(rest), seed))
    return groups


def _read_again(motif: Motif, x: np.ndarray, found: pd.DataFrame, background: np.ndarray) -> Motif:
    """The motif with the letter shares of its hits."""
    if len(found) < _FEWEST_READ:
        return motif
    columns = found["start"].to_numpy()[:, None] + np.arange(motif.width)
    letters = x[found["sequence"].to_numpy()[:, None], :, columns]
    other = (found["strand"] == "-").to_numpy()
    letters[other] = letters[other][:, ::-1, ::-1]
    counts = letters.sum(axis=0).T + 4 * _PSEUDO * background[:, None]
    return replace(motif, letters=counts / counts.sum(axis=0))


def _q_values(real: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Share of false hits at each score or above: places of the shuffles over places of the sequences, monotone."""
    order = np.argsort(-real, kind="stable")
    false = len(null) - np.searchsorted(np.sort(null), real[order], side="left") + 1
    q = np.empty(len(real))
    q[order] = np.minimum(np.minimum.accumulate((false / np.arange(1, len(real) + 1))[::-1])[::-1], 1)
    return q
