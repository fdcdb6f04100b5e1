"""The Lasso for many targets on one set of masks: all their paths at once, on the Gram matrix.

For each target, with columns and outputs centred,

    theta(lambda) = argmin 1 / (2 M) |f - X theta|^2 + lambda |theta|_1,   intercept = mean f - mean X . theta

which is scikit-learn's ``lasso_path``. The Gram matrix is the same for all targets, so cyclic coordinate descent goes
through the coordinates in blocks: inside a block each target takes its steps one after the other (compiled, targets in
lanes), and what a block's steps change elsewhere is one matrix product for all targets. The sequence of steps is that
of plain coordinate descent. Along the path every lambda starts from the line through the last two (a path is piecewise
linear), the sequential strong rule (Tibshirani et al. 2012) says which coordinates can be left out, and the conditions
of Karush, Kuhn and Tucker say afterwards whether that was right.
"""

# M - mask, n - sample, t - target, l - lambda

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch

from whycell.compute import n_threads
from whycell.errors import DataError
from whycell.lenses.many import one_thread_each

__all__ = ["Design", "LassoFit", "lasso_fit", "lasso_path", "lasso_steps", "make_design"]

#: Coordinates of a block; targets that travel together.
COORDINATES = 64
TARGETS = 128
MOST_SWEEPS = 500
#: Single precision serves until steps are this small beside the largest moment.
ROUGH = 2e-6
#: A path ends for its targets when the error on held-out masks has not fallen for so many lambdas.
PATIENCE = 6


@dataclass(frozen=True)
class Design:
    """What every target needs of the masks.

    Parameters
    ----------
    gram
        (n, n) float64, covariance of the masks' columns.
    moments
        (n, t) float64, covariance of columns and outputs.
    mean, mean_output, spread
        (n,) mean of each column; (t,) mean and standard deviation of each output.
    """

    gram: np.ndarray
    moments: np.ndarray
    mean: np.ndarray
    mean_output: np.ndarray
    spread: np.ndarray


@dataclass(frozen=True)
class LassoFit:
    """The solution of each target at its own best lambda.

    Parameters
    ----------
    values
        (t, n) coefficients.
    intercept
        (t,)
    lambdas
        (t,) penalty chosen.
    error
        (t,) mean squared error there, on the held-out masks.
    """

    values: np.ndarray
    intercept: np.ndarray
    lambdas: np.ndarray
    error: np.ndarray


def make_design(masks: np.ndarray, outputs: np.ndarray) -> Design:
    """Gram matrix and moments of ``masks`` (M, n) and ``outputs`` (M, t), centred."""
    X = np.ascontiguousarray(masks, dtype=np.float32)
    Y = np.ascontiguousarray(outputs, dtype=np.float64)
    if X.ndim != 2 or Y.ndim != 2 or len(X) != len(Y) or len(X) < 2 or not np.isfinite(Y).all():
        msg = f"masks {X.shape} and outputs {Y.shape}: wanted two matrices of finite numbers with a row for each model"
        raise DataError(msg)
    count = torch.from_numpy(X)
    mean, centre = X.mean(axis=0, dtype=np.float64), Y.mean(axis=0)
    both = (count.T @ count).double().numpy() if X.max() <= 1 else (count.double().T @ count.double()).numpy()
    gram = both / len(X) - np.outer(mean, mean)
    moments = (count.double().T @ torch.from_numpy(Y - centre)).numpy() / len(X)
    return Design(gram, moments, mean, centre, Y.std(axis=0))


