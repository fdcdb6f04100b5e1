"""A fitted machine: what answers and what its AGOP is made of."""

# n - row, m - centre, c - output, d - coordinate, r - direction of the metric

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from whycell.lenses.agop_kernels import kernel_gradients, kernel_outer_products
from whycell.lenses.outer_products import OuterProducts
from whycell.models.rfm.geometry import Shape, Space, distances_between, kernel_of

__all__ = ["Machine"]

_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Machine:
    """f(x) = Σ_i a_i K(x, z_i) + b under a metric.

    Parameters
    ----------
    centres
        (m, d) coordinates of the training rows.
    weights
        (m,) of the training rows.
    coefficients, intercept
        (m, c) and (c,).
    root
        Root of the metric: (d,), (d, r), or ``None``.
    shape, bandwidth
        Kernel.
    """

    centres: torch.Tensor
    weights: torch.Tensor
    coefficients: torch.Tensor
    intercept: torch.Tensor
    root: torch.Tensor | None
    shape: Shape
    bandwidth: float

    def answer(self, x: np.ndarray) -> np.ndarray:
        """(n, c) float64 answers for (n, d) rows, block by block."""
        space = Space(self.root)
        z = space.seen(self.centres)
        flags = _two_valued(z) if self.shape.norm == 1 else None
        rows = max(1, _BYTES // (8 * max(1, len(z))))
        out = np.empty((len(x), len(self.intercept)))
        for start in range(0, len(x), rows):
            part = space.seen(self._tensor(x[start : start + rows]))
            distances = distances_between(part, z, norm=self.shape.norm, flags=flags)
            kernel = kernel_of(distances, bandwidth=self.bandwidth, exponent=self.shape.exponent)
            answers = torch.addmm(self.intercept, kernel, self.coefficients)
            out[start : start + rows] = answers.cpu().numpy()
        return out

    def gradients(self, x: np.ndarray) -> np.ndarray:
        """(n, c, d) gradients of the outputs at (n, d) rows."""
        return kernel_gradients(self._tensor(x), self.centres, self.coefficients, **self._kernel()).cpu().numpy()

    def outer_products(self, *, rows: np.ndarray | None = None, diagonal: bool = False) -> OuterProducts:
        """Sums over the centres, or over some of them, of which AGOPs are made.

        Parameters
        ----------
        rows
            Positions of centres.
        diagonal
            Only diagonals.
        """
        at = slice(None) if rows is None else torch.from_numpy(rows)
        return kernel_outer_products(
            self.centres[at],
            self.centres,
            self.coefficients,
            weights=self.weights[at],
            diagonal=diagonal,
            **self._kernel(),
        )

    def _kernel(self) -> dict:
        return {
            "kernel": "generalised",
            "bandwidth": self.bandwidth,
            "factor": self.root,
            "norm": self.shape.norm,
            "exponent": self.shape.exponent,
        }

    def _tensor(self, x: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(x)).to(self.centres)


def _two_valued(z: torch.Tensor) -> torch.Tensor:
    low, high = z.amin(0), z.amax(0)
    return ((z == low) | (z == high)).all(0) & (high > low)
