"""One pass forward over a tape for the inputs, one for the references, and one pass back with multipliers.

No automatic differentiation: every operation has a rule that turns the multipliers of what it wrote into the
multipliers of what it read. Inputs are computed once for all their references, references once for all the inputs that
share them; only multipliers exist for every pair.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from whycell.lenses.pairs import Multiplier, Pairs
from whycell.lenses.tape import Step, Tape

__all__ = ["Node", "Rule", "Sweep"]


class Rule(ABC):
    """How one operation hands multipliers back. A rule that only needs shapes says so, and the values are let go."""

    needs_values = True

    @abstractmethod
    def back(self, node: Node, m: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Multipliers of the inputs from those of the outputs."""

    def carries(self, node: Node) -> bool:
        """Whether positive and negative parts of the input live on in the output (no rule: they are made anew)."""
        return False

    def plus(self, node: Node) -> Tensor:
        """Positive part of the difference of the (only) output; asked only of a rule that ``carries`` it."""
        msg = f"{type(self).__name__} does not carry parts"
        raise TypeError(msg)

    def back_parts(self, node: Node, m: Multiplier) -> list[Multiplier | None]:
        """``back``, for positive and negative parts apart."""
        total = m.total(lambda: node.delta_out(0))
        padded = [total, *[None] * (len(node.step.outputs) - 1)]
        return [None if each is None else Multiplier(each) for each in self.back(node, padded)]


