"""The recursion, and how its kernel, metric and length are chosen without a validation set.

Bandwidth and ridge are chosen by exact leave-one-out. A metric, though, was learned from every row, and answers that
are held out under it are too good: on small data they ask for ever more iterations. So a metric is judged by rows that
did not shape it: it is learned on one half of the rows and judged by leave-one-out inside the other, which is exact and
honest, and costs less than one fit. What wins there by a margin is then learned from all rows.
"""

# n - row, c - output, d - coordinate

from __future__ import annotations

from dataclasses import dataclass

import torch

from whycell.models.rfm.choosing import BANDWIDTHS, RIDGES, Chain, Fit, fit_best, fit_given, learn_root
from whycell.models.rfm.geometry import Shape, Space
from whycell.models.rfm.problem import Problem

__all__ = ["Learned", "Plan", "Trial", "learn"]

#: A learned metric must be better by this share of the loss, or the simpler machine is kept.
_MARGIN = 0.05
#: A chain ends where a step gains less than this share of the first loss.
_GAIN = 0.01
#: Rows on which kernels, bandwidths and ridges are compared, and rows of a half.
_CHOICE_ROWS, _HALF_ROWS, _HALF_ROWS_SLOW = 400, 1000, 200
#: With more rows than this in a half, one direction is enough to judge by.
_BOTH_WAYS = 300
#: With more rows than this the last fit takes bandwidth and ridge as chosen on fewer.
_FINE_ROWS = 450
#: Up to this many rows float64 costs little.
_DOUBLE_ROWS = 1000
#: Iterations on all rows that follow a metric from a large half, and the rows that the first of them learn from.
_FURTHER, _EARLY_ROWS = 2, 4000
#: Bandwidth and ridge of a first gradient where no machine without a metric is better than the mean.
_BLIND = (1.0, 1e-3)
#: A loss above this is no better than the mean; of classes it is lower, and the bar is never met.
_CHANCE = 0.9
_FEWEST = 8


@dataclass(frozen=True)
class Plan:
    """What may be chosen among.

    Parameters
    ----------
    chains
        Kernels with their kind of metric.
    bandwidths, ridges
        Values tried; one value is taken as it is.
    iterations
        Most times that the metric is learned.
    choose
        Whether the number of iterations is chosen; all are done where not.
    """

    chains: tuple[Chain, ...]
    bandwidths: tuple[float, ...] = BANDWIDTHS
    ridges: tuple[float, ...] = RIDGES
    iterations: int = 5
    choose: bool = True


@dataclass(frozen=True)
class Trial:
    """One thing tried: a chain, how often its metric was learned, the judged loss and on how many rows."""

    chain: Chain
    iteration: int
    bandwidth: float
    ridge: float
    loss: float
    rows: int
    judged: str


@dataclass(frozen=True)
class Learned:
    """The machine kept, how it was learned, and all that was tried."""

    fit: Fit
    chain: Chain
    iteration: int
    trials: tuple[Trial, ...]


def learn(problem: Problem, plan: Plan) -> Learned:
    """Choose kernel, metric and number of iterations, then learn from all rows.

    Parameters
    ----------
    problem
        Rows and targets.
    plan
        What may be chosen.
    """
    trials: list[Trial] = []
    if len(problem) < _FEWEST or not plan.choose:
        return _as_told(problem, plan, trials)
    sample = problem.take(problem.sample(_CHOICE_ROWS))
    starts = {
        shape: _climb(sample, Space(None, sample.flags), shape, plan, trials)
        for shape in dict.fromkeys(c.shape for c in plan.chains)
    }
    shape = min(starts, key=lambda each: starts[each].loss)
    kept = _Kept(Chain(shape), 0, starts[shape].loss, Space(None, problem.flags))
    bar = kept.loss * (1 - _MARGIN)
    for chain in plan.chains:
        if chain.kind != "none" and plan.iterations:
            found = _judged(problem, chain, starts[chain.shape], plan, trials)
            if found.loss < min(bar, kept.loss):
                kept = found
    start = starts[kept.chain.shape]
    return _run(problem, plan, kept.chain, _schedule(len(problem), kept), kept.space, _setting(start), trials)


def _as_told(problem: Problem, plan: Plan, trials: list[Trial]) -> Learned:
    """The first chain, with all its iterations."""
    chain, space = plan.chains[0], Space(None, problem.flags)
    setting = (plan.bandwidths[0], plan.ridges[0])
    if len(plan.bandwidths) * len(plan.ridges) > 1 and len(problem) >= _FEWEST:
        sample = problem.take(problem.sample(_CHOICE_ROWS))
        setting = _setting(_climb(sample, space, chain.shape, plan, trials))
    times = plan.iterations if chain.kind != "none" and len(problem) >= _FEWEST else 0
    return _run(problem, plan, chain, [len(problem)] * times, space, setting, trials)


@dataclass(frozen=True)
class _Kept:
    """A chain at its best iteration: its judged loss, and the metric that the last half gave."""

    chain: Chain
    iteration: int
    loss: float
    space: Space


