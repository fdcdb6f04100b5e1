"""Thousands of multinomial logistic regressions at once, each on its own subset, each to its optimum.

All models share the inputs, so the logits of all of them are one matrix product ``X @ W`` with one column for each
(class, model), and a mask is a factor on the residual. All models also nearly share the curvature: the Hessian of one
model of all samples, times the share that a subset holds, preconditions them all, and with it a few steps of L-BFGS
reach the optimum, which is unique, so that neither the start nor a seed can be seen in the answer.

    f_k(W) = sum over i in subset k of -log softmax(W^T x_i)_(y_i)  +  l2 / 2 |W|^2     (intercepts not penalised)

This is scikit-learn's ``LogisticRegression(C=1 / l2)``.
"""

# n - sample, d - column of X and the intercept, k - class, m - model; a vector of unknowns is (d k, m)

from __future__ import annotations

import numpy as np
import torch

__all__ = ["LinearTrainer"]

#: Pairs of steps and gradient changes that L-BFGS remembers.
MEMORY = 5
MOST_STEPS = 60
#: A model is done when the Newton decrement, g^T H^-1 g, is below this: its outputs then lie within a hundredth of
#: their own uncertainty from the optimum.
DECREMENT = 1e-3
#: Numbers of a tile of logits: what fits the second-level cache beside the weights.
TILE = 300_000
#: With more unknowns than this a model's preconditioner is one matrix for all classes (Boehning's bound).
MOST_UNKNOWNS = 2500


