"""How far down the list the truth stands, and hop-F1 on scores for every term."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from whycell.metrics.tree import TermTree

__all__ = ["hop_f1", "mrr_at_k", "ndcg_at_k", "ranks", "recall_at_k"]


def ranks(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(n,) rank of the truth among the k scores of its row, from 1; infinity where the truth is no column (-1).

    Ties are resolved against the model: a truth that ties with others comes last among them, so that constant scores
    earn nothing.
    """
    own = scores[np.arange(len(truth)), np.maximum(truth, 0)]
    return np.where(truth >= 0, (scores >= own[:, None]).sum(axis=1), np.inf)


def recall_at_k(rank: np.ndarray, k: int) -> float:
    """Mean of [rank <= k]. Equals scikit-learn's ``top_k_accuracy_score`` where scores do not tie. NaN for no cells."""
    return float((rank <= k).mean()) if len(rank) else float("nan")


def mrr_at_k(rank: np.ndarray, k: int) -> float:
    """Mean reciprocal rank: mean of [rank <= k] / rank, rank from 1. NaN for no cells."""
    return float(np.where(rank <= k, 1 / rank, 0.0).mean()) if len(rank) else float("nan")


def ndcg_at_k(rank: np.ndarray, k: int) -> float:
    """Mean of [rank <= k] / log2(rank + 1). With one relevant class the ideal DCG is 1, so DCG and NDCG coincide.

    Equals scikit-learn's ``ndcg_score(k=k)`` where scores do not tie. NaN for no cells.
    """
    return float(np.where(rank <= k, 1 / np.log2(rank + 1), 0.0).mean()) if len(rank) else float("nan")


def hop_f1(blocks: Iterable[tuple[np.ndarray, np.ndarray]], terms: Any, *, tree: TermTree, hops: int = 4) -> np.ndarray:
    """(hops + 1,) hop-F1 for k = 0..hops, the mean over cells; NaN for no scored cells.

    Parameters
    ----------
    blocks
        Pairs of scores (n, m) in 0..1 and truths (n,) terms, read one block at a time.
    terms
        (m,) terms of the columns; a term without a column has score 0.

    ::

        N_k(y) = y, its ancestors and its descendants within k steps
        TP_k = max of s over N_k      FP_k = max of s over the terms outside A(N_k) and D(N_k)
        F1_k = 2 TP_k / (2 TP_k + FP_k + (1 - TP_k))

    with precision TP / (TP + FP), recall TP and F1 = 2 P R / (P + R), 0 where TP is 0. Stop-terms take no part. The
    score rewards confidence and is no probability; a term with many parents exempts more. Source: the benchmark of
    Cellarium CAS.
    """
    columns = tree.codes(terms)
    total, n = np.zeros(hops + 1), 0
    for scores, truth in blocks:
        codes = tree.codes(truth)
        usable = tree.usable(codes)
        n += int(usable.sum())
        for code in np.unique(codes[usable]):
            rows = scores[codes == code]
            for k in range(hops + 1):
                near, exempt = _neighbourhood(int(code), k, tree)
                hit = _largest(rows, near[columns])
                false = _largest(rows, (~exempt & ~tree.stop)[columns])
                precision = np.divide(hit, hit + false, out=np.zeros_like(hit), where=hit > 0)
                total[k] += np.divide(2 * precision * hit, precision + hit, out=np.zeros_like(hit), where=hit > 0).sum()
    return np.asarray(total / n) if n else np.full(hops + 1, np.nan)


def _neighbourhood(code: int, k: int, tree: TermTree) -> tuple[np.ndarray, np.ndarray]:
    """(n_terms,) masks: within k steps of the term, and above or below anything that is."""
    up = np.zeros(len(tree.ids), dtype=bool)
    row = tree.steps[code]
    up[row.indices[row.data <= k + 1]] = True
    column = tree.steps[:, code].tocoo()
    down = np.zeros(len(tree.ids), dtype=bool)
    down[column.row[column.data <= k + 1]] = True
    near = (up | down) & ~tree.stop
    above = np.asarray(tree.closure[near].sum(axis=0)).ravel() > 0
    below = np.asarray(tree.closure[:, near].sum(axis=1)).ravel() > 0
    return near, above | below


def _largest(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return np.asarray(rows[:, columns].max(axis=1, initial=0.0), dtype=np.float64)
