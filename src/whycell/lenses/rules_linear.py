"""Rules of linear operations: those that move values about, those that scale them, and those with weights.

All are exact. Positive and negative parts (Δ⁺, Δ⁻) pass through the first unchanged, change places under a negative
scale, and are made anew by weights: Δy⁺ is the sum of the terms w_i Δx_i that are above zero.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from whycell.lenses.engine import Node, Rule
from whycell.lenses.fusing import convolve, overlap
from whycell.lenses.pairs import Multiplier, sum_to

__all__ = ["Convolution", "Moving", "Product", "Reshaping", "Scaling", "Weighted", "moving_back"]

aten = torch.ops.aten


def moving_back(node: Node, m: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Transpose of any linear operation, by letting torch differentiate it at zero."""
    sample = next(each for each in m if each is not None)
    active = node.active
    tensors: list[Any] = [None if i in active else node.x(i) for i in range(len(node.step.inputs))]
    with torch.enable_grad():
        leaves = [sample.new_zeros(()).expand(node.shape(i)).detach().requires_grad_() for i in active]
        for i, leaf in zip(active, leaves, strict=True):
            tensors[i] = leaf
        out = node.run(tensors)
    outs = out if isinstance(out, (tuple, list)) else (out,)
    kept = [(y, each) for y, each in zip(outs, m, strict=True) if each is not None]
    grads = torch.autograd.grad([y for y, _ in kept], leaves, [each for _, each in kept], allow_unused=True)
    back: list[Tensor | None] = [None] * len(node.step.inputs)
    for i, grad in zip(active, grads, strict=True):
        back[i] = grad
    return back


class Moving(Rule):
    """Views, joins, slices, sums, means, padding, average pooling: nothing changes its sign."""

    needs_values = False

    def back(self, node: Node, m: Sequence[Tensor | None]) -> list[Tensor | None]:
        return moving_back(node, m)

    def carries(self, node: Node) -> bool:
        return len(node.step.outputs) == 1

    def plus(self, node: Node) -> Tensor:
        parts = [node.plus(i) if node.depends(i) else torch.zeros_like(node.x(i)) for i in range(len(node.step.inputs))]
        zero = node.run([torch.zeros_like(each) for each in parts])  # what padding with a number adds
        return node.run(parts) - zero

    def back_parts(self, node: Node, m: Multiplier) -> list[Multiplier | None]:
        pos = self.back(node, [m.pos])
        if m.neg is None:
            return [None if each is None else Multiplier(each) for each in pos]
        neg = self.back(node, [m.neg])
        return [None if a is None else Multiplier(a, b) for a, b in zip(pos, neg, strict=True)]


class Reshaping(Moving):
    """Views that only change the shape."""

    def back(self, node: Node, m: Sequence[Tensor | None]) -> list[Tensor | None]:
        return [None if m[0] is None else m[0].reshape(node.shape(0))]


class Scaling(Rule):
    """Sum of inputs, each times a number or a tensor that does not depend on the input."""

    needs_values = False

    @abstractmethod
    def factors(self, node: Node) -> list[Any]:
        """One for each input; None where the input does not change."""

    def back(self, node: Node, m: Sequence[Tensor | None]) -> list[Tensor | None]:
        (out,) = m[:1]
        return [
            None if c is None else sum_to(out if _is_one(c) else out * c, node.shape(i))
            for i, c in enumerate(self.factors(node))
        ]

    def carries(self, node: Node) -> bool:
        return True

    def plus(self, node: Node) -> Tensor:
        shape = node.sweep.shape(node.out(0))
        total: Any = 0
        for i, c in enumerate(self.factors(node)):
            if c is not None:
                pos = node.plus(i)
                total = total + pos * _above(c) + (node.delta(i) - pos) * _below(c)
        return total.expand(shape)

    def back_parts(self, node: Node, m: Multiplier) -> list[Multiplier | None]:
        if m.neg is None:
            return [None if each is None else Multiplier(each) for each in self.back(node, [m.pos])]
        out: list[Multiplier | None] = []
        for i, c in enumerate(self.factors(node)):
            if c is None:
                out.append(None)
                continue
            up, down, shape = _above(c), _below(c), node.shape(i)
            out.append(Multiplier(sum_to(up * m.pos + down * m.neg, shape), sum_to(up * m.neg + down * m.pos, shape)))
        return out


def _is_one(c: Any) -> bool:
    return not isinstance(c, Tensor) and c == 1


def _above(c: Any) -> Any:
    return c.clamp(min=0) if isinstance(c, Tensor) else max(c, 0)


