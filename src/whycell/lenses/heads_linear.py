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
#: A model's next step is its last when the decrement, g^T H^-1 g, is below this: a tenth of the weights' own
#: uncertainty from the optimum before that step, a few hundredths after it.
DECREMENT = 1e-2
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
        self.penalty = torch.full((self.X.shape[1], n_classes, 1), float(l2), device=device)
        self.penalty[-1] = 0.0
        self.penalty = self.penalty.reshape(-1, 1)
        whole = torch.ones((len(X), 1), device=device)
        nothing = torch.zeros(len(self.penalty), 1, device=device)
        self.shift = torch.zeros((len(X), 1), device=device)
        known = self._loss_and_gradient(nothing, whole)
        self.start = self._minimise(nothing, whole, known, inverse=self._inverse_curvature(nothing, 1.0))
        self.shift = -(self.X @ self.start.reshape(-1, n_classes)).amax(1, keepdim=True)
        self._inverses: dict[float, torch.Tensor] = {}

    def train(self, masks: np.ndarray) -> np.ndarray:
        """(m, n) bool -> (m, d + 1, K) float32 weights, the intercept last."""
        chosen = torch.from_numpy(np.ascontiguousarray(masks)).to(self.X.device, torch.float32)
        share = round(float(chosen.mean()), 2) or 0.01
        if share not in self._inverses:
            self._inverses[share] = self._inverse_curvature(self.start, share)
        rows = chosen.T.contiguous()
        start = self.start.expand(-1, len(chosen)).clone()
        found = self._minimise(start, rows, self._at_start(rows), inverse=self._inverses[share])
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
            keep, own = masks[tile], self.classes[tile]
            sample = torch.arange(len(own), device=own.device)
            # Shifted by what the model of all samples says, not by each model's own maximum: one pass less, and a
            # model so far from it that a number overflows has an infinite loss, hence its step is taken back.
            z = torch.addmm(self.shift[tile], self.X[tile], weights).reshape(-1, k, m)
            right = z[sample, own]
            residual = z.exp_()
            total = residual.sum(1).clamp_min_(1e-30)
            loss += ((total.log() - right) * keep).sum(0)
            residual *= (keep / total).unsqueeze(1)
            residual[sample, own] -= keep
            gradient.addmm_(self.X[tile].T, residual.reshape(-1, k * m))
        gradient = gradient.reshape(W.shape)
        gradient += self.penalty * W
        return loss, gradient

    def _at_start(self, masks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The same at the common start: there the samples' gradients are shared, and masks (n, m) only add them up."""
        start = self.start.reshape(-1, self.n_classes)
        log_p = torch.log_softmax(self.X @ start, dim=1)
        residual = log_p.exp()
        sample = torch.arange(len(residual), device=residual.device)
        loss = 0.5 * (self.penalty * self.start**2).sum() - log_p[sample, self.classes] @ masks
        residual[sample, self.classes] -= 1
        gradient = (self.penalty * self.start).expand(-1, masks.shape[1]).clone()
        rows = max(16, 4 * TILE // len(gradient))
        for at in range(0, len(self.X), rows):
            tile = slice(at, at + rows)
            products = (self.X[tile, :, None] * residual[tile, None, :]).reshape(-1, len(gradient))
            gradient.addmm_(products.T, masks[tile])
        return loss, gradient

    def _minimise(
        self,
        W: torch.Tensor,
        masks: torch.Tensor,
        known: tuple[torch.Tensor, torch.Tensor],
        *,
        inverse: torch.Tensor,
    ) -> torch.Tensor:
        """L-BFGS of all models side by side, from ``W`` (d k, m) with its ``known`` losses and gradients.

        Models leave when they are done. The last step is not checked: it is as short as the rounding of a loss.
        """
        out = W.clone()
        alive = torch.arange(W.shape[1], device=W.device)
        loss, gradient = known
        history: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        step = torch.ones_like(loss)
        for _ in range(MOST_STEPS):
            direction, decrement = _direction(gradient, history, inverse)
            done = decrement < DECREMENT
            if bool(done.any()):
                out[:, alive[done]] = W[:, done] + direction[:, done]
                if bool(done.all()):
                    return out
                if float(done.float().mean()) > 0.1:
                    stay = ~done
                    alive, loss, step = alive[stay], loss[stay], step[stay]
                    W, gradient, direction, masks = (t[:, stay] for t in (W, gradient, direction, masks))
                    history = [(s[:, stay], y[:, stay], r[stay]) for s, y, r in history]
            tried = W + step * direction
            new_loss, new_gradient = self._loss_and_gradient(tried, masks)
            slope = (gradient * direction).sum(0)
            good = new_loss <= loss + 1e-4 * step * slope + 1e-6 * loss.abs()
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
