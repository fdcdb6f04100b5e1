"""Softmax and normalisation, in closed form and complete.

Softmax: log p = z - lse(z). With the logarithmic mean L of p and p⁰ (Δp = L Δ log p) and the sum of p fixed,
Δ lse = Σ L Δz / Σ L: no exponent is ever taken, and a shift common to all z counts for nothing.

Layer normalisation: c = x - mean is linear, y = c / σ a product, and 1 / σ a function of the mean of c².
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from whycell.lenses.engine import Node, Rule

__all__ = ["LayerNorm", "LogSoftmax", "LogSumExp", "Softmax", "VectorNorm", "logarithmic_mean"]


def logarithmic_mean(log_p: Tensor, log_q: Tensor) -> Tensor:
    """(p - q) / (log p - log q), of probabilities given by their logarithms; 0 where either is 0."""
    d = (log_p - log_q) / 2
    d = torch.where(torch.isfinite(d), d, 0)
    near = torch.exp((log_p + log_q) / 2) * torch.where(d.abs() < 1e-4, 1 + d * d / 6, torch.sinh(d.clamp(-1, 1)) / d)
    return torch.where(d.abs() < 1, near, (torch.exp(log_p) - torch.exp(log_q)) / (2 * d))


class _OverLogits(Rule):
    """What softmax, its logarithm and the log of the sum share."""

    @staticmethod
    def mean(node: Node, dim: int | Sequence[int]) -> Tensor:
        x, r = node.x(0), node.r(0)
        return logarithmic_mean(x - x.logsumexp(dim, keepdim=True), r - r.logsumexp(dim, keepdim=True)).nan_to_num(0.0)


class Softmax(_OverLogits):
    """p = exp(z) / Σ exp(z)."""

    def back(self, node: Node, m: Sequence[Tensor | None]) -> list[Tensor | None]:
        dim = node.argument(1, "dim")
        out = m[0]
        mean = self.mean(node, dim)
        total = mean.sum(dim, keepdim=True)
        common = (mean * out).sum(dim, keepdim=True) / torch.where(total == 0, 1, total)
        return [mean * (out - common)]


class LogSoftmax(_OverLogits):
    """log p = z - lse(z)."""

    def back(self, node: Node, m: Sequence[Tensor | None]) -> list[Tensor | None]:
        dim = node.argument(1, "dim")
        out = m[0]
        mean = self.mean(node, dim)
        return [out - mean / mean.sum(dim, keepdim=True) * out.sum(dim, keepdim=True)]


class LogSumExp(_OverLogits):
    """log Σ exp(z)."""

    def back(self, node: Node, m: Sequence[Tensor | None]) -> list[Tensor | None]:
        dim, keep = node.argument(1, "dim"), node.argument(2, "keepdim", default=False)
        axes = tuple(each % len(node.shape(0)) for each in ([dim] if isinstance(dim, int) else dim))
        mean = self.mean(node, axes)
        out = m[0]
        if not keep:
            for axis in sorted(axes):
                out = out.unsqueeze(axis)
        return [mean / mean.sum(axes, keepdim=True) * out]


def _normalised_back(c: Tensor, c0: Tensor, m: Tensor, axes: Sequence[int], eps: float) -> Tensor:
    """Multipliers of c from those of c / sqrt(mean(c²) + eps) over ``axes``."""
    s = (c.square().mean(axes, keepdim=True) + eps).sqrt()
    s0 = (c0.square().mean(axes, keepdim=True) + eps).sqrt()
    total = c + c0
    count = math.prod(c.shape[axis] for axis in axes)
    through = (m * total).sum(axes, keepdim=True) / (-2 * count * s * s0 * (s + s0))
    return m * (1 / s + 1 / s0) / 2 + through * total


class LayerNorm(Rule):
    """Over the last axes: ``native_layer_norm(x, shape, weight, bias, eps)``."""

    def back(self, node: Node, m: Sequence[Tensor | None]) -> list[Tensor | None]:
        args, _ = node.arguments(list(range(len(node.step.inputs))))
        axes = tuple(range(-len(args[1]), 0))
        out = m[0] if args[2] is None else m[0] * node.x(args[2])
        x, r = node.x(0), node.r(0)
        x, r = x - x.mean(axes, keepdim=True), r - r.mean(axes, keepdim=True)
        back = _normalised_back(x, r, out, axes, args[4])
        return [back - back.mean(axes, keepdim=True), *[None] * (len(node.step.inputs) - 1)]


class VectorNorm(Rule):
    """√Σ x²: Δ = Σ (x + x⁰) Δx / (norm + norm⁰)."""

    def back(self, node: Node, m: Sequence[Tensor | None]) -> list[Tensor | None]:
        dim, keep = node.argument(2, "dim"), node.argument(3, "keepdim", default=False)
        parts = [m[0], node.y() + node.y0()]
        if not keep:
            ndim = len(node.shape(0))
            axes = (
                range(ndim) if dim is None else sorted(each % ndim for each in ([dim] if isinstance(dim, int) else dim))
            )
            for axis in axes:
                parts = [each.unsqueeze(axis) for each in parts]
        out, total = parts
        return [out / torch.where(total == 0, 1, total) * (node.x(0) + node.r(0))]
