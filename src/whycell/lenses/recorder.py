"""Every elementary operation of a module's run, with its tensors and the layer that it ran in.

Module hooks see modules; they are blind to ``torch.relu(x)``, to ``a * sigmoid(b)`` and to what a module calls twice.
Here the operations themselves are seen, below modules and functions, in-place ones turned into ordinary ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from whycell.errors import UsageError
from whycell.lenses.decompositions import decomposed

__all__ = ["Recording", "as_list", "recording", "undisturbed"]

aten = torch.ops.aten


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

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch loads its compiler, which takes seconds, to tell it to keep out

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
class Recording:
    steps: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any, str]]
    inputs: tuple[Tensor, ...]
    output: Tensor
    marks: list[tuple[str, Tensor]]
    renamed: dict[int, tuple[Tensor, Tensor]]


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Fused kernels off, evaluation mode on, both as before afterwards."""
    modes = [(each, each.training) for each in module.modules()]
    buffers = [(each, each._version, each.clone()) for each in module.buffers()]
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
        for each, version, before in buffers:
            if each._version != version:
                with torch.no_grad():
                    each.copy_(before)


def recording(function: Callable[..., Any], module: nn.Module, inputs: tuple[Tensor, ...]) -> Recording:
    """Run ``function`` on copies of ``inputs`` and write down what it does; in-place operations made ordinary."""
    inputs = tuple(each.detach().clone() for each in inputs)
    for functional in (False, True):
        watch = _Layers(module)
        recorder = _Recorder(watch, functional=functional)
        watch.recorder = recorder
        call = torch.func.functionalize(function, remove="mutations") if functional else function
        kept: list[Tensor] = []
        with undisturbed(module), watch.watched(), recorder:
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
    return Recording(recorder.steps, inputs, kept[0], recorder.marks, recorder.renamed)


def as_list(out: Any) -> list[Any]:
    """The outputs of an operation."""
    return list(out) if isinstance(out, (tuple, list)) else [out]
