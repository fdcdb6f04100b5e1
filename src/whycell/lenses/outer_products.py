"""Sums of outer products of gradients that can be merged: block by block, group by group, centred or not.

For every output c the weighted mean of its gradients is kept, and the scatter around it; blocks are joined by Chan's
update, so nothing cancels and the order of blocks hardly matters. With ``w`` the weight of all points

    scatter = Σ_c Σ_j w_j (g_cj - ḡ_c)(g_cj - ḡ_c)'        centred AGOP = scatter / w
                                                            AGOP         = scatter / w + Σ_c ḡ_c ḡ_c'

Arrays may be numpy's or torch's; what comes out is of the kind that went in.
"""

# j - point, c - output, d - input

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["OuterProducts", "library"]


def library(array: Any) -> Any:
    """The module that computes with ``array``: torch for its tensors, else numpy."""
    if type(array).__module__.split(".")[0] == "torch":
        import torch

        return torch
    return np


@dataclass(frozen=True)
class OuterProducts:
    """What some points say of how outputs change with inputs.

    Parameters
    ----------
    weight
        Sum of the points' weights.
    n
        Number of points.
    mean
        (c, d) weighted mean gradient of each output.
    scatter
        (d, d) around the means, summed over outputs; its diagonal (d,) where only that was asked for.
    per_target
        (c, d) diagonal of each output's scatter.
    """

    weight: float
    n: int
    mean: Any
    scatter: Any
    per_target: Any

    @classmethod
    def of(cls, gradients: Any, weights: Any = None, *, diagonal: bool = False) -> OuterProducts:
        """From the gradients of a block of points.

        Parameters
        ----------
        gradients
            (n, c, d)
        weights
            (n,) not negative; all one where ``None``.
        diagonal
            Keep the diagonal alone.
        """
        xp = library(gradients)
        n, c, d = gradients.shape
        total = float(n) if weights is None else float(weights.sum())
        if total > 0:
            of_rows = gradients if weights is None else gradients * weights[:, None, None]
            mean = of_rows.sum(0) / total
        else:
            mean = gradients.sum(0) * 0.0
        centred = gradients - mean
        weighted = centred if weights is None else centred * weights[:, None, None]
        per_target = (weighted * centred).sum(0)
        if diagonal:
            scatter = per_target.sum(0)
        else:
            scatter = xp.reshape(weighted, (n * c, d)).T @ xp.reshape(centred, (n * c, d))
        return cls(total, n, mean, scatter, per_target)

    def __add__(self, other: OuterProducts) -> OuterProducts:
        """Both sets of points together."""
        weight = self.weight + other.weight
        if weight == 0:
            return self
        share = other.weight / weight
        step = other.mean - self.mean
        bridge = self.weight * share
        spread = step.T @ step if self.scatter.ndim == 2 else (step * step).sum(0)
        return OuterProducts(
            weight=weight,
            n=self.n + other.n,
            mean=self.mean + share * step,
            scatter=self.scatter + other.scatter + bridge * spread,
            per_target=self.per_target + other.per_target + bridge * step * step,
        )

    def mapped(self, factor: Any) -> OuterProducts:
        """The same for inputs x of which the present ones are ``x @ factor`` (d_new, d), or ``x * factor`` (d,)."""
        if factor.ndim == 1:
            square = factor * factor
            outer = factor[:, None] * factor if self.scatter.ndim == 2 else square
            scatter = self.scatter * outer
            return OuterProducts(self.weight, self.n, self.mean * factor, scatter, self.per_target * square)
        # The diagonals of the outputs' own scatters cannot be had from diagonals: they are the caller's to keep.
        scatter = factor @ self.scatter @ factor.T
        empty = self.mean @ factor.T * float("nan")
        return OuterProducts(self.weight, self.n, self.mean @ factor.T, scatter, empty)

    def matrix(self, *, centre: bool = False) -> Any:
        """AGOP (d, d), or its diagonal (d,); around the mean gradients with ``centre``."""
        weight = self.weight or 1.0
        if centre:
            return self.scatter / weight
        square = self.mean.T @ self.mean if self.scatter.ndim == 2 else (self.mean * self.mean).sum(0)
        return self.scatter / weight + square

    def diagonals(self, *, centre: bool = False) -> Any:
        """(c, d) diagonal of each output's AGOP."""
        around = self.per_target / (self.weight or 1.0)
        return around if centre else around + self.mean * self.mean
