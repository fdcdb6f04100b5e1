"""How sure a score is: intervals over donors or studies, never over cells.

Cells of one donor resemble each other, so ten thousand of them from three donors are three observations. Everything
here resamples *groups*. Scores that are functions of sums are resampled from one row of sums a group
(:func:`bootstrap_sums`), which costs nothing; the others are worked out again on the drawn cells
(:func:`bootstrap_cells`).

*Few groups.* The percentile interval is too narrow with few groups: it misses the factor n / (n - 1) of the variance
and uses the normal's tail instead of Student's. The quantiles are therefore
taken further out, at Phi(-sqrt(n / (n - 1)) t(1 - a/2, n - 1)) instead of a/2: Hesterberg's expanded percentile
interval (The American Statistician 2015), which for a mean gives the width of the t-interval and keeps the
percentile's shape for scores near 1 (measured at 8 donors: it covers 94 % where the plain one covers 88 %). Under five
groups no resampling is to be believed; :data:`FEW_GROUPS` is where reports warn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from whycell.errors import GroupError

__all__ = [
    "FEW_GROUPS",
    "Interval",
    "bootstrap_cells",
    "bootstrap_sums",
    "draw_groups",
    "expanded_quantiles",
    "interval_of",
    "paired_cells",
    "paired_sums",
    "t_interval",
]

#: With fewer groups than this an interval is shown with a warning.
FEW_GROUPS = 5

Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Interval:
    """A score and where it would lie on other donors.

    Parameters
    ----------
    value
        The score on everything together.
    low, high
        Ends of the interval; NaN with fewer than two groups.
    n_groups
        Groups resampled.
    """

    value: float
    low: float
    high: float
    n_groups: int


def expanded_quantiles(n_groups: int, *, level: float = 0.95) -> tuple[float, float]:
    """The two quantiles to read of the bootstrap distribution over ``n_groups`` groups (see the module's head)."""
    if n_groups < 2:
        return float("nan"), float("nan")
    tail = stats.t.ppf(0.5 + level / 2, n_groups - 1) * np.sqrt(n_groups / (n_groups - 1))
    low = float(stats.norm.cdf(-tail))
    return low, 1 - low


def bootstrap_sums(
    sums: np.ndarray, statistic: Statistic, *, level: float = 0.95, draws: int = 4000, seed: int = 0
) -> Interval:
    """Interval of a score that is a function of sums.

    Parameters
    ----------
    sums
        (n_groups, s) what each group adds.
    statistic
        Takes (m, s) sums and gives (m,) scores, NaN where undefined.

    Returns
    -------
    The score on the sum of all rows, and the interval over resampled groups. Draws in which the score is undefined are
    left out.
    """
    value = float(statistic(sums.sum(axis=0, keepdims=True))[0])
    return interval_of(value, _resampled(sums, statistic, draws, seed), len(sums), level)


def paired_sums(
    first: np.ndarray,
    second: np.ndarray,
    statistic: Statistic,
    *,
    level: float = 0.95,
    draws: int = 4000,
    seed: int = 0,
) -> Interval:
    """Interval of ``statistic(first) - statistic(second)``, both on the same resampled groups, row by row.

    ``first`` and ``second`` (n_groups, s) must list the same groups in the same order.
    """
    if len(first) != len(second):
        msg = f"{len(first)} and {len(second)} groups: wanted the same groups on both sides, for the pairs"
        raise GroupError(msg)
    both = (statistic(x.sum(axis=0, keepdims=True))[0] for x in (first, second))
    value = float(next(both) - next(both))
    gaps = _resampled(first, statistic, draws, seed) - _resampled(second, statistic, draws, seed)
    return interval_of(value, gaps, len(first), level)


def bootstrap_cells(
    groups: Any, statistic: Callable[[np.ndarray], float], *, level: float = 0.95, draws: int = 200, seed: int = 0
) -> Interval:
    """Interval of any score: ``statistic`` is given the rows of the drawn groups, a group twice where drawn twice.

    ``groups`` (n,) names the group of every cell. Costs ``draws`` evaluations.
    """
    rows = _rows_by_group(groups)
    value = float(statistic(np.arange(len(np.asarray(groups)))))
    if len(rows) < 2:
        return Interval(value, float("nan"), float("nan"), len(rows))
    drawn = draw_groups(len(rows), draws, seed)
    found = [statistic(np.concatenate([rows[g] for g in np.repeat(np.arange(len(rows)), times)])) for times in drawn]
    return interval_of(value, np.array(found), len(rows), level)


def paired_cells(
    groups: Any,
    first: Callable[[np.ndarray], float],
    second: Callable[[np.ndarray], float],
    *,
    level: float = 0.95,
    draws: int = 200,
    seed: int = 0,
) -> Interval:
    """Interval of ``first(rows) - second(rows)``, both on the same resampled groups; see :func:`bootstrap_cells`."""
    return bootstrap_cells(groups, lambda rows: first(rows) - second(rows), level=level, draws=draws, seed=seed)


def t_interval(values: Any, *, level: float = 0.95) -> Interval:
    """Mean of one value a group, with Student's interval: mean +- t s / sqrt(n); NaN ends with fewer than two.

    NaN values are left out. For scores and differences that exist donor by donor this is the reference: exact where the
    donors' values are normal, close to exact elsewhere, at any number of donors.
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    n = len(values)
    mean = float(values.mean()) if n else float("nan")
    if n < 2:
        return Interval(mean, float("nan"), float("nan"), n)
    half = float(stats.t.ppf(0.5 + level / 2, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def draw_groups(n_groups: int, draws: int, seed: int = 0) -> np.ndarray:
    """(draws, n_groups) how often each group is drawn; the same for the same seed, hence pairs."""
    return np.random.default_rng(seed).multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=draws)


def _resampled(sums: np.ndarray, statistic: Statistic, draws: int, seed: int) -> np.ndarray:
    if len(sums) < 2:
        return np.full(1, np.nan)
    times = draw_groups(len(sums), draws, seed).astype(np.float64)
    parts = np.array_split(times, max(1, draws * sums.shape[1] // 4_000_000 + 1))
    return np.concatenate([statistic(part @ sums) for part in parts])


def interval_of(value: float, draws: np.ndarray, n_groups: int, level: float = 0.95) -> Interval:
    """The interval around ``value``, read off scores of ``n_groups`` resampled groups; NaN draws are left out."""
    draws = draws[~np.isnan(draws)]
    if n_groups < 2 or not len(draws):
        return Interval(value, float("nan"), float("nan"), n_groups)
    low, high = np.quantile(draws, expanded_quantiles(n_groups, level=level))
    return Interval(value, float(low), float(high), n_groups)


def _rows_by_group(groups: Any) -> list[np.ndarray]:
    _, codes = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1) if len(order) else []
