"""Kernel ridge regression with a free intercept, and its leave-one-out predictions from the same factorisation.

With noise variances r_i = ridge / weight_i, coefficients a and intercept b of all outputs solve

    (K + diag r) a + 1 b' = Y,    1'a = 0.

C = (K + diag r)^-1 and B = C - C11'C / 1'C1 give a = B Y, and what is left over of row i when the machine is fitted
without it is a_i / B_ii: exact, for the intercept is solved anew too. Of rows held out together it is B_gg^-1 a_g. Both
hold for the kernel as it is; a metric that was learned from the row is not learned anew.
"""

# n - row, c - output, g - rows of one group

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import lapack

from whycell.errors import DataError

__all__ = ["Solution", "leave_groups_out", "solve", "solve_only", "solve_path"]

#: An eigendecomposition gives every ridge for the price of about this many factorisations.
_SPECTRAL = {torch.float32: 500, torch.float64: 500}


@dataclass(frozen=True)
class Solution:
    """A fitted kernel machine and its exact leave-one-out predictions.

    Parameters
    ----------
    ridge
        Ridge that it was solved with.
    coefficients
        (n, c) a.
    intercept
        (c,) b.
    held_out
        (n, c) prediction of every row by the machine fitted without it, or without its group.
    """

    ridge: float
    coefficients: torch.Tensor
    intercept: torch.Tensor
    held_out: torch.Tensor


def solve(
    kernel: torch.Tensor,
    targets: torch.Tensor,
    *,
    ridge: float,
    weights: torch.Tensor,
    groups: torch.Tensor | None = None,
) -> Solution | None:
    """Fit by Cholesky factorisation: n³/3 multiplications, and as many again for what is held out.

    Parameters
    ----------
    kernel
        (n, n) symmetric; left as it was.
    targets
        (n, c)
    ridge
        Added to the diagonal, divided by the weight of the row.
    weights
        (n,) above 0.
    groups
        (n,) codes of rows that are held out together; every row by itself where ``None``.

    Returns
    -------
    ``None`` where the kernel and this ridge are not positive definite in the precision at hand.
    """
    inverse = _inverse_factor(_factor(kernel, ridge / weights))
    if inverse is None:
        return None
    ones = inverse.T @ inverse.sum(1, keepdim=True)
    solved = inverse.T @ (inverse @ targets)
    total = ones.sum()
    intercept = solved.sum(0) / total
    coefficients = solved - ones * intercept
    if groups is not None:
        residual = leave_groups_out(inverse.T @ inverse - (ones / total) @ ones.T, coefficients, groups)
    else:
        diagonal = inverse.square().sum(0) - ones[:, 0].square() / total
        residual = coefficients / diagonal[:, None]
    return Solution(ridge, coefficients, intercept, targets - residual)


def solve_only(kernel: torch.Tensor, targets: torch.Tensor, *, ridge: float, weights: torch.Tensor) -> Solution:
    """As :func:`solve`, without held-out predictions: half the multiplications.

    Parameters
    ----------
    kernel, targets, ridge, weights
        As in :func:`solve`.

    Raises
    ------
    DataError
        The kernel is singular in the precision at hand, even with a hundred times the ridge.
    """
    right = torch.cat([torch.ones_like(targets[:, :1]), targets], 1)
    for at in (ridge, 10 * ridge, 100 * ridge):
        factor = _factor(kernel, at / weights)
        if factor is not None:
            both = torch.cholesky_solve(right, factor)
            intercept = both[:, 1:].sum(0) / both[:, 0].sum()
            coefficients = both[:, 1:] - both[:, :1] * intercept
            return Solution(at, coefficients, intercept, targets.new_full(targets.shape, float("nan")))
    msg = f"The kernel of {len(kernel)} rows is singular at the ridge {ridge:g}; give a larger one."
    raise DataError(msg)


