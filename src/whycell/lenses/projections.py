"""Random projections that keep inner products: seeded, in blocks, the whole matrix never in memory.

``E <P a, P b> = <a, b>`` for each of them, with a relative error of about ``1 / sqrt(n_out)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from whycell.lenses.gradients import Factors

__all__ = ["Projection"]

_BLOCK = 1 << 14  # rows of P made at a time
_DENSE_UP_TO = 1 << 19  # longer vectors are hashed: 4 numbers a coordinate in place of n_out
_HASHES = 4


@dataclass(frozen=True)
class Projection:
    """A linear map to ``n_out`` numbers, fixed by its seed.

    Rademacher signs for vectors of up to half a million numbers; beyond, sparse Johnson-Lindenstrauss with four signs a
    coordinate. Outer products are projected by their factors: row k of P is ``s_k (x) t_k`` with signs ``s`` and ``t``,
    so that ``P (g (x) a) = (S g) * (T a)`` costs ``n_in + n_out`` a row, not their product.

    Parameters
    ----------
    n_out
        Numbers kept.
    seed
        Fixes the signs; the same seed gives the same map for every checkpoint, sample and block.
    """

    n_out: int
    seed: int = 0

    def dense(self, vectors: torch.Tensor) -> torch.Tensor:
        """Project (n, p) vectors.

        Returns
        -------
        (n, n_out) in the vectors' type
        """
        if vectors.shape[1] > _DENSE_UP_TO:
            return self._hashed(vectors)
        out = vectors.new_zeros((len(vectors), self.n_out))
        for block, start in enumerate(range(0, vectors.shape[1], _BLOCK)):
            part = vectors[:, start : start + _BLOCK]
            out.addmm_(part, self._signs(part.shape[1], block).to(part))
        return out / self.n_out**0.5

    def factors(self, gradients: Factors) -> torch.Tensor:
        """Project the gradients of an MLP without writing them out.

        Returns
        -------
        (n, n_out)
        """
        out = gradients.back[0].new_zeros((len(gradients.output), self.n_out))
        for layer, (g, a, bias) in enumerate(zip(gradients.back, gradients.fore, gradients.bias, strict=True)):
            left = g @ self._signs(g.shape[1], 2 * layer).to(g)
            right = a @ self._signs(a.shape[1], 2 * layer + 1).to(a)
            out += left * right
            if bias:
                out += g @ self._signs(g.shape[1], 1_000_000 + layer).to(g)
        return out / self.n_out**0.5

    def _signs(self, n_in: int, stream: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(self.seed * 2_000_003 + stream)
        return torch.randint(0, 2, (n_in, self.n_out), generator=generator, dtype=torch.int8).mul_(2).sub_(1).float()

    def _hashed(self, vectors: torch.Tensor) -> torch.Tensor:
        out = vectors.new_zeros((len(vectors), self.n_out))
        for block, start in enumerate(range(0, vectors.shape[1], _BLOCK)):
            part = vectors[:, start : start + _BLOCK]
            generator = torch.Generator().manual_seed(self.seed * 2_000_003 + block)
            shape = (_HASHES, part.shape[1])
            places = torch.randint(0, self.n_out, shape, generator=generator).to(part.device)
            signs = (torch.randint(0, 2, shape, generator=generator) * 2 - 1).to(part)
            for place, sign in zip(places, signs, strict=True):
                out.index_add_(1, place, part * sign)
        return out / _HASHES**0.5
