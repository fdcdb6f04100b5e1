"""Probabilities from the answers of a machine, by what it said of rows that were held out."""

# n - row, k - class

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

__all__ = ["as_classes", "probabilities", "sharpness_of"]

_LEAST, _MOST = 0.1, 100.0


def as_classes(answers: np.ndarray) -> np.ndarray:
    """(n, k) answers, of two classes made from the answer for the second."""
    return np.column_stack([1 - answers, answers]) if answers.shape[1] == 1 else answers


def sharpness_of(answers: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> float:
    """The factor on held-out answers at which their softmax has the least log loss: temperature scaling, inverted.

    Parameters
    ----------
    answers
        (n, k) held-out answers.
    truth
        (n, k) share of each class.
    weights
        (n,)
    """

    def loss(log_factor: float) -> float:
        z = answers * np.exp(log_factor)
        z = z - z.max(axis=1, keepdims=True)
        log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
        return float(-(weights @ (truth * log_p).sum(axis=1)))

    found = minimize_scalar(loss, bounds=(np.log(_LEAST), np.log(_MOST)), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x))


def probabilities(answers: np.ndarray, sharpness: float) -> np.ndarray:
    """(n, k) softmax of answers times their sharpness."""
    z = answers * sharpness
    z = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(z / z.sum(axis=1, keepdims=True))