def _below(c: Any) -> Any:
    return c.clamp(max=0) if isinstance(c, Tensor) else min(c, 0)


class Weighted(Rule):
    """Linear in one input, with weights that do not change."""

    needs_values = False

    @abstractmethod
    def weights(self, node: Node) -> Tensor:
        """The weights, as they are."""

    @abstractmethod
    def apply(self, node: Node, x: Tensor, w: Tensor) -> Tensor:
        """The operation without its constant term."""

    @abstractmethod
    def transpose(self, node: Node, m: Tensor, w: Tensor) -> Tensor:
        """Its transpose."""

    def changing(self, node: Node) -> int:
        """Which input changes."""
        return node.active[0]

    def back(self, node: Node, m: Sequence[Tensor | None]) -> list[Tensor | None]:
        out: list[Tensor | None] = [None] * len(node.step.inputs)
        if m[0] is not None:
            out[self.changing(node)] = self.transpose(node, m[0], self.weights(node))
        return out

    def carries(self, node: Node) -> bool:
        return True

    def plus(self, node: Node) -> Tensor:
        delta, w = node.delta(self.changing(node)), self.weights(node)
        return self.apply(node, delta.clamp(min=0), w.clamp(min=0)) + self.apply(
            node, delta.clamp(max=0), w.clamp(max=0)
        )

    def back_parts(self, node: Node, m: Multiplier) -> list[Multiplier | None]:
        if m.neg is None:
            return [None if each is None else Multiplier(each) for each in self.back(node, [m.pos])]
        i, w = self.changing(node), self.weights(node)
        up, down, delta = w.clamp(min=0), w.clamp(max=0), node.delta(i)
        rise = self.transpose(node, m.pos, up) + self.transpose(node, m.neg, down)
        fall = self.transpose(node, m.pos, down) + self.transpose(node, m.neg, up)
        out: list[Multiplier | None] = [None] * len(node.step.inputs)
        out[i] = Multiplier(torch.where(delta > 0, rise, torch.where(delta < 0, fall, (rise + fall) / 2)))
        return out


class Convolution(Weighted):
    """Convolution or transposed convolution of any number of axes; a bias is no difference."""

    def weights(self, node: Node) -> Tensor:
        return node.x(1)

    def changing(self, node: Node) -> int:
        return 0

    def apply(self, node: Node, x: Tensor, w: Tensor) -> Tensor:
        return convolve(x, w, None, *self.settings(node))

    def transpose(self, node: Node, m: Tensor, w: Tensor) -> Tensor:
        settings, shape = self.settings(node), node.shape(0)
        summed = overlap(m, w, settings, shape[-1])
        if summed is not None:
            return summed
        stride, padding, dilation, transposed, _, groups = settings
        if transposed:
            plain = [stride, padding, dilation, False, [0] * len(stride), groups]
            return convolve(m, w, None, *plain)
        full = [
            (places - 1) * s - 2 * p + d * (taps - 1) + 1
            for places, s, p, d, taps in zip(m.shape[2:], stride, padding, dilation, w.shape[2:], strict=True)
        ]
        more = [size - reach for size, reach in zip(shape[2:], full, strict=True)]
        upside_down = [stride, padding, dilation, True, more, groups]
        return convolve(m, w, None, *upside_down)

    @staticmethod
    def settings(node: Node) -> list[Any]:
        """Stride, padding, dilation, transposed, output padding, groups."""
        return list(node.arguments()[0][3:])


class Product(Weighted):
    """``mm`` and ``bmm``: with weights on one side linear; of two activations ½ (A + A⁰) ΔB + ½ ΔA (B + B⁰), exact."""

    needs_values = True

    def weights(self, node: Node) -> Tensor:
        return node.x(1 - self.changing(node))

    def apply(self, node: Node, x: Tensor, w: Tensor) -> Tensor:
        return x @ w if self.changing(node) == 0 else w @ x

    def transpose(self, node: Node, m: Tensor, w: Tensor) -> Tensor:
        return m @ w.mT if self.changing(node) == 0 else w.mT @ m

    def carries(self, node: Node) -> bool:
        return len(node.active) == 1

    def back(self, node: Node, m: Sequence[Tensor | None]) -> list[Tensor | None]:
        if len(node.active) == 1 or m[0] is None:
            return super().back(node, m)
        a, b = (node.x(0) + node.r(0)) / 2, (node.x(1) + node.r(1)) / 2
        return [m[0] @ b.mT, a.mT @ m[0]]

    def back_parts(self, node: Node, m: Multiplier) -> list[Multiplier | None]:
        if len(node.active) == 1:
            return super().back_parts(node, m)
        return Rule.back_parts(self, node, m)
