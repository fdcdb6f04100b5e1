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

from whycell.models.rfm.choosing import BANDWIDTHS, RIDGES, Chain, Fit, Seen, fit_best, fit_given, learn_root
from whycell.models.rfm.geometry import Shape, Space
from whycell.models.rfm.problem import Problem

__all__ = ["Learned", "Plan", "Trial", "learn", "precision_for"]

#: A learned metric must be better by this share of the loss, or the simpler machine is kept.
_MARGIN = 0.05
#: A chain ends where a step gains less than this share of the first loss.
_GAIN = 0.01
#: Rows on which kernels, bandwidths and ridges are compared, and rows of a half.
_CHOICE_ROWS, _HALF_ROWS, _HALF_ROWS_SLOW = 300, 700, 200
#: With more rows than this in a half, one direction is enough to judge by.
_BOTH_WAYS = 300
#: Up to this many rows float64 costs little.
_DOUBLE_ROWS = 1000
#: Iterations on all rows that follow a metric from a large half, and the rows that the first of them learn from.
_FURTHER, _EARLY_ROWS = 2, 4000
#: Bandwidth and ridge of a first gradient where no machine without a metric is better than the mean.
_BLIND = (1.0, 1e-3)
#: A loss above this is no better than the mean; of classes it is lower, and the bar is never met.
_CHANCE = 0.9
_FEWEST = 8
#: A chain is left out where what is kept is already better than its start by more than this factor.
_BEATEN = 0.7


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
    search = _Search(problem, plan, [])
    if len(problem) < _FEWEST or not plan.choose:
        return search.as_told()
    starts = search.starts()
    shape = min(starts, key=lambda each: starts[each].loss)
    kept = _Kept(Chain(shape), 0, starts[shape].loss, None)
    bar = kept.loss * (1 - _MARGIN)
    for chain in plan.chains:
        if chain.kind != "none" and plan.iterations and kept.loss > _BEATEN * starts[chain.shape].loss:
            found = search.judged(chain, starts[chain.shape])
            if found.loss < min(bar, kept.loss):
                kept = found
    start = starts[kept.chain.shape]
    return search.run(kept, _schedule(len(problem), kept), start, _setting(start))


@dataclass(frozen=True)
class _Kept:
    """A chain at its best iteration: its judged loss, and the metric that a large half gave."""

    chain: Chain
    iteration: int
    loss: float
    space: Space | None


def _setting(start: Fit) -> tuple[float, float]:
    """Bandwidth and ridge of gradients."""
    return (start.relative, start.solution.ridge) if start.loss < _CHANCE else _BLIND


def _schedule(rows: int, kept: _Kept) -> list[int]:
    """Rows that each iteration learns from: all, or where a large half has led the way, few and then all."""
    if kept.space is None:
        return [rows] * kept.iteration
    early = [_EARLY_ROWS] * kept.iteration if rows > 2 * _EARLY_ROWS else []
    return [*early, *[rows] * (1 if early else _FURTHER)]


