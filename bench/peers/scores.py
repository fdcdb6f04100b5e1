"""Small, plain scores, written apart from the package so that the bench does not mark its own homework."""

from __future__ import annotations

import numpy as np
from scipy import stats
from sklearn.metrics import f1_score, roc_auc_score

__all__ = ["accuracy", "auroc", "ece", "ece_floor", "macro_f1", "paired_interval", "pooled_ece_difference", "rounded"]


def accuracy(truth: np.ndarray, called: np.ndarray) -> float:
    """Share of cells whose leaf is the truth."""
    return float(np.mean(truth == called))


def macro_f1(truth: np.ndarray, called: np.ndarray) -> float:
    """Mean F1 over the classes that the truth holds."""
    return float(f1_score(truth, called, labels=np.unique(truth), average="macro", zero_division=0))


def ece(confidence: np.ndarray, right: np.ndarray, *, bins: int = 15) -> float:
    """Top-label expected calibration error, equal-width bins."""
    place = np.minimum((np.asarray(confidence, float) * bins).astype(int), bins - 1)
    gap = np.bincount(place, weights=np.asarray(confidence, float) - right, minlength=bins)
    return float(np.abs(gap).sum() / len(place))


def ece_floor(confidence: np.ndarray, *, bins: int = 15, draws: int = 200, seed: int = 0) -> float:
    """Mean ECE if these very confidences were the true chances of being right: what noise alone gives."""
    rng = np.random.default_rng(seed)
    return float(np.mean([ece(confidence, rng.random(len(confidence)) < confidence, bins=bins) for _ in range(draws)]))


def auroc(novelty: np.ndarray, is_new: np.ndarray) -> float:
    """Chance that a new cell scores above a known one."""
    return float(roc_auc_score(is_new, novelty))


def paired_interval(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """Mean of the per-group differences ours - theirs with its 95 % t interval."""
    d = np.asarray(ours, float) - np.asarray(theirs, float)
    half = float(stats.t.ppf(0.975, len(d) - 1) * d.std(ddof=1) / np.sqrt(len(d)))
    return {"difference": float(d.mean()), "low": float(d.mean() - half), "high": float(d.mean() + half), "n": len(d)}


def pooled_ece_difference(
    ours: np.ndarray, ours_right: np.ndarray, theirs: np.ndarray, theirs_right: np.ndarray, groups: np.ndarray
) -> dict[str, float]:
    """Pooled ECE of theirs - ours (more is better for us), its 95 % interval by the jackknife over groups.

    ECE of one donor is mostly noise of few cells a bin; the pooled one is what is meant, so groups are left out in
    turn and the pseudo-values get the t interval.
    """
    names = np.unique(groups)
    n = len(names)

    def gap(keep: np.ndarray) -> float:
        return ece(theirs[keep], theirs_right[keep]) - ece(ours[keep], ours_right[keep])

    whole = gap(np.ones(len(groups), bool))
    pseudo = np.array([n * whole - (n - 1) * gap(groups != name) for name in names])
    half = float(stats.t.ppf(0.975, n - 1) * pseudo.std(ddof=1) / np.sqrt(n))
    return {"difference": whole, "low": whole - half, "high": whole + half, "n": n}


def rounded(value: object, digits: int = 4) -> object:
    """The same structure with plain floats of a few digits, for JSON that is read by people."""
    if isinstance(value, dict):
        return {key: rounded(each, digits) for key, each in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [rounded(each, digits) for each in value]
    if isinstance(value, (float, np.floating)):
        return round(float(value), digits)
    return str(value) if isinstance(value, np.str_) else value
