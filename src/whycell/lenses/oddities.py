"""Training samples that are copies of others, or lie where none of their label should: neighbours and distances."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

__all__ = ["Neighbours", "chimera_share", "exact_copies", "find_neighbours", "label_share", "near_copies", "unlike_own"]

N_NEIGHBOURS = 30
_MOST_REFERENCES = 20_000
_BLOCK = 2_000
#: Two cells of one type share their strong genes, not their counts: cosines of log(1 + counts) above this are copies.
COPY_COSINE = 0.98


@dataclass(frozen=True)
class Neighbours:
    """The nearest samples of each sample, itself left out.

    Parameters
    ----------
    rows
        (n, k) their positions.
    distances
        (n, k) Euclidean, the nearest first.
    """

    rows: np.ndarray
    distances: np.ndarray


def find_neighbours(x: np.ndarray, *, k: int = N_NEIGHBOURS, seed: int = 0) -> Neighbours:
    """The ``k`` nearest samples; among many samples, the nearest of 20,000 drawn at random.

    Parameters
    ----------
    x
        (n, d) coordinates.
    k
        How many; fewer where there are not so many.
    seed
        Of the draw.
    """
    n = len(x)
    pool = np.arange(n)
    if n > _MOST_REFERENCES:
        pool = np.sort(np.random.default_rng(seed).choice(n, _MOST_REFERENCES, replace=False))
    k = max(1, min(k, len(pool) - 1))
    rows, distances = np.empty((n, k), dtype=np.int64), np.empty((n, k), dtype=np.float32)
    for start in range(0, n, _BLOCK):
        own = np.arange(start, min(start + _BLOCK, n))
        rows[own], distances[own] = _nearest(x[own], x[pool], k, itself=own, pool=pool)
    return Neighbours(rows, distances)


def _nearest(
    x: np.ndarray, references: np.ndarray, k: int, *, itself: np.ndarray | None = None, pool: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    squares = (x**2).sum(1)[:, None] + (references**2).sum(1)[None, :] - 2 * x @ references.T
    if itself is not None and pool is not None:
        squares[itself[:, None] == pool[None, :]] = np.inf
    near = np.argpartition(squares, k - 1, axis=1)[:, :k]
    gaps = np.take_along_axis(squares, near, axis=1)
    order = np.argsort(gaps, axis=1, kind="stable")
    near, gaps = np.take_along_axis(near, order, axis=1), np.take_along_axis(gaps, order, axis=1)
    return (near if pool is None else pool[near]), np.sqrt(np.maximum(gaps, 0))


def label_share(neighbours: Neighbours, target: np.ndarray, may: np.ndarray) -> np.ndarray:
    """(n,) share of the neighbours whose class a sample's label allows.

    ``target`` (n,) class of each sample; ``may`` (n, K) the classes that its label allows.
    """
    return np.asarray(np.take_along_axis(may, target[neighbours.rows], axis=1).mean(axis=1))


def exact_copies(values: sp.csr_matrix) -> np.ndarray:
    """(n,) the first row with the very same values, -1 for a row that is the first of its kind or all zero."""
    values = sp.csr_matrix(values)
    values.sum_duplicates()
    first: dict[bytes, int] = {}
    out = np.full(values.shape[0], -1, dtype=np.int64)
    for row in range(values.shape[0]):
        at = slice(values.indptr[row], values.indptr[row + 1])
        filled = values.data[at] != 0
        if not filled.any():
            continue
        content = values.indices[at][filled].astype(np.int64).tobytes() + values.data[at][filled].tobytes()
        earlier = first.setdefault(hashlib.blake2b(content, digest_size=16).digest(), row)
        out[row] = earlier if earlier != row else -1
    return out


def near_copies(values: sp.csr_matrix, pairs: np.ndarray) -> np.ndarray:
    """(n,) an earlier row that is almost the same, -1 for none.

    Parameters
    ----------
    values
        (n, n_genes) counts.
    pairs
        (m, 2) rows to compare: neighbours, cells of one barcode. The cosine of their log(1 + value) decides.
    """
    out = np.full(values.shape[0], -1, dtype=np.int64)
    if not len(pairs):
        return out
    logged = sp.csr_matrix(values, dtype=np.float64, copy=True)
    logged.data = np.log1p(np.maximum(logged.data, 0))
    norms = np.sqrt(np.asarray(logged.multiply(logged).sum(axis=1)).ravel())
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    for start in range(0, len(pairs), _BLOCK):
        a, b = pairs[start : start + _BLOCK].T
        dots = np.asarray(logged[a].multiply(logged[b]).sum(axis=1)).ravel()
        alike = (dots > COPY_COSINE * norms[a] * norms[b]) & (norms[a] > 0) & (norms[b] > 0) & (a != b)
        for low, high in zip(a[alike], b[alike], strict=True):
            out[high] = low if out[high] < 0 else min(out[high], low)
    return out


def unlike_own(
    x: np.ndarray, codes: np.ndarray, *, usable: np.ndarray | None = None, k: int = 5, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """How far each sample lies from its own label, and from everything, in robust standard deviations.

    The log of the mean distance to the ``k`` nearest others, against its median and median absolute deviation: among
    samples of the same label for both.

    Parameters
    ----------
    x
        (n, d) coordinates.
    codes
        (n,) labels.
    usable
        (n,) bool, samples that count as neighbours; ``None`` is all.
    k
        Neighbours averaged over.
    seed
        See :func:`find_neighbours`.

    Returns
    -------
    own : (n,) z of the distance to samples of the same label; nan for labels with too few
    every : (n,) z of the distance to any sample
    """
    usable = np.ones(len(x), dtype=bool) if usable is None else usable
    rng = np.random.default_rng(seed)
    own, every = np.full(len(x), np.nan), np.full(len(x), np.nan)
    distance = np.log(np.maximum(find_neighbours(x, k=k, seed=seed).distances.mean(axis=1), 1e-9))
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        every[rows] = _robust_z(distance[rows])
        pool = rows[usable[rows]]
        if len(pool) <= 2 * k:
            continue
        if len(pool) > _MOST_REFERENCES:
            pool = np.sort(rng.choice(pool, _MOST_REFERENCES, replace=False))
        gaps = np.empty(len(rows))
        for start in range(0, len(rows), _BLOCK):
            part = slice(start, start + _BLOCK)
            gaps[part] = _nearest(x[rows[part]], x[pool], k, itself=rows[part], pool=pool)[1].mean(axis=1)
        own[rows] = _robust_z(np.log(np.maximum(gaps, 1e-9)))
    return own, every


def _robust_z(values: np.ndarray) -> np.ndarray:
    middle = np.median(values)
    width = 1.4826 * np.median(np.abs(values - middle))
    return np.asarray((values - middle) / max(width, 1e-6))


def chimera_share(
    x: np.ndarray, made: np.ndarray, *, kind: np.ndarray, k: int = N_NEIGHBOURS, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Share of made doublets among the nearest of each sample and all doublets (Scrublet, Wolock et al. 2019).

    Parameters
    ----------
    x
        (n, d) coordinates of samples.
    made
        (m, d) coordinates of doublets, as many as samples.
    kind
        (m,) int, which two classes each is made of.
    k
        Neighbours.
    seed
        Of the draw, where there are many.

    Returns
    -------
    share : (n,) in 0..1; a half is what a sample among as many doublets as samples gets
    commonest : (n,) the commonest kind among the doublets near it, -1 for none
    """
    rng = np.random.default_rng(seed)
    pool = np.arange(len(x))
    if len(pool) > _MOST_REFERENCES:
        pool = np.sort(rng.choice(pool, _MOST_REFERENCES, replace=False))
    made, kind = made[: len(pool)], kind[: len(pool)]
    both = np.vstack([x[pool], made]).astype(np.float32)
    where = np.r_[pool, np.full(len(made), -1)]
    k = max(1, min(k, len(both) - 1))
    share, commonest = np.zeros(len(x)), np.full(len(x), -1)
    for start in range(0, len(x), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(x)))
        squares = (both**2).sum(1)[None, :] - 2 * x[rows] @ both.T
        squares[rows[:, None] == where[None, :]] = np.inf
        near = np.argpartition(squares, k - 1, axis=1)[:, :k]
        share[rows] = (near >= len(pool)).mean(axis=1)
        for row, some in zip(rows, near, strict=True):
            kinds = kind[some[some >= len(pool)] - len(pool)]
            if len(kinds):
                commonest[row] = np.bincount(kinds).argmax()
    return share, commonest
