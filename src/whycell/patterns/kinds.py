"""Kinds of sequence: clusters by what each motif contributes to each sequence, as many as fresh sequences bear out.

A sequence is described by the total contribution of the hits of each motif, in units of a typical hit, with the root
taken of its size: the second site of a motif adds less than the first, and a kind with many sites would else be cut in
pieces before two kinds with few are told apart. Clusters are Ward's tree, cut, and moved to the nearest middles.

*How many.* Half of the sequences are clustered; the other half are put into these clusters and also clustered by
themselves. The adjusted Rand index of the two is the agreement (Tibshirani & Walther 2005), compared with that of
normal clouds of the same mean and covariance, which are in one piece. Of the numbers that agree nearly as well as
the best, the answer is the smallest whose kinds are nearly as clear as the clearest (mean silhouette); one, where none
stands out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from whycell.errors import DataError, UsageError
from whycell.patterns.partition import adjusted_rand, centres, nearest, partitions
from whycell.patterns.stability import Curve

__all__ = ["Found", "describe_totals", "find_kinds", "motif_totals"]

#: Fewer sequences are not looked into.
FEWEST = 60
_MOST = 8  # kinds tried
_MOST_ROWS = 600  # of a Ward tree, which is quadratic
_NEARLY = 0.9  # of the best number's gain
_CLEAR = 0.95  # of the best silhouette
_LEAST_GAIN = 0.6  # of the way from a cloud's agreement to perfect
_MOVES = 20


@dataclass(frozen=True)
class Found:
    """Kinds of the rows that were given.

    Parameters
    ----------
    kind
        (n,) from 0, the largest first.
    middles
        (k, m) mean row of each.
    stability
        (k,) mean Jaccard index of each kind with its like found in half of the rows; NaN for one kind.
    curve
        Agreement by number; ``None`` where there were too few rows.
    spans
        (numbers tried, 2) between which 95 % of the halvings agree.
    """

    kind: np.ndarray
    middles: np.ndarray
    stability: np.ndarray
    curve: Curve | None
    spans: np.ndarray


def motif_totals(hits: pd.DataFrame, n: int, *, motifs: Sequence[tuple[str, str]]) -> np.ndarray:
    """(n, m) summed contribution of the hits of each motif in each sequence; zero where it has none.

    Parameters
    ----------
    hits
        ``task``, ``motif``, ``sequence``, ``contribution``; see ``patterns.hits.find_hits``.
    n
        Sequences.
    motifs
        Task and name of each column.

    Raises
    ------
    DataError
        A hit lies in a sequence that is not there.
    """
    at = hits["sequence"].to_numpy(dtype=np.int64)
    if len(at) and (at.min() < 0 or at.max() >= n):
        msg = f"a hit lies in sequence {at.max()} of {n:,}; wanted the hits of these sequences."
        raise DataError(msg)
    totals = np.zeros((n, len(motifs)))
    column = {motif: place for place, motif in enumerate(motifs)}
    place = np.array([column.get(key, -1) for key in zip(hits["task"], hits["motif"], strict=True)], dtype=np.int64)
    kept = place >= 0
    np.add.at(totals, (at[kept], place[kept]), hits["contribution"].to_numpy(dtype=np.float64)[kept])
    return totals


def describe_totals(totals: np.ndarray, *, tasks: Sequence[str]) -> np.ndarray:
    """(n, m) rows to cluster: signed roots of the totals in units of a typical total of their task.

    Parameters
    ----------
    totals
        (n, m) from :func:`motif_totals`.
    tasks
        Of each column: outputs of two tasks have no common size, so that each is brought to its own.
    """
    rows = np.zeros_like(totals)
    named = np.asarray(tasks)
    for task in np.unique(named):
        own = totals[:, named == task]
        some = np.abs(own[own != 0])
        rows[:, named == task] = np.sign(own) * np.sqrt(np.abs(own) / (np.median(some) if len(some) else 1.0))
    return rows


def find_kinds(
    rows: np.ndarray,
    *,
    n_kinds: int | None = None,
    most: int = _MOST,
    rounds: int = 20,
    n_clouds: int = 39,
    level: float = 0.05,
    seed: int = 0,
) -> Found:
    """Cluster rows into kinds.

    Parameters
    ----------
    rows
        (n, m) from :func:`describe_totals`.
    n_kinds
        Take this many instead of choosing.
    most
        Largest number tried.
    rounds, n_clouds
        Halvings, and clouds in one piece that the rows must outdo.
    level
        Largest p-value of an answer above one.
    seed
        Of halvings and clouds.

    Raises
    ------
    UsageError
        More kinds are asked for than there are sequences that differ.
    """
    rng = np.random.default_rng(seed)
    rows = np.asarray(rows, dtype=np.float64)
    different = len(np.unique(rows, axis=0))
    if n_kinds is not None and not 1 <= n_kinds <= different:
        msg = f"{n_kinds} kinds of {different} sequences that differ; wanted 1 to {different}."
        raise UsageError(msg)
    counts = [k for k in range(2, max(most, n_kinds or 0) + 1) if k <= different and 6 * k <= len(rows)]
    if len(rows) < FEWEST or not counts:
        chosen = n_kinds or 1
        return _found(rows, chosen, None, np.empty((0, 2)), rng, rounds=0)
    scores = np.array([_one_round(rows, counts, rng) for _ in range(rounds)])
    clouds = np.array([_of_cloud(rows, counts, rng) for _ in range(n_clouds)])
    expected, spread = clouds.mean(axis=0), np.maximum(clouds.std(axis=0, ddof=min(1, n_clouds - 1)), 1e-3)
    best = ((scores.mean(axis=0) - expected) / spread).max()
    beyond = (((clouds - expected) / spread).max(axis=1) >= best).sum()
    curve = Curve(
        counts=np.array(counts),
        stability=scores.mean(axis=0),
        error=scores.std(axis=0, ddof=1) / np.sqrt(rounds),
        expected=expected,
        spread=spread,
        p_value=float((1 + beyond) / (1 + n_clouds)),
    )
    spans = np.quantile(scores, [0.025, 0.975], axis=0).T
    return _found(rows, n_kinds or _chosen(rows, curve, level), curve, spans, rng, rounds=rounds)


def _chosen(rows: np.ndarray, curve: Curve, level: float) -> int:
    """Of four clear kinds two and two agree as well, and so may six: the fewest that are clear are taken."""
    from sklearn.metrics import silhouette_score

    if curve.p_value > level or curve.gain.max() < _LEAST_GAIN:
        return 1
    counts = [int(k) for k in curve.counts[curve.gain >= _NEARLY * curve.gain.max()]]
    some = rows[np.linspace(0, len(rows) - 1, min(len(rows), _MOST_ROWS)).astype(int)]
    kinds = _clustered(some, counts)
    clear = np.array([silhouette_score(some, column) for column in kinds.T])
    return counts[int(np.argmax(clear >= _CLEAR * clear.max()))]


def _found(
    rows: np.ndarray, k: int, curve: Curve | None, spans: np.ndarray, rng: np.random.Generator, *, rounds: int
) -> Found:
    kind = _clustered(rows, [k])[:, 0] if k > 1 else np.zeros(len(rows), dtype=int)
    middles = centres(rows, kind)
    jaccard = np.full((max(rounds, 1), k), np.nan)
    for at in range(rounds if k > 1 else 0):
        half = rng.permutation(len(rows))[: len(rows) // 2]
        again = nearest(rows, centres(rows[half], _clustered(rows[half], [k])[:, 0]))
        both = np.array([[((kind == a) & (again == b)).sum() for b in range(k)] for a in range(k)])
        sizes = (np.bincount(kind, minlength=k), np.bincount(again, minlength=k))
        jaccard[at] = (both / np.maximum(sizes[0][:, None] + sizes[1] - both, 1)).max(axis=1)
    return Found(kind, middles, jaccard.mean(axis=0), curve, spans)


def _clustered(rows: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """(n, len(counts)) kinds: Ward's tree of evenly taken rows, then every row to its nearest middle till they stay."""
    taught = rows[np.linspace(0, len(rows) - 1, min(len(rows), _MOST_ROWS)).astype(int)]
    trees = partitions(taught, counts)
    found = []
    for column in range(len(counts)):
        middles = centres(taught, trees[:, column])
        kind = nearest(rows, middles)
        for _ in range(_MOVES):
            filled = np.unique(kind)
            middles[filled] = np.stack([rows[kind == k].mean(axis=0) for k in filled])
            moved = nearest(rows, middles)
            if (moved == kind).all():
                break
            kind = moved
        found.append(_by_size(kind))
    return np.stack(found, axis=1)


def _by_size(kind: np.ndarray) -> np.ndarray:
    _, codes, sizes = np.unique(kind, return_inverse=True, return_counts=True)
    place = np.empty(len(sizes), dtype=int)
    place[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return np.asarray(place[codes])


def _one_round(rows: np.ndarray, counts: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """(k,) agreement of the kinds of one half, carried over to the other, with those found there."""
    order = rng.permutation(len(rows))[:_MOST_ROWS]
    teach, test = rows[order[: len(order) // 2]], rows[order[len(order) // 2 :]]
    taught, own = _clustered(teach, counts), _clustered(test, counts)
    return np.array([adjusted_rand(nearest(test, centres(teach, taught[:, k])), own[:, k]) for k in range(len(counts))])


def _of_cloud(rows: np.ndarray, counts: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    n = min(len(rows), _MOST_ROWS)
    covariance = np.atleast_2d(np.cov(rows, rowvar=False))
    cloud = rng.multivariate_normal(rows.mean(axis=0), covariance, size=n, method="eigh")
    return np.asarray(np.mean([_one_round(cloud, counts, rng) for _ in range(4)], axis=0))
