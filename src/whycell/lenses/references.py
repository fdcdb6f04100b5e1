"""What an input is compared with: named references, for any input.

"Why this, rather than *what*?" The answer depends on the reference, and no rule says which is right: choose one that
means something (an empty cell, the average cell, the same donor's cells of another type), and look at
:attr:`InputScores.spread`, how much several disagree.

Functions here either are references (``zeros``) or make one (``background``, ``samples``, ``group_mean``). What they
make is an array, or a function of a few examples ``x`` (n, ...) at a time; the lenses take both. Dinucleotide shuffles
of sequences are made by ``encode.sequences.dinucleotide_shuffle`` and handed in as the array (n, k, 4, length), or as
``lambda x: dinucleotide_shuffle(x, 20, seed=0)``.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from whycell.errors import GroupError, UsageError

__all__ = ["background", "group_mean", "samples", "zeros"]

Reference = Callable[[Any], np.ndarray]


def zeros(x: Any) -> np.ndarray:
    """Nothing there: no counts, no letters; the shape of ``x``."""
    return np.zeros_like(np.asarray(x))


def background(frequencies: Sequence[float], *, axis: int = 1) -> Reference:
    """The same frequencies everywhere, as the letters of a genome.

    Parameters
    ----------
    frequencies
        One for each place along ``axis``: 0.3, 0.2, 0.2, 0.3 for A, C, G, T of the human genome.
    axis
        Of ``x``, along which they lie: 1 for (n, 4, length).

    Returns
    -------
    A function from ``x`` (n, ...) to a reference of one example's shape for all.
    """
    values = np.asarray(frequencies)

    def reference(x: Any) -> np.ndarray:
        x = np.asarray(x)
        if not 1 <= axis < x.ndim or x.shape[axis] != len(values):
            msg = f"{len(values)} frequencies along axis {axis} of inputs of shape {x.shape}: wanted one for each place"
            raise UsageError(msg)
        shape = [-1 if at == axis else 1 for at in range(1, x.ndim)]
        return np.broadcast_to(values.reshape(shape), x.shape[1:])[None].astype(x.dtype)

    return reference


def samples(pool: Any, *, k: int = 10, seed: int = 0) -> Reference:
    """Real samples, k for every example: cells of another type, sequences of the other class.

    Which ones an example gets depends on its values and on ``seed``, not on the examples explained with it. They are
    drawn without replacement; an example that lies in the pool may be compared with itself.

    Parameters
    ----------
    pool
        (m, ...) samples to draw from: an array, or a sparse matrix, of which only the rows drawn become dense.
    k
        How many; all of them where the pool holds no more.

    Returns
    -------
    A function from ``x`` (n, ...) to references (n, k, ...).
    """
    size = pool.shape[0]
    if size == 0 or k < 1:
        msg = f"k={k} of a pool of {size} samples: wanted one at least; choose another type to compare with"
        raise UsageError(msg)

    def reference(x: Any) -> np.ndarray:
        x = np.ascontiguousarray(x)
        drawn = np.array([_draw(each, size, min(k, size), seed) for each in x], dtype=np.int64).reshape(len(x), -1)
        rows = _dense(pool[drawn.ravel()])
        return rows.reshape(*drawn.shape, *rows.shape[1:])

    return reference


def group_mean(pool: Any, pool_groups: Any, *, groups: Any, absent: str = "refuse") -> np.ndarray:
    """The mean sample of the same group: of each cell's own donor, the average cell of another type.

    What differs between donors then cancels, and what differs between types remains.

    Parameters
    ----------
    pool
        (m, ...) samples, as cells of the type compared with: an array, or a sparse matrix.
    pool_groups
        (m,) their groups.
    groups
        (n,) group of each example explained.
    absent
        For a group that has no sample in the pool: ``"refuse"``, or ``"mean"`` for the mean over all groups' means.

    Returns
    -------
    (n, ...) one reference an example.

    Raises
    ------
    GroupError
        A group of ``groups`` is not in the pool, and ``absent`` is ``"refuse"``.
    """
    if absent not in ("refuse", "mean"):
        msg = f"absent={absent!r}: wanted 'refuse' or 'mean'"
        raise UsageError(msg)
    pool_groups, groups = np.asarray(pool_groups).astype(str), np.asarray(groups).astype(str)
    if len(pool_groups) != pool.shape[0] or not len(pool_groups):
        msg = (
            f"{len(pool_groups)} groups for a pool of {pool.shape[0]} samples: wanted one each, and one sample at least"
        )
        raise GroupError(msg)
    names, codes = np.unique(pool_groups, return_inverse=True)
    means = np.stack([_mean(pool[codes == group]) for group in range(len(names))])
    missing = sorted(set(groups.tolist()) - set(names.tolist()))
    if missing and absent == "refuse":
        msg = (
            f"no sample of {', '.join(missing)} to compare with: wanted every group in the pool; or give absent='mean'"
        )
        raise GroupError(msg)
    means = np.concatenate([means, means.mean(axis=0, keepdims=True)])
    at = np.searchsorted(names, groups)
    found = names[np.minimum(at, len(names) - 1)] == groups
    return means[np.where(found, at, len(names))]


def _draw(example: np.ndarray, size: int, k: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng([seed, zlib.crc32(example.tobytes())])
    return generator.choice(size, k, replace=False)


def _dense(rows: Any) -> np.ndarray:
    return np.asarray(rows.toarray() if hasattr(rows, "toarray") else rows)


def _mean(rows: Any) -> np.ndarray:
    mean = np.asarray(rows.mean(axis=0))
    return mean.reshape(rows.shape[1:]).astype(rows.dtype if rows.dtype.kind == "f" else np.float32)
