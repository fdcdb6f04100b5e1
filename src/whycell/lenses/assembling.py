"""Two recordings, of two and of three examples, made one tape that runs for any number.

What differs between the two tells which numbers in the operations' arguments are the size of the batch, and along which
axis of every value the examples lie.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from whycell.errors import UsageError
from whycell.lenses.recorder import Recording, as_list, recording
from whycell.lenses.tape import PerRow, Slot, Step, Tape

__all__ = ["record"]

aten = torch.ops.aten

#: A view asks for a layout in memory that the values need not have when the tape runs again.
_SHAPED = {aten.view.default: aten.reshape.default, aten._unsafe_view.default: aten.reshape.default}

_DECIDES = "{} decides by a number that depends on the input (.item()); write it with torch.where"
_MIXES = "{} mixes the examples of a batch, so that no example has an explanation of its own"
_COUNTS = "the network does other operations for three examples than for two; wanted one that treats each alone"

#: What these make depends on a tensor's shape alone.
_OF_SHAPE = frozenset(
    ["empty_like", "full_like", "new_empty", "new_full", "new_ones", "new_zeros", "ones_like", "zeros_like"]
)

#: Batch sizes of the two recordings.
FEW, MORE = 2, 3


def record(function: Callable[..., Any], module: nn.Module, inputs: tuple[Tensor, ...]) -> Tape:
    """Record ``function`` (of the tensors of ``inputs``) as a tape; ``module`` gives the names of the layers.

    Parameters
    ----------
    function
        What is explained; its first tensor is the output.
    module
        The network that ``function`` calls, left as it was.
    inputs
        Examples along the first axis; at least one.
    """
    few = recording(function, module, tuple(_rows(each, FEW) for each in inputs))
    more = recording(function, module, tuple(_rows(each, MORE) for each in inputs))
    tape = _Assembler(few, more).tape()
    _check(tape, few, more)
    return tape


def _check(tape: Tape, few: Recording, more: Recording) -> None:
    """The tape must give what the network gave, and what an example gets must not depend on the others."""
    values = dict(tape.constants) | dict(zip(tape.inputs, more.inputs, strict=True))
    for step in tape.steps:
        out = step.run([values[value] for value in step.inputs], MORE)
        outs = out if isinstance(out, (tuple, list)) else (out,)
        values.update((v, t) for v, t in zip(step.outputs, outs, strict=True) if v is not None)
    if not _near(values[tape.output], more.output):
        msg = (
            "the network changes its parameters, buffers or constants while it computes, or writes into pieces of a "
            "tensor in a way that cannot be followed; wanted one that does not"
        )
        raise UsageError(msg)
    axis, times = tape.batch.get(tape.output, (0, 0))
    if times == 1 and not _near(more.output.narrow(axis, 0, FEW), few.output):
        raise UsageError(_MIXES.format("the network"))


def _near(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape:
        return False
    a, b = a.double(), b.double()
    finite = b[b.isfinite()]
    size = float(finite.abs().max()) if len(finite) else 1.0
    return torch.allclose(a, b, rtol=1e-3, atol=1e-4 * size, equal_nan=True)


def _rows(x: Tensor, n: int) -> Tensor:
    return x[torch.arange(n, device=x.device) % len(x)]


class _Assembler:
    """Two recordings made one tape: values numbered, batch sizes found, what is constant folded."""

    def __init__(self, few: Recording, more: Recording) -> None:
        if [step[0] for step in few.steps] != [step[0] for step in more.steps]:
            scalars = any(step[0] is aten._local_scalar_dense.default for step in few.steps)
            raise UsageError(_DECIDES.format("the network") if scalars else _COUNTS)
        self.few, self.more = few, more
        self.numbers: dict[int, int] = {}
        self.tensors: list[tuple[Tensor, Tensor]] = []
        self.constants: dict[int, Tensor] = {}
        self.depends: set[int] = set()
        self.changing: set[int] = set()
        self.steps: list[Step] = []

    def number(self, a: Tensor, b: Tensor) -> int:
        if id(a) not in self.numbers:
            self.numbers[id(a)] = len(self.tensors)
            self.tensors.append((a, b))
        return self.numbers[id(a)]

    def tape(self) -> Tape:
        inputs = tuple(self.number(a, b) for a, b in zip(self.few.inputs, self.more.inputs, strict=True))
        self.depends.update(inputs)
        self.changing.update(inputs)
        for number, (a, b) in enumerate(zip(self.few.steps, self.more.steps, strict=True)):
            self.add(a, b)
            if number in self.few.renamed:
                written, new = self.few.renamed[number]
                self.numbers[id(written)] = self.numbers[id(new)]
        output = self.number(self.few.output, self.more.output)
        marks: dict[str, list[int]] = {}
        for (name, a), (_, b) in zip(self.few.marks, self.more.marks, strict=True):
            marks.setdefault(name, []).append(self.number(a, b))
        self.prune([output, *(value for found in marks.values() for value in found)])
        shapes = {value: tuple(a.shape) for value, (a, _) in enumerate(self.tensors)}
        return Tape(self.steps, self.constants, inputs, output, marks, self.depends, self.batch(), shapes)

    def prune(self, wanted: list[int]) -> None:
        """Drop the steps that nothing wanted comes from."""
        live = set(wanted)
        kept = []
        for step in reversed(self.steps):
            if not live.isdisjoint(value for value in step.outputs if value is not None):
                live.update(step.inputs)
                kept.append(step)
        self.steps = kept[::-1]
        live.update(value for step in kept for value in step.outputs if value is not None)
        self.depends &= live
        self.changing &= live
        self.constants = {value: tensor for value, tensor in self.constants.items() if value in live}

    def add(self, a: tuple[Any, ...], b: tuple[Any, ...]) -> None:
        func, args, kwargs, out, layer = a
        leaves_a, spec = tree_flatten((args, kwargs))
        leaves_b, _ = tree_flatten((b[1], b[2]))
        leaves, inputs, places, grows = [], [], [], False
        for place, (one, two) in enumerate(zip(leaves_a, leaves_b, strict=True)):
            if isinstance(one, Tensor):
                value = self.number(one, two)
                if value not in self.changing and value not in self.constants:
                    self.constants[value] = one  # a parameter, or a tensor made outside
                leaves.append(Slot(value))
                inputs.append(value)
                places.append(place)
                continue
            leaf = self.leaf(one, two, func, layer)
            grows |= isinstance(leaf, PerRow)
            leaves.append(leaf)
        self.refuse(func, layer, inputs)
        outs_a, outs_b = as_list(out), as_list(b[3])
        outputs = tuple(
            self.number(x, y) if isinstance(x, Tensor) else None for x, y in zip(outs_a, outs_b, strict=True)
        )
        changes = grows or any(value in self.changing for value in inputs)
        for value, tensor in zip(outputs, outs_a, strict=True):
            if value is None or value in inputs:
                continue
            if changes:
                self.changing.add(value)
            else:
                self.constants[value] = tensor
        if any(value in self.depends for value in inputs) and func.overloadpacket.__name__ not in _OF_SHAPE:
            if any(isinstance(tensor, Tensor) and tensor.is_complex() for tensor in outs_a):
                msg = f"{layer or 'the network'} computes with complex numbers ({func}), which have no rule"
                raise UsageError(msg)
            self.depends.update(value for value in outputs if value is not None)
        if changes:
            func = _SHAPED.get(func, func)
            self.steps.append(Step(func, leaves, spec, tuple(inputs), outputs, layer, tuple(places), grows))

    @staticmethod
    def leaf(one: Any, two: Any, func: Any, layer: str) -> Any:
        if isinstance(one, int) and not isinstance(one, bool) and one != two:
            slope = (two - one) // (MORE - FEW)
            return PerRow(one - FEW * slope, slope)
        if isinstance(one, (bool, float, str)) and one != two and not (one != one and two != two):
            where = layer or "the network"
            msg = f"{func} in {where} depends on the size of the batch: {one} for {FEW}, {two} for {MORE}"
            raise UsageError(msg)
        return one

    def refuse(self, func: Any, layer: str, inputs: list[int]) -> None:
        where = layer or "the network"
        if torch.Tag.nondeterministic_seeded in func.tags:
            msg = f"{where} draws random numbers ({func}); explain what it computes without them, for example the mean"
            raise UsageError(msg)
        if self.counts(func, inputs):
            msg = f"{where} keeps as many numbers as the input has it keep ({func}); write it with torch.where"
            raise UsageError(msg)
        if func is aten._local_scalar_dense.default and any(value in self.depends for value in inputs):
            raise UsageError(_DECIDES.format(where))

    def counts(self, func: Any, inputs: list[int]) -> bool:
        """Whether the input decides how many numbers come out."""
        if torch.Tag.dynamic_output_shape not in func.tags or not any(value in self.depends for value in inputs):
            return False
        masks = (value for value in inputs[1:] if value in self.depends)
        return func is not aten.index.Tensor or any(self.tensors[mask][0].dtype == torch.bool for mask in masks)

    def batch(self) -> dict[int, tuple[int, int]]:
        """Axis of the examples, and how often each example stands along it, of every value that changes."""
        found, read = {}, {value for step in self.steps for value in step.inputs}
        for value in self.changing:
            a, b = self.tensors[value]
            axes = [axis for axis, (p, q) in enumerate(zip(a.shape, b.shape, strict=True)) if p != q]
            if len(axes) == 1:
                found[value] = (axes[0], a.shape[axes[0]] // FEW)
            elif axes or (value in self.depends and value in read):
                self.mixed(value)
        return found

    def mixed(self, value: int) -> None:
        layer = next((step.layer for step in self.steps if value in step.outputs), "")
        msg = (
            f"{layer or 'the network'} mixes the examples of a batch, so that no example has an explanation of its own"
        )
        raise UsageError(msg)