def lasso_steps(
    design: Design, lambdas: np.ndarray, *, tol: float = 1e-7, most_steps: int | None = None
) -> Iterator[np.ndarray]:
    """Walk down the paths of all targets of ``design`` together.

    Parameters
    ----------
    design
        From :func:`make_design`; few enough targets that (n, t) fits the caches.
    lambdas
        (t, l) penalties of each target, falling.
    tol
        A lambda is done when no step moves an output by more than this share of its standard deviation.
    most_steps
        Lambdas to go; None for all.

    Yields
    ------
    (n, t) coefficients at each lambda: a view that the next step overwrites.
    """
    gram, n_targets = design.gram, design.moments.shape[1]
    W, before = np.zeros((len(gram), n_targets)), np.zeros((len(gram), n_targets))
    Q = design.moments.copy()
    enough = tol * np.maximum(design.spread, 1e-300)
    for k in range(lambdas.shape[1] if most_steps is None else most_steps):
        penalty = np.ascontiguousarray(lambdas[:, k])
        last = lambdas[:, k - 1] if k else np.abs(design.moments).max(axis=0)
        kept = np.flatnonzero(((np.abs(Q) >= 2 * penalty - last) | (W != 0)).any(axis=1))
        if k > 1:
            ratio = (lambdas[:, k] - lambdas[:, k - 1]) / (lambdas[:, k - 1] - lambdas[:, k - 2])
            ahead = np.where(W * before > 0, W + ratio * (W - before), W)
            before = W
            W = np.where(ahead * before > 0, ahead, before)
        else:
            before = W.copy()
        while True:
            _solve(gram, design.moments, W, kept, penalty, enough)
            Q = design.moments - _product(gram[:, kept], W[kept])
            missed = (np.abs(Q) > penalty + enough).any(axis=1)
            missed[kept] = False
            if not missed.any():
                break
            kept = np.union1d(kept, np.flatnonzero(missed))
        yield W


