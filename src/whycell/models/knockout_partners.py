"""Which features a knockout's effect depends on: the AGOP's diagonal, learned from again, beside shuffled knockouts.

With f(x) = sum_i a_i K(x, x_i) and slopes s (``lenses.agop_kernels``), the gradient at line j is sum_i a_i s_ji (x_j
- x_i): row j of A X with A = diag(S a) - S diag(a). So the whole diagonal, the sum over j of squared gradients, is
one product (n, n) x (n, d); a knockout and its shuffled copies travel in the same one. Nothing is approximated. The
features that mattered then weigh the distances of a second machine (Radhakrishnan et al. 2024); it looks at the
strongest thousand only: the others' weights are next to nothing, and it costs a twentieth.

Features at the knockout's own locus are taken out of its distances, so they neither predict nor explain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from whycell.compute import in_order
from whycell.lenses.agop_kernels import kernel_and_slopes
from whycell.models.knockout_null import q_values, shuffles
from whycell.models.knockouts import squared_distances, typical_distance

__all__ = ["Partners", "diagonals", "find_partners", "partner_p_values"]

_COLUMNS = 2048
_KEPT = 1000


@dataclass(frozen=True)
class Partners:
    """Of the best-predicted knockouts, how much each feature matters.

    Parameters
    ----------
    first, again
        (c, d) share of the AGOP's diagonal, by the plain kernel and by the one that weighs features; 0 at the own
        locus.
    slope
        (c, d) mean gradient, in spreads of the effect for a unit of the feature: below 0, more of it makes the
        knockout more harmful.
    p, q
        (c, d) chance that a shuffled knockout gives the feature as much, and Benjamini-Hochberg's q over everything
        tested; NaN at the own locus.
    r2
        (c,) exact leave-one-out R² without the own locus.
    """

    first: np.ndarray
    again: np.ndarray
    slope: np.ndarray
    p: np.ndarray
    q: np.ndarray
    r2: np.ndarray


def diagonals(X: np.ndarray, slopes: np.ndarray, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(m, d) sum over lines of the squared gradient, and (m, d) its mean over lines unsquared.

    Parameters
    ----------
    X
        (n, d) float32 lines.
    slopes
        (n, n) symmetric, of the kernel.
    coefficients
        (n, m) of m machines on the same kernel.
    """
    n, m = coefficients.shape
    S, a = slopes.astype(np.float32), coefficients.astype(np.float32)
    A = -S[None, :, :] * a.T[:, None, :]
    A[:, np.arange(n), np.arange(n)] += (S @ a).T
    A = A.reshape(m * n, n)
    squares = np.empty((m, X.shape[1]), dtype=np.float32)
    for start in range(0, X.shape[1], _COLUMNS):
        columns = slice(start, start + _COLUMNS)
        gradients = (A @ X[:, columns]).reshape(m, n, -1)
        squares[:, columns] = np.einsum("mnk,mnk->mk", gradients, gradients)
    return squares, (A.reshape(m, n, n).mean(axis=1)) @ X


