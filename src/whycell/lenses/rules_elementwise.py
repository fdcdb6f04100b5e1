"""Rules of functions of one number: Rescale and RevealCancel; and of products and quotients of two activations.

Rescale: both parts get the slope Δy / Δx. RevealCancel: the positive part gets what it changes, averaged over being
added first and last, and so does the negative part (the Shapley value of the two):

    Δy⁺ = ½ [f(x⁰ + Δx⁺) - f(x⁰)] + ½ [f(x⁰ + Δx⁻ + Δx⁺) - f(x⁰ + Δx⁻)],   m⁺ = Δy⁺ / Δx⁺,   Δy⁻ and m⁻ likewise
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from whycell.lenses.engine import Node, Rule
from whycell.lenses.fusing import relu_multipliers
from whycell.lenses.pairs import Multiplier, sum_to
from whycell.lenses.rules_linear import Scaling
from whycell.lenses.slopes import SLOPES, quotient

__all__ = ["Add", "BatchNorm", "Divide", "Multiply", "Rescale", "RevealCancel", "Subtract"]


class Rescale(Rule):
    """A function of one number, element by element."""

    def slope(self, node: Node) -> tuple[Tensor, int]:
        """Δy / Δx with examples and references as two axes, and the axis of the examples."""
        (i,) = node.active
        sweep, value, out = node.sweep, node.value(i), node.out(0)
        axis = sweep.tape.batch[value][0]
        a, b = sweep.pairs.split(_real(sweep.xs[value]), _real(sweep.rs[value]), axis)
        ya, yb = sweep.pairs.split(_real(sweep.xs[out]), _real(sweep.rs[out]), axis)
        formula = SLOPES.get(node.step.kind)
        if formula is not None:
            return formula(a, b, ya, yb), axis
        return quotient((a, b, ya, yb), name=node.step.kind, function=lambda x: self.function(node, x)), axis

    @staticmethod
    def function(node: Node, x: Tensor) -> Tensor:
        """The function itself, of numbers in any shape."""
        (i,) = node.active
        tensors = [None if j == i else node.x(j) for j in range(len(node.step.inputs))]
        tensors[i] = x
        out = node.run(tensors)
        return out[0] if isinstance(out, tuple) else out

    def back(self, node: Node, m: Sequence[Tensor | None]) -> list[Tensor | None]:
        back: list[Tensor | None] = [None] * len(node.step.inputs)
        if m[0] is None:
            return back
        compiled = self.compiled(node, m[0])
        if compiled is not None:
            back[node.active[0]] = compiled
        else:
            slope, axis = self.slope(node)
            pairs = node.sweep.pairs
            back[node.active[0]] = pairs.join(pairs.split_m(m[0], axis) * slope, axis)
        return back

    @staticmethod
    def compiled(node: Node, m: Tensor) -> Tensor | None:
        """Relu in one loop, where examples are the first axis."""
        value = node.value(node.active[0])
        if node.step.kind != "relu" or node.sweep.tape.batch[value] != (0, 1):
            return None
        return relu_multipliers(m, node.sweep.xs[value], node.sweep.rs[value])

    def carries(self, node: Node) -> bool:
        return True

    def plus(self, node: Node) -> Tensor:
        slope, axis = self.slope(node)
        pairs = node.sweep.pairs
        return pairs.join(pairs.split_m(node.plus(node.active[0]), axis) * slope, axis)

    def back_parts(self, node: Node, m: Multiplier) -> list[Multiplier | None]:
        out: list[Multiplier | None] = [None] * len(node.step.inputs)
        i = node.active[0]
        pos = self.back(node, [m.pos])[i]
        neg = None if m.neg is None else self.back(node, [m.neg])[i]
        out[i] = None if pos is None else Multiplier(pos, neg)
        return out


class RevealCancel(Rescale):
    """As above, with the two parts apart."""

    def parts(self, node: Node) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Δx⁺, Δx⁻, Δy⁺, Δy⁻."""
        (i,) = node.active
        x, r, y, y0 = node.x(i), node.r(i), node.y(), node.y0()
        up = node.plus(i)
        down = (x - r) - up
        rise, fall = self.function(node, r + up), self.function(node, r + down)
        plus = ((rise - y0) + (y - fall)) / 2
        return up, down, plus, (y - y0) - plus

    def plus(self, node: Node) -> Tensor:
        return self.parts(node)[2]

    def back_parts(self, node: Node, m: Multiplier) -> list[Multiplier | None]:
        up, down, plus, minus = self.parts(node)
        out: list[Multiplier | None] = [None] * len(node.step.inputs)
        out[node.active[0]] = Multiplier(m.pos * _ratio(plus, up), m.negative * _ratio(minus, down))
        return out


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    return torch.where(b == 0, 0, a / torch.where(b == 0, 1, b))


