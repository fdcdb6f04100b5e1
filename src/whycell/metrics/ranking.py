"""How far down the list the truth stands, and hop-F1 on scores for every term."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from whycell.metrics.tree import TermTree

__all__ = ["hop_f1", "hop_f1_each", "mrr_at_k", "ndcg_at_k", "ranks", "recall_at_k"]


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
    masks: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}
    total, n = np.zeros(hops + 1), 0
    for scores, truth in blocks:
        codes = tree.codes(truth)
        usable = tree.usable(codes)
        n += int(usable.sum())
        each = hop_f1_each(scores[usable], codes[usable], columns, tree=tree, hops=hops, masks=masks)
        total += each.sum(axis=0)
    return np.asarray(total / n) if n else np.full(hops + 1, np.nan)


def hop_f1_each(
    scores: np.ndarray,
    truth: np.ndarray,
    columns: np.ndarray,
    *,
    tree: TermTree,
    hops: int = 4,
    masks: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]],
) -> np.ndarray:
    """(n, hops + 1) hop-F1 of every cell; see :func:`hop_f1`.

    ``truth`` (n,) and ``columns`` (m,) are codes. ``masks`` keeps, from block to block, which of the columns are near a
    truth and which are foreign to it; hand in the same dict for the same columns.
    """
    found = np.zeros((len(truth), hops + 1))
    for code in np.unique(truth).tolist():
        rows = truth == code
        own = scores[rows]
        for k in range(hops + 1):
            if (code, k) not in masks:
                near, exempt = _neighbourhood(code, k, tree)
                masks[code, k] = np.flatnonzero(near[columns]), np.flatnonzero((~exempt & ~tree.stop)[columns])
            hit, false = (own[:, part].max(axis=1, initial=0.0).astype(np.float64) for part in masks[code, k])
            precision = np.divide(hit, hit + false, out=np.zeros_like(hit), where=hit > 0)
            sums = precision + hit
            found[rows, k] = np.divide(2 * precision * hit, sums, out=np.zeros_like(hit), where=hit > 0)
    return found


def _neighbourhood(code: int, k: int, tree: TermTree) -> tuple[np.ndarray, np.ndarray]:
    """(n_terms,) masks: within k steps of the term, and above or below anything that is."""
    near = np.zeros(len(tree.ids), dtype=bool)
    for way in (tree.steps, tree.downwards):
        part = slice(way.indptr[code], way.indptr[code + 1])
        near[way.indices[part][way.data[part] <= k + 1]] = True
    near &= ~tree.stop
    around = np.zeros(len(tree.ids), dtype=bool)
    for way in (tree.steps, tree.downwards):
        for one in np.flatnonzero(near):
            around[way.indices[way.indptr[one] : way.indptr[one + 1]]] = True
    return near, around
