"""The same machine without its kernel in memory: preconditioned conjugate gradients on blocks of the kernel.

A few rows stand for all in the preconditioner, P = A A' + diag(r + 1 - aa') with A = K_nm L^-T and LL' = K_mm
(Nystroem; Rudi, Carratino and Rosasco, NeurIPS 2017; in the spirit of EigenPro, Ma and Belkin 2017): where these rows
catch the large eigenvalues of the kernel, a few dozen products with it are enough. Memory is that of A and a block.
"""

# n - row, m - row of the preconditioner, c - output

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from whycell.models.rfm.geometry import Shape, distances_between, kernel_of
from whycell.models.rfm.solving import Solution

__all__ = ["solve_by_blocks"]

_BYTES = 64 * 2**20
_MOST_ROWS, _MOST_BYTES = 2000, 256 * 2**20
_JITTER = 1e-5


def solve_by_blocks(
    z: torch.Tensor,
    targets: torch.Tensor,
    *,
    shape: Shape,
    bandwidth: float,
    ridge: float,
    weights: torch.Tensor,
    tolerance: float = 1e-4,
    most: int = 200,
) -> Solution:
    """Fit without the kernel of all rows.

    Parameters
    ----------
    z
        (n, r) rows as the metric sees them.
    targets
        (n, c)
    shape, bandwidth
        Of the kernel.
    ridge, weights
        As in :func:`whycell.models.rfm.solving.solve`.
    tolerance
        Residual, as a share of the targets, at which an output is done.
    most
        Products with the kernel at most.

    Returns
    -------
    Its held-out predictions are approximate: they take the diagonal of the inverse from the preconditioner.
    """
    noise = (ridge / weights)[:, None]
    preconditioner = _Nystroem.of(z, shape=shape, bandwidth=bandwidth, noise=noise)
    right = torch.cat([torch.ones_like(targets[:, :1]), targets], 1)

    def product(v: torch.Tensor) -> torch.Tensor:
        out = noise * v
        for rows, kernel in _blocks(z, z, shape, bandwidth):
            out[rows] += kernel @ v
        return out

    both = _conjugate_gradients(product, preconditioner, right, tolerance=tolerance, most=most)
    ones, solved = both[:, :1], both[:, 1:]
    total = ones.sum()
    intercept = solved.sum(0) / total
    coefficients = solved - ones * intercept
    diagonal = preconditioner.inverse_diagonal() - ones[:, 0].square() / total
    held_out = targets - coefficients / diagonal.clamp_min(1e-12)[:, None]
    return Solution(ridge, coefficients, intercept, held_out)


@dataclass(frozen=True)
class _Nystroem:
    """P^-1 by Woodbury's identity: ``scaled`` (n, m) is R^-1 A G^-T with GG' = I + A'R^-1 A."""

    scaled: torch.Tensor
    noise: torch.Tensor

    @classmethod
    def of(cls, z: torch.Tensor, *, shape: Shape, bandwidth: float, noise: torch.Tensor) -> _Nystroem:
        n = len(z)
        m = max(1, min(n, _MOST_ROWS, _MOST_BYTES // (z.element_size() * n)))
        some = z[torch.linspace(0, n - 1, m).round().long().to(z.device)]
        among = next(_blocks(some, some, shape, bandwidth, rows=m))[1]
        among.diagonal().add_(_JITTER * m)
        root = torch.linalg.cholesky(among.double()).to(z.dtype)
        features = torch.empty((n, m), dtype=z.dtype, device=z.device)
        for rows, kernel in _blocks(z, some, shape, bandwidth):
            features[rows] = torch.linalg.solve_triangular(root, kernel.T, upper=False).T
        # What the few rows do not explain of a row is put on the diagonal, as in FITC: a better guess of the inverse.
        noise = noise + (1 - features.square().sum(1, keepdim=True)).clamp_min(0)
        inner = (features / noise).T @ features
        inner.diagonal().add_(1.0)
        factor = torch.linalg.cholesky(inner)
        return cls(torch.linalg.solve_triangular(factor, (features / noise).T, upper=False).T, noise)

    def __call__(self, v: torch.Tensor) -> torch.Tensor:
        return v / self.noise - self.scaled @ (self.scaled.T @ v)

    def inverse_diagonal(self) -> torch.Tensor:
        return 1 / self.noise[:, 0] - self.scaled.square().sum(1)


def _conjugate_gradients(
    product: Callable[[torch.Tensor], torch.Tensor],
    preconditioner: Callable[[torch.Tensor], torch.Tensor],
    right: torch.Tensor,
    *,
    tolerance: float,
    most: int,
) -> torch.Tensor:
    """Every column by itself, their products taken together."""
    x = torch.zeros_like(right)
    residual = right.clone()
    step = preconditioner(residual)
    direction = step.clone()
    inner = (residual * step).sum(0)
    goal = tolerance * right.norm(dim=0)
    for _ in range(most):
        if bool((residual.norm(dim=0) <= goal).all()):
            break
        along = product(direction)
        length = inner / (direction * along).sum(0).clamp_min(1e-30)
        x += length * direction
        residual -= length * along
        step = preconditioner(residual)
        following = (residual * step).sum(0)
        direction = step + (following / inner.clamp_min(1e-30)) * direction
        inner = following
    return x


def _blocks(
    x: torch.Tensor, z: torch.Tensor, shape: Shape, bandwidth: float, *, rows: int | None = None
) -> Iterator[tuple[slice, torch.Tensor]]:
    size = rows or max(1, _BYTES // (4 * max(1, len(z))))
    for start in range(0, len(x), size):
        at = slice(start, start + size)
        yield at, kernel_of(distances_between(x[at], z, norm=shape.norm), bandwidth=bandwidth, exponent=shape.exponent)
