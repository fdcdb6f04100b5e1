"""How right a network on DNA is on sequences held out, beside what a model that reads nothing would score."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from scipy.stats import spearmanr

from whycell.metrics.calibration import ece
from whycell.metrics.intervals import bootstrap_cells
from whycell.metrics.novelty import auroc
from whycell.metrics.pair_ranking import aupr
from whycell.metrics.profiles import halves, js_divergence
from whycell.models.sequence_data import Learnable

__all__ = ["class_scores", "count_scores", "held_out_scores", "platt", "profile_scores"]

_FEW_TASKS = 20
Statistic = Callable[[np.ndarray], float]


class _Asked(Protocol):
    kind: str
    seed: int

    def predict_proba(self, sequences: np.ndarray) -> np.ndarray: ...

    def predict_profile(self, sequences: np.ndarray) -> np.ndarray: ...


def held_out_scores(model: _Asked, given: Learnable, *, training: np.ndarray) -> dict[str, dict[str, Any]]:
    """By task, the scores of a trained model on the tenth that it never saw.

    Parameters
    ----------
    model
        The model.
    given
        What it was trained on, with what was held out.
    training
        Rows that it learned from, for the mean profile.
    """
    at = np.flatnonzero(given.fold == 1)
    rows, seed = given.rows[at], model.seed
    x, y = rows.with_shuffles(seed + 1)
    group = np.concatenate([given.copies[at], given.copies[at][rows.shuffled]])
    answers = model.predict_proba(x)
    draws = 200 if len(given.tasks) <= _FEW_TASKS else 50  # hundreds of tasks would take longer than the training
    found: dict[str, dict[str, Any]] = {}
    if model.kind == "profile":
        profiles, mean = model.predict_profile(x), np.nansum(given.rows.y[training], axis=0)
        for t, task in enumerate(given.tasks):
            found[task] = profile_scores(
                answers[:, t], profiles[:, t], y[:, t], group, mean_profile=mean[t], seed=seed, draws=draws
            )
        return found
    scores = class_scores if model.kind == "class" else count_scores
    for t, task in enumerate(given.tasks):
        found[task] = scores(answers[:, t], y[:, t], group, seed=seed, draws=draws)
    return found


def platt(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift of each task's log odds, by maximum likelihood on what was held out; Platt 1999.

    As there, a class of n sequences is taken for (n + 1) / (n + 2) sure, so that two positives above all else do not
    make certainty. A task whose known labels are of one class there keeps 1 and 0.

    Parameters
    ----------
    z
        (n, n_tasks) log odds.
    y
        (n, n_tasks) 0, 1 or NaN.
    """
    from sklearn.linear_model import LogisticRegression

    scale, shift = np.ones(z.shape[1], dtype=np.float32), np.zeros(z.shape[1], dtype=np.float32)
    for task in range(z.shape[1]):
        known = ~np.isnan(y[:, task])
        if len(np.unique(y[known, task])) == 2:
            own, true = z[known, task : task + 1].astype(np.float64), y[known, task] > 0
            sure = np.where(true, (true.sum() + 1) / (true.sum() + 2), 1 / ((~true).sum() + 2))
            both = np.repeat([1, 0], len(own))
            fitted = LogisticRegression(C=1e4).fit(
                np.concatenate([own, own]), both, sample_weight=np.concatenate([sure, 1 - sure])
            )
            scale[task], shift[task] = max(float(fitted.coef_[0, 0]), 1e-3), float(fitted.intercept_[0])
    return scale, shift


