"""All scores of one model on one set of held-out cells, each with its interval: what ``scores.json`` holds.

Which cells a score speaks of is as much part of it as its formula. Truths that are ``unknown``, ``na`` or stop-terms
are counted (``n_not_scored``) and left out of everything. The rest fall in three, by what the model was trained on
(:func:`whycell.metrics.decomposition.trained_reach`): *inside* and *finer* truths lie on a trained branch, and every
headline score is over them; *novel* truths have scores of their own, since the right answer there is an ancestor or
silence. ``accuracy`` and F1 take the cells whose truth is itself a trained class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from whycell.metrics import scored_cells, scored_pairs, scored_probabilities
from whycell.metrics.intervals import Interval, draw_groups, interval_of
from whycell.metrics.measures import Measure, ScoredCells
from whycell.metrics.tree import TermTree

__all__ = ["KEYS", "compare_measures", "measures", "scorecard"]

#: Every key of scores.json, with its unit and its meaning.
KEYS: dict[str, tuple[str, str]] = {
    "n_cells": ("cells", "cells tested"),
    "n_not_scored": ("cells", "cells whose truth is unknown or a stop-term: left out of everything else"),
    "accuracy": ("share", "leaf equals the truth"),
    "macro_f1": ("share", "mean F1 over the classes with support"),
    "weighted_f1": ("share", "F1 weighted by support"),
    "donor_accuracy": ("share", "mean over donors of their accuracy, so that a large donor does not dominate"),
    "exact": ("share", "call equals the truth"),
    "under": ("share", "call is an ancestor of the truth"),
    "over": ("share", "call is a descendant of the truth"),
    "wrong_branch": ("share", "call is neither above nor below the truth"),
    "unknown": ("share", "no call"),
    "wrong_branch_of_calls": ("share", "wrong_branch among the cells that were called"),
    "information_kept": ("share", "mean information of the call over that of the truth; wrong or no call gives 0"),
    "information_kept_at_5": ("share", "the same at the threshold that keeps most with 5 % of calls off the branch"),
    "h_precision": ("share", "hierarchical precision (Kiritchenko)"),
    "h_recall": ("share", "hierarchical recall"),
    "h_f1": ("share", "hierarchical F1"),
    "h_f1_corrected": ("share", "h_f1 corrected for chance"),
    "h_f1_information": ("share", "h_f1 weighted by information content"),
    "h_f1_information_corrected": ("share", "h_f1_information corrected for chance"),
    "h_macro_f1": ("share", "mean over terms of the F1 of lying at or below them"),
    "lin": ("share", "mean similarity of Lin"),
    "simgic": ("share", "mean simGIC"),
    "edge_distance": ("edges", "mean way through the nearest common ancestor, of the cells called; never a headline"),
    "child_correct_accuracy": ("share", "accuracy where a descendant of the truth counts as right (scTab)"),
    "child_correct_macro_f1": ("share", "macro F1 by the same rule"),
    "ece": ("share", "calibration error of the leaf, 15 bins of equal width"),
    "ece_noise_floor": ("share", "the ece that perfect calibration would show on these confidences"),
    "adaptive_ece": ("share", "the same with bins of equal mass"),
    "overconfidence": ("share", "mean confidence of the leaf minus share right"),
    "call_ece": ("share", "calibration error of the call: does the truth lie at or below it"),
    "aurc": ("share", "area under the risk-coverage curve of the leaf"),
    "brier": ("score", "multi-class Brier score, 0..2"),
    "log_loss": ("nats", "negative log-likelihood of the truth"),
    "node_ece": ("share", "mean over terms of the calibration error of lying at or below them"),
    "recall_at_2": ("share", "truth among the two most probable classes"),
    "recall_at_5": ("share", "truth among the five most probable classes"),
    "mrr_at_5": ("share", "mean reciprocal rank, 0 beyond five"),
    "ndcg_at_5": ("share", "mean NDCG, 0 beyond five"),
    **{f"hop_f1_{k}": ("share", f"hop-F1 within {k} steps (Cellarium CAS)") for k in range(5)},
    "conformal_coverage": ("share", "sets made for 90 % on the other folds: share that hold the truth"),
    "conformal_size": ("classes", "mean size of those sets"),
    "n_novel": ("cells", "cells of types on no trained branch"),
    "novel_on_branch": ("share", "of them, called an ancestor of the truth"),
    "novel_unknown": ("share", "of them, not called"),
    "novel_wrong_branch": ("share", "of them, called something else"),
    "novelty_auroc": ("share", "novelty tells them from the others"),
    "novelty_fpr95": ("share", "others flagged where 95 % of them are"),
    "n_finer": ("cells", "cells of types below a trained class"),
    "finer_ideal": ("share", "of them, called their deepest trained ancestor"),
}


def measures(
    cells: ScoredCells,
    *,
    tree: TermTree,
    probabilities: scored_probabilities.ProbabilitySums | None = None,
) -> dict[str, Measure]:
    """Every score of :data:`KEYS` that these cells allow, in that order.

    Those that need probabilities of all classes are there only where ``probabilities`` is given. Without it,
    ``information_kept_at_5`` sweeps the confidence of the calls made; with it, the threshold of the back-off.
    """
    found: dict[str, Measure] = {}
    found.update(scored_pairs.pair_measures(cells, tree=tree))
    found.update(scored_cells.cell_measures(cells, tree=tree))
    if probabilities is not None:
        found.update(scored_probabilities.probability_measures(probabilities))
    return {key: found[key] for key in KEYS if key in found}


def scorecard(found: Mapping[str, Measure], *, draws: int = 2000, seed: int = 0) -> dict[str, dict[str, Any]]:
    """``{key: {"value", "low", "high", "n", "unit"}}``; ``None`` for a number that does not exist.

    ``low`` and ``high`` are the ends of the 95 % interval over groups, ``n`` the cells that the score speaks of.
    """
    return {key: _entry(key, measure, _interval(measure, draws, seed)) for key, measure in found.items()}


def compare_measures(
    first: Mapping[str, Measure], second: Mapping[str, Measure], *, draws: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Paired differences, first minus second, of the scores that both have.

    Both must be over the same groups in the same order: every draw takes the same donors on both sides.

    Returns
    -------
    DataFrame ``metric, first, second, difference, low, high, n_groups``.
    """
    rows = []
    for key, one in first.items():
        other = second.get(key)
        if other is None or one.resample is None or other.resample is None:
            continue
        gaps = np.full(1, np.nan)
        if one.n_groups > 1:
            times = draw_groups(one.n_groups, min(one.draws(draws), other.draws(draws)), seed)
            gaps = one.resample(times) - other.resample(times)
        found = interval_of(one.value - other.value, gaps, one.n_groups)
        rows.append((key, one.value, other.value, found.value, found.low, found.high, found.n_groups))
    return pd.DataFrame(rows, columns=["metric", "first", "second", "difference", "low", "high", "n_groups"])


def _interval(measure: Measure, draws: int, seed: int) -> Interval | None:
    if measure.resample is None:
        return None
    if measure.n_groups < 2:
        return interval_of(measure.value, np.full(1, np.nan), measure.n_groups)
    times = draw_groups(measure.n_groups, measure.draws(draws), seed)
    return interval_of(measure.value, measure.resample(times), measure.n_groups)


def _entry(key: str, measure: Measure, interval: Interval | None) -> dict[str, Any]:
    ends = (interval.low, interval.high) if interval else (None, None)
    plain: Callable[[float | None], float | None] = lambda x: None if x is None or np.isnan(x) else float(x)  # noqa: E731
    value = plain(measure.value)
    if KEYS[key][0] == "cells" and value is not None:
        value = int(value)
    return {"value": value, "low": plain(ends[0]), "high": plain(ends[1]), "n": int(measure.n), "unit": KEYS[key][0]}
