"""Is a confidence of .9 right nine times in ten? Calibration errors and their noise floor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

__all__ = [
    "N_BINS",
    "adaptive_ece",
    "bin_of",
    "brier",
    "ece",
    "ece_from_bins",
    "ece_noise_floor",
    "log_loss",
    "of_truth",
    "reliability_table",
]

#: Bins of every calibration error, as in the literature.
N_BINS = 15


def bin_of(confidence: Any, *, n_bins: int = N_BINS) -> np.ndarray:
    """(n,) the equal-width bin of every confidence: bin b holds (b / n_bins, (b + 1) / n_bins], the first also 0."""
    at = np.ceil(np.asarray(confidence, dtype=np.float64) * n_bins).astype(np.int64) - 1
    return np.asarray(np.clip(at, 0, n_bins - 1))


def ece_from_bins(count: np.ndarray, confidence: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """ECE from sums over bins (last axis): sum_b |correct_b - confidence_b| / sum_b count_b; NaN without cells.

    ``count`` cells of every bin, ``confidence`` and ``correct`` summed over them.
    """
    total = np.asarray(count.sum(axis=-1), dtype=np.float64)
    gap = np.abs(correct - confidence).sum(axis=-1)
    return np.asarray(np.divide(gap, total, out=np.full(np.shape(total), np.nan), where=total > 0))


def ece(confidence: Any, correct: Any, *, n_bins: int = N_BINS) -> float:
    """Top-label expected calibration error with bins of equal width: sum_b n_b / n |accuracy_b - confidence_b|.

    Parameters
    ----------
    confidence
        (n,) in 0..1.
    correct
        (n,) bool.

    Source: Naeini et al. 2015, Guo et al. 2017 (15 bins). It is biased upwards on few cells: read it beside
    :func:`ece_noise_floor`. NaN for no cells.
    """
    table = reliability_table(confidence, correct, n_bins=n_bins)
    n = table["n"].to_numpy(dtype=np.float64)
    return float(ece_from_bins(n, n * _filled(table["confidence"]), n * _filled(table["accuracy"])))


def adaptive_ece(confidence: Any, correct: Any, *, n_bins: int = N_BINS) -> float:
    """ECE with bins of equal mass, so that the many cells near 1 are told apart.

    Cells sorted by confidence are cut into ``n_bins`` runs whose sizes differ by at most one. Cells that tie are
    spread over their runs alike: each takes the mean correctness of its tie, so that the order of the rows cannot
    change the score. Source: Nixon et al. 2019. NaN for no cells.
    """
    confidence = np.asarray(confidence, dtype=np.float64)
    if not len(confidence):
        return float("nan")
    order = np.argsort(confidence, kind="stable")
    confidence, correct = confidence[order], np.asarray(correct, dtype=np.float64)[order]
    _, tie = np.unique(confidence, return_inverse=True)
    correct = (np.bincount(tie, weights=correct) / np.bincount(tie))[tie]
    parts = np.array_split(correct - confidence, min(n_bins, len(confidence)))
    return float(sum(abs(part.sum()) for part in parts) / len(confidence))


def ece_noise_floor(confidence: Any, *, n_bins: int = N_BINS, draws: int = 200, seed: int = 0) -> float:
    """The ECE that a perfectly calibrated model with these confidences would show by chance.

    The mean over ``draws`` of the ECE of correct_i ~ Bernoulli(confidence_i); an ECE at or below it cannot be told from
    perfect. The count of hits of a bin is drawn as a normal of the same mean and variance where the bin holds over
    1,000 cells, exactly otherwise. NaN for no cells. Source: the consistency resampling of Broecker and Smith 2007.
    """
    confidence = np.asarray(confidence, dtype=np.float64)
    if not len(confidence):
        return float("nan")
    rng = np.random.default_rng(seed)
    bins = bin_of(confidence, n_bins=n_bins)
    gaps = np.zeros(draws)
    for b in np.unique(bins):
        chance = np.clip(confidence[bins == b], 0, 1)
        if len(chance) > 1000:
            spread = np.sqrt((chance * (1 - chance)).sum())
            gaps += np.abs(rng.normal(0, spread, draws))
        else:
            gaps += np.abs((rng.random((draws, len(chance))) < chance).sum(axis=1) - chance.sum())
    return float(gaps.mean() / len(confidence))


def reliability_table(confidence: Any, correct: Any, *, n_bins: int = N_BINS) -> pd.DataFrame:
    """One row a bin of equal width: ``low, high, n, confidence, accuracy``; the two means are NaN in an empty bin."""
    confidence = np.asarray(confidence, dtype=np.float64)
    at = bin_of(confidence, n_bins=n_bins)
    n = np.bincount(at, minlength=n_bins)
    sums = [np.bincount(at, weights=w, minlength=n_bins) for w in (confidence, np.asarray(correct, dtype=np.float64))]
    edges = np.linspace(0, 1, n_bins + 1)
    with np.errstate(invalid="ignore"):
        means = [s / n for s in sums]
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "n": n, "confidence": means[0], "accuracy": means[1]})


def brier(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Multi-class Brier score: mean over cells of sum_k (p_k - [k is the truth])^2, in 0..2; NaN for no cells.

    ``probabilities`` (n, k), ``truth`` (n,) column of the true class, -1 where the truth is no column: all
    probability is then on something wrong. Source: Brier 1950; scikit-learn's ``brier_score_loss`` without halving.
    """
    if not len(truth):
        return float("nan")
    return float((np.square(probabilities).sum(axis=1) + 1 - 2 * of_truth(probabilities, truth)).mean())


def log_loss(probabilities: np.ndarray, truth: np.ndarray, *, least: float = 1e-15) -> float:
    """Negative log-likelihood of the truth, mean over cells, in nats; a probability under ``least`` counts as that.

    ``truth`` as in :func:`brier`. Source: ``sklearn.metrics.log_loss``. NaN for no cells.
    """
    return float(-np.log(np.maximum(of_truth(probabilities, truth), least)).mean()) if len(truth) else float("nan")


def of_truth(values: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(n,) the entry of ``values`` (n, k) in the column of the truth (-1: no column), 0 where it is no column."""
    return np.where(truth >= 0, values[np.arange(len(truth)), np.maximum(truth, 0)], 0.0)


def _filled(column: pd.Series) -> np.ndarray:
    return column.fillna(0).to_numpy(dtype=np.float64)
