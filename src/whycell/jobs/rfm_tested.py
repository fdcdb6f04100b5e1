"""How well a machine predicts rows that it did not see, beside a trivial and a linear model on the same rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.model_selection import StratifiedKFold

from whycell.compute import Talk
from whycell.data.splits import make_split
from whycell.data.tables import Table
from whycell.metrics.calibration import reliability_table
from whycell.metrics.intervals import bootstrap_sums, paired_sums
from whycell.models.rfm import RecursiveFeatureMachine
from whycell.models.rfm.encoding import Columns, Encoding

__all__ = ["held_out", "outer_folds", "scored"]

OURS, LINEAR, TRIVIAL = "feature machine", "linear", "trivial"
_FOLDS = 5
_RIDGES = np.logspace(-2, 4, 13)
_LEAST = 1e-12
_SCORES = {"classification": ("accuracy", "log_loss"), "regression": ("r2", "mae")}


def outer_folds(table: Table, *, classes: bool, seed: int) -> list[np.ndarray]:
    """Positions of the rows that each fold tests: whole groups, or stratified fifths.

    Parameters
    ----------
    table
        Its target and groups.
    classes
        Whether the target is classes.
    """
    n = len(table.features)
    if table.groups is not None:
        split = make_split(pd.DataFrame({"group": table.groups}), by="donor", donor="group", seed=seed, unknown="own")
        return [fold.test for fold in split.folds]
    if classes:
        _, codes, counts = np.unique(table.target.astype(str), return_inverse=True, return_counts=True)
        if counts.max() >= _FOLDS:
            codes = np.where(counts[codes] < _FOLDS, counts.argmax(), codes)  # classes too rare to be in every fold
            cut = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
            return [test for _, test in cut.split(codes, codes)]
    order = np.random.default_rng(seed).permutation(n)
    return [np.sort(part) for part in np.array_split(order, min(_FOLDS, n))]


def held_out(
    table: Table, make: Callable[[], RecursiveFeatureMachine], *, task: str, classes: np.ndarray, seed: int, talk: Talk
) -> pd.DataFrame:
    """Every row predicted by models that were fitted without its fold.

    Parameters
    ----------
    table
        Samples.
    make
        A fresh estimator.
    task
        ``"classification"`` or ``"regression"``.
    classes
        (k,) their names.

    Returns
    -------
    DataFrame
        One row a sample: ``fold``, ``truth`` (number, or position of the class), and for each model a column of its
        answer; of classes also ``MODEL p``, the probability of the truth, and ``confidence`` of ours.
    """
    folds = outer_folds(table, classes=task == "classification", seed=seed)
    truth = np.searchsorted(classes, table.target.astype(str)) if task == "classification" else table.target
    out = pd.DataFrame({"fold": 0, "truth": truth})
    with talk.progress("testing on rows held out", total=len(folds)) as step:
        for number, test in enumerate(folds):
            train = np.setdiff1d(np.arange(len(truth)), test)
            out.loc[test, "fold"] = number
            for name, answer in _fold(table, make, truth, train, test, task).items():
                if task == "classification":
                    out.loc[test, name] = answer.argmax(axis=1)
                    out.loc[test, f"{name} p"] = answer[np.arange(len(test)), truth[test]]
                    if name == OURS:
                        out.loc[test, "confidence"] = answer.max(axis=1)
                else:
                    out.loc[test, name] = answer
            step.advance()
    return out


def _fold(
    table: Table,
    make: Callable[[], RecursiveFeatureMachine],
    truth: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    task: str,
) -> dict[str, np.ndarray]:
    here, there = table.features.iloc[train], table.features.iloc[test]
    groups = None if table.groups is None or len(set(table.groups[train])) < 2 else table.groups[train]
    parts = [Columns.of(each) or each.to_numpy(dtype=np.float64) for each in (here, there)]
    encoding = Encoding.learn(parts[0], list(here.columns), np.ones(len(here)))
    x, z = (encoding.transform(each) for each in parts)
    if task == "regression":
        ours = make().fit(here, truth[train], groups=groups).predict(there)
        linear = RidgeCV(_RIDGES).fit(x, truth[train]).predict(z)
        return {OURS: ours, LINEAR: linear, TRIVIAL: np.full(len(test), truth[train].mean())}
    k = int(truth.max()) + 1
    seen, counts = np.unique(truth[train], return_counts=True)
    trivial = np.zeros((len(test), k))
    trivial[:, seen] = counts / counts.sum()
    if len(seen) < 2:
        return {OURS: trivial, LINEAR: trivial, TRIVIAL: trivial}
    machine = make().fit(here, truth[train], groups=groups)
    inner = max(2, min(3, int(counts.min())))
    linear = LogisticRegressionCV(
        Cs=6,
        cv=inner,
        max_iter=1000,
        scoring="neg_log_loss" if counts.min() >= inner else "accuracy",
        l1_ratios=(0,),
        use_legacy_attributes=False,
    ).fit(x, truth[train])
    return {
        OURS: _wide(machine.predict_proba(there), machine.classes_, k),
        LINEAR: _wide(linear.predict_proba(z), linear.classes_, k),
        TRIVIAL: trivial,
    }


def _wide(probabilities: np.ndarray, classes: np.ndarray, k: int) -> np.ndarray:
    out = np.zeros((len(probabilities), k))
    out[:, classes.astype(int)] = probabilities
    return out


def scored(answers: pd.DataFrame, *, task: str, groups: np.ndarray | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of every model with intervals over groups, differences to ours, and the reliability of ours.

    Parameters
    ----------
    answers
        Of :func:`held_out`.
    task
        As there.
    groups
        (n,) what intervals resample; rows where ``None``.
    """
    unit = np.arange(len(answers)) if groups is None else np.unique(groups.astype(str), return_inverse=True)[1]
    rows: list[dict[str, Any]] = []
    for metric in _SCORES[task]:
        sums = {name: _by_group(_parts(answers, name, metric), unit) for name in (OURS, LINEAR, TRIVIAL)}
        for name, own in sums.items():
            rows.append({"model": name, "metric": metric, **_ends(bootstrap_sums(own, _statistic(metric)))})
        for name in (LINEAR, TRIVIAL):
            gap = paired_sums(sums[OURS], sums[name], _statistic(metric))
            rows.append({"model": f"minus {name}", "metric": metric, **_ends(gap)})
    if task == "regression":
        return pd.DataFrame(rows), pd.DataFrame(columns=["low", "high", "n", "confidence", "accuracy"])
    return pd.DataFrame(rows), reliability_table(answers["confidence"], answers[OURS] == answers["truth"], n_bins=10)


