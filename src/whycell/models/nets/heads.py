"""A set of small networks trained as one: every member has its own data, weights and order of cells.

Each member adds a linear map to one hidden layer (LayerNorm, GELU, dropout). Members are the leading axis of every
tensor, so that a step of all of them is three batched matrix products; folds of a cross-validation and the members of
an ensemble are trained side by side.
"""

# m - member, b - cell of a batch, d - direction, h - hidden unit, k - leaf

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - the name that everybody gives it

__all__ = ["Heads"]


class Heads(nn.Module):
    """``logits = x A + a + GELU(LayerNorm(x B + b)) C`` for every member.

    Parameters
    ----------
    n_members, n_inputs, n_hidden, n_outputs
        Sizes.
    generator
        Source of the initial weights.
    """

    def __init__(
        self, n_members: int, n_inputs: int, n_hidden: int, n_outputs: int, *, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.linear = nn.Parameter(torch.zeros(n_members, n_inputs, n_outputs))  # (m, d, k)
        self.bias = nn.Parameter(torch.zeros(n_members, 1, n_outputs))
        self.hidden = nn.Parameter(_uniform((n_members, n_inputs, n_hidden), n_inputs, generator))  # (m, d, h)
        self.hidden_bias = nn.Parameter(_uniform((n_members, 1, n_hidden), n_inputs, generator))
        self.gain = nn.Parameter(torch.ones(n_members, 1, n_hidden))
        self.shift = nn.Parameter(torch.zeros(n_members, 1, n_hidden))
        self.out = nn.Parameter(_uniform((n_members, n_hidden, n_outputs), n_hidden, generator))  # (m, h, k)

    def forward(self, x: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """(m, b, d) -> (m, b, k) logits; ``keep`` (m, b, h) multiplies the hidden units (dropout)."""
        hidden = torch.baddbmm(self.hidden_bias, x, self.hidden)
        hidden = F.layer_norm(hidden, hidden.shape[-1:]) * self.gain + self.shift
        hidden = F.gelu(hidden)
        if keep is not None:
            hidden = hidden * keep
        return torch.baddbmm(self.bias, x, self.linear) + torch.bmm(hidden, self.out)


def _uniform(shape: tuple[int, ...], fan_in: int, generator: torch.Generator) -> torch.Tensor:
    return (torch.rand(shape, generator=generator) * 2 - 1) * fan_in**-0.5
