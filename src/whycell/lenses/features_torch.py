"""Gradients of a torch module's outputs by its input or by what any of its layers reads, example by example.

Every output is summed over the examples of a block and differentiated once: an example's gradient is its own, for a
module that does not mix examples (that is tested, and one that does goes through one by one). The backward passes of
several outputs are one, by ``torch.vmap``; where it has no rule for some operation, they run one after another.
"""

# n - example, p - position, c - output, d - input

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from whycell.errors import UsageError
from whycell.lenses.asked import undisturbed
from whycell.lenses.outer_products import OuterProducts
from whycell.lenses.patches import SLIDING, filters, outer_of_patches, positions, windows

__all__ = ["Targets", "TorchGradients", "find_layer"]

#: All outputs, one, some, or a function from what the module gives to (n,) or (n, c).
Targets = None | int | Sequence[int] | Callable[[Any], Tensor]
_TOGETHER = 16  # outputs whose backward passes are one


def find_layer(module: nn.Module, name: str) -> nn.Module:
    """The layer of that name.

    Parameters
    ----------
    module
        The network.
    name
        As ``module.named_modules()`` has it.

    Raises
    ------
    UsageError
        There is none.
    """
    layers = dict(module.named_modules())
    if name not in layers:
        known = ", ".join(n for n in layers if n)
        msg = f"The module has no layer {name!r}; it has {known}."
        raise UsageError(msg)
    return layers[name]


