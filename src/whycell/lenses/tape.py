"""The computation of any module as a list of elementary operations, whatever it was written with.

Module hooks see modules; they are blind to ``torch.relu(x)``, to ``a * sigmoid(b)`` and to what a module calls twice.
Here the operations themselves are recorded, below modules and functions, in-place ones turned into ordinary ones. Two
recordings, of two and of three examples, tell which numbers in the operations' arguments are the size of the batch, so
that the tape can be run again for any number of examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import TreeSpec, tree_flatten, tree_map, tree_unflatten

from whycell.errors import UsageError
from whycell.lenses.decompositions import decomposed

__all__ = ["PerRow", "Slot", "Step", "Tape", "record"]

aten = torch.ops.aten

#: A view asks for a layout in memory that the values need not have when the tape runs again.
_SHAPED = {aten.view.default: aten.reshape.default, aten._unsafe_view.default: aten.reshape.default}

#: Batch sizes of the two recordings.
FEW, MORE = 2, 3


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
        batch = {each: axis for each, axis in self.batch.items() if each in live}
        constants = {each: tensor for each, tensor in self.constants.items() if each in live}
        marks = {name: [each for each in found if each in live] for name, found in self.marks.items()}
        return Tape(kept[::-1], constants, self.inputs, value, marks, self.depends & live, batch, self.shapes)

    def with_steps(self, steps: list[Step]) -> Tape:
        """The same with other steps that make the same values."""
        return replace(self, steps=steps)

    @property
    def lean(self) -> bool:
        """Whether every value keeps examples along one axis of its own, so that input and reference may differ in rows."""
        return all(times == 1 for _, times in self.batch.values())


class _Recorder(TorchDispatchMode):
    def __init__(self, watch: _Layers, *, functional: bool) -> None:
        super().__init__()
        self.functional = functional
        self.renamed: dict[int, tuple[Tensor, Tensor]] = {}
        self.steps: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any, str]] = []
        self.watch = watch
        self.mutates = False
        self.marks: list[tuple[str, Tensor]] = []
        self.marking: str | None = None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.marking is not None:
            self.marks.append((self.marking, args[0]))
            return func(*args, **kwargs)
        plain = decomposed(func, args)
        if plain is not None:
            with self:
                return plain(*args, **kwargs)
        if func.has_kernel_for_dispatch_key(torch._C.DispatchKey.CompositeImplicitAutograd):
            with self:
                return func.decompose(*args, **kwargs)
        if func._schema.is_mutable:
            self.mutates = True
            return self.in_place(func, args, kwargs)
        out = func(*args, **kwargs)
        self.steps.append((func, args, kwargs, out, self.watch.current))
        return out

    def in_place(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """torch's own composites write into their temporaries: recorded as if they made new ones."""
        plain = _out_of_place(func)
        if plain is None or not self.functional:
            return func(*args, **kwargs)
        new = plain(*args, **kwargs)
        self.steps.append((plain, args, kwargs, new, self.watch.current))
        if new.shape != args[0].shape:
            self.keep_shape(args[0])
        out = func(*args, **kwargs)
        self.renamed[len(self.steps) - 1] = (out, new)
        return out

    def keep_shape(self, tensor: Tensor) -> None:
        """A tensor is about to be turned in place: what was recorded of it keeps the shape that it had."""
        old = tensor.detach()

        def swap(value: Any) -> Any:
            return old if value is tensor else value

        self.steps = [
            (func, *(tree_map(swap, part) for part in (args, kwargs, out)), layer)
            for func, args, kwargs, out, layer in self.steps
        ]
        self.renamed = {number: (swap(written), swap(new)) for number, (written, new) in self.renamed.items()}


def _out_of_place(func: Any) -> Any:
    """The operation that gives a new tensor, with the same arguments: ``transpose.int`` for ``transpose_``."""
    packet = getattr(aten, func.overloadpacket.__name__.removesuffix("_"), None)
    wanted = [(each.name, str(each.type)) for each in func._schema.arguments]
    for name in packet.overloads() if packet is not None else ():
        found = getattr(packet, name)
        if [(each.name, str(each.type)) for each in found._schema.arguments] == wanted:
            return found
    return None