def solve_path(
    kernel: torch.Tensor,
    targets: torch.Tensor,
    *,
    ridges: Sequence[float],
    weights: torch.Tensor,
    groups: torch.Tensor | None = None,
) -> list[Solution]:
    """Fits of several ridges; those that the precision cannot solve are left out, or all raised where none is left.

    Few rows are solved by one eigendecomposition that all ridges share, many by a factorisation each.

    Parameters
    ----------
    kernel, targets, weights, groups
        As in :func:`solve`.
    ridges
        Each gives a solution.

    Raises
    ------
    DataError
        None of the ridges can be solved.
    """
    if len(ridges) > 2 and len(kernel) <= _SPECTRAL[kernel.dtype] and groups is None:
        return _spectral(kernel, targets, ridges, weights)
    for raised in (1, 10, 100):
        each = (solve(kernel, targets, ridge=raised * r, weights=weights, groups=groups) for r in ridges)
        found = [solution for solution in each if solution is not None]
        if found:
            return found
    msg = f"The kernel of {len(kernel)} rows is singular at every ridge up to {100 * max(ridges):g}; give a larger one."
    raise DataError(msg)


def leave_groups_out(projected: torch.Tensor, coefficients: torch.Tensor, groups: torch.Tensor) -> torch.Tensor:
    """(n, c) what is left over of every row by the machine fitted without its whole group.

    Parameters
    ----------
    projected
        (n, n) B, see the module's head.
    coefficients
        (n, c) B Y.
    groups
        (n,) codes.
    """
    residual = torch.empty_like(coefficients)
    for code in torch.unique(groups):
        rows = torch.nonzero(groups == code)[:, 0]
        residual[rows] = torch.linalg.solve(projected[rows][:, rows], coefficients[rows])
    return residual


def _spectral(
    kernel: torch.Tensor, targets: torch.Tensor, ridges: Sequence[float], weights: torch.Tensor
) -> list[Solution]:
    root = weights.sqrt()
    values, vectors = torch.linalg.eigh(kernel * root[:, None] * root)
    vectors = vectors * root[:, None]
    inverse = 1 / (values.clamp_min(0)[:, None] + torch.tensor(list(ridges), dtype=values.dtype, device=values.device))
    right = torch.cat([vectors.sum(0)[:, None], vectors.T @ targets], 1)
    squares = vectors.square() @ inverse
    n, c = targets.shape
    all_solved = (vectors @ (inverse[:, :, None] * right[:, None, :]).reshape(n, -1)).reshape(n, len(ridges), 1 + c)
    out = []
    for at, ridge in enumerate(ridges):
        ones, solved = all_solved[:, at, :1], all_solved[:, at, 1:]
        total = ones.sum()
        intercept = solved.sum(0) / total
        coefficients = solved - ones * intercept
        diagonal = squares[:, at] - ones[:, 0].square() / total
        out.append(Solution(ridge, coefficients, intercept, targets - coefficients / diagonal[:, None]))
    return out


def _factor(kernel: torch.Tensor, noise: torch.Tensor) -> torch.Tensor | None:
    """Lower L with LL' the kernel and its noise; the kernel is given its diagonal back, which saves a copy of it."""
    before = kernel.diagonal().clone()
    kernel.diagonal().add_(noise)
    factor, failed = torch.linalg.cholesky_ex(kernel)
    kernel.diagonal().copy_(before)
    return None if int(failed) else factor


def _inverse_factor(factor: torch.Tensor | None) -> torch.Tensor | None:
    """L^-1 of a lower triangle, which is overwritten."""
    if factor is None:
        return None
    if factor.device.type != "cpu":
        identity = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
        return torch.linalg.solve_triangular(factor, identity, upper=False)
    # LAPACK inverts a triangle in a third of the multiplications that solving for the identity takes. Factors come
    # column by column, as it reads them.
    invert = lapack.strtri if factor.dtype == torch.float32 else lapack.dtrtri
    inverse, failed = invert(np.asfortranarray(factor.numpy()), lower=1, overwrite_c=1)
    return None if failed else torch.from_numpy(inverse)
