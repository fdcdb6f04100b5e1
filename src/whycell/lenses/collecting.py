"""Contributions piece by piece, until all references of all examples are in."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from whycell.lenses.inputs import InputScores

__all__ = ["Found", "Mean", "Piece"]


@dataclass
class Piece:
    """Contributions (n, k, ...) of every stop, outputs (n, k) of both sides, and what was lost where."""

    parts: list[Tensor]
    y: Tensor
    y0: Tensor
    lost: dict[str, Tensor]

    def gap(self) -> float:
        """The most that contributions do not add up to, as a share of the largest output of the chunk."""
        total = sum(part.flatten(2).sum(2) for part in self.parts)
        size = max(float(self.y.abs().max()), float(self.y0.abs().max()), 1e-30)
        return float((self.y - self.y0 - total).abs().max()) / size


class Mean:
    """Contributions of some examples over their references, piece by piece."""

    def __init__(self) -> None:
        self.count = 0
        self.means: list[Tensor] = []
        self.squares: list[Tensor] = []
        self.y0s: list[Tensor] = []
        self.lost: dict[str, Tensor] = {}

    def add(self, piece: Piece) -> None:
        """More references of the same examples."""
        parts, k = piece.parts, piece.y0.shape[1]
        new = [part.mean(1) for part in parts]
        spread = [(part - mean.unsqueeze(1)).square().sum(1) for part, mean in zip(parts, new, strict=True)]
        if not self.count:
            self.means, self.squares = new, spread
        else:
            share = k / (self.count + k)
            for i, (mean, square) in enumerate(zip(new, spread, strict=True)):
                gap = mean - self.means[i]
                self.means[i] = self.means[i] + gap * share
                self.squares[i] = self.squares[i] + square + gap.square() * (self.count * share)
        self.count += k
        self.y = piece.y[:, 0]
        self.y0s.append(piece.y0)
        for name, gap in piece.lost.items():
            self.lost[name] = self.lost.get(name, 0) + gap.view(-1, k).sum(1)


class Found:
    """Examples that are done, in arrays made at the start: small ones kept in between would tear memory to pieces."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.values: list[Tensor] = []
        self.spread: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.lost: dict[str, Tensor] = {}

    def add(self, examples: slice, part: Mean) -> None:
        """Some more of them."""
        if not self.values:
            self.values, self.spread = ([m.new_zeros(self.n, *m.shape[1:]) for m in part.means] for _ in range(2))
            self.outputs = [part.y.new_zeros(self.n) for _ in range(2)]
        for i, (mean, square) in enumerate(zip(part.means, part.squares, strict=True)):
            self.values[i][examples] = mean
            self.spread[i][examples] = (square / part.count).sqrt()
        self.outputs[0][examples] = part.y
        self.outputs[1][examples] = torch.cat(part.y0s, 1).mean(1)
        for name, gap in part.lost.items():
            self.lost.setdefault(name, gap.new_zeros(self.n))[examples] = gap / part.count

    def scores(self, rule: str, *, several: bool) -> InputScores:
        """All as arrays."""
        y, y0 = self.outputs
        total = sum(each.flatten(1).sum(1) for each in self.values)
        values, spread = (tuple(each.cpu().numpy() for each in group) for group in (self.values, self.spread))
        return InputScores(
            values=values if several else values[0],
            residual=(y - y0 - total).cpu().numpy(),
            spread=spread if several else spread[0],
            residual_by_layer={name: gap.cpu().numpy() for name, gap in sorted(self.lost.items())},
            output=y.cpu().numpy(),
            reference_output=y0.cpu().numpy(),
            rule=rule,
        )
