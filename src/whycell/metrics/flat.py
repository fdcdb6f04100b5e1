"""Scores that do not know the hierarchy: accuracy and F1 over classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from whycell.errors import LabelError

__all__ = ["ClassCounts", "accuracy", "class_counts", "class_table", "f1_scores", "macro_f1", "weighted_f1"]


@dataclass(frozen=True)
class ClassCounts:
    """Hits and misses of every class, in every group.

    Parameters
    ----------
    classes
        (k,) every class that is a truth or a prediction, sorted.
    groups
        (g,) names of the groups; one empty name where none were given.
    hits, support, predicted
        (g, k) cells that are right, that are of the class, that were called it.
    """

    classes: np.ndarray
    groups: np.ndarray
    hits: np.ndarray
    support: np.ndarray
    predicted: np.ndarray


def class_counts(truth: Any, predicted: Any, *, groups: Any | None = None) -> ClassCounts:
    """Count hits, support and predictions by class and by group.

    Parameters
    ----------
    truth, predicted
        (n,) classes; ``""`` as a prediction is a miss that accuses no class.
    groups
        (n,) donor or study of each cell.
    """
    truth, predicted = _column(truth), _column(predicted)
    if len(truth) != len(predicted):
        msg = f"{len(truth)} truths and {len(predicted)} predictions: wanted one prediction for every truth"
        raise LabelError(msg)
    names = pd.Index(truth).append(pd.Index(predicted))
    both, classes = pd.factorize(names, sort=True)
    t, p = both[: len(truth)], both[len(truth) :]
    group_of, group_names = _grouped(groups, len(truth))
    k, g = len(classes), len(group_names)

    def count(which: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return np.bincount(group_of[rows] * k + which[rows], minlength=g * k).reshape(g, k)

    everything = np.arange(len(t))
    counts = ClassCounts(
        np.asarray(classes, dtype=object),
        group_names,
        count(t, np.flatnonzero(t == p)),
        count(t, everything),
        count(p, everything),
    )
    if "" not in counts.classes:
        return counts
    keep = counts.classes != ""
    return ClassCounts(
        counts.classes[keep],
        counts.groups,
        counts.hits[:, keep],
        counts.support[:, keep],
        counts.predicted[:, keep],
    )


def f1_scores(hits: np.ndarray, support: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """F1 = 2 hits / (support + predicted), 0 where both are 0; any shape."""
    total = support + predicted
    return np.asarray(np.divide(2 * hits, total, out=np.zeros(np.shape(total), dtype=np.float64), where=total > 0))


def accuracy(truth: Any, predicted: Any) -> float:
    """Share of cells whose prediction equals the truth; NaN for no cells.

    Source: ``sklearn.metrics.accuracy_score``.
    """
    truth, predicted = _column(truth), _column(predicted)
    return float((truth == predicted).mean()) if len(truth) else float("nan")


def macro_f1(truth: Any, predicted: Any) -> float:
    """Mean F1 over the classes that are somewhere the truth; NaN for no cells.

    Classes that are only predicted take no part in the mean (they already cost precision to nobody but themselves, and
    averaging over absent classes makes the score depend on the class list): :func:`class_table` counts them. Equals
    scikit-learn's ``f1_score(average="macro", labels=np.unique(truth), zero_division=0)``.
    """
    return _averaged(class_counts(truth, predicted), weighted=False)


def weighted_f1(truth: Any, predicted: Any) -> float:
    """Mean F1 over the classes with support, weighted by support; NaN for no cells.

    Equals scikit-learn's ``f1_score(average="weighted", zero_division=0)``.
    """
    return _averaged(class_counts(truth, predicted), weighted=True)


def class_table(truth: Any, predicted: Any) -> pd.DataFrame:
    """One row a class: ``class, support, predicted, precision, recall, f1``.

    Classes with ``support`` 0 are spurious predictions. Precision of a class never predicted, and recall of one without
    support, are NaN: there was nothing to be right about.
    """
    counts = class_counts(truth, predicted)
    hits, support, called = counts.hits.sum(0), counts.support.sum(0), counts.predicted.sum(0)
    with np.errstate(invalid="ignore"):
        precision, recall = hits / called, hits / support
    return pd.DataFrame(
        {
            "class": counts.classes,
            "support": support,
            "predicted": called,
            "precision": precision,
            "recall": recall,
            "f1": f1_scores(hits, support, called),
        }
    )


def _averaged(counts: ClassCounts, *, weighted: bool) -> float:
    support = counts.support.sum(0)
    scores = f1_scores(counts.hits.sum(0), support, counts.predicted.sum(0))
    if not support.any():
        return float("nan")
    return float(np.average(scores, weights=support if weighted else support > 0))


def _column(values: Any) -> np.ndarray:
    return np.asarray(values).astype(object)


def _grouped(groups: Any | None, n: int) -> tuple[np.ndarray, np.ndarray]:
    if groups is None:
        return np.zeros(n, dtype=np.int64), np.array([""], dtype=object)
    codes, names = pd.factorize(_column(groups), sort=True)
    return codes, np.asarray(names, dtype=object)
