"""Answer of ``rfm fit``: how well a machine predicts rows it did not see, and which features it reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

__all__ = ["MachineFit"]


@dataclass(frozen=True)
class MachineFit:
    """A recursive feature machine, tested and read.

    Parameters
    ----------
    task
        ``"classification"`` or ``"regression"``.
    target
        Name of what is predicted.
    classes
        Names of the classes; none in a regression.
    n, n_groups
        Rows, and groups held out together (0: rows one by one).
    scores
        One row a model and metric: ``model, metric, value, low, high``, on rows that the model did not see; and the
        differences of ours to each other model under the model's name ``minus NAME``.
    predictions
        One row a sample: ``row, fold, truth, prediction``, and of classes ``probability`` of the one called.
    reliability
        ``low, high, n, confidence, accuracy`` by bins of the probability; empty in a regression.
    features
        See ``Importance.table``: ``feature, score, standard_error, lower, upper, p_value, null``.
    directions
        One row a direction and coordinate: ``direction, share`` (of the trace), ``coordinate, weight``.
    stability
        See ``Importance.stability``.
    trials
        All that was tried: see ``RecursiveFeatureMachine.trials_``.
    left_out
        What of the table was not read, and why.
    notes
        What a reader must know, in sentences.
    provenance
        Plain values: inputs, parameters, versions.
    """

    task: str
    target: str
    classes: tuple[str, ...]
    n: int
    n_groups: int
    scores: pd.DataFrame
    predictions: pd.DataFrame
    reliability: pd.DataFrame
    features: pd.DataFrame
    directions: pd.DataFrame
    stability: pd.DataFrame
    trials: pd.DataFrame
    left_out: dict[str, str]
    notes: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
