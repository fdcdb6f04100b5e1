"""Choosing by a condition, and copying into a place.

A condition that changes between reference and input is a number that is 0 or 1, and a choice is a product with it:
where(c, a, b) = c a + (1 - c) b, by the symmetric rule. So a step's own difference reaches what the condition reads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from whycell.lenses.engine import Node, Rule
from whycell.lenses.pairs import sum_to
from whycell.lenses.rules_linear import Moving

__all__ = ["Copy", "MaskedFill", "Where"]


class Where(Rule):
    """``where(condition, a, b)``."""

    def back(self, node: Node, m: Sequence[Tensor | None]) -> list[Tensor | None]:
        return self.share(node, m[0], node.x(1), node.r(1), node.x(2), node.r(2), node.x(0), node.r(0))

    @staticmethod
    def share(
        node: Node,
        m: Tensor | None,
        a: Tensor,
        a0: Tensor,
        b: Tensor,
        b0: Tensor,
        c: Tensor,
        c0: Tensor,
    ) -> list[Tensor | None]:
        """Multipliers of condition, first and second."""
        if m is None:
            return [None] * 3
        chosen = (c.to(m.dtype) + c0.to(m.dtype)) / 2
        # Where the condition stays, the branch not taken may hold anything, infinities too.
        apart = torch.where(c == c0, 0, ((a + a0) - (b + b0)) / 2)
        parts = [m * apart, m * chosen, m * (1 - chosen)]
        return [
            sum_to(part, node.shape(i)) if i < len(node.step.inputs) and node.depends(i) else None
            for i, part in enumerate(parts)
        ]


class MaskedFill(Where):
    """``masked_fill(x, mask, value)``."""

    def back(self, node: Node, m: Sequence[Tensor | None]) -> list[Tensor | None]:
        if m[0] is None:
            return [None] * len(node.step.inputs)
        x, r, mask, mask0 = node.x(0), node.r(0), node.x(1), node.r(1)
        kept = 1 - (mask.to(m[0].dtype) + mask0.to(m[0].dtype)) / 2
        back: list[Tensor | None] = [sum_to(m[0] * kept, node.shape(0)) if node.depends(0) else None]
        value = node.x(2) if len(node.step.inputs) > 2 else torch.as_tensor(node.argument(2, "value"), dtype=x.dtype)
        apart = torch.where(mask == mask0, 0, value - (x + r) / 2)
        back.append(sum_to(m[0] * apart, node.shape(1)) if node.depends(1) else None)
        return back + [None] * (len(node.step.inputs) - 2)


class Copy(Moving):
    """``copy(place, source)``: what was in the place is gone."""

    def back(self, node: Node, m: Sequence[Tensor | None]) -> list[Tensor | None]:
        if m[0] is None or not node.depends(1):
            return [None, None]
        return [None, sum_to(m[0], node.shape(1))]

    def plus(self, node: Node) -> Tensor:
        return node.plus(1).expand(node.sweep.shape(node.out(0)))
