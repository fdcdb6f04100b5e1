"""How well a list of candidates is ordered when some of them are true."""

from __future__ import annotations

import numpy as np

from whycell.metrics.novelty import auroc

__all__ = ["aupr", "enrichment", "ndcg", "ranking_scores"]

#: Places from the top that NDCG and enrichment look at.
TOP = (100, 1000)


def _steps(score: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number taken and true ones among them, where the score changes: candidates that tie are taken together."""
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)
    return np.flatnonzero(last) + 1, np.cumsum(true[order])[last]


def _expected_true(score: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(n,) chance that the candidate at each place is true, ties in random order."""
    taken, found = _steps(score, true)
    n_new, n_true = np.diff(taken, prepend=0), np.diff(found, prepend=0)
    return np.repeat(n_true / n_new, n_new)


def aupr(score: np.ndarray, true: np.ndarray) -> float:
    """Average precision: sum over thresholds of precision times what recall gains; NaN where none is true.

    Parameters
    ----------
    score
        (n,) higher is likelier.
    true
        (n,) 0 or 1.

    Equals scikit-learn's ``average_precision_score``. A random order has the share of true ones.
    """
    true = np.asarray(true, dtype=float)
    if not true.sum():
        return float("nan")
    taken, found = _steps(np.asarray(score, dtype=float), true)
    return float((np.diff(found, prepend=0) * found / taken).sum() / true.sum())


def ndcg(score: np.ndarray, true: np.ndarray, *, k: int) -> float:
    """NDCG at ``k``: sum of [true] / log2(place + 1) over the first k, over what the best order has; ties shared.

    Source: Järvelin and Kekäläinen 2002; ``sklearn.metrics.ndcg_score``. NaN where none is true.
    """
    true = np.asarray(true, dtype=float)
    k = min(k, len(true))
    if not true.sum() or not k:
        return float("nan")
    discount = 1 / np.log2(np.arange(2, k + 2))
    best = discount[: int(min(k, true.sum()))].sum()
    return float((_expected_true(np.asarray(score, dtype=float), true)[:k] * discount).sum() / best)


def enrichment(score: np.ndarray, true: np.ndarray, *, k: int) -> float:
    """Share of true ones among the first ``k``, over their share in all; ties shared. NaN where none is true."""
    true = np.asarray(true, dtype=float)
    k = min(k, len(true))
    if not true.sum() or not k:
        return float("nan")
    return float(_expected_true(np.asarray(score, dtype=float), true)[:k].mean() / true.mean())


def ranking_scores(score: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """All of them by name: ``auroc, aupr, ndcg@100, enrichment@100, ndcg@1000, enrichment@1000``."""
    score, true = np.asarray(score, dtype=float), np.asarray(true, dtype=float)
    found = {"auroc": auroc(score, true.astype(bool)), "aupr": aupr(score, true)}
    for k in TOP:
        found |= {f"ndcg@{k}": ndcg(score, true, k=k), f"enrichment@{k}": enrichment(score, true, k=k)}
    return found