def lasso_path(
    masks: np.ndarray,
    outputs: np.ndarray,
    *,
    n_lambdas: int = 100,
    smallest: float = 1e-3,
    lambdas: np.ndarray | None = None,
    tol: float = 1e-7,
    threads: int = 1,
    visit: Callable[[int, slice, np.ndarray], None] | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """The whole path of every target.

    Parameters
    ----------
    masks, outputs
        (M, n) and (M, t).
    n_lambdas, smallest
        Penalties of a path, and the last one as a share of the first, which leaves nothing in.
    lambdas
        (t, l) penalties to use instead, falling.
    tol
        See :func:`lasso_steps`.
    visit
        Takes the number of a lambda, the slice of targets and their (n, t') coefficients, which it must not keep; the
        path itself is then not kept either.

    Returns
    -------
    (t, l) penalties, and (t, l, n) coefficients or None.
    """
    design = make_design(masks, outputs)
    grid = _grid(design, n_lambdas, smallest) if lambdas is None else np.asarray(lambdas, dtype=np.float64)
    path = None if visit else np.empty((len(grid), grid.shape[1], len(design.gram)))

    def walk(part: slice) -> None:
        for k, W in enumerate(lasso_steps(_some(design, part), grid[part], tol=tol)):
            if visit is not None:
                visit(k, part, W)
            elif path is not None:
                path[part, k] = W.T

    _over_targets(walk, len(grid), threads)
    return grid, path


def lasso_fit(
    masks: np.ndarray,
    outputs: np.ndarray,
    *,
    held_masks: np.ndarray,
    held_outputs: np.ndarray,
    n_lambdas: int = 50,
    smallest: float = 1e-2,
    tol: float = 1e-3,
    threads: int = 1,
) -> LassoFit:
    """The Lasso of every target at the lambda whose error on the held-out masks is least.

    Parameters
    ----------
    masks, outputs
        (M, n) and (M, t): what is fitted.
    held_masks, held_outputs
        (m, n) and (m, t): what lambda is chosen on; never the masks that quality is measured on.
    n_lambdas, smallest, tol
        As in :func:`lasso_path`. A path is left when the error has risen for some lambdas.
    """
    design = make_design(masks, outputs)
    grid = _grid(design, n_lambdas, smallest)
    held = torch.from_numpy((held_masks - design.mean).astype(np.float32))
    truth = (held_outputs - design.mean_output).astype(np.float32)
    values = np.zeros((len(grid), len(design.gram)))
    best, chosen = np.full(len(grid), np.inf), np.zeros(len(grid), dtype=int)

    def walk(part: slice) -> None:
        for k, W in enumerate(lasso_steps(_some(design, part), grid[part], tol=tol)):
            error = ((truth[:, part] - (held @ torch.from_numpy(W.astype(np.float32))).numpy()) ** 2).mean(axis=0)
            better = np.flatnonzero(error < best[part]) + part.start
            best[better], chosen[better], values[better] = error[better - part.start], k, W[:, better - part.start].T
            if (k - chosen[part] >= PATIENCE).all():
                return

    _over_targets(walk, len(grid), threads)
    intercept = design.mean_output - values @ design.mean
    return LassoFit(values, intercept, np.take_along_axis(grid, chosen[:, None], 1)[:, 0], best)


def _grid(design: Design, n_lambdas: int, smallest: float) -> np.ndarray:
    first = np.maximum(np.abs(design.moments).max(axis=0), 1e-300)
    return first[:, None] * np.logspace(0, np.log10(smallest), n_lambdas)


def _some(design: Design, part: slice) -> Design:
    moments = np.ascontiguousarray(design.moments[:, part])
    return Design(design.gram, moments, design.mean, design.mean_output[part], design.spread[part])


def _over_targets(walk: Callable[[slice], None], n_targets: int, threads: int) -> None:
    parts = [slice(at, min(at + TARGETS, n_targets)) for at in range(0, n_targets, TARGETS)]
    with one_thread_each(), ThreadPoolExecutor(n_threads(threads)) as pool:
        list(pool.map(walk, parts))


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray((torch.from_numpy(np.ascontiguousarray(a)) @ torch.from_numpy(b)).numpy())


def _solve(
    gram: np.ndarray, moments: np.ndarray, W: np.ndarray, kept: np.ndarray, penalty: np.ndarray, enough: np.ndarray
) -> None:
    """Coordinate descent on the coordinates ``kept``, in place: single precision as far as that goes, then double."""
    if not len(kept):
        return
    G, c = gram[np.ix_(kept, kept)], moments[kept]
    rough = np.maximum(enough, ROUGH * np.abs(moments).max(axis=0))
    _sweep(G.astype(np.float32), c, W, kept, penalty, rough)
    if (rough > enough).any():
        _sweep(G, c, W, kept, penalty, enough)


def _sweep(
    G: np.ndarray, c: np.ndarray, W: np.ndarray, kept: np.ndarray, penalty: np.ndarray, enough: np.ndarray
) -> None:
    """Pass over all blocks until no target moves by more than ``enough``, in the precision of ``G``."""
    kind = G.dtype
    product = torch.from_numpy(G)
    w = W[kept].astype(kind)
    q = c.astype(kind) - (product @ torch.from_numpy(w)).numpy()
    open_targets, held = np.arange(W.shape[1]), penalty.astype(kind)
    for _ in range(MOST_SWEEPS):
        moved = np.zeros(len(open_targets), kind)
        for at in range(0, len(kept), COORDINATES):
            block = slice(at, at + COORDINATES)
            steps = _steps_of_block(G[block, block].copy(), q[block].copy(), w[block], held[open_targets], moved)
            if steps.any():
                torch.from_numpy(q).addmm_(product[:, block], torch.from_numpy(steps), alpha=-1.0)
        stay = moved > enough[open_targets]
        if not stay.all():
            W[np.ix_(kept, open_targets[~stay])] = w[:, ~stay]
            if not stay.any():
                return
            open_targets = open_targets[stay]
            w, q = np.ascontiguousarray(w[:, stay]), np.ascontiguousarray(q[:, stay])
    W[np.ix_(kept, open_targets)] = w


@numba.njit(nogil=True, cache=True, fastmath={"contract", "nsz"})
def _steps_of_block(G: Any, q: Any, w: Any, penalty: Any, moved: Any) -> Any:
    """One pass over a block's coordinates, all targets; changes ``w`` (b, t), a scratch ``q`` and ``moved`` (t,)."""
    n, n_targets = w.shape
    steps = np.zeros_like(w)
    nothing = steps[0, 0]
    for j in range(n):
        scale = G[j, j]
        if scale <= 1e-12:
            continue
        root = np.sqrt(scale)
        row, gradient, weight = steps[j], q[j], w[j]
        for t in range(n_targets):
            z = gradient[t] + scale * weight[t]
            new = (max(z - penalty[t], nothing) + min(z + penalty[t], nothing)) / scale
            row[t] = new - weight[t]
            weight[t] = new
            moved[t] = max(moved[t], abs(row[t]) * root)
        for i in range(j + 1, n):
            g, other = G[i, j], q[i]
            for t in range(n_targets):
                other[t] -= g * row[t]
    return steps
