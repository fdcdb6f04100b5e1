"""Distances under a learned metric, kernels of them, and what the gradient of a machine at its own rows sums to.

The formulas are those of :mod:`whycell.lenses.agop_kernels`; here the distances of the rows to each other are kept, so
that every bandwidth, ridge and gradient of one metric is had from them. Where p = 1, columns of 0 and 1 need no loop:
of two such values the absolute and the squared difference are the same, and the sign is the difference itself.
"""

# n - row, m - centre, c - output, r - direction of the metric

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.distance import pdist, squareform

__all__ = [
    "Shape",
    "Space",
    "distances_among",
    "distances_between",
    "gradient_products",
    "kernel_of",
    "typical_distance",
]

_SAMPLE = 128
_TINY = 1e-30
_BYTES = 8 * 2**20
#: Of two rows whose squared distance is below this share of their squares, and of all pairs, the share that is few.
_NEAR, _FEW_NEAR = 1e-2, 2e-3


@dataclass(frozen=True)
class Shape:
    """K = exp(-(d_p / L)^q): the norm p and the exponent q, 0 < q <= p <= 2."""

    norm: float = 2.0
    exponent: float = 1.0


@dataclass(frozen=True)
class Space:
    """Rows seen through the root of a metric.

    Parameters
    ----------
    root
        (r,) of a diagonal metric, (d, r) of any other, ``None`` of the identity.
    flags
        (d,) bool, columns of which training has two values, one apart; only used where p is not 2.
    """

    root: torch.Tensor | None
    flags: torch.Tensor | None = None

    def seen(self, rows: torch.Tensor) -> torch.Tensor:
        """(n, r) rows seen through the root."""
        if self.root is None:
            return rows
        return rows * self.root if self.root.ndim == 1 else rows @ self.root


def distances_among(z: torch.Tensor, *, norm: float, flags: torch.Tensor | None = None) -> torch.Tensor:
    """(n, n) distances of rows (n, r) to each other.

    Parameters
    ----------
    z
        Rows.
    norm
        p.
    flags
        (r,) columns with two values.
    """
    if norm == 2:
        return _squares_among(z).sqrt_()
    if norm == 1 and flags is not None and bool(flags.any()):
        step = z[:, flags].amax(0) - z[:, flags].amin(0)
        two = _squares_among(z[:, flags] / step.clamp_min(_TINY).sqrt())
        return two if bool(flags.all()) else two + _minkowski(z[:, ~flags], norm)
    return _minkowski(z, norm)


def distances_between(
    x: torch.Tensor, z: torch.Tensor, *, norm: float, flags: torch.Tensor | None = None
) -> torch.Tensor:
    """(n, m) distances of rows to centres.

    Parameters
    ----------
    x, z
        (n, r) and (m, r)
    norm
        p.
    flags
        (r,) columns of z with two values.
    """
    if norm == 1 and flags is not None:
        flags = flags & _within(x, z)
        if bool(flags.any()):
            root = (z[:, flags].amax(0) - z[:, flags].amin(0)).clamp_min(_TINY).sqrt()
            two = _squares_between(x[:, flags] / root, z[:, flags] / root)
            return two if bool(flags.all()) else two + torch.cdist(x[:, ~flags], z[:, ~flags], p=1.0)
    if norm != 2:
        return torch.cdist(x, z, p=norm)
    return _squares_between(x, z).sqrt_()


