"""Heads with a closed form: ridge on the columns, and Laplace kernel ridge with one Gram matrix for all models.

Both fit the one-hot classes by penalised least squares and answer ``SHARPNESS`` times the fit, so that the smooth
margin of their outputs comes close to the gap between the right class and the best other one.
"""

from __future__ import annotations

import numpy as np
import torch

__all__ = ["KernelTrainer", "RidgeTrainer"]

SHARPNESS = 10.0
#: Bytes of systems of equations held at a time.
MOST_BYTES = 400_000_000


class RidgeTrainer:
    """Least squares on one-hot classes, ``l2`` in the unit of squared columns; intercept not penalised.

    The normal equations of all subsets are one matrix product: masks times the outer products of every sample.
    """

    def __init__(self, X: np.ndarray, codes: np.ndarray, *, n_classes: int, l2: float, device: torch.device) -> None:
        n, d = X.shape
        self.X = torch.from_numpy(np.hstack([X, np.ones((n, 1), np.float32)])).to(device)
        self.right = torch.eye(n_classes, device=device)[torch.from_numpy(codes.astype(np.int64)).to(device)]
        self.upper = torch.triu_indices(d + 1, d + 1, device=device)
        self.l2 = l2

    def train(self, masks: np.ndarray) -> np.ndarray:
        """(m, n) bool -> (m, d + 1, K) float32 weights, the intercept last."""
        chosen = torch.from_numpy(np.ascontiguousarray(masks)).to(self.X.device, torch.float32)
        size = self.X.shape[1]
        together = max(1, MOST_BYTES // (size * size * 24))
        return np.concatenate([self._solve(chosen[at : at + together]) for at in range(0, len(chosen), together)])

    def _solve(self, chosen: torch.Tensor) -> np.ndarray:
        m, size = len(chosen), self.X.shape[1]
        a, b = self.upper
        products = torch.zeros(m, len(a), device=chosen.device)
        rows = max(1, MOST_BYTES // (len(a) * 8))
        for at in range(0, len(self.X), rows):
            tile = self.X[at : at + rows]
            products.addmm_(chosen[:, at : at + rows], tile[:, a] * tile[:, b])
        gram = torch.zeros(m, size, size, dtype=torch.float64, device=chosen.device)
        gram[:, a, b] = products.double()
        gram[:, b, a] = gram[:, a, b]
        gram.diagonal(dim1=1, dim2=2).add_(self.l2)
        gram[:, -1, -1] -= self.l2 * (1 - 1e-6)
        targets = (self.X[:, :, None] * self.right[:, None, :]).reshape(len(self.X), -1)
        moments = (chosen @ targets).reshape(m, size, -1).double()
        found = torch.cholesky_solve(moments, torch.linalg.cholesky(gram))
        return (SHARPNESS * found).float().cpu().numpy()


class KernelTrainer:
    """Laplace kernel ridge, ``exp(-|x - x'| / bandwidth)``; one Gram matrix, one Cholesky factor a subset.

    Parameters
    ----------
    bandwidth
        In the unit of distances; None takes the median distance between training samples.
    """

    def __init__(
        self,
        X: np.ndarray,
        codes: np.ndarray,
        *,
        n_classes: int,
        l2: float,
        bandwidth: float | None,
        device: torch.device,
    ) -> None:
        self.X = torch.from_numpy(X).to(device)
        self.right = torch.eye(n_classes, device=device)[torch.from_numpy(codes.astype(np.int64)).to(device)]
        self.l2 = l2
        distances = torch.cdist(self.X, self.X)
        off_diagonal = distances[~torch.eye(len(X), dtype=torch.bool, device=device)]
        self.bandwidth = float(off_diagonal.median()) if bandwidth is None else float(bandwidth)
        self.gram = torch.exp(-distances / self.bandwidth)

    def train(self, masks: np.ndarray) -> np.ndarray:
        """(m, n) bool -> (m, n, K) float32 coefficients, zero outside the subset."""
        most = max(1, int(masks.sum(axis=1).max()))
        together = max(1, MOST_BYTES // (most * most * 8))
        return np.concatenate([self._solve(masks[at : at + together], most) for at in range(0, len(masks), together)])

    def _solve(self, masks: np.ndarray, most: int) -> np.ndarray:
        device = self.X.device
        own = torch.from_numpy(np.argsort(~masks, axis=1, kind="stable")[:, :most].copy()).to(device)
        held = torch.arange(most, device=device) < torch.from_numpy(masks.sum(axis=1)).to(device)[:, None]
        system = self.gram[own[:, :, None], own[:, None, :]]
        system *= (held[:, :, None] & held[:, None, :]).float()
        system.diagonal(dim1=1, dim2=2).add_(torch.where(held, self.l2, 1.0))  # places that pad: an equation a = 0
        found = torch.cholesky_solve(self.right[own] * held[..., None], torch.linalg.cholesky(system))
        spread = torch.zeros(len(masks), len(self.X), self.right.shape[1], device=device)
        spread.scatter_(1, own[..., None].expand_as(found), SHARPNESS * found)
        return spread.cpu().numpy()

    def kernel(self, X: np.ndarray) -> np.ndarray:
        """(t, n) kernel of new samples with those of training."""
        rows = torch.from_numpy(np.ascontiguousarray(X, dtype=np.float32)).to(self.X.device)
        return torch.exp(-torch.cdist(rows, self.X) / self.bandwidth).cpu().numpy()
