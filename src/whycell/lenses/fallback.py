"""What to do with an operation that has no rule: the average gradient along the straight line, made to add up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from whycell.lenses.engine import Node, Rule

__all__ = ["PathIntegral"]

#: Points of the Gauss-Legendre quadrature.
POINTS = 16


class PathIntegral(Rule):
    """Gradients at points between reference and input, of any operation that torch can differentiate.

    Where the quadrature does not close the sum (kinks, steps), what is missing is spread over the inputs in proportion
    to the squares of their differences, and noted under the layer's name.
    """

    def back(self, node: Node, m: Sequence[Tensor | None]) -> list[Tensor | None]:
        active = [i for i in node.active if node.x(i).is_floating_point()]
        ends = [(node.r(i), node.x(i)) for i in active]
        back = self.integral(node, active, ends, m) if active else []
        self.close(node, active, [x - r for r, x in ends], back, m)
        out: list[Tensor | None] = [None] * len(node.step.inputs)
        for i, each in zip(active, back, strict=True):
            out[i] = each
        return out

    @staticmethod
    def integral(
        node: Node, active: list[int], ends: list[tuple[Tensor, Tensor]], m: Sequence[Tensor | None]
    ) -> list[Tensor]:
        points, weights = np.polynomial.legendre.leggauss(POINTS)
        total = [torch.zeros_like(x) for _, x in ends]
        tensors: list[Any] = [node.x(i) for i in range(len(node.step.inputs))]
        for point, weight in zip((points + 1) / 2, weights / 2, strict=True):
            with torch.enable_grad():
                leaves = [(r + float(point) * (x - r)).requires_grad_() for r, x in ends]
                for i, leaf in zip(active, leaves, strict=True):
                    tensors[i] = leaf
                out = node.run(tensors)
            outs = out if isinstance(out, (tuple, list)) else (out,)
            kept = [(y, each) for y, each in zip(outs, m, strict=True) if each is not None and y.requires_grad]
            if not kept:
                break
            grads = torch.autograd.grad([y for y, _ in kept], leaves, [each for _, each in kept], allow_unused=True)
            for sum_, grad in zip(total, grads, strict=True):
                if grad is not None:
                    sum_ += float(weight) * grad
        return total

    @staticmethod
    def close(
        node: Node, active: list[int], deltas: list[Tensor], back: list[Tensor], m: Sequence[Tensor | None]
    ) -> None:
        rows = node.sweep.pairs.rows
        like = next(each for each in m if each is not None)
        gap = like.new_zeros(rows)
        for j, each in enumerate(m):
            if each is not None:
                gap = gap + node.sweep.per_pair(each * node.delta_out(j), node.out(j))
        size = torch.zeros_like(gap)
        for i, delta, each in zip(active, deltas, back, strict=True):
            gap = gap - node.sweep.per_pair(each * delta, node.value(i))
            size = size + node.sweep.per_pair(delta * delta, node.value(i))
        share = torch.where(size == 0, 0, gap / torch.where(size == 0, 1, size))
        for i, delta, each in zip(active, deltas, back, strict=True):
            each += delta * node.sweep.to_pairs(share, node.value(i))
        node.sweep.note(node.step, gap)
