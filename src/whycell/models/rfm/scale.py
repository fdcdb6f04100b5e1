"""One machine for what fits into memory, a tree of them for what does not."""

# n - row, c - output, d - coordinate

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import torch

from whycell.lenses.outer_products import OuterProducts
from whycell.models.rfm.choosing import Seen, agop_of, fit_given
from whycell.models.rfm.geometry import Space
from whycell.models.rfm.iterating import solve_by_blocks
from whycell.models.rfm.learning import Learned, Plan, Trial, learn
from whycell.models.rfm.machine import Machine
from whycell.models.rfm.problem import Problem

__all__ = ["Grown", "Split", "grow"]

#: Pairs times columns that the AGOP of a norm other than 2 may cost; its mean is then over fewer rows.
_SLOW_PAIRS = 1e9
#: Share of the rows on either side of a cut that both sides learn from and answer.
_OVERLAP = 0.05
_DIRECTION_ROWS, _DIRECTION_RIDGE = 1500, 1e-2
#: A split whose larger side keeps more than this share of the rows is none.
_LEAST_PROGRESS = 0.8


@dataclass(frozen=True)
class Split:
    """Where a tree turns: left where the projection is below the cut, right above, both in a band around it.

    Parameters
    ----------
    direction
        (d,) unit vector.
    cut, band
        The median of the projections, and the half-width in which both sides answer.
    left, right
        Positions of the nodes below: of splits from 0 on, of leaves ``-1 - leaf``.
    """

    direction: np.ndarray
    cut: float
    band: float
    left: int
    right: int


@dataclass(frozen=True)
class Grown:
    """Machines and the splits that lead to them.

    Parameters
    ----------
    leaves
        At least one machine.
    splits
        The first is the root; none for one machine.
    held_out
        (n, c) held-out answers of the training rows.
    trials
        All that was tried.
    """

    leaves: tuple[Machine, ...]
    splits: tuple[Split, ...]
    held_out: np.ndarray
    trials: tuple[Trial, ...]

    def answer(self, x: np.ndarray) -> np.ndarray:
        """(n, c) answers for (n, d) rows: of its leaf, or where leaves meet of both in proportion."""
        if not self.splits:
            return self.leaves[0].answer(x)
        share = self.shares(x)
        out = np.zeros((len(x), self.held_out.shape[1]))
        for leaf, machine in enumerate(self.leaves):
            rows = np.flatnonzero(share[:, leaf] > 0)
            if len(rows):
                out[rows] += share[rows, leaf, None] * machine.answer(x[rows])
        return out

    def shares(self, x: np.ndarray) -> np.ndarray:
        """(n, leaves) weight of each leaf in the answer for each row; rows sum to 1."""
        share = np.zeros((len(x), len(self.leaves)))
        waiting = [(0 if self.splits else -1, np.ones(len(x)))]
        while waiting:
            node, weight = waiting.pop()
            if node < 0:
                share[:, -1 - node] += weight
                continue
            split = self.splits[node]
            right = _right_share(x @ split.direction, split.cut, split.band)
            waiting += [(split.left, weight * (1 - right)), (split.right, weight * right)]
        return share

    def agop(self, *, centre: bool) -> np.ndarray:
        """(d, d) AGOP over the training rows, each by its leaf."""
        parts = [machine.outer_products(rows=_some_rows(machine)) for machine in self.leaves]
        total = reduce(OuterProducts.__add__, parts)
        return np.asarray(total.matrix(centre=centre).cpu().numpy(), dtype=np.float64)


def grow(problem: Problem, plan: Plan, *, leaf_size: int, solver: str) -> Grown:
    """One machine, or a tree of them where there are more rows than a leaf may hold.

    Parameters
    ----------
    problem
        Rows and targets.
    plan
        What may be chosen.
    leaf_size
        Most rows of a machine.
    solver
        ``"iterative"`` fits one machine to all rows without their kernel.
    """
    if solver == "iterative" and len(problem) > leaf_size:
        return _by_blocks(problem, plan, leaf_size)
    if len(problem) <= leaf_size or solver == "exact":
        learned = learn(problem, plan)
        held_out = learned.fit.solution.held_out.cpu().double().numpy()
        return Grown((_machine(problem, learned),), (), held_out, learned.trials)
    return _tree(problem, plan, leaf_size)


