"""How near a predicted profile of reads is to the one that was counted, and how near it could be."""

from __future__ import annotations

import numpy as np

__all__ = ["halves", "js_divergence"]


def js_divergence(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence in bits, 0 (the same) to 1 (nothing shared).

    Parameters
    ----------
    p, q
        (..., length), none negative; each is divided by its sum first.

    Returns
    -------
    (...) float64, NaN where either sums to nothing. Source: Lin 1991; the square of scipy's ``jensenshannon``.
    """
    p, q = np.broadcast_arrays(_shares(p), _shares(q))
    middle = (p + q) / 2
    return np.asarray((_kl(p, middle) + _kl(q, middle)) / 2)


def halves(counts: np.ndarray, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray] | None:
    """Every read dealt to one of two pseudo-replicates; ``None`` where ``counts`` are not whole numbers.

    Parameters
    ----------
    counts
        Any shape, none negative.
    seed
        Of the draw.
    """
    whole = np.rint(counts)
    if np.abs(counts - whole).max(initial=0.0) > 1e-3:
        return None
    first = np.random.default_rng(seed).binomial(whole.astype(np.int64), 0.5)
    return first, whole.astype(np.int64) - first


def _shares(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    total = values.sum(axis=-1, keepdims=True)
    return np.asarray(np.divide(values, total, out=np.full(values.shape, np.nan), where=total > 0))


def _kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    ratio = np.divide(p, q, out=np.ones_like(p), where=p > 0)
    return np.asarray((p * np.log2(ratio)).sum(axis=-1))
