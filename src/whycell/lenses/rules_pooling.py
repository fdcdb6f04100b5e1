"""Maximum pooling, over windows of any kind: complete, and never larger than the difference it explains.

Of two maxima y and y⁰, the larger one's place carries the difference: if y >= y⁰ it is where x has its maximum (there
Δx >= Δy >= 0), else where the reference has it (there Δx <= Δy < 0). The multiplier Δy / Δx lies between 0 and 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from whycell.lenses.engine import Node, Rule

__all__ = ["MaxAlong", "MaxPool"]


def share(m: Tensor, node: Node, place_x: Tensor, place_r: Tensor, axis: int) -> Tensor:
    """Multipliers of the input, given along the flattened ``axis`` (to the end) where both sides have their maxima."""
    delta = node.delta(0).flatten(axis)
    y, y0 = node.y().flatten(axis), node.y0().flatten(axis)
    place = torch.where(y >= y0, place_x.flatten(axis), place_r.flatten(axis))
    there = delta.gather(-1, place)
    ratio = torch.where(there == 0, 0, (y - y0) / torch.where(there == 0, 1, there))
    return torch.zeros_like(delta).scatter_add_(-1, place, m.flatten(axis) * ratio).reshape(node.shape(0))


class MaxPool(Rule):
    """``max_pool2d`` and its kin, which also tell where they found the maximum, within each channel."""

    axes = 2

    def __init__(self, axes: int) -> None:
        self.axes = axes

    def back(self, node: Node, m: Sequence[Tensor | None]) -> list[Tensor | None]:
        if m[0] is None:
            return [None]
        return [share(m[0], node, node.y(1), node.y0(1), len(node.shape(0)) - self.axes)]


class MaxAlong(Rule):
    """``max`` along one axis."""

    def back(self, node: Node, m: Sequence[Tensor | None]) -> list[Tensor | None]:
        if m[0] is None:
            return [None]
        axis, keep = node.argument(1, "dim"), node.argument(2, "keepdim", False)
        parts = [m[0], node.y(0), node.y0(0), node.y(1), node.y0(1)]
        out, y, y0, place_x, place_r = parts if keep else [each.unsqueeze(axis) for each in parts]
        delta = node.delta(0)
        place = torch.where(y >= y0, place_x, place_r)
        there = delta.gather(axis, place)
        ratio = torch.where(there == 0, 0, (y - y0) / torch.where(there == 0, 1, there))
        return [torch.zeros_like(delta).scatter_add_(axis, place, out * ratio)]
