"""The trained heads in plain numpy, so that typing a file needs no torch, and gives the same bytes everywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from whycell.encode.kernels import activate
from whycell.models.rfm_head import is_machine, machine_logits

__all__ = ["ensemble_logits", "head_logits", "softmax"]


def head_logits(x: np.ndarray, head: Mapping[str, np.ndarray]) -> np.ndarray:
    """Logits of one head.

    Parameters
    ----------
    x
        (n_cells, n_inputs) float32.
    head
        Weights as ``models.fit.train_heads`` or ``models.rfm_head.fit_machines`` return them.

    Returns
    -------
    (n_cells, n_outputs) float32
    """
    if is_machine(head):
        return machine_logits(x, head)
    hidden = x @ head["hidden"]
    activate(hidden, head["hidden_bias"].ravel(), head["gain"].ravel(), head["shift"].ravel())
    return x @ head["linear"] + head["bias"] + hidden @ head["out"]


def ensemble_logits(x: np.ndarray, heads: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """Mean of the members' log-probabilities (n_cells, n_outputs): a geometric mean, up to a constant a cell."""
    total = 0.0
    for head in heads:
        logits = head_logits(x, head)
        total = total + logits - _log_sum_exp(logits)
    return np.asarray(total / len(heads), dtype=np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Rows sum to one, float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def _log_sum_exp(logits: np.ndarray) -> np.ndarray:
    top = logits.max(axis=1, keepdims=True)
    return np.asarray(top + np.log(np.exp(logits - top).sum(axis=1, keepdims=True)))