@dataclass
class Node:
    """A step with the values of both sides: what a rule sees."""

    step: Step
    sweep: Sweep

    def value(self, i: int) -> int:
        """Number of the i-th input on the tape."""
        return self.step.inputs[i]

    def depends(self, i: int) -> bool:
        """Whether the i-th tensor among the inputs changes with what is explained."""
        return self.step.inputs[i] in self.sweep.depends

    @property
    def active(self) -> list[int]:
        """The inputs that change."""
        return [i for i in range(len(self.step.inputs)) if self.depends(i)]

    def x(self, i: int) -> Tensor:
        """i-th input on the inputs' side, one row a pair."""
        return self.sweep.x_of(self.step.inputs[i])

    def r(self, i: int) -> Tensor:
        """i-th input on the references' side, one row a pair."""
        return self.sweep.r_of(self.step.inputs[i])

    def y(self, j: int = 0) -> Tensor:
        """j-th output on the inputs' side."""
        return self.sweep.x_of(self.out(j))

    def y0(self, j: int = 0) -> Tensor:
        """j-th output on the references' side."""
        return self.sweep.r_of(self.out(j))

    def out(self, j: int) -> int:
        """Number of the j-th output on the tape."""
        value = self.step.outputs[j]
        if value is None:
            msg = f"{self.step.kind} has no output {j}"
            raise LookupError(msg)
        return value

    def delta(self, i: int) -> Tensor:
        """Difference of the i-th input."""
        return self.sweep.delta(self.step.inputs[i])

    def delta_out(self, j: int) -> Tensor:
        """Difference of the j-th output."""
        return self.sweep.delta(self.out(j))

    def plus(self, i: int) -> Tensor:
        """Positive part of the difference of the i-th input."""
        return self.sweep.plus_of(self.step.inputs[i])

    def shape(self, i: int) -> tuple[int, ...]:
        """Shape of the i-th input with one row a pair."""
        return self.sweep.shape(self.step.inputs[i])

    def arguments(self, tensors: Sequence[Any] | None = None) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments of the operation, with ``tensors`` (or Nones) for its inputs."""
        tensors = [None] * len(self.step.inputs) if tensors is None else tensors
        return self.step.arguments(tensors, self.sweep.pairs.rows)

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """An argument that is no tensor, given by position or by name."""
        args, kwargs = self.arguments()
        if place < len(args):
            return args[place]
        return kwargs.get(name, default)

    def run(self, tensors: Sequence[Any]) -> Any:
        """The operation on other tensors, one row a pair."""
        return self.step.run(tensors, self.sweep.pairs.rows)


@dataclass
class Sweep:
    """Values of both sides for one chunk of pairs, and the way back."""

    tape: Tape
    pairs: Pairs
    rules: dict[int, Rule]
    keep: set[int]
    relevant: set[int]
    stops: tuple[int, ...]
    needs_plus: set[int] = field(default_factory=set)
    audited: Container[int] = ()

    def __post_init__(self) -> None:
        self.depends = self.tape.depends
        self.xs: dict[int, Tensor] = {}
        self.rs: dict[int, Tensor] = {}
        self.pluses: dict[int, Tensor] = {}
        self.lost: dict[int, Tensor] = {}

    def forward(self, inputs: Sequence[Tensor], rows: int) -> dict[int, Tensor]:
        """Values of one side; those that no rule needs are let go as soon as nothing reads them any more."""
        values: dict[int, Tensor] = dict(self.tape.constants)
        values.update(zip(self.tape.inputs, inputs, strict=True))
        for number, step in enumerate(self.tape.steps):
            out = step.run([values[value] for value in step.inputs], rows)
            outs = out if isinstance(out, (tuple, list)) else (out,)
            for value, tensor in zip(step.outputs, outs, strict=True):
                if value is not None:
                    values[value] = tensor
            for value in self.tape.last_reads[number]:
                if value not in self.keep:
                    values.pop(value, None)
        return values

    def load(self, x: Sequence[Tensor], r: Sequence[Tensor], known: dict[int, Tensor] | None = None) -> None:
        """Compute both sides, or the inputs' alone where that of the references is ``known``."""
        self.xs = self.forward(x, self.pairs.x_rows)
        self.rs = self.forward(r, self.pairs.r_rows) if known is None else known

    def x_of(self, value: int) -> Tensor:
        """A value of the inputs' side, one row a pair."""
        axis = self.tape.batch.get(value)
        return self.xs[value] if axis is None else self.pairs.spread_x(self.xs[value], axis[0])

    def r_of(self, value: int) -> Tensor:
        """A value of the references' side, one row a pair."""
        axis = self.tape.batch.get(value)
        return self.rs[value] if axis is None else self.pairs.spread_r(self.rs[value], axis[0])

    def delta(self, value: int) -> Tensor:
        """Input less reference, one row a pair."""
        axis = self.tape.batch[value][0]
        x, r = self.pairs.split(self.xs[value], self.rs[value], axis)
        return self.pairs.join(x - r, axis)

    def plus_of(self, value: int) -> Tensor:
        """Positive part of a difference: as carried, or what is above zero."""
        if value not in self.pluses:
            self.pluses[value] = self.delta(value).clamp(min=0)
        return self.pluses[value]

    def shape(self, value: int) -> tuple[int, ...]:
        """Shape of a value with one row a pair."""
        shape = list(self.tape.shapes[value])
        if value in self.tape.batch:
            axis, times = self.tape.batch[value]
            shape[axis] = times * self.pairs.rows
        return tuple(shape)

    def per_pair(self, terms: Tensor, value: int) -> Tensor:
        """Sum of ``terms`` (of the shape of a value) for each pair."""
        axis, times = self.tape.batch[value]
        if times == 1:
            return terms.movedim(axis, 0).reshape(self.pairs.rows, -1).sum(1)
        return terms.sum().expand(self.pairs.rows) / self.pairs.rows

    def to_pairs(self, share: Tensor, value: int) -> Tensor:
        """A number for each pair, shaped to multiply a value."""
        axis, times = self.tape.batch[value]
        if times != 1:
            return share.mean()
        return share.reshape(-1, *[1] * (len(self.tape.shapes[value]) - axis - 1))

    def audit(self, step: Step, found: dict[int, Multiplier], back: list[Multiplier | None]) -> None:
        """Note what the outputs' contributions are more than the inputs'."""
        gap: Any = 0
        for value in step.outputs:
            if value in found:
                gap = gap + self.contribution(value, found[value])
        for value, m in zip(step.inputs, back, strict=True):
            if m is not None and value in self.relevant:
                gap = gap - self.contribution(value, m)
        self.note(step, gap)

    def contribution(self, value: int, m: Multiplier) -> Tensor:
        """(pairs,) what a value adds to the output."""
        if m.neg is None:
            return self.per_pair(m.pos * self.delta(value), value)
        plus = self.plus_of(value)
        return self.per_pair(m.pos * plus + m.neg * (self.delta(value) - plus), value)

    def note(self, step: Step, gap: Tensor) -> None:
        """Keep what a step could not account for."""
        name = f"{step.layer or 'network'} ({step.kind})"
        self.lost[name] = self.lost.get(name, 0) + gap

    def carry(self) -> None:
        """Positive parts forward, where a rule will ask for them."""
        for number, step in enumerate(self.tape.steps):
            value = step.outputs[0]
            if value not in self.needs_plus or number not in self.rules:
                continue
            node = Node(step, self)
            if self.rules[number].carries(node):
                self.pluses[value] = self.rules[number].plus(node)

    def back(self, seeds: dict[int, Tensor]) -> dict[int, Multiplier]:
        """Multipliers of every value that is still asked for at the end: inputs of the tape and stops."""
        found = {value: Multiplier(seed) for value, seed in seeds.items()}
        for number in range(len(self.tape.steps) - 1, -1, -1):
            step = self.tape.steps[number]
            if number not in self.rules or not any(value in found for value in step.outputs):
                continue
            back = self.step_back(number, step, found)
            if number in self.audited:
                self.audit(step, found, back)
            for value, m in zip(step.inputs, back, strict=True):
                if m is not None and value in self.relevant:
                    found[value] = found[value] + m if value in found else m
            for value in step.outputs:
                if value is not None and value not in self.stops:
                    found.pop(value, None)
        return found

    def step_back(self, number: int, step: Step, found: dict[int, Multiplier]) -> list[Multiplier | None]:
        """Multipliers of the inputs of one step."""
        node, rule = Node(step, self), self.rules[number]
        ms = [None if value is None else found.get(value) for value in step.outputs]
        if self.needs_plus and ms[0] is not None and all(m is None for m in ms[1:]):
            return rule.back_parts(node, ms[0])
        totals = [
            None if m is None else m.total(lambda value=value: self.delta(value))
            for m, value in zip(ms, step.outputs, strict=True)
        ]
        return [None if each is None else Multiplier(each) for each in rule.back(node, totals)]
