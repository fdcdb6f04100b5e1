"""All knockouts of a screen at once: one kernel of the cell lines, one factorisation, thousands of right-hand sides.

Ridge regression in the dual: with K = U diag(s) U' and targets centred, a knockout's fitted values at penalty l are
U (s / (s + l)) U'y and its leave-one-out residuals (y - fit) / (1 - h), h_i = sum_j U_ij² s_j / (s_j + l). What depends
on a knockout is two products with U; each takes the penalty whose leave-one-out error is least. R² is measured on lines
held out of all of that, beside the R² of the same knockouts with their lines shuffled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from whycell.errors import DataError
from whycell.lenses.agop_kernels import kernel_and_slopes, square_distances
from whycell.models.knockout_null import pooled_p_values, q_values, shuffles

__all__ = ["PENALTIES", "HeldOut", "held_out", "line_folds", "residuals", "squared_distances", "typical_distance"]

#: Beside a kernel with ones on its diagonal.
PENALTIES = np.array([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0])
_BLOCK = 2048
#: How many lines' worth of the overall mean stand behind a lineage's own.
_SHRINK = 3.0


@dataclass(frozen=True)
class HeldOut:
    """How well each knockout is predicted on lines not learned from.

    Parameters
    ----------
    r2
        (c,) 1 - squared error over that of the lineage's mean (of training lines).
    null
        (m, c) the same of shuffled knockouts.
    p, q
        (c,) p-value against the pooled null, and Benjamini-Hochberg's q.
    penalty
        (c,) chosen on all lines.
    """

    r2: np.ndarray
    null: np.ndarray
    p: np.ndarray
    q: np.ndarray
    penalty: np.ndarray


def squared_distances(X: np.ndarray) -> np.ndarray:
    """(n, n) float64 squared distances between the rows of ``X`` (n, d), 0 on the diagonal."""
    return np.asarray(square_distances(X, X), dtype=np.float64)


def typical_distance(squares: np.ndarray) -> float:
    """Median distance of two different lines, from ``squares`` (n, n): the kernel's bandwidth."""
    return float(np.sqrt(np.median(squares[np.triu_indices(len(squares), 1)])))


def line_folds(n: int, *, lineage: np.ndarray | None, by: str, folds: int, seed: int = 0) -> np.ndarray:
    """(n,) fold of each line.

    Parameters
    ----------
    n
        Lines.
    lineage
        (n,) codes, or None.
    by
        ``"line"``: lines at random, lineages spread evenly; ``"lineage"``: whole lineages, the largest placed first.
    folds
        How many.
    seed
        Of the draw.
    """
    rng = np.random.default_rng(seed)
    if by == "line" or lineage is None:
        order = rng.permutation(n)
        if lineage is not None:
            order = order[np.argsort(lineage[order], kind="stable")]
        fold = np.empty(n, dtype=np.int64)
        fold[order] = np.arange(n) % folds
        return fold
    sizes = np.bincount(lineage)
    if len(sizes) < folds:
        msg = f"{len(sizes)} lineages cannot fill {folds} folds; hold out lines, or ask for fewer folds."
        raise DataError(msg)
    of, filled = np.zeros(len(sizes), dtype=np.int64), np.zeros(folds)
    for group in np.argsort(-sizes, kind="stable"):
        of[group] = int(np.argmin(filled))
        filled[of[group]] += sizes[group]
    return np.asarray(of[lineage])


def residuals(Y: np.ndarray, lineage: np.ndarray | None, train: np.ndarray) -> np.ndarray:
    """(n, c) ``Y`` less the mean of its lineage among the ``train`` lines, few lines drawn towards the overall mean.

    A lineage that no training line has gets the overall mean. ``lineage`` (n,) codes or None, ``train`` positions.
    """
    mean = Y[train].mean(axis=0)
    out = Y - mean
    if lineage is None:
        return out
    n_groups = int(lineage.max()) + 1
    member = np.zeros((n_groups, len(Y)), dtype=Y.dtype)
    member[lineage[train], train] = 1
    shift = (member @ out) / (member.sum(axis=1, keepdims=True) + _SHRINK).astype(Y.dtype)
    return np.asarray(out - shift[lineage])


