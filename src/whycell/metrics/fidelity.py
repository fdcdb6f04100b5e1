"""Is an explanation true? Checks that ask the model itself, or another explanation, and no one's eye.

Completeness, agreement with in-silico perturbation, randomised weights, stability; the curves of deletion and insertion
are those of :mod:`whycell.metrics.curves` and are offered here too.

What these names mean in every function here:

values, scores
    (n, ...) contributions as an explanation gives them, one row a sample: positive speaks for the output.
groups
    (n,) donor of each sample.
top
    How many of the highest scores count as the top.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

from whycell.errors import UsageError
from whycell.metrics.curves import RANDOM, Curve, compare_curves, deletion_curve, insertion_curve, random_scores

__all__ = [
    "RANDOM",
    "Completeness",
    "Curve",
    "SanityCheck",
    "Stability",
    "compare_curves",
    "completeness",
    "deletion_curve",
    "group_stability",
    "insertion_curve",
    "mean_by_group",
    "random_scores",
    "rank_agreement",
    "sanity_check",
    "stability",
    "top_overlap",
]


@dataclass(frozen=True)
class Completeness:
    """Whether contributions add up to the difference that they explain.

    Parameters
    ----------
    residual
        (n,) difference explained minus the sum of the contributions.
    spread
        Standard deviation of the differences, the scale that residuals are judged on; 1 where all are equal.
    median, worst
        Of the residuals' sizes, in units of ``spread``.
    """

    residual: np.ndarray
    spread: float
    median: float
    worst: float


@dataclass(frozen=True)
class SanityCheck:
    """How much an explanation resembles that of models which have learned nothing.

    Parameters
    ----------
    correlation
        (draws,) mean over samples of the rank correlation with each randomised model's scores.
    absolute
        (draws,) the same of the scores' sizes, which stay alike where the input alone decides them.
    limit
        What the mean of ``correlation`` must stay under, in size.
    passed
        Whether it does.
    """

    correlation: np.ndarray
    absolute: np.ndarray
    limit: float
    passed: bool


@dataclass(frozen=True)
class Stability:
    """Agreement of scores that were made with different references, seeds or donors.

    Parameters
    ----------
    correlation
        (n,) mean rank correlation over all pairs.
    overlap
        (n,) mean share of the ``top`` features in common over all pairs.
    top
        How many features count as the top.
    """

    correlation: np.ndarray
    overlap: np.ndarray
    top: int


def completeness(values: Any, difference: Any) -> Completeness:
    """Summation to delta: sum_i C_i = f(x) - f(reference) (Shrikumar et al., ICML 2017).

    Parameters
    ----------
    values
        (n, ...), summed over all axes but the first.
    difference
        (n,) f(x) - f(reference), the mean over references where there are several.
    """
    difference = np.asarray(difference, dtype=np.float64)
    residual = difference - _rows(values).sum(axis=1)
    spread = float(difference.std()) if len(difference) else 0.0
    spread = spread if spread > 0 else 1.0
    size = np.abs(residual) / spread
    middle, most = (float(np.median(size)), float(size.max())) if len(size) else (float("nan"), float("nan"))
    return Completeness(residual, spread, middle, most)


def rank_agreement(first: Any, second: Any) -> np.ndarray:
    """(n,) Spearman's rank correlation of two arrays of scores, sample by sample; ties get their mean rank.

    Features where both are zero are left out: they are those that a sample does not have. NaN where fewer than three
    features are left or one side is constant. Agreement with in-silico perturbation is this, with its values as
    ``second``.

    Parameters
    ----------
    first, second
        (n, ...) of one shape.
    """
    first, second = _rows(first), _rows(second)
    if first.shape != second.shape:
        msg = f"scores of shapes {first.shape} and {second.shape}: wanted the same samples and features in both"
        raise UsageError(msg)
    return np.array([_spearman(a, b) for a, b in zip(first, second, strict=True)])


def top_overlap(first: Any, second: Any, *, top: int = 10) -> np.ndarray:
    """(n,) share of the ``top`` highest features of ``first`` that are among those of ``second``; both (n, ...)."""
    first, second = _rows(first), _rows(second)
    top = min(top, first.shape[1])
    one, other = (np.argsort(-each, axis=1, kind="stable")[:, :top] for each in (first, second))
    return np.array([len(np.intersect1d(a, b)) / top for a, b in zip(one, other, strict=True)])


def sanity_check(
    scores: Any, randomised: Callable[[int], Any], *, draws: int = 3, limit: float = 0.5, seed: int = 0
) -> SanityCheck:
    """Adebayo et al. (NeurIPS 2018): scores that stay the same when the weights are shuffled explain no model.

    Parameters
    ----------
    randomised
        Takes a seed and gives the scores of a model of the same form with shuffled weights, for the same inputs.
    draws
        Randomised models, with seeds ``seed``, ``seed + 1``, ...
    limit
        Mean correlation, in size, at which the check fails. Half is a convention; the number itself is what to read.
    """
    others = [np.asarray(randomised(seed + draw)) for draw in range(draws)]
    correlation = np.array([_mean(rank_agreement(scores, other)) for other in others])
    absolute = np.array([_mean(rank_agreement(np.abs(scores), np.abs(other))) for other in others])
    return SanityCheck(correlation, absolute, limit, bool(abs(_mean(correlation)) < limit))


def stability(scores: Any, *, top: int = 10) -> Stability:
    """Do scores agree that were made in several ways?

    Parameters
    ----------
    scores
        (r, n, ...) one array a reference or seed, r at least 2.
    """
    if len(scores) < 2:
        msg = f"{len(scores)} array of scores: wanted two at least, to see whether they agree"
        raise UsageError(msg)
    pairs = list(combinations(scores, 2))
    correlation = np.mean([rank_agreement(a, b) for a, b in pairs], axis=0)
    overlap = np.mean([top_overlap(a, b, top=top) for a, b in pairs], axis=0)
    return Stability(correlation, overlap, top)


def mean_by_group(values: Any, groups: Any) -> tuple[np.ndarray, np.ndarray]:
    """(g, ...) mean contributions of each group, and (g,) the groups' names in sorted order."""
    names, codes = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    values = np.asarray(values, dtype=np.float64)
    sums = np.zeros((len(names), *values.shape[1:]))
    np.add.at(sums, codes, values)
    return sums / np.bincount(codes).reshape(-1, *[1] * (values.ndim - 1)), names


def group_stability(values: Any, groups: Any, *, top: int = 10) -> Stability:
    """Do donors agree? :func:`stability` of the groups' mean contributions; its arrays have one element."""
    means, _ = mean_by_group(values, groups)
    return stability(means[:, None], top=top)


def _rows(values: Any) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    return array.reshape(len(array), -1)


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    held = (a != 0) | (b != 0)
    if held.sum() < 3:
        return float("nan")
    one, other = stats.rankdata(a[held]), stats.rankdata(b[held])
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])


def _mean(values: np.ndarray) -> float:
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")
