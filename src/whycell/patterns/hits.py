"""Hits: every place where a motif stands and matters, with a false-discovery rate against shuffled sequences.

A place scores by two things at once: how well its letters fit (log odds of the motif's letter shares over the
background's), and how much of what the network was told comes from there (the contributions of its letters along the
motif's own). Both are read the same way off dinucleotide shuffles of the sequences, which were scored by the same
network. How the two are weighed is learned from the shuffles: logistic regression tells places of the sequences from
places of their shuffles, and its log odds are the score; half of the sequences is scored by what was learned from the
other half, so that no place vouches for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from whycell.errors import DataError
from whycell.patterns.motifs import Motif

__all__ = ["Track", "find_hits"]

_COLUMNS = ["motif", "sequence", "start", "stop", "strand", "score", "fit", "contribution", "q"]
_CANDIDATES = 4  # places of a sequence that are looked at for each motif, the best by either measure


@dataclass(frozen=True)
class Track:
    """Sequences and what the network made of them.

    Parameters
    ----------
    x
        (n, 4, length) one-hot.
    hypothetical
        (n, 4, length) contribution that each letter would have.
    """

    x: np.ndarray
    hypothetical: np.ndarray


def find_hits(
    motifs: Sequence[Motif], real: Track, shuffled: Track, *, fdr: float = 0.05, seed: int = 0
) -> pd.DataFrame:
    """Places of the motifs.

    Parameters
    ----------
    motifs
        From ``find_motifs``.
    real, shuffled
        The sequences, and dinucleotide shuffles of them, scored by the same network for the same task.
    fdr
        Share of false hits that is allowed, motif by motif.
    seed
        Of the halves.

    Returns
    -------
    One row a hit: ``motif``, ``sequence``, ``start``, ``stop``, ``strand``, ``score`` (log odds), ``fit`` (bits),
    ``contribution`` (sum over the place) and ``q``. Hits of one motif do not overlap by more than half.
    """
    if real.x.shape[1:] != shuffled.x.shape[1:]:
        msg = f"sequences of shape {real.x.shape} and shuffles of shape {shuffled.x.shape}: wanted shuffles of them."
        raise DataError(msg)
    tables = [_hits_of(motif, real, shuffled, fdr, seed) for motif in motifs if motif.width <= real.x.shape[2]]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=_COLUMNS)


def _hits_of(motif: Motif, real: Track, shuffled: Track, fdr: float, seed: int) -> pd.DataFrame:
    places, null = _places(motif, real), _places(motif, shuffled)
    half = np.random.default_rng(seed).permutation(max(len(real.x), len(shuffled.x))) % 2
    places["score"], null["score"] = 0.0, 0.0
    for side in (0, 1):
        fit_real, fit_null = (t[half[t["sequence"]] != side] for t in (places, null))
        for table in (places, null):
            rows = half[table["sequence"]] == side
            table.loc[rows, "score"] = _log_odds(fit_real, fit_null, table[rows])
    scale = len(real.x) / max(1, len(shuffled.x))
    places, null = _apart(places, motif.width), _apart(null, motif.width)
    places["q"] = _q_values(places["score"].to_numpy(), null["score"].to_numpy(), scale)
    found = places[places["q"] <= fdr].assign(motif=motif.name, stop=lambda t: t["start"] + motif.width)
    return found.sort_values(["sequence", "start"], kind="stable")[_COLUMNS]


def _places(motif: Motif, track: Track) -> pd.DataFrame:
    """The places of each sequence that fit best by letters or by contribution, on either strand."""
    background = np.maximum(track.x.mean(axis=(0, 2)), 1e-3)
    contributions = track.x * track.hypothetical
    tables = []
    for strand, turned in (("+", motif), ("-", motif.turned())):
        odds = np.log2(np.maximum(turned.letters, 1e-3) / background[:, None])
        like = turned.contribution / max(float(np.linalg.norm(turned.contribution)), 1e-12)
        fit, along = _slid(track.x, odds), _slid(contributions, like)
        total = _slid(contributions, np.ones_like(like))
        best = np.concatenate([np.argsort(-s, axis=1, kind="stable")[:, :_CANDIDATES] for s in (fit, along)], axis=1)
        best.sort(axis=1)
        new = np.concatenate([np.ones((len(best), 1), dtype=bool), np.diff(best, axis=1) > 0], axis=1)
        row, at = np.nonzero(new)[0], best[new]
        columns = {"fit": fit, "along": along, "contribution": total}
        tables.append(
            pd.DataFrame(
                {"sequence": row, "start": at, "strand": strand, **{k: v[row, at] for k, v in columns.items()}}
            )
        )
    return pd.concat(tables, ignore_index=True)


def _slid(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(n, length - width + 1) sums of ``values`` times ``weights`` (4, width) at every place."""
    n, _, length = values.shape
    width = weights.shape[1]
    found = np.zeros((n, length - width + 1), dtype=np.float32)
    for at in range(width):
        found += np.einsum("nbl,b->nl", values[:, :, at : at + found.shape[1]], weights[:, at].astype(np.float32))
    return found


def _log_odds(real: pd.DataFrame, null: pd.DataFrame, asked: pd.DataFrame) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    both = np.concatenate([_measures(real), _measures(null)])
    scaler = StandardScaler().fit(both)
    told = np.repeat([1, 0], [len(real), len(null)])
    # Most places of the sequences are not the motif's: those that are pull the boundary only at its far end.
    model = LogisticRegression(C=1.0, max_iter=500).fit(scaler.transform(both), told)
    return np.asarray(model.decision_function(scaler.transform(_measures(asked))))


def _measures(table: pd.DataFrame) -> np.ndarray:
    fit, along = table["fit"].to_numpy(), table["along"].to_numpy()
    return np.stack([fit, along, np.maximum(fit, 0) ** 2, np.maximum(along, 0) * np.maximum(fit, 0)], axis=1)


def _apart(table: pd.DataFrame, width: int) -> pd.DataFrame:
    """Without places that a better one of the same sequence covers by half or more."""
    ordered = table.sort_values("score", ascending=False, kind="stable")
    taken: dict[int, list[int]] = {}
    keep = np.zeros(len(ordered), dtype=bool)
    for row, (sequence, start) in enumerate(zip(ordered["sequence"], ordered["start"], strict=True)):
        others = taken.setdefault(sequence, [])
        if all(2 * abs(start - other) > width for other in others):
            others.append(start)
            keep[row] = True
    return ordered[keep]


def _q_values(real: np.ndarray, null: np.ndarray, scale: float) -> np.ndarray:
    """Share of false hits at each score or above: places of the shuffles over places of the sequences, monotone."""
    order = np.argsort(-real, kind="stable")
    above = np.arange(1, len(real) + 1)
    false = (len(null) - np.searchsorted(np.sort(null), real[order], side="left") + 1) * scale
    q = np.empty(len(real))
    q[order] = np.minimum(np.minimum.accumulate((false / above)[::-1])[::-1], 1)
    return q