def _setting(start: Fit) -> tuple[float, float]:
    """Bandwidth and ridge of gradients."""
    return (start.relative, start.solution.ridge) if start.loss < _CHANCE else _BLIND


def _schedule(rows: int, kept: _Kept) -> list[int]:
    """Rows that each iteration learns from: all, or where a large half has led the way, few and then all."""
    if kept.iteration == 0:
        return []
    if kept.space.root is None:
        return [rows] * kept.iteration
    early = [_EARLY_ROWS] * kept.iteration if rows > 2 * _EARLY_ROWS else []
    return [*early, *[rows] * (1 if early else _FURTHER)]


def _climb(sample: Problem, space: Space, shape: Shape, plan: Plan, trials: list[Trial]) -> Fit:
    """The best machine under one metric: bandwidths are climbed from the middle of those given."""
    found: dict[int, Fit] = {}

    def at(i: int) -> float:
        if i not in found:
            found[i] = fit_best(sample, space, shape, bandwidths=plan.bandwidths[i : i + 1], ridges=plan.ridges)
            trials.append(_trial(Chain(shape), 0, found[i], len(sample), "held out"))
        return found[i].loss

    here = (len(plan.bandwidths) - 1) // 2
    moved = True
    while moved:
        near = [i for i in (here - 1, here, here + 1) if 0 <= i < len(plan.bandwidths)]
        best = min(near, key=at)
        moved, here = best != here, best
    return found[here]


def _judged(problem: Problem, chain: Chain, start: Fit, plan: Plan, trials: list[Trial]) -> _Kept:
    """A chain at the iteration that is best by rows that did not shape its metric."""
    most = _HALF_ROWS if chain.shape.norm == 2 else _HALF_ROWS_SLOW
    first, second = (problem.take(rows) for rows in problem.halves(most=most))
    small = len(first) <= _BOTH_WAYS
    ways = [(first, second), (second, first)] if small else [(first, second)]
    relative, ridge = _setting(start)
    ridges = plan.ridges if small else tuple({ridge, min(10 * ridge, 1.0)})
    spaces = [Space(None, problem.flags) for _ in ways]
    before = sum(
        fit_best(judge, s, chain.shape, bandwidths=(relative,), ridges=ridges).loss
        for (_, judge), s in zip(ways, spaces, strict=True)
    )
    best, last = _Kept(chain, 0, start.loss, Space(None, problem.flags)), 1.0
    for iteration in range(1, plan.iterations + 1):
        after = 0.0
        for i, (teacher, judge) in enumerate(ways):
            if small:
                taught = fit_best(teacher, spaces[i], chain.shape, bandwidths=(relative,), ridges=ridges)
            else:
                taught = fit_given(teacher, spaces[i], chain.shape, relative=relative, ridge=ridge)
            spaces[i] = learn_root(teacher, taught, chain)
            seen = fit_best(judge, spaces[i], chain.shape, bandwidths=(relative,), ridges=ridges)
            trials.append(_trial(chain, iteration, seen, len(judge), "by the other half"))
            after += seen.loss
        ratio = after / max(before, 1e-12)
        if start.loss * ratio < best.loss:
            best = _Kept(chain, iteration, start.loss * ratio, Space(None, problem.flags) if small else spaces[0])
        if ratio > last - _GAIN:
            break
        last = ratio
    return best


def _run(
    problem: Problem,
    plan: Plan,
    chain: Chain,
    schedule: list[int],
    space: Space,
    setting: tuple[float, float],
    trials: list[Trial],
) -> Learned:
    """Learn from all rows, and fit with bandwidth and ridge by leave-one-out."""
    relative, ridge = setting
    for rows in schedule:
        part = problem if rows >= len(problem) else problem.take(problem.sample(rows))
        space = learn_root(part, fit_given(part, space, chain.shape, relative=relative, ridge=ridge), chain)
    if len(problem) <= _FINE_ROWS:
        fit = _climb(problem, space, chain.shape, plan, trials)
    else:
        if len(plan.bandwidths) * len(plan.ridges) > 1:
            found = _climb(problem.take(problem.sample(_CHOICE_ROWS)), space, chain.shape, plan, trials)
            relative, ridge = found.relative, found.solution.ridge
        fit = fit_best(problem, space, chain.shape, bandwidths=(relative,), ridges=(ridge,))
    trials.append(_trial(chain, len(schedule), fit, len(problem), "held out"))
    return Learned(fit, chain, len(schedule), tuple(trials))


def _trial(chain: Chain, iteration: int, fit: Fit, rows: int, judged: str) -> Trial:
    return Trial(chain, iteration, fit.relative, fit.solution.ridge, fit.loss, rows, judged)


def precision_for(rows: int, name: str) -> torch.dtype:
    """float64 for few rows, where it costs nothing; float32 for many."""
    if name == "auto":
        return torch.float64 if rows <= _DOUBLE_ROWS else torch.float32
    return torch.float64 if name == "double" else torch.float32
