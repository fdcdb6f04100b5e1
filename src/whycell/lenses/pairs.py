"""Pairs of an example and a reference: which rows belong together, and the multipliers that exist for every pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Multiplier", "Pairs", "sum_to"]


@dataclass
class Multiplier:
    """Of the positive and of the negative part of a difference; ``neg`` is None where both are the same."""

    pos: Tensor
    neg: Tensor | None = None

    def __add__(self, other: Multiplier) -> Multiplier:
        if self.neg is None and other.neg is None:
            return Multiplier(self.pos + other.pos)
        return Multiplier(self.pos + other.pos, self.negative + other.negative)

    @property
    def negative(self) -> Tensor:
        """That of the negative part."""
        return self.pos if self.neg is None else self.neg

    def total(self, delta: Callable[[], Tensor]) -> Tensor:
        """One multiplier for the whole difference, split by its sign."""
        if self.neg is None:
            return self.pos
        d = delta()
        return torch.where(d > 0, self.pos, torch.where(d < 0, self.neg, (self.pos + self.neg) / 2))


@dataclass
class Pairs:
    """Which rows of the inputs' side and of the references' side belong together.

    ``n`` examples, ``k`` references each. On a lean tape the inputs' side has n rows and the references' side n * k, or
    k where all examples share them; otherwise both sides were given n * k rows.
    """

    n: int
    k: int
    lean: bool
    shared: bool

    @property
    def rows(self) -> int:
        """Number of pairs."""
        return self.n * self.k

    @property
    def x_rows(self) -> int:
        """Rows on the inputs' side."""
        return self.n if self.lean else self.rows

    @property
    def r_rows(self) -> int:
        """Rows on the references' side."""
        return self.k if self.lean and self.shared else self.rows

    def spread_x(self, x: Tensor, axis: int) -> Tensor:
        """Inputs' side repeated to all pairs."""
        if not self.lean or self.k == 1:
            return x
        shape = list(x.shape)
        shape.insert(axis + 1, self.k)
        return x.unsqueeze(axis + 1).expand(shape).flatten(axis, axis + 1)

    def spread_r(self, r: Tensor, axis: int) -> Tensor:
        """References' side repeated to all pairs."""
        if not self.lean or not self.shared or self.n == 1:
            return r
        shape = list(r.shape)
        shape.insert(axis, self.n)
        return r.unsqueeze(axis).expand(shape).flatten(axis, axis + 1)

    def split(self, x: Tensor, r: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        """Both sides with examples and references as two axes, the one that is absent of length 1."""
        if not self.lean:
            return x, r
        return x.unsqueeze(axis + 1), r.unflatten(axis, (-1, self.k))

    def split_m(self, m: Tensor, axis: int) -> Tensor:
        """A tensor of all pairs with the two axes of ``split``."""
        return m.unflatten(axis, (self.n, self.k)) if self.lean else m

    def join(self, m: Tensor, axis: int) -> Tensor:
        """The two axes of ``split`` as one."""
        return m.flatten(axis, axis + 1) if self.lean else m


def sum_to(m: Tensor, shape: Sequence[int]) -> Tensor:
    """Undo broadcasting: sum over the axes along which ``shape`` was repeated."""
    return m.sum_to_size(tuple(shape)) if tuple(m.shape) != tuple(shape) else m
