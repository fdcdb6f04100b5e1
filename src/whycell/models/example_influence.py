"""Which training cells taught a call: influence through the last layer of heads trained on halves, in closed form.

The last layer of a head takes ``phi = [coordinates, hidden units, 1]`` and gives logits. What a cell with label set L
pulls at is the log-odds ``f`` of L; its gradient by the last layer is the outer product ``phi (x) v`` with

    v = softmax within L  -  softmax outside L,

its loss pulls with ``1 - P(L)``. So for a target ``t`` (the log-odds of its call) and a training cell ``i`` of weight w

    tau(t, i) = (phi_t (x) v_t)^T (H + lambda I)^-1 (phi_i (x) v_i) * w_i (1 - P_i)

H, the curvature of all cells' losses, is taken in the eigenbasis of its two Kronecker factors with the exact diagonal
there (EK-FAC, George et al. 2018), so that any ridge costs a division. Averages over the heads are multiplied, as in
TRAK.
"""

# m - head, n - training cell, t - target, d - feature of the last layer, k - leaf

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from whycell.encode.kernels import activate
from whycell.models.forward import softmax

__all__ = ["Lessons", "Taught", "last_layer", "log_odds", "pulls"]


@dataclass(frozen=True)
class Taught:
    """The training cells that are asked.

    Parameters
    ----------
    coordinates
        (n, n_inputs) float32.
    may
        (n, k) bool: the leaves that each cell's label may stand for.
    weight
        (n,) float32.
    """

    coordinates: np.ndarray
    may: np.ndarray
    weight: np.ndarray


