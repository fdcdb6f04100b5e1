"""Kernel machines in closed form: their kernel matrices, gradients and average gradient outer products (AGOP).

A machine is ``f_c(x) = Σ_i a_ic K(x, z_i)`` with, for a learned metric M,

    laplace      K = exp(-d / L)           d² = (x - z)' M (x - z)
    gaussian     K = exp(-d² / (2 L²))
    generalised  K = exp(-(d / L)^q)       d = ‖M^½ (x - z)‖_p,   0 < q ≤ p ≤ 2

(Radhakrishnan, Beaglehole, Pandit and Belkin, Science 2024; K_{p,q}: Beaglehole and others, arXiv 2508.10053.) For
p = 2 the gradient needs one number a pair, its *slope* s:

    ∇f_c(x) = M Σ_i a_ic s(x, z_i) (x - z_i),    laplace s = -K / (L d),   gaussian s = -K / L²

which is a product of matrices, for all outputs at once. Where a point meets a centre the kernels with q < 2 have a
kink, and the term is taken as 0. M is whole (d, d), a diagonal (d,), or F F' of a thin factor F (d, r); then all is
reckoned in r dimensions. Points go through in blocks, so memory is the block times the number of centres.

Arrays are numpy's or torch's, of one float type; what comes out is of the kind that went in.
"""

# n - point, m - centre, c - output, d - input, r - direction of the metric

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from whycell.errors import UsageError
from whycell.lenses.outer_products import OuterProducts, library

__all__ = [
    "KERNELS",
    "kernel_agop",
    "kernel_and_slopes",
    "kernel_gradients",
    "kernel_matrix",
    "kernel_outer_products",
    "square_distances",
]

#: Kernels by name.
KERNELS = ("laplace", "gaussian", "generalised")
_BYTES = 64 * 2**20


def kernel_matrix(
    X: Any,
    Z: Any,
    *,
    kernel: str = "laplace",
    bandwidth: float = 1.0,
    metric: Any = None,
    factor: Any = None,
    norm: float = 2.0,
    exponent: float = 1.0,
) -> Any:
    """Kernel of every point with every centre.

    Parameters
    ----------
    X, Z
        (n, d) points and (m, d) centres.
    kernel
        One of :data:`KERNELS`.
    bandwidth
        L, in units of the distance.
    metric
        M: (d, d) symmetric and positive semi-definite, or its diagonal (d,); the identity where ``None``.
    factor
        (d, r) F with M = F F', or (d,) the root of a diagonal; instead of ``metric``.
    norm, exponent
        p and q of the generalised kernel; the others do not read them.

    Returns
    -------
    (n, m)

    Raises
    ------
    UsageError
        No such kernel, or numbers for which it is none.
    """
    shape = _Shape.of(kernel, bandwidth, norm, exponent)
    space = _Space.of(metric, factor, shape, Z)
    if shape.norm == 2:
        return shape.of_squares(space.squares(space.points(X), space.points(Z)))[0]
    xp = library(X)
    x, z = space.points(X).at, space.points(Z).at
    return xp.concatenate([shape.of_distances(_distances(part, z, shape.norm)) for _, part in _blocks(x, len(z))])


def square_distances(X: Any, Z: Any, *, metric: Any = None, factor: Any = None) -> Any:
    """Squared distances of every point to every centre; 0 where rounding leaves nothing to tell the two apart by.

    Parameters
    ----------
    X, Z, metric, factor
        As in :func:`kernel_matrix`; the norm is 2.

    Returns
    -------
    (n, m)
    """
    space = _Space.of(metric, factor, _Shape(1.0, 2.0, 1.0), Z)
    return space.squares(space.points(X), space.points(Z))


def kernel_and_slopes(squares: Any, *, kernel: str = "laplace", bandwidth: float = 1.0, exponent: float = 1.0) -> Any:
    """Kernel and slope of every pair from its squared distance, for p = 2: what a solver keeps to get gradients free.

    Parameters
    ----------
    squares
        (n, m) d², as :func:`square_distances` gives them: what is not to be told from nought must be 0.
    kernel, bandwidth, exponent
        As in :func:`kernel_matrix`; the norm is 2.

    Returns
    -------
    (n, m) kernel, (n, m) slopes s
    """
    return _Shape.of(kernel, bandwidth, 2.0, exponent).of_squares(squares, slopes=True)