def _within(x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """(r,) whether a column of x holds only the least and the largest value of that of z."""
    return ((x == z.amin(0)) | (x == z.amax(0))).all(0)


def _squares_between(x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    origin = z.mean(0)
    x, z = x - origin, z - origin
    square_x, square_z = x.square().sum(1)[:, None], z.square().sum(1)
    out = torch.addmm(square_z, x, z.T, beta=1, alpha=-2).add_(square_x)
    noise = 32 * torch.finfo(x.dtype).eps
    return out.masked_fill_(out <= noise * (square_x + square_z), 0)


def kernel_of(distances: torch.Tensor, *, bandwidth: float, exponent: float) -> torch.Tensor:
    """exp(-(d / L)^q), in memory of its own."""
    if exponent == 1:
        return (distances * (-1 / bandwidth)).exp_()
    scaled = distances * (1 / bandwidth)
    return (scaled.square_() if exponent == 2 else scaled.pow_(exponent)).neg_().exp_()


def typical_distance(distances: torch.Tensor) -> float:
    """Median distance of rows to each other, over some of them; 1 where all rows are one."""
    step = max(1, len(distances) // _SAMPLE)
    some = distances[::step, ::step].cpu().numpy()
    apart = some[~np.eye(len(some), dtype=bool)]
    if not len(apart):
        return 1.0
    middle = float(np.median(apart)) or float(apart.mean())
    return middle if middle > 0 else 1.0


def gradient_products(
    z: torch.Tensor,
    distances: torch.Tensor,
    kernel: torch.Tensor,
    coefficients: torch.Tensor,
    *,
    shape: Shape,
    bandwidth: float,
    weights: torch.Tensor,
    diagonal: bool,
    centre: bool = False,
    flags: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean over the rows of Σ_c ∇f_c ∇f_c', by the coordinates z.

    With slopes S = -q K / (L^q d^(2-q)) and W = S diag(a_c), the gradients of output c at all rows are
    diag(W 1) Z - W Z for p = 2: two products of matrices.

    Parameters
    ----------
    z
        (m, r) rows, which are the centres.
    distances, kernel
        (n, m) of the rows where gradients are taken, the first n of ``z``.
    coefficients
        (m, c)
    shape, bandwidth
        Of the kernel.
    weights
        (n,) of the rows in the mean.
    diagonal
        Only the diagonal (r,).
    centre
        Take the mean gradient of each output off.
    flags
        (r,) columns with two values.

    Returns
    -------
    (r, r) or (r,)
    """
    slopes = _slopes(distances, kernel, shape=shape, bandwidth=bandwidth)
    share = (weights / weights.sum())[:, None]
    at = z[: len(distances)]
    total = torch.zeros(z.shape[1] if diagonal else (z.shape[1], z.shape[1]), dtype=z.dtype, device=z.device)
    for gradients in _gradients(at, z, slopes, coefficients, norm=shape.norm, flags=flags):
        if centre:
            gradients = gradients - (share * gradients).sum(0)
        rooted = gradients * share.sqrt()
        total += rooted.square().sum(0) if diagonal else rooted.T @ rooted
    return total


def _gradients(
    at: torch.Tensor,
    z: torch.Tensor,
    slopes: torch.Tensor,
    coefficients: torch.Tensor,
    *,
    norm: float,
    flags: torch.Tensor | None,
) -> list[torch.Tensor]:
    """(n, r) of each output."""
    if norm == 2:
        ones = slopes @ coefficients
        return [ones[:, c, None] * at - slopes @ (coefficients[:, c, None] * z) for c in range(coefficients.shape[1])]
    out = torch.empty((coefficients.shape[1], *at.shape), dtype=z.dtype, device=z.device)
    two = torch.zeros(z.shape[1], dtype=torch.bool, device=z.device) if flags is None else flags
    if bool(two.any()):
        steps = (z[:, two].amax(0) - z[:, two].amin(0)).clamp_min(_TINY) ** (2 - norm)
        ones = slopes @ coefficients
        for c in range(coefficients.shape[1]):
            column = coefficients[:, c, None]
            out[c][:, two] = (ones[:, c, None] * at[:, two] - slopes @ (column * z[:, two])) / steps
    turned = torch.empty_like(slopes)
    for k in torch.nonzero(~two)[:, 0].tolist():
        torch.sub(at[:, k, None], z[:, k], out=turned)
        if norm == 1:
            turned.sign_()
        else:
            turned.copy_(turned.sign() * turned.abs().pow_(norm - 1))
        out[:, :, k] = (turned.mul_(slopes) @ coefficients).T
    return list(out)


def _slopes(distances: torch.Tensor, kernel: torch.Tensor, *, shape: Shape, bandwidth: float) -> torch.Tensor:
    """-q K d^(q-p) / L^q, 0 where rows meet."""
    power = shape.exponent - shape.norm
    rate = -shape.exponent / bandwidth**shape.exponent
    if power == 0:
        return (kernel * rate).masked_fill_(distances <= 0, 0) if shape.norm != 2 else kernel * rate
    out = kernel / distances if power == -1 else kernel * distances.pow(power)
    return out.mul_(rate).nan_to_num_(nan=0.0, posinf=0.0, neginf=0.0)


def _squares_among(z: torch.Tensor) -> torch.Tensor:
    z = z - z.mean(0)
    squares = z.square().sum(1)
    out = torch.addmm(squares, z, z.T, beta=1, alpha=-2).add_(squares[:, None])
    # The root of a small difference of large squares is no distance, and a kernel of such not positive definite:
    # rows that are near one another are measured by their differences, or where they are many, all in float64.
    single = z.dtype == torch.float32
    near = out <= (_NEAR if single else 32 * torch.finfo(z.dtype).eps) * (squares[:, None] + squares)
    if not single:
        return out.masked_fill_(near, 0).fill_diagonal_(0)
    count = int(torch.count_nonzero(near)) - len(z)
    if count > _FEW_NEAR * near.numel():
        return _squares_in_double(z)
    if count:
        rows, columns = torch.nonzero(near, as_tuple=True)
        out[rows, columns] = (z[rows] - z[columns]).square().sum(1)
    return out.fill_diagonal_(0)


def _squares_in_double(z: torch.Tensor) -> torch.Tensor:
    wide = z.double()
    squares = wide.square().sum(1)
    out = torch.empty((len(z), len(z)), dtype=z.dtype, device=z.device)
    noise = 32 * torch.finfo(torch.float64).eps
    rows = max(1, _BYTES // (8 * max(1, len(z))))
    for start in range(0, len(z), rows):
        at = slice(start, start + rows)
        block = torch.addmm(squares, wide[at], wide.T, beta=1, alpha=-2).add_(squares[at, None])
        out[at] = block.masked_fill_(block <= noise * (squares[at, None] + squares), 0)
    return out.fill_diagonal_(0)


def _minkowski(z: torch.Tensor, norm: float) -> torch.Tensor:
    if z.device.type != "cpu":
        return torch.cdist(z, z, p=norm)
    condensed = pdist(z.numpy(), "cityblock") if norm == 1 else pdist(z.numpy(), "minkowski", p=norm)
    return torch.from_numpy(squareform(condensed)).to(z.dtype)