def _parts(answers: pd.DataFrame, name: str, metric: str) -> np.ndarray:
    """(n, s) what each row adds to the sums that a metric is made of."""
    truth, answer = answers["truth"].to_numpy(float), answers[name].to_numpy(float)
    ones = np.ones(len(truth))
    if metric == "accuracy":
        return np.column_stack([answer == truth, ones])
    if metric == "log_loss":
        return np.column_stack([-np.log(np.maximum(answers[f"{name} p"].to_numpy(float), _LEAST)), ones])
    if metric == "mae":
        return np.column_stack([np.abs(answer - truth), ones])
    return np.column_stack([(answer - truth) ** 2, truth - truth.mean(), (truth - truth.mean()) ** 2, ones])


def _statistic(metric: str) -> Callable[[np.ndarray], np.ndarray]:
    if metric != "r2":
        return lambda sums: sums[:, 0] / np.maximum(sums[:, -1], _LEAST)
    return lambda sums: 1 - sums[:, 0] / np.maximum(sums[:, 2] - sums[:, 1] ** 2 / np.maximum(sums[:, 3], 1), _LEAST)


def _by_group(parts: np.ndarray, unit: np.ndarray) -> np.ndarray:
    return np.stack([np.bincount(unit, weights=column) for column in parts.astype(float).T], axis=1)


def _ends(interval: Any) -> dict[str, float]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}