def kernel_gradients(
    X: Any,
    centres: Any,
    coefficients: Any,
    *,
    kernel: str = "laplace",
    bandwidth: float = 1.0,
    metric: Any = None,
    factor: Any = None,
    norm: float = 2.0,
    exponent: float = 1.0,
) -> Any:
    """Gradient of every output at every point.

    Parameters
    ----------
    X
        (n, d) points.
    centres, coefficients
        (m, d) and (m, c), or (m,) for one output.
    kernel, bandwidth, metric, factor, norm, exponent
        As in :func:`kernel_matrix`.

    Returns
    -------
    (n, c, d)
    """
    shape = _Shape.of(kernel, bandwidth, norm, exponent)
    space = _Space.of(metric, factor, shape, centres)
    parts = _inner_gradients(X, centres, _columns(coefficients), shape=shape, space=space, block=None)
    return library(X).concatenate([space.pull(inner) for _, inner in parts])


def kernel_agop(
    X: Any,
    centres: Any,
    coefficients: Any,
    *,
    kernel: str = "laplace",
    bandwidth: float = 1.0,
    metric: Any = None,
    factor: Any = None,
    norm: float = 2.0,
    exponent: float = 1.0,
    weights: Any = None,
    centre: bool = False,
    diagonal: bool = False,
    block: int | None = None,
) -> Any:
    """AGOP of a kernel machine over some points: the mean over them of Σ_c ∇f_c ∇f_c'.

    Parameters
    ----------
    X
        (n, d) points.
    centres, coefficients
        (m, d) and (m, c), or (m,) for one output.
    kernel, bandwidth, metric, factor, norm, exponent
        As in :func:`kernel_matrix`.
    weights
        (n,) weights of the points; alike where ``None``.
    centre
        Take the mean gradient of each output off, over all points.
    diagonal
        Only the diagonal.
    block
        Points reckoned at once; by default what 64 MiB hold.

    Returns
    -------
    (d, d), or (d,)
    """
    sums = kernel_outer_products(
        X,
        centres,
        coefficients,
        kernel=kernel,
        bandwidth=bandwidth,
        metric=metric,
        factor=factor,
        norm=norm,
        exponent=exponent,
        weights=weights,
        diagonal=diagonal,
        block=block,
    )
    return sums.matrix(centre=centre)


def kernel_outer_products(
    X: Any,
    centres: Any,
    coefficients: Any,
    *,
    kernel: str = "laplace",
    bandwidth: float = 1.0,
    metric: Any = None,
    factor: Any = None,
    norm: float = 2.0,
    exponent: float = 1.0,
    weights: Any = None,
    diagonal: bool = False,
    block: int | None = None,
) -> OuterProducts:
    """The sums that AGOPs are made of, which can be merged: for points in groups, or apart on several machines.

    Parameters
    ----------
    X, centres, coefficients, kernel, bandwidth, metric, factor, norm, exponent, weights, diagonal, block
        As in :func:`kernel_agop`.

    Returns
    -------
    whycell.lenses.outer_products.OuterProducts
    """
    shape = _Shape.of(kernel, bandwidth, norm, exponent)
    space = _Space.of(metric, factor, shape, centres)
    mixes = space.mix is not None
    parts = _inner_gradients(X, centres, _columns(coefficients), shape=shape, space=space, block=block)
    total = None
    per_target: Any = 0.0
    for rows, inner in parts:
        of_rows = None if weights is None else weights[rows]
        here = OuterProducts.of(inner, of_rows, diagonal=diagonal and not mixes)
        total = here if total is None else total + here
        if mixes:  # diagonals of single outputs do not pass through a matrix: they are summed up where they are
            square = space.pull(inner) ** 2
            per_target = per_target + (square if of_rows is None else square * of_rows[:, None, None]).sum(0)
    if total is None:
        msg = "Got no points; an AGOP is a mean over at least one."
        raise UsageError(msg)
    return space.pull_sums(total, per_target, diagonal=diagonal)


