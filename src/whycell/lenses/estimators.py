"""From masks and outputs to effects: how much the presence of each sample moves each output.

``masks`` (M, n) bool say what each model was trained on, ``outputs`` (M, t) what it answered. With M below a few times
n plain least squares only repeats noise; what helps, in this order, is a prior (scores from gradients, which cost
seconds), sparsity (the Lasso) and what targets have in common (:func:`joint_ridge`). :func:`estimate` fits all three
and weighs them by how well they foretell masks that none of them saw.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import eigh
from scipy.optimize import nnls

from whycell.errors import DataError, UsageError
from whycell.lenses.lasso import lasso_fit

__all__ = ["Effects", "difference_in_means", "estimate", "joint_ridge", "ridge", "scaled_prior"]

#: Shares of the models on which lambdas are chosen and estimates are weighed.
HELD = 0.12
#: Below this many models there is too little to choose on: a ridge then, or the prior where there is one.
FEWEST, FEWEST_BESIDE_PRIOR = 60, 300
RIDGES = np.logspace(-3, 1, 13)
#: Targets that are looked at together: their directions cost the cube of their number.
MOST_JOINED = 1000


@dataclass(frozen=True)
class Effects:
    """Effects of n samples on t outputs.

    Parameters
    ----------
    values
        (t, n) in the outputs' unit.
    intercept
        (t,) so that ``masks @ values.T + intercept`` foretells outputs.
    standard_errors
        (t, n), or None where the estimate has no simple one.
    weights
        What went into it: share of each estimate, or the ridge chosen.
    """

    values: np.ndarray
    intercept: np.ndarray
    standard_errors: np.ndarray | None
    weights: dict[str, float]


def difference_in_means(masks: np.ndarray, outputs: np.ndarray) -> Effects:
    """Mean output with the sample in, minus mean output with it out: at a share of one half, the Banzhaf value.

    Standard errors are Welch's, ``sqrt(s1^2 / M1 + s0^2 / M0)``. Samples that are in every mask, or in none, get zero
    and an infinite standard error.
    """
    masks, outputs = _checked(masks, outputs)
    inside = masks.sum(axis=0)[:, None]
    outside = len(masks) - inside
    centre = outputs.mean(axis=0)
    f = outputs - centre
    sums, squares = _product(masks.T, f), _product(masks.T, f**2)
    rest, rest_squares = f.sum(axis=0) - sums, (f**2).sum(axis=0) - squares
    known = (inside > 1) & (outside > 1)
    n1, n0 = np.where(known, inside, 2), np.where(known, outside, 2)
    mean1, mean0 = sums / n1, rest / n0
    var1, var0 = (squares / n1 - mean1**2) * n1 / (n1 - 1), (rest_squares / n0 - mean0**2) * n0 / (n0 - 1)
    values = np.where(known, mean1 - mean0, 0.0).T
    errors = np.where(known, np.sqrt(np.maximum(var1, 0) / n1 + np.maximum(var0, 0) / n0), np.inf).T
    return Effects(values, centre - values @ masks.mean(axis=0), errors, {})


def ridge(masks: np.ndarray, outputs: np.ndarray, *, penalty: float | None = None) -> Effects:
    """Least squares with a ridge; one eigendecomposition for all targets, of whichever side is smaller.

    Parameters
    ----------
    masks, outputs
        See the module's head.
    penalty
        On ``1 / (2 M) |f - X theta|^2``; None takes, target by target, the one with the least leave-one-out error.

    Returns
    -------
    :class:`Effects`, with standard errors of the penalised estimate (its variance, not its bias).
    """
    masks, outputs = _checked(masks, outputs)
    mean, centre = masks.mean(axis=0), outputs.mean(axis=0)
    X, f = masks - mean, outputs - centre
    n_models = len(X)
    left, size, right = _svd(X)
    projected = _product(left.T, f)
    tried = RIDGES * float((size**2).mean() / n_models) if penalty is None else np.array([penalty])
    shrink = size[:, None] ** 2 / (size[:, None] ** 2 + n_models * tried)  # (r, l)
    errors = np.empty((len(tried), f.shape[1]))
    for k in range(len(tried)):
        used = np.minimum((left**2) @ shrink[:, k] + 1 / n_models, 0.999)
        errors[k] = (((f - _product(left, shrink[:, k, None] * projected)) / (1 - used)[:, None]) ** 2).mean(axis=0)
    best = errors.argmin(axis=0)
    scale = shrink[:, best] / size[:, None]
    values = _product(right, scale * projected).T
    residual = ((f - X @ values.T) ** 2).sum(axis=0) / np.maximum(n_models - shrink[:, best].sum(axis=0), 1)
    standard = np.sqrt(residual[:, None] * _product((right**2), scale**2).T)
    return Effects(values, centre - values @ mean, standard, {"ridge": float(np.median(tried[best]))})


def joint_ridge(masks: np.ndarray, outputs: np.ndarray) -> Effects:
    """Ridge in the directions of outputs that masks move most against noise (after Breiman and Friedman 1997).

    Targets share causes, and the noise of a training moves many targets at once. With S the covariance of the residuals
    over targets and K that of the effects, free of noise since it comes from two halves of the models, the directions a
    with K a = mu S a make the problem one ridge each, with the ridge 1 / (M mu) that Bayes would take.
    """
    masks, outputs = _checked(masks, outputs)
    if outputs.shape[1] > MOST_JOINED:
        parts = np.array_split(outputs, -(-outputs.shape[1] // MOST_JOINED), axis=1)
        found = [joint_ridge(masks, part) for part in parts]
        return Effects(
            np.concatenate([each.values for each in found]),
            np.concatenate([each.intercept for each in found]),
            None,
            {},
        )
    mean, centre = masks.mean(axis=0), outputs.mean(axis=0)
    X, f = masks - mean, outputs - centre
    n_models, n = X.shape
    half = n_models // 2
    first, second = (_plain_ridge(X[s], f[s]) for s in (slice(0, half), slice(half, n_models)))
    common = first @ second.T / n
    size, directions = np.linalg.eigh((common + common.T) / 2)
    size = np.maximum(4 * size, 1e-6 * max(4 * size.max(), 1e-12))  # each half was shrunk to about a half
    residual = f - _product(X, ((first + second) / 2).T)
    noise = residual.T @ residual / n_models
    noise += 1e-3 * max(float(np.trace(noise)) / len(noise), 1e-12) * np.eye(len(noise))
    mu, a = eigh((directions * size) @ directions.T, noise)
    left, scale, right = _svd(X)
    ridges = 1 / np.maximum(mu, 1e-12)
    along = scale[:, None] / (scale[:, None] ** 2 + ridges) * _product(left.T, f @ a)
    values = _product(right, along @ np.linalg.inv(a)).T
    return Effects(values, centre - values @ mean, None, {})


def scaled_prior(prior: np.ndarray, masks: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """``prior`` (t, n) scores brought to the outputs' unit, each target by least squares (and never turned round)."""
    told = _product(np.asarray(masks, np.float32), prior.T.astype(np.float32))
    told = told - told.mean(axis=0)
    slope = (told * (outputs - outputs.mean(axis=0))).sum(axis=0) / np.maximum((told**2).sum(axis=0), 1e-12)
    middle = np.median(slope[slope > 0]) if (slope > 0).any() else 0.0
    return np.asarray(np.clip(slope, 0, 3 * middle)[:, None] * prior)