@dataclass(frozen=True)
class _Factor:
    """Eigenvectors and eigenvalues of the kernel among training lines, and the kernel of others with these."""

    vectors: np.ndarray
    values: np.ndarray
    to_others: np.ndarray

    @classmethod
    def of(cls, K: np.ndarray, train: np.ndarray, others: np.ndarray) -> _Factor:
        values, vectors = np.linalg.eigh(K[np.ix_(train, train)])
        cross = K[np.ix_(others, train)] @ vectors
        return cls(vectors.astype(np.float32), np.maximum(values, 0), cross.astype(np.float32))

    def penalties(self, Z: np.ndarray) -> np.ndarray:
        """(b,) place of the best penalty for each column of ``Z`` = U'Y, by leave-one-out."""
        errors = []
        for penalty in PENALTIES:
            left = (penalty / (self.values + penalty)).astype(np.float32)
            leverage = (self.vectors**2) @ left
            out = (self.vectors @ (left[:, None] * Z)) / leverage[:, None]
            errors.append(np.einsum("ij,ij->j", out, out))
        return np.asarray(np.argmin(errors, axis=0))

    def predicted(self, Z: np.ndarray, best: np.ndarray) -> np.ndarray:
        """(n_others, b) at each column's penalty."""
        shrunk = Z / (self.values[:, None] + PENALTIES[best][None, :]).astype(np.float32)
        return np.asarray(self.to_others @ shrunk)


def held_out(
    squares: np.ndarray,
    Y: np.ndarray,
    *,
    lineage: np.ndarray | None = None,
    fold: np.ndarray,
    nulls: int = 10,
    seed: int = 0,
    done: Callable[[int], None] = lambda n: None,
) -> HeldOut:
    """Predict every knockout on held-out lines, and as many shuffled ones ``nulls`` times over.

    Parameters
    ----------
    squares
        (n, n) squared distances of the lines.
    Y
        (n, c) float32 effect of each knockout in each line; NaN where not measured.
    lineage
        (n,) codes; their means are taken away, learned from training lines. Shuffling then stays inside a lineage.
    fold
        (n,) fold that tests each line.
    nulls
        Shuffled copies of every knockout.
    seed
        Of the shuffling.
    done
        Told how many columns were solved.
    """
    K = kernel_and_slopes(squares, bandwidth=typical_distance(squares))[0]
    measured = np.isfinite(Y)
    filled = np.where(measured, Y, np.nanmean(Y, axis=0)).astype(np.float32)
    error = np.zeros((1 + nulls, Y.shape[1]))
    total = np.zeros_like(error)
    orders = [shuffles(len(Y), lineage, seed=seed + k) for k in range(1, nulls + 1)]
    for test_fold in np.unique(fold):
        train, test = np.flatnonzero(fold != test_fold), np.flatnonzero(fold == test_fold)
        factor = _Factor.of(K, train, test)
        for start in range(0, Y.shape[1], _BLOCK):
            columns = slice(start, start + _BLOCK)
            for k, order in enumerate([None, *orders]):
                seen, known = _dealt(filled, columns, order), _dealt(measured, columns, order)
                rest = residuals(seen, lineage, train)
                Z = factor.vectors.T @ rest[train]
                wrong = rest[test] - factor.predicted(Z, factor.penalties(Z))
                error[k, columns] += (wrong**2 * known[test]).sum(axis=0)
                total[k, columns] += (rest[test] ** 2 * known[test]).sum(axis=0)
            done(min(_BLOCK, Y.shape[1] - start))
    r2 = 1 - error / np.where(total > 0, total, np.inf)
    p = pooled_p_values(r2[0], r2[1:], _tails(filled)) if nulls else np.full(Y.shape[1], np.nan)
    return HeldOut(r2[0], r2[1:], p, q_values(p), _chosen(K, filled, lineage))


def _dealt(values: np.ndarray, columns: slice, order: np.ndarray | None) -> np.ndarray:
    """The columns, each with its rows in one of the orders (n_orders, n), taken in turn."""
    part = values[:, columns]
    if order is None:
        return part
    which = np.arange(columns.start, columns.start + part.shape[1]) % len(order)
    return np.take_along_axis(part, order[which].T, axis=0)


def _chosen(K: np.ndarray, Y: np.ndarray, lineage: np.ndarray | None) -> np.ndarray:
    rows = np.arange(len(Y))
    factor = _Factor.of(K, rows, rows[:1])
    out = np.empty(Y.shape[1])
    for start in range(0, Y.shape[1], _BLOCK):
        rest = residuals(Y[:, start : start + _BLOCK], lineage, rows)
        out[start : start + _BLOCK] = PENALTIES[factor.penalties(factor.vectors.T @ rest)]
    return out


def _tails(Y: np.ndarray) -> np.ndarray:
    """(c,) fourth moment of the standardised column: knockouts with few strong lines have another null."""
    centred = Y - Y.mean(axis=0)
    variance = (centred**2).mean(axis=0)
    return np.asarray((centred**4).mean(axis=0) / np.where(variance > 0, variance, 1) ** 2)
