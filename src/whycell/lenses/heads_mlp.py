"""Thousands of one-hidden-layer networks at once: batched matrix products over models, derivatives written by hand.

    z = relu(x W1 + b1) W2 + b2,   cross-entropy,   SGD with momentum on mini-batches of each model's own subset

Weights start as ``torch.nn.Linear`` starts them. A model passes through its subset in a random order, again in another
order, and so on; all models take the same number of steps, ``round(epochs * mean subset / batch)``.
"""

# m - model, b - sample of a mini-batch, d - column of X, h - hidden unit, k - class

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch

__all__ = ["MlpTrainer", "members", "next_batch"]

#: Models trained side by side: on a processor few enough to stay in its caches, on a graphics card enough to fill it.
TOGETHER = {"cpu": 16, "cuda": 500}


class MlpTrainer:
    """Trains blocks of networks on subsets of one data set.

    Parameters
    ----------
    X
        (n, d) float32, its columns scaled to about one.
    codes
        (n,) class of each sample, 0..K-1.
    n_classes
        K.
    hidden
        Hidden units.
    epochs, batch, rate, momentum, l2
        Passes over the subset, samples of a mini-batch, learning rate, share
        of the last step kept, and weight decay.
    device
        See docs/parameters.md.
    """

    def __init__(
        self,
        X: np.ndarray,
        codes: np.ndarray,
        *,
        n_classes: int,
        hidden: int,
        epochs: float,
        batch: int,
        rate: float,
        momentum: float,
        l2: float,
        device: torch.device,
    ) -> None:
        self.X = torch.from_numpy(X).to(device)
        self.minus_one = torch.tensor(-1.0, device=device)
        self.codes = torch.from_numpy(codes.astype(np.int64)).to(device)
        self.n_classes, self.hidden, self.epochs, self.batch = n_classes, hidden, epochs, batch
        self.rate, self.momentum, self.l2 = rate, momentum, l2

    def train(self, masks: np.ndarray, seed: int) -> tuple[np.ndarray, ...]:
        """(m, n) bool -> ``W1`` (m, d, h), ``b1`` (m, 1, h), ``W2`` (m, h, k), ``b2`` (m, 1, k), float32."""
        generator = torch.Generator().manual_seed(seed)
        parts = []
        together = TOGETHER.get(self.X.device.type, 16)
        for at in range(0, len(masks), together):
            weights = self._start(len(masks[at : at + together]), generator)
            order = int(torch.randint(2**62, (1,), generator=generator))
            parts.append(self._train_together(weights, masks[at : at + together], order))
        return tuple(torch.cat([p[i] for p in parts]).cpu().numpy() for i in range(4))

    def _start(self, m: int, generator: torch.Generator) -> list[torch.Tensor]:
        d = self.X.shape[1]
        shapes = ((m, d, self.hidden), (m, 1, self.hidden), (m, self.hidden, self.n_classes), (m, 1, self.n_classes))
        widths = (d, d, self.hidden, self.hidden)
        return [
            ((torch.rand(shape, generator=generator) * 2 - 1) * width**-0.5).to(self.X.device)
            for shape, width in zip(shapes, widths, strict=True)
        ]

    def _train_together(self, weights: list[torch.Tensor], masks: np.ndarray, seed: int) -> list[torch.Tensor]:
        """Classes are kept before samples, (m, k, b), so that the softmax runs over whole vectors of samples."""
        W1, b1, W2, b2 = weights[0], weights[1], weights[2].mT.contiguous(), weights[3].mT.contiguous()
        learned = (W1, b1, W2, b2)
        pace = [torch.zeros_like(w) for w in learned]
        m, d = len(masks), self.X.shape[1]
        own, sizes = members(masks)
        states = np.random.default_rng(seed).integers(1, 2**63, m, dtype=np.uint64)
        places = sizes.copy()
        drawn = np.empty((m, self.batch), dtype=np.int64)
        h, back = (torch.empty(m, self.batch, self.hidden, device=W1.device) for _ in range(2))
        z = torch.empty(m, self.n_classes, self.batch, device=W1.device)
        n_steps = max(1, round(self.epochs * float(sizes.mean()) / self.batch))
        for _ in range(n_steps):
            next_batch(own, sizes, places, states, drawn)
            rows = torch.from_numpy(drawn).to(self.X.device)
            x = self.X.index_select(0, rows.flatten()).reshape(m, self.batch, d)
            torch.baddbmm(b1, x, W1, out=h).relu_()
            torch.baddbmm(b2, W2, h.mT, out=z)
            residual = torch.softmax(z, dim=1)
            residual.scatter_add_(1, self.codes[rows][:, None], self.minus_one.expand(m, 1, self.batch))
            torch.bmm(residual.mT, W2, out=back)
            torch.ops.aten.threshold_backward.grad_input(back, h, 0, grad_input=back)
            keep, share = self.momentum, 1 / self.batch  # the products add to the last step: v = keep v + share g
            pace[0].baddbmm_(x.mT, back, beta=keep, alpha=share)
            pace[1].mul_(keep).add_(back.sum(1, keepdim=True), alpha=share)
            pace[2].baddbmm_(residual, h, beta=keep, alpha=share)
            pace[3].mul_(keep).add_(residual.sum(2, keepdim=True), alpha=share)
            for w, v in zip(learned, pace, strict=True):
                if self.l2:
                    v.add_(w, alpha=self.l2)
                w.sub_(v, alpha=self.rate)
        return [W1, b1, W2.mT, b2.mT]


def members(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(m, n) bool -> (m, largest subset) the samples of each, padded with 0, and (m,) sizes."""
    sizes = masks.sum(axis=1).astype(np.int64)
    own = np.argsort(~masks, axis=1, kind="stable")[:, : max(1, int(sizes.max()))]
    return np.ascontiguousarray(own, dtype=np.int32), sizes


@numba.njit(nogil=True, cache=True)
def next_batch(own: Any, sizes: Any, places: Any, states: Any, drawn: Any) -> None:
    """The next samples of every model, in place: ``drawn`` (m, b). A subset used up is shuffled (Fisher-Yates)."""
    m, b = drawn.shape
    for k in range(m):
        for i in range(b):
            if places[k] >= sizes[k]:
                x = states[k]
                for j in range(sizes[k] - 1, 0, -1):
                    x ^= x << np.uint64(13)
                    x ^= x >> np.uint64(7)
                    x ^= x << np.uint64(17)
                    other = np.int64((x >> np.uint64(33)) % np.uint64(j + 1))
                    own[k, j], own[k, other] = own[k, other], own[k, j]
                states[k] = x
                places[k] = 0
            drawn[k, i] = own[k, places[k]]
            places[k] += 1