def _real(x: Tensor) -> Tensor:
    return x if x.is_floating_point() else x.to(torch.get_default_dtype())


class Add(Scaling):
    """a + alpha b."""

    sign = 1

    def factors(self, node: Node) -> list[Any]:
        alpha = node.arguments()[1].get("alpha", 1) * self.sign
        # `add(number, tensor)` does not occur: torch puts the tensor first.
        both = [1, alpha]
        return [both[i] if node.depends(i) else None for i in range(len(node.step.inputs))]


class Subtract(Add):
    """a - alpha b."""

    sign = -1


class Multiply(Scaling):
    """a b: scaling where one does not change, else ½ (b + b⁰) and ½ (a + a⁰)."""

    needs_values = True

    def factors(self, node: Node) -> list[Any]:
        if len(node.step.inputs) == 1:
            return [node.argument(1, "other")]
        return [node.x(1 - i) if node.depends(i) else None for i in range(2)]

    def both(self, node: Node) -> bool:
        """Whether it is a product of activations."""
        return len(node.active) == 2

    def carries(self, node: Node) -> bool:
        return not self.both(node)

    def halves(self, node: Node) -> list[Tensor]:
        """What each input's difference is multiplied by."""
        a, b = _real(node.x(0)) + _real(node.r(0)), _real(node.x(1)) + _real(node.r(1))
        return [b / 2, a / 2]

    def back(self, node: Node, m: Sequence[Tensor | None]) -> list[Tensor | None]:
        if not self.both(node) or m[0] is None:
            return super().back(node, m)
        return [sum_to(m[0] * c, node.shape(i)) for i, c in enumerate(self.halves(node))]

    def back_parts(self, node: Node, m: Multiplier) -> list[Multiplier | None]:
        return Rule.back_parts(self, node, m) if self.both(node) else super().back_parts(node, m)


class Divide(Multiply):
    """a / b as the product of a and 1 / b."""

    def factors(self, node: Node) -> list[Any]:
        if len(node.step.inputs) == 1:
            return [1 / node.argument(1, "other")]
        return [1 / node.x(1), None]

    def both(self, node: Node) -> bool:
        return node.depends(len(node.step.inputs) - 1) and len(node.step.inputs) == 2

    def halves(self, node: Node) -> list[Tensor]:
        u, v = 1 / node.x(1), 1 / node.r(1)
        return [(u + v) / 2, -(node.x(0) + node.r(0)) / 2 * u * v]

    def back(self, node: Node, m: Sequence[Tensor | None]) -> list[Tensor | None]:
        out = super().back(node, m)
        return [each if node.depends(i) else None for i, each in enumerate(out)]


class BatchNorm(Scaling):
    """Batch normalisation in evaluation: a scale for each channel."""

    def factors(self, node: Node) -> list[Any]:
        args, _ = node.arguments(list(range(len(node.step.inputs))))
        # Places of the arguments hold the positions of the inputs, so that an absent weight is told from a present one.
        weight, variance, eps = args[1], args[4], args[-1]
        scale = (node.x(variance) + eps).rsqrt()
        if weight is not None:
            scale = scale * node.x(weight)
        ndim = len(node.shape(0))
        return [scale.reshape(1, -1, *[1] * (ndim - 2)), *[None] * (len(node.step.inputs) - 1)]