class _Layers:
    """Which module is running, by global hooks that are gone afterwards: nothing is hung on the module itself."""

    def __init__(self, module: nn.Module) -> None:
        self.names = {id(each): name for name, each in module.named_modules()}
        self.stack: list[str] = []
        self.recorder: _Recorder | None = None

    @property
    def current(self) -> str:
        return self.stack[-1] if self.stack else ""

    def before(self, module: nn.Module, args: Any) -> None:
        self.stack.append(self.names.get(id(module), self.current))

    def after(self, module: nn.Module, args: Any, output: Any) -> None:
        name = self.stack.pop()
        first = next(iter(_tensors(output)), None)
        if self.recorder is None or first is None or id(module) not in self.names:
            return
        self.recorder.marking = name
        try:
            aten.alias.default(first)
        finally:
            self.recorder.marking = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        handles = [
            nn.modules.module.register_module_forward_pre_hook(self.before),
            nn.modules.module.register_module_forward_hook(self.after),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _tensors(value: Any) -> Iterator[Tensor]:
    leaves, _ = tree_flatten(value)
    return (leaf for leaf in leaves if isinstance(leaf, Tensor))


@dataclass
class _Recording:
    steps: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any, str]]
    inputs: tuple[Tensor, ...]
    output: Tensor
    marks: list[tuple[str, Tensor]]
    renamed: dict[int, tuple[Tensor, Tensor]]


@contextmanager
def _plain_kernels(module: nn.Module) -> Iterator[None]:
    """Fused kernels off, evaluation mode on, both as before afterwards."""
    modes = [(each, each.training) for each in module.modules()]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    for each, _ in modes:
        each.training = False
    try:
        with torch.no_grad(), torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for each, mode in modes:
            each.training = mode


def _once(function: Callable[..., Any], module: nn.Module, inputs: tuple[Tensor, ...]) -> _Recording:
    inputs = tuple(each.detach().clone() for each in inputs)
    for functional in (False, True):
        watch = _Layers(module)
        recorder = _Recorder(watch, functional=functional)
        watch.recorder = recorder
        call = torch.func.functionalize(function, remove="mutations") if functional else function
        kept: list[Tensor] = []
        with _plain_kernels(module), watch.watched(), recorder:
            out = call(*inputs)
            first = next(iter(_tensors(out)), None)
            if first is None:
                msg = f"the network gave {type(out).__name__} and no tensor; give target= as a function that picks one"
                raise UsageError(msg)
            recorder.marking = "output"
            aten.alias.default(first)
            recorder.marking = None
            kept.append(recorder.marks.pop()[1])
        if not recorder.mutates:
            break
    return _Recording(recorder.steps, inputs, kept[0], recorder.marks, recorder.renamed)


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
    few = _once(function, module, tuple(_rows(each, FEW) for each in inputs))
    more = _once(function, module, tuple(_rows(each, MORE) for each in inputs))
    tape = _Assembler(few, more).tape()
    _check(tape, more)
    return tape


def _check(tape: Tape, more: _Recording) -> None:
    """The tape must give what the network gave."""
    values = dict(tape.constants) | dict(zip(tape.inputs, more.inputs, strict=True))
    for step in tape.steps:
        out = step.run([values[value] for value in step.inputs], MORE)
        outs = out if isinstance(out, (tuple, list)) else (out,)
        values.update((v, t) for v, t in zip(step.outputs, outs, strict=True) if v is not None)
    again, first = values[tape.output].double(), more.output.double()
    scale = first[first.isfinite()].abs().max() if first.isfinite().any() else 1
    if again.shape != first.shape or not torch.allclose(
        again, first, rtol=1e-3, atol=1e-4 * float(scale), equal_nan=True
    ):
        msg = "the network writes into its own parameters, buffers or constants while it computes: wanted one that does not"
        raise UsageError(msg)


def _rows(x: Tensor, n: int) -> Tensor:
    return x[torch.arange(n, device=x.device) % len(x)]


class _Assembler:
    """Two recordings made one tape: values numbered, batch sizes found, what is constant folded."""

    def __init__(self, few: _Recording, more: _Recording) -> None:
        if [step[0] for step in few.steps] != [step[0] for step in more.steps]:
            msg = "the network does other operations for three examples than for two; explain it one example at a time"
            raise UsageError(msg)
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
        outs_a, outs_b = _as_list(out), _as_list(b[3])
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
        if any(value in self.depends for value in inputs):
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
            msg = f"{func} in {layer or 'the network'} depends on the size of the batch: {one} for {FEW}, {two} for {MORE}"
            raise UsageError(msg)
        return one

    def refuse(self, func: Any, layer: str, inputs: list[int]) -> None:
        where = layer or "the network"
        if torch.Tag.nondeterministic_seeded in func.tags:
            msg = f"{where} draws random numbers ({func}); explain what it computes without them, for example the mean"
            raise UsageError(msg)
        if func is aten._local_scalar_dense.default and any(value in self.depends for value in inputs):
            msg = f"{where} decides by a number that depends on the input (.item()); write it with torch.where"
            raise UsageError(msg)

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


def _as_list(out: Any) -> list[Any]:
    return list(out) if isinstance(out, (tuple, list)) else [out]
