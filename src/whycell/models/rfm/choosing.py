"""Bandwidth and ridge by exact leave-one-out, and the metric that is learned from the machine that they give."""

# n - row, c - output, d - coordinate, r - direction of the metric

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from whycell.models.rfm.geometry import (
    Shape,
    Space,
    distances_among,
    gradient_products,
    kernel_of,
    typical_distance,
)
from whycell.models.rfm.problem import Problem, judge
from whycell.models.rfm.solving import Solution, solve_only, solve_path

__all__ = ["BANDWIDTHS", "RIDGES", "Chain", "Fit", "Kind", "Seen", "agop_of", "fit_best", "fit_given", "learn_root"]

Kind = Literal["none", "diagonal", "full"]

#: Bandwidths tried, in units of the median distance between rows.
BANDWIDTHS = (0.5, 1.0, 2.0, 4.0)
#: Ridges tried; the kernel of a row with itself is 1.
RIDGES = (1e-3, 1e-2, 1e-1, 1.0)

#: A gradient of p = 1 costs a pass over all pairs for each column: it is averaged over at most so many rows.
_GRADIENT_ROWS = 1024


@dataclass(frozen=True)
class Chain:
    """How a metric is learned.

    Parameters
    ----------
    shape
        Kernel.
    kind
        ``"none"``, ``"diagonal"`` or ``"full"``.
    power
        The metric is the AGOP to this power.
    floor
        Share of the identity that is mixed into the metric, except where it is of low rank.
    rank
        Directions kept of a full metric; all where ``None``.
    centre
        Whether gradients are centred.
    """

    shape: Shape
    kind: Kind = "none"
    power: float = 0.7
    floor: float = 0.003
    rank: int | None = None
    centre: bool = False


@dataclass(frozen=True)
class Fit:
    """A machine under one metric, with what its gradient needs.

    Parameters
    ----------
    space
        Root of the metric.
    shape
        Kernel.
    relative, bandwidth
        Bandwidth in units of the median distance, and as a length.
    solution
        Coefficients and held-out answers.
    loss
        See :func:`whycell.models.rfm.problem.judge`.
    distances, kernel
        (n, n) of the rows.
    """

    space: Space
    shape: Shape
    relative: float
    bandwidth: float
    solution: Solution
    loss: float
    distances: torch.Tensor
    kernel: torch.Tensor


@dataclass(frozen=True)
class Seen:
    """Rows under one metric: distances to each other, and their median."""

    space: Space
    norm: float
    distances: torch.Tensor
    middle: float

    @classmethod
    def of(cls, problem: Problem, space: Space, *, norm: float) -> Seen:
        """Measure.

        Parameters
        ----------
        problem
            Rows.
        space, norm
            Metric, and p of the distance.
        """
        distances = distances_among(space.seen(problem.rows), norm=norm, flags=_flags(space, problem))
        return cls(space, norm, distances, typical_distance(distances))


def fit_best(
    problem: Problem,
    seen: Seen,
    *,
    exponent: float,
    bandwidths: Sequence[float] = BANDWIDTHS,
    ridges: Sequence[float] = RIDGES,
) -> Fit:
    """The machine whose held-out answers are best among some bandwidths and ridges.

    Parameters
    ----------
    problem
        Rows and targets.
    seen
        Their distances.
    exponent
        q of the kernel.
    bandwidths
        In units of the median distance.
    ridges
        Noise variances of a row of weight 1.
    """
    found = []
    for relative in bandwidths:
        kernel = kernel_of(seen.distances, bandwidth=relative * seen.middle, exponent=exponent)
        path = solve_path(kernel, problem.targets, ridges=ridges, weights=problem.weights, groups=problem.groups)
        losses = judge(problem, torch.stack([solution.held_out for solution in path])).tolist()
        losses = [loss if loss == loss else float("inf") for loss in losses]
        best = min(range(len(path)), key=losses.__getitem__)
        found.append(_fit(seen, exponent, relative, path[best], losses[best], kernel))
    return min(found, key=lambda fit: fit.loss)