@dataclass(frozen=True)
class _Search:
    """What is searched, among what, and what was tried."""

    problem: Problem
    plan: Plan
    trials: list[Trial]

    def starts(self) -> dict[Shape, Fit]:
        """The best machine of each kernel without a metric, on a sample of the rows."""
        sample = self._sample()
        shapes = dict.fromkeys(chain.shape for chain in self.plan.chains)
        seen = {p: Seen.of(sample, Space(None, sample.flags), norm=p) for p in {shape.norm: 0 for shape in shapes}}
        return {shape: self._climb(sample, seen[shape.norm], Chain(shape), 0) for shape in shapes}

    def judged(self, chain: Chain, start: Fit) -> _Kept:
        """A chain at the iteration that is best by rows that did not shape its metric."""
        most = _HALF_ROWS if chain.shape.norm == 2 else _HALF_ROWS_SLOW
        first, second = (self.problem.take(rows).single() for rows in self.problem.halves(most=most))
        small = len(first) <= _BOTH_WAYS
        ways = [(first, second), (second, first)] if small else [(first, second)]
        relative, ridge = _setting(start)
        told = {"exponent": chain.shape.exponent, "bandwidths": (relative,)}
        told["ridges"] = self.plan.ridges if small else (ridge,)
        spaces = [Space(None, self.problem.flags) for _ in ways]
        before = sum(
            fit_best(judge, Seen.of(judge, space, norm=chain.shape.norm), **told).loss
            for (_, judge), space in zip(ways, spaces, strict=True)
        )
        best, last = _Kept(chain, 0, start.loss, None), 1.0
        for iteration in range(1, self.plan.iterations + 1):
            after = 0.0
            for i, (teacher, judge) in enumerate(ways):
                seen = Seen.of(teacher, spaces[i], norm=chain.shape.norm)
                if small:
                    taught = fit_best(teacher, seen, **told)
                else:
                    taught = fit_given(teacher, seen, exponent=chain.shape.exponent, relative=relative, ridge=ridge)
                spaces[i] = learn_root(teacher, taught, chain)
                answered = fit_best(judge, Seen.of(judge, spaces[i], norm=chain.shape.norm), **told)
                self._note(chain, iteration, answered, len(judge), "by the other half")
                after += answered.loss
            ratio = after / max(before, 1e-12)
            if start.loss * ratio < best.loss:
                best = _Kept(chain, iteration, start.loss * ratio, None if small else spaces[0])
            if ratio > last - _GAIN:
                break
            last = ratio
        return best

    def as_told(self) -> Learned:
        """The first chain with all its iterations."""
        chain = self.plan.chains[0]
        few = len(self.problem) < _FEWEST
        times = self.plan.iterations if chain.kind != "none" and not few else 0
        start, setting = None, (self.plan.bandwidths[0], self.plan.ridges[0])
        if self._open and not few:
            start = self.starts()[chain.shape]
            setting = _setting(start)
        return self.run(_Kept(chain, times, float("nan"), None), [len(self.problem)] * times, start, setting)

    def run(self, kept: _Kept, schedule: list[int], start: Fit | None, setting: tuple[float, float]) -> Learned:
        """Learn from all rows, and fit with bandwidth and ridge by leave-one-out."""
        problem, chain = self.problem, kept.chain
        norm, exponent = chain.shape.norm, chain.shape.exponent
        space = kept.space or Space(None, problem.flags)
        if kept.space is not None and kept.space.root is not None:
            space = Space(kept.space.root.to(problem.rows.dtype), problem.flags)
        relative, ridge = setting
        for rows in schedule:
            part = problem if rows >= len(problem) else problem.take(problem.sample(rows))
            seen = Seen.of(part, space, norm=norm)
            space = learn_root(part, fit_given(part, seen, exponent=exponent, relative=relative, ridge=ridge), chain)
        if schedule and self._open:
            sample = self._sample()
            found = self._climb(sample, Seen.of(sample, _single(space), norm=norm), chain, kept.iteration)
            relative, ridge = found.relative, found.solution.ridge
        elif start is not None:
            relative, ridge = start.relative, start.solution.ridge
        seen = Seen.of(problem, space, norm=norm)
        fit = fit_best(problem, seen, exponent=exponent, bandwidths=(relative,), ridges=(ridge,))
        self._note(chain, kept.iteration, fit, len(problem), "held out")
        return Learned(fit, chain, kept.iteration, tuple(self.trials))

    @property
    def _open(self) -> bool:
        return len(self.plan.bandwidths) * len(self.plan.ridges) > 1

    def _sample(self) -> Problem:
        return self.problem.take(self.problem.sample(_CHOICE_ROWS)).single()

    def _climb(self, sample: Problem, seen: Seen, chain: Chain, iteration: int) -> Fit:
        """The best machine under one metric: bandwidths are climbed from the middle of those given."""
        bandwidths, found = self.plan.bandwidths, {}

        def at(i: int) -> float:
            if i not in found:
                told = {"bandwidths": bandwidths[i : i + 1], "ridges": self.plan.ridges}
                found[i] = fit_best(sample, seen, exponent=chain.shape.exponent, **told)
                self._note(chain, iteration, found[i], len(sample), "held out")
            return float(found[i].loss)

        here = (len(bandwidths) - 1) // 2
        while True:
            near = [i for i in (here - 1, here, here + 1) if 0 <= i < len(bandwidths)]
            best = min(near, key=at)
            if best == here:
                return found[here]
            here = best

    def _note(self, chain: Chain, iteration: int, fit: Fit, rows: int, judged: str) -> None:
        self.trials.append(Trial(chain, iteration, fit.relative, fit.solution.ridge, fit.loss, rows, judged))


def _single(space: Space) -> Space:
    return Space(None if space.root is None else space.root.float(), space.flags)


def precision_for(rows: int, name: str) -> torch.dtype:
    """float64 for few rows, where it costs nothing; float32 for many."""
    if name == "auto":
        return torch.float64 if rows <= _DOUBLE_ROWS else torch.float32
    return torch.float64 if name == "double" else torch.float32
