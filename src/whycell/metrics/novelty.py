"""Does the novelty score tell unseen types from seen ones?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from whycell.errors import UsageError

__all__ = ["Novelty", "auroc", "fpr_at_tpr", "leave_types_out", "novelty_scores"]


@dataclass(frozen=True)
class Novelty:
    """How well one left-out set of types was told from the rest.

    Parameters
    ----------
    left_out
        The classes that training did not see.
    auroc, fpr95
        Over held-out cells, novel against seen.
    n_novel, n_seen
        Cells of each kind.
    """

    left_out: tuple[str, ...]
    auroc: float
    fpr95: float
    n_novel: int
    n_seen: int


def auroc(score: Any, novel: Any) -> float:
    """Chance that a novel cell scores above a seen one, ties counting half; NaN where either kind is missing.

    Source: Mann and Whitney 1947; ``sklearn.metrics.roc_auc_score``.
    """
    novel = np.asarray(novel, dtype=bool)
    positives, negatives = int(novel.sum()), int((~novel).sum())
    if not positives or not negatives:
        return float("nan")
    order = rankdata(np.asarray(score, dtype=np.float64))
    return float((order[novel].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def fpr_at_tpr(score: Any, novel: Any, *, tpr: float = 0.95) -> float:
    """Share of seen cells flagged at the highest threshold that still flags ``tpr`` of the novel ones (FPR95).

    Lower is better. NaN where either kind is missing. Source: Hendrycks and Gimpel 2017.
    """
    score, novel = np.asarray(score, dtype=np.float64), np.asarray(novel, dtype=bool)
    if novel.all() or not novel.any():
        return float("nan")
    wanted = np.sort(score[novel])[::-1]
    threshold = wanted[int(np.ceil(tpr * len(wanted) - 1e-9)) - 1]
    return float((score[~novel] >= threshold).mean())


def novelty_scores(score: Any, labels: Any, left_out: Iterable[str]) -> Novelty:
    """AUROC and FPR95 of ``score`` (n,) for telling cells whose label was left out of training from the others.

    ``labels`` (n,) of all cells; ``left_out`` those that training did not see.
    """
    left_out = tuple(sorted(left_out))
    novel = np.isin(np.asarray(labels).astype(object), left_out)
    return Novelty(left_out, auroc(score, novel), fpr_at_tpr(score, novel), int(novel.sum()), int((~novel).sum()))


def leave_types_out(
    score_with: Callable[[np.ndarray, np.ndarray], np.ndarray],
    labels: Any,
    train: np.ndarray,
    test: np.ndarray,
    *,
    types: Iterable[Iterable[str]] | None = None,
) -> Iterator[Novelty]:
    """The protocol: train without a type, ask for novelty on donors that training did not see either.

    Parameters
    ----------
    score_with
        Takes rows to train on and rows to score, returns (n_scored,) novelty, larger is more novel.
    labels
        (n,) class of every cell.
    train, test
        Rows of disjoint donors.
    types
        Sets of classes to leave out together; each class of the training rows in turn where not given.

    Scoring cells of the training donors would flatter: their seen types are then familiar cell by cell.
    """
    labels = np.asarray(labels).astype(object)
    if np.intersect1d(train, test).size:
        msg = "rows to train on and rows to test on overlap; wanted disjoint donors. Make them with make_split."
        raise UsageError(msg)
    for left_out in [[one] for one in np.unique(labels[train])] if types is None else types:
        names = tuple(left_out)
        kept = train[~np.isin(labels[train], names)]
        if not len(kept):
            msg = f"leaving out {names} leaves no cell to train on; leave out fewer types"
            raise UsageError(msg)
        yield novelty_scores(score_with(kept, test), labels[test], names)