@dataclass(frozen=True)
class _Shape:
    """A kernel as ``exp(-rate · d_p^q)``."""

    rate: float
    norm: float
    exponent: float

    @classmethod
    def of(cls, kernel: str, bandwidth: float, norm: float, exponent: float) -> _Shape:
        if not bandwidth > 0:
            msg = f"bandwidth is {bandwidth}; a length above 0 is needed."
            raise UsageError(msg)
        if kernel == "laplace":
            return cls(1 / bandwidth, 2.0, 1.0)
        if kernel == "gaussian":
            return cls(1 / (2 * bandwidth**2), 2.0, 2.0)
        if kernel != "generalised":
            msg = f"There is no kernel {kernel!r}; there are {', '.join(KERNELS)}."
            raise UsageError(msg)
        if not 0 < exponent <= norm <= 2:
            msg = f"Got norm {norm} and exponent {exponent}: it is a kernel only for 0 < exponent <= norm <= 2."
            raise UsageError(msg)
        return cls(bandwidth**-exponent, float(norm), float(exponent))

    def of_distances(self, distances: Any) -> Any:
        return library(distances).exp(-self.rate * distances**self.exponent)

    def of_squares(self, squares: Any, *, slopes: bool = False) -> tuple[Any, Any]:
        xp = library(squares)
        if self.exponent == 2:
            kernel = xp.exp(-self.rate * squares)
            return kernel, -2 * self.rate * kernel if slopes else None
        distances = xp.sqrt(squares)
        power = distances if self.exponent == 1 else distances**self.exponent
        kernel = xp.exp(-self.rate * power)
        if not slopes:
            return kernel, None
        apart = squares > 0
        # d^q / d² where they are apart: written as a quotient, that a solver's zero distances cost no warning.
        ratio = xp.where(apart, power, xp.zeros_like(power)) / xp.where(apart, squares, xp.ones_like(squares))
        return kernel, -self.rate * self.exponent * kernel * ratio


@dataclass(frozen=True)
class _Points:
    """Points where differences are taken, what their inner products are with, and their squared lengths."""

    at: Any
    dual: Any
    squares: Any


@dataclass(frozen=True)
class _Space:
    """Where distances are measured: inputs less an origin, seen through the metric.

    ``scale`` (d,) is the root of a diagonal metric, ``factor`` (d, r) that of any other; a whole metric is used as it
    is where p = 2, for its root would cost more than all else.
    """

    origin: Any
    scale: Any = None
    factor: Any = None
    whole: Any = None

    @classmethod
    def of(cls, metric: Any, factor: Any, shape: _Shape, centres: Any) -> _Space:
        if metric is not None and factor is not None:
            msg = "Got both metric and factor; one says where distances are measured."
            raise UsageError(msg)
        given = factor if metric is None else metric
        if given is not None and given.shape[0] != centres.shape[1]:
            msg = f"The metric is for {given.shape[0]} inputs, the centres have {centres.shape[1]}."
            raise UsageError(msg)
        # Distances come from inner products, which lose digits far from the origin: it is moved among the centres.
        origin = centres.mean(0)
        if given is None:
            return cls(origin)
        if factor is not None:
            return cls(origin, scale=factor) if factor.ndim == 1 else cls(origin, factor=factor)
        if metric.ndim == 1:
            return cls(origin, scale=library(metric).sqrt(metric))
        return cls(origin, whole=metric) if shape.norm == 2 else cls(origin, factor=_root(metric))

    @property
    def mix(self) -> Any:
        """The matrix that inner gradients are multiplied by, where there is one."""
        return self.factor if self.whole is None else self.whole

    def points(self, X: Any) -> _Points:
        at = X - self.origin
        if self.whole is not None:
            dual = at @ self.whole
            return _Points(at, dual, (at * dual).sum(1))
        if self.factor is not None:
            at = at @ self.factor
        elif self.scale is not None:
            at = at * self.scale
        return _Points(at, at, (at * at).sum(1))

    def squares(self, x: _Points, z: _Points) -> Any:
        """(n, m) squared distances; 0 where rounding leaves nothing to tell two points apart by."""
        xp = library(x.at)
        out = x.dual @ z.at.T
        out *= -2
        out += x.squares[:, None]
        out += z.squares
        noise = 32 * float(xp.finfo(x.at.dtype).eps)
        return xp.where(out > noise * (x.squares[:, None] + z.squares), out, xp.zeros_like(out))

    def pull(self, inner: Any) -> Any:
        """Gradients by the inputs, from those by the points."""
        if self.mix is not None:
            return inner @ self.mix.T
        return inner if self.scale is None else inner * self.scale

    def pull_sums(self, sums: OuterProducts, per_target: Any, *, diagonal: bool) -> OuterProducts:
        if self.mix is None:
            return sums if self.scale is None else sums.mapped(self.scale)
        pulled = sums.mapped(self.mix)
        around = per_target - sums.weight * pulled.mean * pulled.mean
        scatter = pulled.scatter.diagonal() if diagonal else pulled.scatter
        return OuterProducts(sums.weight, sums.n, pulled.mean, scatter, around)