def estimate(masks: np.ndarray, outputs: np.ndarray, *, prior: np.ndarray | None = None, threads: int = 1) -> Effects:
    """The best that these models can say: prior, Lasso and joint ridge, weighed on models that none of them saw.

    The Lasso and the joint ridge explain what the prior leaves over, so that where models are few the answer is the
    prior, and where they are many it is theirs.

    Parameters
    ----------
    masks, outputs
        See the module's head; the last eighth is held out for choosing.
    prior
        (t, n) scores in any unit, as from :func:`whycell.lenses.trak`; None for none.
    threads
        See docs/parameters.md.
    """
    masks, outputs = _checked(masks, outputs)
    n_held = int(HELD * len(masks))
    if len(masks) < (FEWEST if prior is None else FEWEST_BESIDE_PRIOR):
        if prior is None:
            return ridge(masks, outputs)
        values = scaled_prior(prior, masks, outputs)
        return Effects(values, outputs.mean(axis=0) - values @ masks.mean(axis=0), None, {"prior": 1.0})
    used, held = slice(0, len(masks) - n_held), slice(len(masks) - n_held, None)
    offset = np.zeros((outputs.shape[1], masks.shape[1]))
    if prior is not None:
        offset = scaled_prior(prior, masks[used], outputs[used])
    left_over = outputs - _product(masks, offset.T)
    lasso = lasso_fit(
        masks[used], left_over[used], held_masks=masks[held], held_outputs=left_over[held], threads=threads
    )
    found = {"lasso": offset + lasso.values, "joint ridge": offset + joint_ridge(masks[used], left_over[used]).values}
    if prior is not None:
        found["prior"] = offset
    truth = outputs[held] - outputs[held].mean(axis=0)
    spread = np.maximum(truth.std(axis=0), 1e-12)
    told = [_product(masks[held], each.T) for each in found.values()]
    columns = np.stack([((each - each.mean(axis=0)) / spread).ravel() for each in told], axis=1)
    weights = nnls(columns, (truth / spread).ravel())[0]
    if not weights.sum() > 0:
        weights = np.ones(len(found)) / len(found)
    values = sum(w * each for w, each in zip(weights, found.values(), strict=True))
    intercept = outputs.mean(axis=0) - values @ masks.mean(axis=0)
    return Effects(np.asarray(values), intercept, None, dict(zip(found, weights.tolist(), strict=True)))