def _by_blocks(problem: Problem, plan: Plan, leaf_size: int) -> Grown:
    """Metric, bandwidth and ridge from as many rows as a leaf holds; coefficients for all."""
    learned = learn(problem.take(problem.sample(leaf_size)), plan)
    fit = learned.fit
    solution = solve_by_blocks(
        fit.space.seen(problem.rows),
        problem.targets,
        shape=fit.shape,
        bandwidth=fit.bandwidth,
        ridge=fit.solution.ridge,
        weights=problem.weights,
    )
    machine = _machine(problem, replace(learned, fit=replace(fit, solution=solution)))
    return Grown((machine,), (), solution.held_out.cpu().double().numpy(), learned.trials)


def _tree(problem: Problem, plan: Plan, leaf_size: int) -> Grown:
    splits: list[Split] = []
    parts: list[np.ndarray] = []
    _divide(problem, np.arange(len(problem)), leaf_size, splits, parts)
    leaves, trials, answers = [], [], []
    for rows in parts:
        part = problem.take(rows)
        learned = learn(part, plan)
        leaves.append(_machine(part, learned))
        trials += learned.trials
        answers.append(learned.fit.solution.held_out.cpu().double().numpy())
    tree = Grown(tuple(leaves), tuple(splits), np.zeros(tuple(problem.targets.shape)), tuple(trials))
    share = tree.shares(problem.rows.cpu().double().numpy())
    for leaf, (rows, held_out) in enumerate(zip(parts, answers, strict=True)):
        tree.held_out[rows] += share[rows, leaf, None] * held_out
    return tree


def _divide(problem: Problem, rows: np.ndarray, leaf_size: int, splits: list[Split], parts: list[np.ndarray]) -> int:
    """The position of the node that holds these rows; splits and leaves below it are appended."""
    if len(rows) <= leaf_size:
        parts.append(rows)
        return -len(parts)
    part = problem.take(rows)
    direction = _top_direction(part)
    projection = part.rows.cpu().double().numpy() @ direction
    cut, band = _cut(projection)
    here = len(splits)
    splits.append(Split(direction, cut, band, 0, 0))
    share = _right_share(projection, cut, band)
    sides = [rows[share < 1], rows[share > 0]]
    if max(map(len, sides)) > _LEAST_PROGRESS * len(rows):
        # Nothing to divide by along this direction: an even sample of the rows stands for all.
        splits.pop()
        parts.append(rows[part.sample(leaf_size)])
        return -len(parts)
    left, right = (_divide(problem, side, leaf_size, splits, parts) for side in sides)
    splits[here] = replace(splits[here], left=left, right=right)
    return here


def _top_direction(part: Problem) -> np.ndarray:
    """Unit eigenvector of the AGOP of a small machine on an even sample of the rows."""
    sample = part.take(part.sample(_DIRECTION_ROWS))
    seen = Seen.of(sample, Space(None, sample.flags), norm=2.0)
    fit = fit_given(sample, seen, exponent=1.0, relative=1.0, ridge=_DIRECTION_RIDGE)
    return np.asarray(torch.linalg.eigh(agop_of(sample, fit, diagonal=False).double())[1][:, -1].cpu().numpy())


def _cut(projection: np.ndarray) -> tuple[float, float]:
    """Median, and the half-width that holds a share of the rows on either side."""
    low, cut, high = np.quantile(projection, [0.5 - _OVERLAP, 0.5, 0.5 + _OVERLAP])
    return float(cut), float(min(cut - low, high - cut))


def _machine(problem: Problem, learned: Learned) -> Machine:
    fit = learned.fit
    return Machine(
        centres=problem.rows,
        weights=problem.weights,
        coefficients=fit.solution.coefficients,
        intercept=fit.solution.intercept,
        root=fit.space.root,
        shape=fit.shape,
        bandwidth=fit.bandwidth,
    )


def _some_rows(machine: Machine) -> np.ndarray | None:
    m, d = machine.centres.shape
    most = m if machine.shape.norm == 2 else max(256, int(_SLOW_PAIRS / (m * d)))
    return None if most >= m else np.linspace(0, m - 1, most).round().astype(np.int64)


def _right_share(projection: np.ndarray, cut: float, band: float) -> np.ndarray:
    if band <= 0:
        return (projection > cut).astype(np.float64)
    return np.clip(0.5 + (projection - cut) / (2 * band), 0, 1)