def last_layer(x: np.ndarray, head: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What the last layer takes (n, d) and gives (n, k); ``head`` as ``models.fit.train_heads`` returns it."""
    hidden = x @ head["hidden"]
    activate(hidden, head["hidden_bias"].ravel(), head["gain"].ravel(), head["shift"].ravel())
    phi = np.concatenate([x, hidden, np.ones((len(x), 1), dtype=np.float32)], axis=1)
    weights = np.concatenate([head["linear"], head["out"], head["bias"].reshape(1, -1)])
    return phi, phi @ weights


def pulls(p: np.ndarray, may: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradient (n, k) of the log-odds of a set of leaves by the logits, and the probability (n,) of the set."""
    inside = np.where(may, p, 0.0)
    total = inside.sum(axis=1, keepdims=True)
    outside = p - inside
    rest = outside.sum(axis=1, keepdims=True)
    v = inside / np.maximum(total, 1e-12) - outside / np.maximum(rest, 1e-12)
    return np.where(may.all(axis=1, keepdims=True), 0.0, v).astype(np.float32), np.minimum(total[:, 0], 1.0)


def log_odds(logits: np.ndarray, may: np.ndarray) -> np.ndarray:
    """(n,) log-odds of a set of leaves against all others."""
    return _log_sum(np.where(may, logits, -np.inf)) - _log_sum(np.where(may, -np.inf, logits))


class Lessons:
    """Influences of the training cells through some heads.

    Parameters
    ----------
    taught
        The cells.
    heads
        Trained heads, each on a part of the cells.
    """

    def __init__(self, taught: Taught, heads: list[dict[str, np.ndarray]]) -> None:
        self.taught, self.heads = taught, heads
        parts = [softmax(last_layer(taught.coordinates, head)[1]) for head in heads]
        self.p = np.mean(parts, axis=0).astype(np.float32)
        self.v, own = pulls(self.p, taught.may)
        self.pull = ((1 - own) * taught.weight).astype(np.float32)
        self.is_leaf = taught.may.sum(axis=1) == 1

    def influences(
        self, x: np.ndarray, may: np.ndarray, *, ridges: tuple[float, ...], group: np.ndarray | None = None
    ) -> list[np.ndarray]:
        """Influence on the log-odds of each target's set of leaves, head by head.

        Parameters
        ----------
        x
            (t, n_inputs) coordinates of the targets.
        may
            (t, k) bool, the leaves that each target was called.
        ridges
            In units of a mean cell's curvature.
        group
            (t,) int, 0..g-1: the mean over the targets of each group, in place of each target.

        Returns
        -------
        For each head (n_ridges, t or g, n) float32
        """
        return [self._through(head, x, may, ridges, group=group) for head in self.heads]

    def dots(self, x: np.ndarray, may: np.ndarray) -> list[np.ndarray]:
        """The same without any curvature: plain gradient products (t, n) of each head."""
        out = []
        for head in self.heads:
            phi, logits = last_layer(self.taught.coordinates, head)
            psi, given = last_layer(x, head)
            v, _ = pulls(softmax(logits), self.taught.may)
            out.append((psi @ phi.T) * (pulls(softmax(given), may)[0] @ v.T) * self.pull)
        return out

    def sums(self, x: np.ndarray, may: np.ndarray, *, ridges: tuple[float, ...], masks: np.ndarray) -> list[np.ndarray]:
        """Influences summed over sets of training cells, without writing out the influence of each.

        Parameters
        ----------
        x, may, ridges
            As in ``influences``.
        masks
            (s, n) bool, the sets.

        Returns
        -------
        For each head (n_ridges, s, t) float32
        """
        out = []
        for head in self.heads:
            basis, left, right = self._sides(head)
            psi, to = self._asked(head, x, may, basis)
            right = right * self.pull[:, None]
            taken = np.stack([left[mask].T @ right[mask] for mask in masks])
            asked = psi[:, :, None] * to[:, None, :]
            scales = [1.0 / (basis.curvature + np.float32(ridge * basis.unit)) for ridge in ridges]
            out.append(np.stack([np.tensordot(taken, asked * scale, axes=((1, 2), (1, 2))) for scale in scales]))
        return out

    def _through(
        self,
        head: Mapping[str, np.ndarray],
        x: np.ndarray,
        may: np.ndarray,
        ridges: tuple[float, ...],
        *,
        group: np.ndarray | None,
    ) -> np.ndarray:
        basis, left, right = self._sides(head)
        psi, to = self._asked(head, x, may, basis)
        asked = None
        if group is not None:
            members = [group == g for g in range(int(group.max()) + 1)]
            asked = [psi[mine].T @ to[mine] / np.float32(mine.sum()) for mine in members]
        out = np.empty((len(ridges), len(x) if asked is None else len(asked), len(left)), dtype=np.float32)
        for r, ridge in enumerate(ridges):
            scale = 1.0 / (basis.curvature + np.float32(ridge * basis.unit))
            for t in range(out.shape[1]):
                each = np.outer(psi[t], to[t]) if asked is None else asked[t]
                out[r, t] = ((left @ (each * scale)) * right).sum(axis=1)
        return out * self.pull

    def _sides(self, head: Mapping[str, np.ndarray]) -> tuple[_Basis, np.ndarray, np.ndarray]:
        """The basis, and the training cells' features and pulls in it."""
        phi, logits = last_layer(self.taught.coordinates, head)
        basis = self._basis(phi)
        v, _ = pulls(softmax(logits), self.taught.may)
        return basis, phi @ basis.features, v @ basis.leaves

    def _asked(
        self, head: Mapping[str, np.ndarray], x: np.ndarray, may: np.ndarray, basis: _Basis
    ) -> tuple[np.ndarray, np.ndarray]:
        psi, given = last_layer(x, head)
        return psi @ basis.features, pulls(softmax(given), may)[0] @ basis.leaves

    def _basis(self, phi: np.ndarray) -> _Basis:
        """The eigenbasis of the curvature's two factors, and its diagonal there."""
        taught = self.taught
        one, many = self.is_leaf, ~self.is_leaf
        own = np.where(taught.may, self.p, 0).sum(axis=1)
        spread = (own * (1 - own) * taught.weight).astype(np.float32)
        weighted = self.p[one] * taught.weight[one, None]
        leaves = np.diag(weighted.sum(axis=0)) - weighted.T @ self.p[one]
        coarse = self.v[many]
        leaves = leaves + (coarse * spread[many, None]).T @ coarse
        size = np.where(
            one, taught.weight * (1 - (self.p**2).sum(axis=1)), spread * (self.v.astype(np.float64) ** 2).sum(axis=1)
        )
        features = (phi * size[:, None].astype(np.float32)).T @ phi
        _, F = np.linalg.eigh(features.astype(np.float64))
        _, L = np.linalg.eigh(leaves.astype(np.float64))
        F, L = F.astype(np.float32), L.astype(np.float32)
        turned = self.p @ (L**2) - (self.p @ L) ** 2
        turned[one] *= taught.weight[one, None]
        turned[many] = (coarse @ L) ** 2 * spread[many, None]
        curvature = ((phi @ F) ** 2).T @ np.maximum(turned, 0)
        return _Basis(F, L, curvature, float(curvature.sum(dtype=np.float64)) / len(phi) + 1e-12)


@dataclass(frozen=True)
class _Basis:
    features: np.ndarray  # (d, d)
    leaves: np.ndarray  # (k, k)
    curvature: np.ndarray  # (d, k), in the basis
    unit: float  # of a mean cell, summed over the basis


def _log_sum(z: np.ndarray) -> np.ndarray:
    top = z.max(axis=1, keepdims=True)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray((top + np.log(np.exp(z - top).sum(axis=1, keepdims=True)))[:, 0])