def _checked(masks: np.ndarray, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    masks, outputs = np.asarray(masks, dtype=np.float32), np.asarray(outputs, dtype=np.float64)
    if masks.ndim != 2 or outputs.ndim != 2 or len(masks) != len(outputs) or not np.isfinite(outputs).all():
        msg = f"masks {masks.shape}, outputs {outputs.shape}: wanted matrices of finite numbers, a row for each model"
        raise DataError(msg)
    if len(masks) < 4:
        msg = f"{len(masks)} models: wanted four at least, and some times as many as samples for good effects"
        raise UsageError(msg)
    return masks, outputs


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A product in single precision where the left side is: these are sums of thousands of noisy numbers."""
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b, dtype=a.dtype)
    return np.asarray((torch.from_numpy(a) @ torch.from_numpy(b)).numpy(), dtype=np.float64)


def _svd(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thin singular vectors and values of (M, n), from the Gram matrix of the smaller side; no null directions."""
    rows = X.shape[0] < X.shape[1]
    inner = torch.from_numpy(np.ascontiguousarray(X, dtype=np.float64))
    square, vectors = torch.linalg.eigh(inner @ inner.T if rows else inner.T @ inner)
    kept = square > 1e-9 * square.max().clamp_min(1e-300)
    size, vectors = square[kept].sqrt(), vectors[:, kept]
    other = (inner.T if rows else inner) @ vectors / size
    left, right = (vectors, other) if rows else (other, vectors)
    return left.numpy(), size.numpy(), right.numpy()


def _plain_ridge(X: np.ndarray, f: np.ndarray) -> np.ndarray:
    """(t, n) with the ridge of the design's own variance, which shrinks a well-determined effect to a half."""
    X, f = X - X.mean(axis=0), f - f.mean(axis=0)
    gram = (X.T @ X).astype(np.float64) / len(X)
    gram += max(float(np.trace(gram)) / len(gram), 1e-12) * np.eye(len(gram))
    return np.asarray(np.linalg.solve(gram, _product(X.T, f) / len(X)).T)
