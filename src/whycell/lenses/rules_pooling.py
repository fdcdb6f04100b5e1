"""Maxima over windows, axes and pairs: complete, and no multiplier beyond 0 and 1.

Of two maxima y and y⁰, the larger one's place carries the difference: if y >= y⁰ it is where x has its maximum (there
Δx >= Δy >= 0), else where the reference has it (there Δx <= Δy < 0). The multiplier there is Δy / Δx. A minimum is the
maximum of what is negated.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from whycell.lenses.engine import Node, Rule
from whycell.lenses.pairs import sum_to

__all__ = ["Extreme", "ExtremeOfTwo", "MaxPool"]


def _slope(rise: Tensor, there: Tensor) -> Tensor:
    return torch.where(there == 0, 0, rise / torch.where(there == 0, 1, there))


class MaxPool(Rule):
    """``max_pool2d`` and its kin, which also tell where they found the maximum within each channel."""

    def __init__(self, axes: int) -> None:
        self.axes = axes

    def back(self, node: Node, m: Sequence[Tensor | None]) -> list[Tensor | None]:
        if m[0] is None:
            return [None]
        axis = len(node.shape(0)) - self.axes
        delta = node.delta(0).flatten(axis)
        y, y0 = node.y().flatten(axis), node.y0().flatten(axis)
        place = torch.where(y >= y0, node.y(1).flatten(axis), node.y0(1).flatten(axis))
        share = m[0].flatten(axis) * _slope(y - y0, delta.gather(-1, place))
        return [torch.zeros_like(delta).scatter_add_(-1, place, share).reshape(node.shape(0))]


class Extreme(Rule):
    """``max``, ``min``, ``amax`` and ``amin`` along axes."""

    def __init__(self, sign: int, dim: int | None = 1) -> None:
        self.sign, self.default = sign, dim

    def back(self, node: Node, m: Sequence[Tensor | None]) -> list[Tensor | None]:
        if m[0] is None:
            return [None]
        ndim = len(node.shape(0))
        dim = node.argument(1, "dim", [])
        axes = sorted(each % ndim for each in ([dim] if isinstance(dim, int) else dim)) or list(range(1, ndim))
        parts = [m[0], node.y(), node.y0()]
        if parts[0].ndim < ndim:
            for axis in axes:
                parts = [each.unsqueeze(axis) for each in parts]
        last = range(-len(axes), 0)
        out, y, y0 = (each.movedim(axes, list(last)).flatten(-len(axes)) for each in parts)
        x, r = (each.movedim(axes, list(last)) for each in (node.x(0), node.r(0)))
        shape = x.shape
        x, r = x.flatten(-len(axes)), r.flatten(-len(axes))
        place = torch.where(
            self.sign * (y - y0) >= 0,
            (self.sign * x).argmax(-1, keepdim=True),
            (self.sign * r).argmax(-1, keepdim=True),
        )
        delta = x - r
        share = out * _slope(y - y0, delta.gather(-1, place))
        return [torch.zeros_like(delta).scatter_add_(-1, place, share).reshape(shape).movedim(list(last), axes)]


class ExtremeOfTwo(Rule):
    """``maximum`` and ``minimum`` of two tensors."""

    def __init__(self, sign: int) -> None:
        self.sign = sign

    def back(self, node: Node, m: Sequence[Tensor | None]) -> list[Tensor | None]:
        if m[0] is None:
            return [None, None]
        y, y0 = node.y(), node.y0()
        a, a0, b, b0 = node.x(0), node.r(0), node.x(1), node.r(1)
        up = self.sign * (y - y0) >= 0
        first = torch.where(up, self.sign * (a - b) >= 0, self.sign * (a0 - b0) >= 0)
        parts = [torch.where(first, _slope(y - y0, a - a0), 0), torch.where(first, 0, _slope(y - y0, b - b0))]
        return [sum_to(m[0] * part, node.shape(i)) if node.depends(i) else None for i, part in enumerate(parts)]