@dataclass
class TorchGradients:
    """Gradients of a module, block by block.

    Parameters
    ----------
    module
        Runs in evaluation mode and is left as it was.
    targets
        Which outputs; see :data:`Targets`.
    at
        Layer whose input the gradients are by; the module's own input where ``None``. Of a linear layer with further
        axes every place is a point, of a convolution every patch.
    patches
        Windows of the module's input, in place of the whole input.
    """

    module: nn.Module
    targets: Targets = None
    at: str | None = None
    patches: int | tuple[int, ...] | None = None
    shape: tuple[int, ...] = ()
    how: str = ""
    _layer: nn.Module | None = None
    _mixes: bool | None = None
    _steps: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.at is None:
            return
        if self.patches is not None:
            msg = "Got both at and patches; a layer reads the patches that it reads."
            raise UsageError(msg)
        self._layer = find_layer(self.module, self.at)

    @property
    def through(self) -> bool:
        """Whether gradients are taken at the layer's output and brought to its input by its weights."""
        return isinstance(self._layer, (nn.Linear, *SLIDING))

    def blocks(self, batches: Iterator[Tensor]) -> Iterator[Tensor]:
        """(n, p, c, d) gradients of every batch; by the layer's *output* where :attr:`through`."""
        with undisturbed(self.module):
            for x in batches:
                if self._mixes is None:
                    self._mixes = self._mixes_examples(x)
                yield self._one_by_one(x) if self._mixes else self._block(x)

    def finish(self, sums: OuterProducts) -> OuterProducts:
        """From sums over what ``blocks`` gives to sums over gradients by the inputs."""
        return outer_of_patches(sums, self._layer) if self.through and self._layer is not None else sums

    def _one_by_one(self, x: Tensor) -> Tensor:
        return torch.cat([self._block(row[None]) for row in x])

    def _block(self, x: Tensor) -> Tensor:
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            out, by = self._forward(x)
            found = self._backward(out, by)
        self._tell()
        if self._layer is None:
            (gradient,) = found
            if self.patches is not None:
                cut, self.shape = windows(gradient.transpose(0, 1), self.patches)
                return cut
            self.shape = tuple(gradient.shape[2:])
            return gradient.flatten(2).transpose(0, 1)[:, None]
        if self.through:
            self.shape = filters(self._layer)[1]
            return torch.cat([positions(each, self._layer) for each in found], dim=1)
        self.shape = tuple(found[0].shape[2:])
        return torch.cat([each.flatten(2).transpose(0, 1)[:, None] for each in found], dim=1)

    def _forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Chosen outputs (n, c), and the tensors that they are differentiated by."""
        if self._layer is None:
            if not x.is_floating_point():
                msg = "Inputs are whole numbers, which have no gradient; name a layer by at=."
                raise UsageError(msg)
            x = x.detach().requires_grad_()
            return self._chosen(self.module(x), len(x)), [x]
        self._steps = []
        hook = self._layer.register_forward_hook if self._at_output(x) else self._layer.register_forward_pre_hook
        handle = hook(self._step_out if self._at_output(x) else self._step_in)
        try:
            out = self._chosen(self.module(x), len(x))
        finally:
            handle.remove()
        if not self._steps:
            msg = f"Layer {self.at!r} is not used on the way to the output; name another."
            raise UsageError(msg)
        return out, self._steps

    def _at_output(self, x: Tensor) -> bool:
        """An embedding reads whole numbers: its output stands for its input."""
        return self.through or isinstance(self._layer, (nn.Embedding, nn.EmbeddingBag))

    def _step_in(self, layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        step = torch.zeros_like(args[0], requires_grad=True)
        self._steps.append(step)
        return (args[0] + step, *args[1:])

    def _step_out(self, layer: nn.Module, args: tuple[Any, ...], out: Tensor) -> Tensor:
        step = torch.zeros_like(out, requires_grad=True)
        self._steps.append(step)
        return out + step

    def _chosen(self, out: Any, n: int) -> Tensor:
        if callable(self.targets):
            out = self.targets(out)
        if not isinstance(out, Tensor) or len(out) != n:
            got = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
            msg = f"The module gives {got} for {n} examples: wanted (n, outputs); choose by targets= a function."
            raise UsageError(msg)
        table = out.reshape(n, -1)
        if self.targets is None or callable(self.targets):
            return table
        which = [self.targets] if isinstance(self.targets, int) else list(self.targets)
        if not which or not all(0 <= k < table.shape[1] for k in which):
            msg = f"targets={which}: wanted some of 0 to {table.shape[1] - 1}, the module's outputs."
            raise UsageError(msg)
        return table[:, which]

    def _backward(self, out: Tensor, by: list[Tensor]) -> list[Tensor]:
        """For each of ``by``, (c, *its shape) gradients of the outputs summed over examples."""
        n, c = out.shape
        if out.grad_fn is None:
            return [torch.zeros((c, *each.shape), dtype=each.dtype, device=each.device) for each in by]
        parts = []
        for start in range(0, c, _TOGETHER):
            columns = torch.arange(start, min(start + _TOGETHER, c), device=out.device)
            ones = torch.zeros((len(columns), n, c), dtype=out.dtype, device=out.device)
            ones[torch.arange(len(columns)), :, columns] = 1
            parts.append(_several(out, by, ones, keep=start + _TOGETHER < c))
        return [torch.cat(each).detach() for each in zip(*parts, strict=True)]

    def _mixes_examples(self, x: Tensor) -> bool:
        if len(x) < 2:
            return False
        with torch.no_grad():
            together = self._chosen(self.module(x[:2]), 2)
            try:
                alone = self._chosen(self.module(x[:1]), 1)
            except (RuntimeError, ValueError, UsageError):
                return False
        scale = together.abs().max().clamp(min=1e-12)
        return bool((together[:1] - alone).abs().max() > 1e-3 * scale)

    def _tell(self) -> None:
        where = "input" if self.at is None else f"input of layer {self.at!r}"
        self.how = f"automatic differentiation by the {where}" + (", one example at a time" if self._mixes else "")


def _several(out: Tensor, by: list[Tensor], ones: Tensor, *, keep: bool) -> list[Tensor]:
    """Gradients for several rows of ``ones`` (c, n, outputs): in one vectorised pass where torch can, else in turn."""

    def slope(towards: Tensor, *, batched: bool, retain: bool) -> list[Tensor]:
        found = torch.autograd.grad(out, by, towards, retain_graph=retain, allow_unused=True, is_grads_batched=batched)
        lead = towards.shape[:1] if batched else ()
        return [
            torch.zeros((*lead, *b.shape), dtype=b.dtype, device=b.device) if f is None else f
            for f, b in zip(found, by, strict=True)
        ]

    if len(ones) > 1:
        try:
            return slope(ones, batched=True, retain=True)
        except (RuntimeError, NotImplementedError):
            pass  # an operation that vmap has no rule for: one row at a time gives the same
    rows = [slope(one, batched=False, retain=keep or i + 1 < len(ones)) for i, one in enumerate(ones)]
    return [torch.stack(each) for each in zip(*rows, strict=True)]