def fit_given(problem: Problem, seen: Seen, *, exponent: float, relative: float, ridge: float) -> Fit:
    """The machine of one bandwidth and ridge, without its held-out answers: half the work, enough for a gradient.

    Parameters
    ----------
    problem, seen, exponent
        As in :func:`fit_best`.
    relative
        Bandwidth in units of the median distance.
    ridge
        Noise variance of a row of weight 1.
    """
    kernel = kernel_of(seen.distances, bandwidth=relative * seen.middle, exponent=exponent)
    solution = solve_only(kernel, problem.targets, ridge=ridge, weights=problem.weights)
    return _fit(seen, exponent, relative, solution, float("nan"), kernel)


def _fit(seen: Seen, exponent: float, relative: float, solution: Solution, loss: float, kernel: torch.Tensor) -> Fit:
    shape, length = Shape(seen.norm, exponent), relative * seen.middle
    return Fit(seen.space, shape, relative, length, solution, loss, seen.distances, kernel)


def learn_root(problem: Problem, fit: Fit, chain: Chain) -> Space:
    """The metric that the AGOP of a machine gives, as its root, scaled to a largest eigenvalue of 1.

    Parameters
    ----------
    problem
        What the machine was fitted to.
    fit
        The machine.
    chain
        Kind and power of the metric.
    """
    agop = agop_of(problem, fit, diagonal=chain.kind == "diagonal", centre=chain.centre)
    if agop.ndim == 1:
        largest = agop.max()
        return fit.space if not largest > 0 else Space(_floored(agop / largest, chain).sqrt(), problem.flags)
    values, vectors = torch.linalg.eigh(agop)
    largest = values[-1]
    if not largest > 0:
        return fit.space
    if chain.rank is not None:
        values, vectors = values[-chain.rank :], vectors[:, -chain.rank :]
    return Space(vectors * _floored(values.clamp_min(0) / largest, chain).sqrt())


def _floored(values: torch.Tensor, chain: Chain) -> torch.Tensor:
    """Eigenvalues in 0..1 to the power, and a little of the identity: what an iteration lost, a later one can find."""
    floor = 0.0 if chain.rank is not None else chain.floor
    return (1 - floor) * values**chain.power + floor


def agop_of(problem: Problem, fit: Fit, *, diagonal: bool, centre: bool = False) -> torch.Tensor:
    """(d, d) or (d,) AGOP of a machine by the coordinates, over its own rows.

    Parameters
    ----------
    problem, fit
        The rows, and the machine fitted to them.
    diagonal
        Only the diagonal.
    centre
        Take the mean gradient of each output off.
    """
    z = fit.space.seen(problem.rows)
    root = fit.space.root
    mixes = root is not None and root.ndim == 2
    rows = len(problem) if fit.shape.norm == 2 else min(len(problem), _GRADIENT_ROWS)
    pick = torch.linspace(0, len(problem) - 1, rows).round().long().to(z.device)
    order = torch.cat([pick, _others(len(problem), pick)])
    whole = rows == len(problem)
    inner = gradient_products(
        z if whole else z[order],
        fit.distances if whole else fit.distances[pick][:, order],
        fit.kernel if whole else fit.kernel[pick][:, order],
        fit.solution.coefficients if whole else fit.solution.coefficients[order],
        shape=fit.shape,
        bandwidth=fit.bandwidth,
        weights=problem.weights if whole else problem.weights[pick],
        diagonal=diagonal and not mixes,
        centre=centre,
        flags=_flags(fit.space, problem),
    )
    if root is None:
        return inner
    if mixes:
        outer = root @ inner @ root.T
        return outer.diagonal().clone() if diagonal else outer
    return inner * root.square() if diagonal else inner * root[:, None] * root


def _others(n: int, pick: torch.Tensor) -> torch.Tensor:
    left = torch.ones(n, dtype=torch.bool, device=pick.device)
    left[pick] = False
    return torch.nonzero(left)[:, 0]


def _flags(space: Space, problem: Problem) -> torch.Tensor | None:
    mixed = space.root is not None and space.root.ndim == 2
    return None if mixed else problem.flags