def class_scores(p: np.ndarray, y: np.ndarray, group: np.ndarray, *, seed: int, draws: int = 200) -> dict[str, Any]:
    """Of one task: AUROC and AUPRC with intervals over near copies, what a random order has, and calibration.

    Parameters
    ----------
    p
        (n,) probabilities.
    y
        (n,) 0, 1 or NaN.
    group
        (n,) near copies, which an interval draws together.
    seed, draws
        Of the intervals.

    Returns
    -------
    ``n``, ``positives``, ``auroc``, ``auprc`` (each with ``_low`` and ``_high``), ``auprc_random``: the share of ones,
    ``ece``, ``brier`` and ``brier_share``: of always answering that share. Only the counts where one class is missing.
    """
    known = ~np.isnan(y)
    score, true, group = p[known], y[known] > 0, group[known]
    found: dict[str, Any] = {"n": len(true), "positives": int(true.sum())}
    if true.all() or not true.any():
        return found
    found |= _with_interval("auroc", group, lambda at: auroc(score[at], true[at]), seed, draws)
    found |= _with_interval("auprc", group, lambda at: aupr(score[at], true[at]), seed, draws)
    share = float(true.mean())
    return found | {
        "auprc_random": share,
        "ece": ece(np.maximum(score, 1 - score), np.where(true, score > 0.5, score <= 0.5)),
        "brier": float(((score - true) ** 2).mean()),
        "brier_share": share * (1 - share),
    }


def count_scores(
    log_count: np.ndarray, counts: np.ndarray, group: np.ndarray, *, seed: int, draws: int = 200
) -> dict[str, Any]:
    """Of one task: Spearman's correlation of predicted and counted reads, with an interval over groups.

    Parameters
    ----------
    log_count
        (n,) predicted, on any scale that rises.
    counts
        (n,) reads, NaN where unknown.
    group, seed, draws
        As of ``class_scores``.
    """
    known = ~np.isnan(counts)
    score, true, group = log_count[known], counts[known], group[known]
    found: dict[str, Any] = {"n": len(true)}
    if len(np.unique(true)) < 2:
        return found
    return found | _with_interval("spearman", group, lambda at: _spearman(score[at], true[at]), seed, draws)


def profile_scores(
    log_count: np.ndarray,
    profile: np.ndarray,
    counted: np.ndarray,
    group: np.ndarray,
    *,
    mean_profile: np.ndarray,
    seed: int,
    draws: int = 200,
) -> dict[str, Any]:
    """Of one task: the counts, and how far profiles are from those counted.

    Parameters
    ----------
    log_count
        (n,) predicted.
    profile
        (n, out_length) predicted.
    counted
        (n, out_length) reads, NaN where unknown.
    group, seed, draws
        As of ``class_scores``.
    mean_profile
        (out_length,) of the training sequences: what a model would say that reads no letter.

    Returns
    -------
    Those of ``count_scores``, and mean Jensen-Shannon divergences in bits over sequences with reads: ``jsd`` of the
    prediction with an interval, ``jsd_mean_profile`` of the mean profile. Where counts are whole numbers also the
    noise: ``jsd_if_right``, what the prediction would have against as many reads drawn from itself; ``jsd_halves`` and
    ``spearman_halves`` of two pseudo-replicates, each of half the reads.
    """
    known = ~np.isnan(counted).any(axis=1)
    log_count, profile, counted, group = log_count[known], profile[known], counted[known], group[known]
    found = count_scores(log_count, counted.sum(axis=1), group, seed=seed, draws=draws)
    some = counted.sum(axis=1) > 0
    profile, counted = profile[some], counted[some]
    if not some.any():
        return found
    own = js_divergence(profile, counted)
    found |= _with_interval("jsd", group[some], lambda at: float(own[at].mean()), seed, draws)
    found["jsd_mean_profile"] = float(js_divergence(mean_profile[None], counted).mean())
    dealt = halves(counted, seed=seed)
    if dealt is not None:
        rng = np.random.default_rng(seed)
        p = profile.astype(np.float64)
        drawn = rng.multinomial(counted.sum(axis=1).round().astype(np.int64), p / p.sum(axis=1, keepdims=True))
        found["jsd_if_right"] = float(js_divergence(p, drawn).mean())
        found["jsd_halves"] = float(np.nanmean(js_divergence(*dealt)))
        found["spearman_halves"] = _spearman(dealt[0].sum(axis=1), dealt[1].sum(axis=1))
    return found


def _with_interval(name: str, group: np.ndarray, statistic: Statistic, seed: int, draws: int) -> dict[str, float]:
    found = bootstrap_cells(group, statistic, seed=seed, draws=draws)
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _spearman(one: np.ndarray, other: np.ndarray) -> float:
    if len(np.unique(one)) < 2 or len(np.unique(other)) < 2:
        return float("nan")
    return float(spearmanr(one, other).statistic)
