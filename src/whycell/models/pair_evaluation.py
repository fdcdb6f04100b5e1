"""How well models of pairs rank, in the three settings, round by round of a split by gene."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from whycell.data.pair_splits import SETTINGS, PairSplit
from whycell.metrics.intervals import t_interval
from whycell.metrics.pair_ranking import ranking_scores
from whycell.models.pair_features import GeneFeatures

__all__ = ["gaps_to", "over_rounds", "score_rounds"]


def score_rounds(
    of: GeneFeatures,
    pairs: tuple[np.ndarray, np.ndarray],
    *,
    label: np.ndarray,
    split: PairSplit,
    models: Mapping[str, Callable[[], Any]],
    weight: np.ndarray | None = None,
    done: Callable[[str, str], None] = lambda round_, model: None,
) -> pd.DataFrame:
    """One row a round, model and setting: ``round, model, setting, n, positives`` and every measure.

    Parameters
    ----------
    of
        Features of all genes.
    pairs
        Positions of both genes, (n_pairs,) each.
    label
        (n_pairs,) 0 or 1.
    split
        Who is held out.
    models
        Name of each and a function that makes a new one.
    weight
        (n_pairs,) how much a training pair counts. Tests count all alike.
    done
        Told the round and the model when it is scored.
    """
    first, second = pairs
    rows = []
    for part in split.rounds:
        train = part.train
        for name, make in models.items():
            own = None if weight is None else weight[train]
            model = make().fit(of, (first[train], second[train]), label=label[train], weight=own)
            for setting in SETTINGS:
                test = part.tests[setting]
                if len(test):
                    found = ranking_scores(model.score(first[test], second[test]), label[test])
                    told = {"n": len(test), "positives": int(label[test].sum())}
                    rows.append({"round": part.name, "model": name, "setting": setting, **told, **found})
            done(part.name, name)
    return pd.DataFrame(rows)


def over_rounds(scores: pd.DataFrame) -> pd.DataFrame:
    """Mean of every measure over rounds with Student's interval: ``setting, model, measure, value, low, high, rounds``.

    Parameters
    ----------
    scores
        What :func:`score_rounds` gives.
    """
    rows = []
    for (setting, model), part in scores.groupby(["setting", "model"], sort=False):
        for measure in _measures(scores):
            found = t_interval(part[measure])
            rows.append(
                {
                    "setting": setting,
                    "model": model,
                    "measure": measure,
                    "value": found.value,
                    "low": found.low,
                    "high": found.high,
                    "rounds": found.n_groups,
                }
            )
    return pd.DataFrame(rows)


def gaps_to(scores: pd.DataFrame, ours: str) -> pd.DataFrame:
    """By how much ``ours`` is better than each other model, paired by round; columns as :func:`over_rounds`."""
    own = scores[scores["model"] == ours].set_index(["setting", "round"])[_measures(scores)]
    rows = []
    for model, part in scores[scores["model"] != ours].groupby("model", sort=False):
        gap = own - part.set_index(["setting", "round"])[_measures(scores)]
        rows.append(gap.reset_index().assign(model=model))
    return over_rounds(pd.concat(rows, ignore_index=True))


def _measures(scores: pd.DataFrame) -> list[str]:
    return [c for c in scores.columns if c not in {"round", "model", "setting", "n", "positives"}]
