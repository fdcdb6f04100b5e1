"""What is gained by keeping silent: risk against coverage, and conformal sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from whycell.metrics.calibration import of_truth

__all__ = ["aurc", "aurc_of_sorted", "conformal_sets", "conformal_threshold", "risk_coverage"]


def risk_coverage(confidence: Any, correct: Any) -> pd.DataFrame:
    """The curve of errors among the most confident cells: ``threshold, coverage, risk``, one row a distinct confidence.

    Coverage is the share of cells with at least this confidence, risk the share of them that are wrong.
    """
    confidence = np.asarray(confidence, dtype=np.float64)
    order = np.argsort(-confidence, kind="stable")
    confidence, wrong = confidence[order], 1 - np.asarray(correct, dtype=np.float64)[order]
    last = np.append(confidence[1:] != confidence[:-1], True)[: len(order)]
    covered = np.arange(1, len(order) + 1)[last]
    return pd.DataFrame(
        {
            "threshold": confidence[last],
            "coverage": covered / max(len(order), 1),
            "risk": np.cumsum(wrong)[last] / covered,
        }
    )


def aurc(confidence: Any, correct: Any, *, weights: Any | None = None) -> float:
    """Area under the risk-coverage curve: the mean over k = 1..n of the risk among the k most confident cells.

    Cells that tie enter one by one with the mean error of their tie, which is the mean over all orders of the tie.
    Lower is better; a perfect order gives about (1 - accuracy)^2 / 2, none at all gives 1 - accuracy. NaN for no cells.
    ``weights`` (n,) counts a cell as so many. Source: Geifman and El-Yaniv 2017.
    """
    confidence = np.asarray(confidence, dtype=np.float64)
    if not len(confidence):
        return float("nan")
    order = np.argsort(-confidence, kind="stable")
    right = np.asarray(correct, dtype=np.float64)[order]
    times = np.ones(len(order)) if weights is None else np.asarray(weights, dtype=np.float64)[order]
    return float(aurc_of_sorted(confidence[order], right, times[None, :])[0])


def aurc_of_sorted(confidence: np.ndarray, correct: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(m,) AURC of cells sorted from the most confident down, under (m, n) weights; see :func:`aurc`."""
    tie = np.concatenate([[0], np.cumsum(np.diff(confidence) != 0)])
    starts = np.flatnonzero(np.diff(tie, prepend=-1))
    total = np.add.reduceat(weights, starts, axis=1)
    wrong = np.add.reduceat(weights * (1 - correct), starts, axis=1)
    share = np.divide(wrong, total, out=np.zeros_like(wrong), where=total > 0)[:, tie] * weights
    covered = np.cumsum(weights, axis=1)
    risk = np.divide(np.cumsum(share, axis=1), covered, out=np.zeros_like(covered), where=covered > 0)
    n = covered[:, -1]
    return np.asarray(np.divide((risk * weights).sum(axis=1), n, out=np.full(len(n), np.nan), where=n > 0))


def conformal_threshold(true_probability: Any, *, error: float = 0.1) -> float:
    """The probability down to which a class must be kept so that the truth is kept with chance 1 - ``error``.

    With scores 1 - ``true_probability`` (n,) on cells that training did not see, the threshold is 1 - the ceil((n +
    1)(1 - error))-th smallest score; 0 (keep everything) where n is too small for that. Source: split conformal
    prediction (Vovk 2005; the LAC score of Sadinle et al. 2019). Valid where new cells are exchangeable with these,
    which new donors are not quite: hence the coverage measured on held-out donors is what a report shows.
    """
    scores = np.sort(1 - np.asarray(true_probability, dtype=np.float64))
    rank = int(np.ceil((len(scores) + 1) * (1 - error) - 1e-9))
    return float(1 - scores[rank - 1]) if 0 < rank <= len(scores) else 0.0


def conformal_sets(probabilities: np.ndarray, truth: np.ndarray, *, threshold: float) -> tuple[float, float]:
    """Coverage (share of cells whose truth is kept) and mean size of the sets {k : p_k >= threshold}.

    ``truth`` as in :func:`whycell.metrics.calibration.brier`; a truth that is no class is never
    covered. NaN for no cells.
    """
    if not len(truth):
        return float("nan"), float("nan")
    kept = probabilities >= threshold - 1e-12
    return float((of_truth(kept, truth) > 0).mean()), float(kept.sum(axis=1).mean())
