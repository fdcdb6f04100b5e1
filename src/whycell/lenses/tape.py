"""The computation of any module as a list of elementary operations, whatever it was written with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_unflatten

__all__ = ["PerRow", "Slot", "Step", "Tape"]


@dataclass(frozen=True)
class Slot:
    """Stands in the arguments of a step where a value of the tape belongs."""

    value: int


@dataclass(frozen=True)
class PerRow:
    """A whole number in the arguments that grows with the batch: ``base + rows * slope``."""

    base: int
    slope: int


@dataclass
class Step:
    """One operation: its arguments as leaves, the values it reads and writes, and the layer that it ran in."""

    func: Callable[..., Any]
    leaves: list[Any]
    spec: TreeSpec
    inputs: tuple[int, ...]
    outputs: tuple[int | None, ...]
    layer: str
    places: tuple[int, ...] = ()
    grows: bool = False

    @property
    def kind(self) -> str:
        """Name of the operation without its overload: ``relu``, ``convolution``."""
        packet = getattr(self.func, "overloadpacket", None)
        return packet.__name__ if packet is not None else self.func.__name__

    def arguments(self, tensors: Sequence[Any], rows: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments with ``tensors`` in their places, for a batch of ``rows``."""
        leaves = list(self.leaves)
        if self.grows:
            leaves = [leaf.base + rows * leaf.slope if isinstance(leaf, PerRow) else leaf for leaf in leaves]
        for place, tensor in zip(self.places, tensors, strict=True):
            leaves[place] = tensor
        args, kwargs = tree_unflatten(leaves, self.spec)
        return args, kwargs

    def run(self, tensors: Sequence[Any], rows: int) -> Any:
        """Do the operation on ``tensors``, one for each of ``inputs``."""
        args, kwargs = self.arguments(tensors, rows)
        return self.func(*args, **kwargs)


@dataclass
class Tape:
    """Steps in order, values that do not depend on the batch, and where inputs, output and layers are."""

    steps: list[Step]
    constants: dict[int, Tensor]
    inputs: tuple[int, ...]
    output: int
    marks: dict[str, list[int]]
    depends: set[int]
    batch: dict[int, tuple[int, int]]
    shapes: dict[int, tuple[int, ...]]

    def __post_init__(self) -> None:
        """Which values nothing reads after a step."""
        last: dict[int, int] = {}
        for number, step in enumerate(self.steps):
            for value in (*step.inputs, *step.outputs):
                if value is not None:
                    last[value] = number
        self.last_reads: list[list[int]] = [[] for _ in self.steps]
        for value, number in last.items():
            if value not in self.constants:
                self.last_reads[number].append(value)

    def until(self, value: int) -> Tape:
        """The tape as far as one value, which becomes its output; nothing else is computed."""
        live, kept = {value, *self.inputs}, []
        for step in reversed(self.steps):
            if not live.isdisjoint(each for each in step.outputs if each is not None):
                live.update(step.inputs)
                kept.append(step)
        # Also what nothing reads: a rule asks for the places of a maximum, which only the pool itself has.
        live.update(each for step in kept for each in step.outputs if each is not None)
        batch = {each: axis for each, axis in self.batch.items() if each in live}
        constants = {each: tensor for each, tensor in self.constants.items() if each in live}
        marks = {name: [each for each in found if each in live] for name, found in self.marks.items()}
        return Tape(kept[::-1], constants, self.inputs, value, marks, self.depends & live, batch, self.shapes)

    def with_steps(self, steps: list[Step]) -> Tape:
        """The same with other steps that make the same values."""
        return replace(self, steps=steps)

    @property
    def lean(self) -> bool:
        """Whether every value has an axis for the examples alone, so that inputs and references may differ in rows."""
        return all(times == 1 for _, times in self.batch.values())