def find_partners(
    X: np.ndarray,
    Y: np.ndarray,
    *,
    penalty: np.ndarray,
    own: Sequence[np.ndarray],
    kind: np.ndarray,
    lineage: np.ndarray | None = None,
    nulls: int = 2,
    seed: int = 0,
    threads: int = 1,
    done: Callable[[int], None] = lambda n: None,
) -> Partners:
    """Importance of all features for each of a few hundred knockouts.

    Parameters
    ----------
    X
        (n, d) float32 features of the lines.
    Y
        (n, c) float32 effects, lineage's means taken away, no NaN.
    penalty
        (c,) of each knockout.
    own
        Positions of the features at each knockout's own locus.
    kind
        (d,) code of each feature's kind: kinds do not share nulls.
    lineage
        (n,) codes; shuffling stays inside.
    nulls
        Shuffled copies of each knockout.
    seed
        Of the shuffling.
    threads
        Processor cores.
    done
        Told how many knockouts are done.
    """
    squares = squared_distances(X)
    orders = shuffles(len(X), lineage, seed=seed + 1)

    def one(c: int) -> tuple[np.ndarray, ...]:
        y = Y[:, c] / max(float(Y[:, c].std()), 1e-12)
        dealt = [y[orders[(c * nulls + k) % len(orders)]] for k in range(nulls)]
        return _one(X, squares, np.column_stack([y, *dealt]), penalty=float(penalty[c]), own=own[c])

    c, d = Y.shape[1], X.shape[1]
    first, again, slope = (np.empty((c, d), dtype=np.float32) for _ in range(3))
    null = np.empty((c, nulls, d), dtype=np.float32)
    r2 = np.empty(c)
    for at, found in enumerate(in_order(one, range(c), threads=threads)):
        first[at], null[at], again[at], slope[at], r2[at] = found
        done(1)
    p = partner_p_values(first, null, kind=kind)
    for at, features in enumerate(own):
        p[at, features] = np.nan
    return Partners(first, again, slope, p, q_values(p), r2)


def _one(
    X: np.ndarray, squares: np.ndarray, Y: np.ndarray, *, penalty: float, own: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Shares of the first machine, those of its shuffled copies, shares of the second, slopes, leave-one-out R²."""
    left = np.maximum(squares - squared_distances(X[:, own]), 0) if len(own) else squares
    K, slopes = kernel_and_slopes(left, bandwidth=typical_distance(left))
    inverse = cho_solve(cho_factor(K + penalty * np.eye(len(K))), np.eye(len(K)))
    coefficients = inverse @ Y
    squared, mean = diagonals(X, slopes, coefficients)
    squared[:, own] = 0
    shares = squared / np.maximum(squared.sum(axis=1, keepdims=True), 1e-30)
    out = coefficients[:, 0] / np.diag(inverse)
    r2 = 1 - float(out @ out) / float(((Y[:, 0] - Y[:, 0].mean()) ** 2).sum())
    return shares[0], shares[1:], _again(X, Y[:, :1], shares[0], penalty=penalty), mean[0], r2


def _again(X: np.ndarray, y: np.ndarray, share: np.ndarray, *, penalty: float) -> np.ndarray:
    """(d,) shares after one more machine, its distances weighted by the first one's shares."""
    kept = np.argsort(-share, kind="stable")[:_KEPT]
    weight = np.sqrt(share[kept] / max(float(share[kept].max()), 1e-30))
    Z = X[:, kept] * np.sqrt(weight)
    left = squared_distances(Z)
    K, slopes = kernel_and_slopes(left, bandwidth=typical_distance(left))
    a = cho_solve(cho_factor(K + penalty * np.eye(len(K))), y)
    squared = diagonals(Z, slopes, a)[0][0] * weight
    out = share * np.float32(1e-6)
    out[kept] += squared / max(float(squared.sum()), 1e-30)
    return out


def partner_p_values(value: np.ndarray, null: np.ndarray, *, kind: np.ndarray) -> np.ndarray:
    """(c, d) chance of as large a share in a shuffled knockout.

    Parameters
    ----------
    value
        (c, d) shares.
    null
        (c, m, d) shares of shuffled copies.
    kind
        (d,) codes.

    What a shuffled knockout gives a feature depends on the feature alone, and is known well from all copies of all
    knockouts: shares are divided by that mean. The quotients of one kind of feature then share one null: c m d of them.
    """
    mean = np.maximum(null.sum(axis=(0, 1)) / max(null.shape[0] * null.shape[1], 1), 1e-30)
    out = np.empty(value.shape)
    for code in np.unique(kind):
        own = kind == code
        pool = np.sort((null[:, :, own] / mean[own]).ravel())
        above = len(pool) - np.searchsorted(pool, value[:, own] / mean[own], side="left")
        out[:, own] = (1 + above) / (1 + len(pool))
    return out
