"""DeepLIFT chunk by chunk: one sweep for each, means and spreads over references."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from whycell.errors import UsageError
from whycell.lenses.collecting import Found, Mean, Piece
from whycell.lenses.engine import Rule, Sweep
from whycell.lenses.fallback import PathIntegral
from whycell.lenses.fusing import fused
from whycell.lenses.given import References, tensor_like
from whycell.lenses.heads import Head, head_of, layer_value
from whycell.lenses.inputs import InputScores
from whycell.lenses.pairs import Multiplier, Pairs
from whycell.lenses.rules import rules_of
from whycell.lenses.rules_elementwise import Rescale, RevealCancel
from whycell.lenses.rules_linear import Moving, Scaling
from whycell.lenses.tape import Tape

__all__ = ["attribute"]

RULES = ("rescale", "reveal-cancel", "genomics")
#: A chunk whose sums miss by more than this share of the output is done again, with an account of every step.
TOLERATED = 1e-4
#: Bytes that the values of one chunk may take, and each step of a long tape, and at most.
BUDGET, BYTES_PER_STEP, MOST = 16 << 20, 32 << 10, 128 << 20


def attribute(
    module: nn.Module,
    x: Any,
    reference: Any,
    *,
    target: Any,
    rule: str,
    at: str | None,
    neuron: tuple[str, Any] | None,
    chunk: int | None,
) -> InputScores:
    """See :func:`whycell.lenses.inputs.deeplift`."""
    if rule not in RULES:
        msg = f"rule {rule!r}: wanted one of {', '.join(RULES)}"
        raise UsageError(msg)
    several = isinstance(x, tuple)
    like = next((each for each in module.parameters() if each.is_floating_point()), None)
    inputs = tuple(tensor_like(each, like, exact=at is not None) for each in (x if several else (x,)))
    if len({len(each) for each in inputs}) != 1 or not len(inputs[0]):
        msg = f"inputs of {', '.join(str(len(each)) for each in inputs)} examples: wanted as many in each, at least one"
        raise UsageError(msg)
    references = References(reference, inputs, several=several)
    with torch.no_grad():
        head = _head(module, inputs, target, neuron, given=x)
        plan = _Plan.of(head, rule, None if at is None else layer_value(head.tape, at))
        found = _Work(plan, inputs, references, chunk).done()
    return found.scores(rule, several=several and at is None)


def _head(
    module: nn.Module, inputs: tuple[Tensor, ...], target: Any, neuron: tuple[str, Any] | None, *, given: Any
) -> Head:
    """As ``head_of``; a network that takes tokens says so in a word of its own."""
    try:
        return head_of(module, inputs, target, neuron)
    except RuntimeError as error:
        each = given if isinstance(given, tuple) else (given,)
        if all(torch.as_tensor(x).is_floating_point() for x in each):
            raise
        msg = "x holds whole numbers, which have no parts to add up; explain what they are embedded as, at='its layer'"
        raise UsageError(msg) from error


@dataclass
class _Plan:
    """What does not change from chunk to chunk."""

    head: Head
    rules: dict[int, Rule]
    stops: tuple[int, ...]
    relevant: set[int]
    keep: set[int]
    needs_plus: set[int]
    whole: bool

    @classmethod
    def of(cls, head: Head, rule: str, stop: int | None) -> _Plan:
        stops = head.tape.inputs if stop is None else (stop,)
        tape = fused(head.tape, {head.tape.output, *stops, *_revealed(head.tape, rule)})
        head = Head(tape, head.weights)
        relevant = set(stops)
        for step in tape.steps:
            if not relevant.isdisjoint(step.inputs):
                relevant.update(value for value in step.outputs if value in tape.depends)
        rules = {
            number: found
            for number, found in rules_of(tape, rule).items()
            if not relevant.isdisjoint(tape.steps[number].inputs)
        }
        needs_plus = _needing_parts(tape.steps, rules, tape.depends)
        keep = {*tape.inputs, tape.output, *stops}
        for number, found in rules.items():
            step = tape.steps[number]
            all_values = found.needs_values or needs_plus
            keep.update(value for value in step.inputs if all_values or value not in tape.depends)
            keep.update(value for value in step.outputs if all_values and value is not None)
        return cls(head, rules, stops, relevant, keep, needs_plus, stop is None)

    def budget(self) -> int:
        """Bytes of one chunk: more for many small steps, where calling them is what takes time."""
        return min(max(BUDGET, len(self.head.tape.steps) * BYTES_PER_STEP), MOST)

    def bytes_per_row(self) -> int:
        """Of the values kept, and as much again for multipliers."""
        tape = self.head.tape
        sizes = [math.prod(tape.shapes[value]) // 2 for value in tape.batch if value in self.keep]
        return 8 * max(sum(sizes), 1)


def _revealed(tape: Tape, rule: str) -> set[int]:
    """What RevealCancel writes: a relu that became part of a pool would be rescaled."""
    steps = [tape.steps[number] for number, each in rules_of(tape, rule).items() if isinstance(each, RevealCancel)]
    return {value for step in steps for value in step.outputs if value is not None}


def _needing_parts(steps: list[Any], rules: dict[int, Rule], depends: set[int]) -> set[int]:
    """Values whose positive part a RevealCancel will ask for."""
    needed: set[int] = set()
    for number in sorted(rules, reverse=True):
        step, rule = steps[number], rules[number]
        passes = isinstance(rule, (Moving, Rescale, Scaling)) and not needed.isdisjoint(step.outputs)
        if passes or isinstance(rule, RevealCancel):
            needed.update(value for value in step.inputs if value in depends)
    return needed


class _Work:
    """All chunks."""

    #: Whether contributions should add up, so that those which do not are looked into.
    adds_up = True

    def __init__(self, plan: _Plan, inputs: tuple[Tensor, ...], references: References, chunk: int | None) -> None:
        self.plan, self.inputs, self.references = plan, inputs, references
        self.chunk = chunk if chunk else max(1, plan.budget() // plan.bytes_per_row())
        self.shared: tuple[Any, dict[int, Tensor]] | None = None

    def done(self) -> Found:
        """Every example."""
        found = Found(len(self.inputs[0]))
        for examples in self.examples():
            found.add(examples, self.some(examples))
        return found

    def examples(self) -> Iterator[slice]:
        n, block = len(self.inputs[0]), self.references.block
        for start in range(0, n, block):
            self.references.make(start)
            stop, size = min(start + block, n), max(1, self.chunk // self.references.k)
            yield from (slice(first, min(first + size, stop)) for first in range(start, stop, size))

    def some(self, examples: slice) -> Mean:
        k = self.references.k
        size = min(k, self.chunk)
        mean = Mean()
        for start in range(0, k, size):
            mean.add(self.piece(examples, slice(start, min(start + size, k))))
        return mean

    def piece(self, examples: slice, which: slice) -> Piece:
        """Some examples against some of their references; again with an account of every step if it does not add up."""
        piece = self.swept(examples, which, self.plan.keep, ())
        if self.adds_up and self.plan.whole and piece.gap() > TOLERATED:
            steps = self.plan.head.tape.steps
            everything = {value for step in steps for value in (*step.inputs, *step.outputs) if value is not None}
            audited = {each for each, rule in self.plan.rules.items() if not isinstance(rule, PathIntegral)}
            piece = self.swept(examples, which, everything | self.plan.keep, audited)
            rounding = 1e-2 * max(float(gap.abs().max()) for gap in piece.lost.values())
            piece.lost = {name: gap for name, gap in piece.lost.items() if float(gap.abs().max()) > rounding}
        return piece

    def swept(self, examples: slice, which: slice, keep: set[int], audited: Container[int]) -> Piece:
        """One pass forward and back."""
        plan, tape = self.plan, self.plan.head.tape
        x = [each[examples] for each in self.inputs]
        r = self.references.rows(examples, which)
        n, k = len(x[0]), r[0].shape[1]
        pairs = Pairs(n, k, lean=tape.lean, shared=self.references.shared)
        sweep = Sweep(tape, pairs, plan.rules, keep, plan.relevant, plan.stops, plan.needs_plus, audited)
        if not pairs.lean:
            x = [each.repeat_interleave(k, 0) for each in x]
            r = [each.expand(n, *each.shape[1:]) for each in r]
        self.load(sweep, x, [each.flatten(0, 1) for each in r], which)
        if plan.needs_plus:
            sweep.carry()
        rows = torch.arange(examples.start, examples.stop).repeat_interleave(k)
        seed = plan.head.seed(rows, sweep.shape(tape.output), sweep.xs[tape.output])
        multipliers = sweep.back({tape.output: seed})
        parts = [self.contributions(sweep, value, multipliers.get(value)) for value in plan.stops]
        y, y0 = (plan.head.read(side(tape.output), rows).view(n, k) for side in (sweep.x_of, sweep.r_of))
        return Piece(parts, y, y0, sweep.lost)

    def load(self, sweep: Sweep, x: list[Tensor], r: list[Tensor], which: slice) -> None:
        """Both sides; that of references which all examples share is computed once."""
        of = (self.references.start, which.start, which.stop, frozenset(sweep.keep))
        common = sweep.pairs.lean and sweep.pairs.shared
        known = self.shared[1] if common and self.shared is not None and self.shared[0] == of else None
        sweep.load(x, r, known)
        self.shared = (of, sweep.rs) if common else None

    @staticmethod
    def contributions(sweep: Sweep, value: int, m: Multiplier | None) -> Tensor:
        """(n, k, ...) of one input or layer."""
        pairs, axis = sweep.pairs, sweep.tape.batch[value][0]
        if m is None:
            out = sweep.xs[value].new_zeros(sweep.shape(value))
        elif m.neg is None:
            out = m.pos * sweep.delta(value)
        else:
            plus = sweep.plus_of(value)
            out = m.pos * plus + m.neg * (sweep.delta(value) - plus)
        return out.movedim(axis, 0).unflatten(0, (pairs.n, pairs.k))