def _inner_gradients(
    X: Any, centres: Any, coefficients: Any, *, shape: _Shape, space: _Space, block: int | None
) -> Iterator[tuple[slice, Any]]:
    """Rows of X, block by block, and their gradients (n, c, r) by the points of ``space``."""
    z = space.points(centres)
    for rows, part in _blocks(X, len(centres), block):
        x = space.points(part)
        if shape.norm == 2:
            slopes = shape.of_squares(space.squares(x, z), slopes=True)[1]
            yield rows, _from_slopes(slopes, x.at, z.at, coefficients)
        else:
            yield rows, _by_coordinate(x.at, z.at, coefficients, shape)


def _from_slopes(slopes: Any, x: Any, z: Any, coefficients: Any) -> Any:
    """Σ_i a_ic s_ni (x_n - z_i), (n, c, r)."""
    xp = library(x)
    out = (slopes @ coefficients)[:, :, None] * x[:, None, :]
    for c in range(coefficients.shape[1]):
        out[:, c] -= slopes @ (coefficients[:, c, None] * z)
    return out if xp is np else out.contiguous()


def _by_coordinate(x: Any, z: Any, coefficients: Any, shape: _Shape) -> Any:
    """The same for any p: -rate q Σ_i a_ic K d^(q-p) |x - z_i|^(p-1) sign(x - z_i), one coordinate at a time."""
    xp = library(x)
    distances = _distances(x, z, shape.norm)
    apart = distances > 0
    safe = xp.where(apart, distances, xp.ones_like(distances))
    pull = -shape.rate * shape.exponent * shape.of_distances(distances) * safe ** (shape.exponent - shape.norm)
    pull = xp.where(apart, pull, xp.zeros_like(pull))
    columns = []
    for k in range(x.shape[1]):
        difference = x[:, k, None] - z[:, k]
        turn = xp.sign(difference)
        if shape.norm != 1:
            turn = turn * xp.abs(difference) ** (shape.norm - 1)
        columns.append((pull * turn) @ coefficients)
    return xp.stack(columns, 2)


def _distances(x: Any, z: Any, norm: float) -> Any:
    """(n, m) ‖x - z‖_p, summed coordinate by coordinate."""
    xp = library(x)
    total = xp.zeros_like(x[:, :1] * z[:, 0])
    for k in range(x.shape[1]):
        total += xp.abs(x[:, k, None] - z[:, k]) ** norm
    return total ** (1 / norm)


def _blocks(X: Any, n_centres: int, block: int | None = None) -> Iterator[tuple[slice, Any]]:
    size = block or max(1, _BYTES // (8 * 4 * max(1, n_centres)))
    for start in range(0, len(X), size):
        rows = slice(start, start + size)
        yield rows, X[rows]


def _columns(coefficients: Any) -> Any:
    return coefficients[:, None] if coefficients.ndim == 1 else coefficients


def _root(metric: Any) -> Any:
    """Symmetric root of a matrix that is positive semi-definite up to rounding."""
    xp = library(metric)
    values, vectors = xp.linalg.eigh(metric)
    return (vectors * xp.sqrt(xp.clip(values, 0, None))) @ vectors.T