class LinearTrainer:
    """Trains blocks of models on subsets of one data set.

    Parameters
    ----------
    X
        (n, d) float32.
    codes
        (n,) class of each sample, 0..K-1.
    n_classes
        K.
    l2
        Strength of the penalty, the inverse of scikit-learn's ``C``.
    device
        See docs/parameters.md.
    """

    def __init__(self, X: np.ndarray, codes: np.ndarray, *, n_classes: int, l2: float, device: torch.device) -> None:
        self.n_classes = n_classes
        self.l2 = l2
        ones = np.ones((len(X), 1), dtype=np.float32)
        self.X = torch.from_numpy(np.hstack([X, ones])).to(device)
        self.classes = torch.from_numpy(codes.astype(np.int64)).to(device)
        self.onehot = torch.nn.functional.one_hot(self.classes, n_classes).to(torch.float32)
        self.penalty = torch.full((self.X.shape[1], n_classes, 1), float(l2), device=device)
        self.penalty[-1] = 0.0
        self.penalty = self.penalty.reshape(-1, 1)
        whole = torch.ones((1, len(X)), device=device)
        nothing = torch.zeros(len(self.penalty), 1, device=device)
        self.start = self._minimise(whole, nothing, self._inverse_curvature(nothing, 1.0))
        self._inverses: dict[float, torch.Tensor] = {}

    def train(self, masks: np.ndarray) -> np.ndarray:
        """(m, n) bool -> (m, d + 1, K) float32 weights, the intercept last."""
        chosen = torch.from_numpy(np.ascontiguousarray(masks)).to(self.X.device, torch.float32)
        share = round(float(chosen.mean()), 2) or 0.01
        if share not in self._inverses:
            self._inverses[share] = self._inverse_curvature(self.start, share)
        found = self._minimise(chosen, self.start.expand(-1, len(chosen)).contiguous(), self._inverses[share])
        return found.T.reshape(len(chosen), self.X.shape[1], self.n_classes).cpu().numpy()

    def _inverse_curvature(self, weights: torch.Tensor, share: float) -> torch.Tensor:
        """What preconditions subsets of this share near ``weights`` (d k, 1): (d k, d k), or (d, d) for all classes."""
        X = self.X.double()
        d, k = X.shape[1], self.n_classes
        penalty = self.penalty.double().flatten() + 1e-3 * max(self.l2, 1e-3)  # classes may shift together
        if d * k > MOST_UNKNOWNS:
            bound = 0.25 * share * (X.T @ X) + torch.diag(penalty.reshape(d, k)[:, 0])
            return torch.linalg.inv(bound).float()
        p = torch.softmax(X @ weights.double().reshape(d, k), dim=1)
        hessian = torch.zeros(d, k, d, k, dtype=torch.float64, device=X.device)
        for a in range(k):
            for b in range(a, k):
                curvature = p[:, a] * (float(a == b) - p[:, b])
                hessian[:, a, :, b] = X.T @ (curvature[:, None] * X)
                hessian[:, b, :, a] = hessian[:, a, :, b].T
        hessian = share * hessian.reshape(d * k, d * k) + torch.diag(penalty)
        return torch.linalg.inv(hessian).float()

    def _loss_and_gradient(self, W: torch.Tensor, masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(m,) losses and (d k, m) gradients of models with weights ``W`` (d k, m) on ``masks`` (n, m)."""
        m, k = W.shape[1], self.n_classes
        weights = W.reshape(-1, k * m)
        gradient = torch.zeros_like(weights)
        loss = 0.5 * (self.penalty * W * W).sum(0)
        rows = max(16, TILE // (k * m))
        for at in range(0, len(self.X), rows):
            tile = slice(at, at + rows)
            z = (self.X[tile] @ weights).reshape(-1, k, m)
            z -= z.amax(1, keepdim=True)
            right = (z * self.onehot[tile, :, None]).sum(1)
            residual = z.exp_()
            total = residual.sum(1)
            keep = masks[tile]
            loss += ((total.log() - right) * keep).sum(0)
            residual *= (keep / total).unsqueeze(1)
            residual -= self.onehot[tile, :, None] * keep.unsqueeze(1)
            gradient.addmm_(self.X[tile].T, residual.reshape(-1, k * m))
        gradient = gradient.reshape(W.shape)
        gradient += self.penalty * W
        return loss, gradient

    def _minimise(self, chosen: torch.Tensor, W: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
        """L-BFGS of all models side by side; ``chosen`` (m, n), ``W`` (d k, m). Models leave when they are done."""
        out = W.clone()
        masks = chosen.T.contiguous()
        alive = torch.arange(W.shape[1], device=W.device)
        loss, gradient = self._loss_and_gradient(W, masks)
        history: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        step = torch.ones_like(loss)
        for _ in range(MOST_STEPS):
            direction, decrement = _direction(gradient, history, inverse)
            done = decrement < DECREMENT
            if bool(done.any()):
                out[:, alive[done]] = W[:, done]
                if bool(done.all()):
                    return out
                if float(done.float().mean()) > 0.1:
                    stay = ~done
                    alive, loss, step, decrement = alive[stay], loss[stay], step[stay], decrement[stay]
                    W, gradient, direction, masks = (t[:, stay] for t in (W, gradient, direction, masks))
                    history = [(s[:, stay], y[:, stay], r[stay]) for s, y, r in history]
            tried = W + step * direction
            new_loss, new_gradient = self._loss_and_gradient(tried, masks)
            slope = (gradient * direction).sum(0)
            noise = 1e-6 * loss.abs()
            good = new_loss <= loss + 1e-4 * step * slope + noise
            change = torch.where(good, tried - W, 0.0)
            turned = torch.where(good, new_gradient - gradient, 0.0)
            curvature = (change * turned).sum(0)
            usable = curvature > 1e-12
            history.append((change, turned, torch.where(usable, 1 / curvature.clamp_min(1e-12), 0.0)))
            history = history[-MEMORY:]
            W = W + change
            gradient = gradient + turned
            loss = torch.where(good, new_loss, loss)
            step = torch.where(good, (2 * step).clamp_max(1.0), step / 4)
        out[:, alive] = W
        return out


def _direction(
    gradient: torch.Tensor, history: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]], inverse: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The two-loop recursion, and the decrement ``g^T P g`` that it predicts."""
    q = gradient.clone()
    steps = []
    for s, y, r in reversed(history):
        a = r * (s * q).sum(0)
        q -= a * y
        steps.append(a)
    q = (inverse @ q.reshape(len(inverse), -1)).reshape(gradient.shape)
    for (s, y, r), a in zip(history, reversed(steps), strict=True):
        q += (a - r * (y * q).sum(0)) * s
    q.neg_()
    return q, -(gradient * q).sum(0)
