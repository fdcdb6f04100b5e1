"""Scores that need each cell's confidence: calibration, risk against coverage, the threshold sweep, novelty."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from whycell.metrics.calibration import N_BINS, adaptive_ece, bin_of, ece_from_bins, ece_noise_floor
from whycell.metrics.coverage import aurc, aurc_of_sorted
from whycell.metrics.decomposition import KINDS, decompose, information_kept
from whycell.metrics.measures import Measure, ScoredCells, from_cells, from_sums, group_sums
from whycell.metrics.novelty import auroc, fpr_at_tpr
from whycell.metrics.tree import TermTree

__all__ = ["best_at_error", "cell_measures", "leaf_verdict", "verdict"]

ERROR = 0.05
_MOST_THRESHOLDS = 200


def cell_measures(cells: ScoredCells, *, tree: TermTree) -> dict[str, Measure]:
    """Calibration of leaf and call, AURC, information kept at 5 % error, and novelty; what lacks numbers is absent."""
    found: dict[str, Measure] = {}
    rows, correct = leaf_verdict(cells, tree=tree)
    if len(rows) and not np.isnan(cells.leaf_confidence[rows]).any():
        found.update(_leaf_calibration(cells[rows], correct))
    line = cells[cells.on_branch]
    if len(line.truth) and not np.isnan(line.confidence).any():
        found.update(_call_calibration(line, tree))
        found["information_kept_at_5"] = _confidence_sweep(line, tree)
    found.update(_novelty(cells))
    return found


def verdict(truth: np.ndarray, answer: np.ndarray, *, tree: TermTree) -> tuple[np.ndarray, np.ndarray]:
    """Rows on which "the truth lies at or below the answer" can be decided, and whether it does.

    A cell whose answer lies below its label is left out: the label does not say whether the answer is right. So is a
    cell without an answer.
    """
    right = tree.is_below(truth, answer)
    undecided = (tree.is_below(answer, truth) & ~right) | ~tree.usable(answer)
    rows = np.flatnonzero(~undecided)
    return rows, right[rows]


def leaf_verdict(cells: ScoredCells, *, tree: TermTree) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose truth is a trained class, and whether the leaf is that very class: the cells and hits of ``accuracy``.

    Strict on purpose, so that mean confidence, accuracy and calibration speak of one thing; a leaf above or below the
    truth is a miss here.
    """
    rows = np.flatnonzero(cells.trained & tree.usable(cells.leaf))
    return rows, cells.leaf[rows] == cells.truth[rows]


def _binned(group: np.ndarray, g: int, at: np.ndarray, *columns: np.ndarray) -> np.ndarray:
    """(g, columns * N_BINS) sums over bins."""
    place = group * N_BINS + at
    sums = [np.bincount(place, weights=c, minlength=g * N_BINS).reshape(g, N_BINS) for c in columns]
    return np.hstack(sums)


def _ece(sums: np.ndarray) -> np.ndarray:
    return ece_from_bins(*np.split(sums, 3, axis=1))


def _leaf_calibration(cells: ScoredCells, correct: np.ndarray) -> dict[str, Measure]:
    g, n, confidence = len(cells.groups), len(correct), cells.leaf_confidence
    right, one = correct.astype(np.float64), np.ones(n)
    wide = _binned(cells.group, g, bin_of(confidence), one, confidence, right)
    rank = np.empty(n, dtype=np.int64)
    rank[np.argsort(confidence, kind="stable")] = np.arange(n)
    # The edges of the bins of equal mass stay where all cells put them; only what they hold is drawn again.
    mass = from_sums(_binned(cells.group, g, rank * N_BINS // n, one, confidence, right), n, _ece)
    return {
        "ece": from_sums(wide, n, _ece),
        "ece_noise_floor": Measure(ece_noise_floor(confidence), n, g),
        "adaptive_ece": Measure(adaptive_ece(confidence, correct), n, g, mass.resample),
        "overconfidence": from_sums(group_sums(cells.group, g, confidence - right, 1), n),
        "aurc": _aurc(cells.group, g, confidence, right),
    }


def _aurc(group: np.ndarray, g: int, confidence: np.ndarray, right: np.ndarray) -> Measure:
    """Sorted once; a donor drawn twice weighs twice."""
    order = np.argsort(-confidence, kind="stable")
    certain, hit, own = confidence[order], right[order], group[order]

    def resample(times: np.ndarray) -> np.ndarray:
        return np.concatenate([aurc_of_sorted(certain, hit, row[None, own].astype(np.float64)) for row in times])

    return Measure(aurc(confidence, right), len(right), g, resample, dear=max(len(right), 1))


def _call_calibration(cells: ScoredCells, tree: TermTree) -> dict[str, Measure]:
    rows, correct = verdict(cells.truth, cells.call, tree=tree)
    if not len(rows):
        return {}
    confidence = cells.confidence[rows]
    sums = _binned(
        cells.group[rows], len(cells.groups), bin_of(confidence), np.ones(len(rows)), confidence, correct.astype(float)
    )
    return {"call_ece": from_sums(sums, len(rows), _ece)}


def best_at_error(n_thresholds: int, error: float = ERROR) -> Callable[[np.ndarray], np.ndarray]:
    """Statistic of (m, 1 + 3 t) sums: cells, then made, wrong and kept at every threshold.

    Gives the most information kept per cell over the thresholds where wrong / made is at most ``error``; 0 for none.
    """

    def statistic(sums: np.ndarray) -> np.ndarray:
        made, wrong, kept = np.split(sums[:, 1:], 3, axis=1)
        allowed = (wrong <= error * made + 1e-9) & (made > 0)
        best = np.where(allowed, kept, 0.0).max(axis=1, initial=0.0)
        return np.asarray(np.divide(best, sums[:, 0], out=np.full(len(sums), np.nan), where=sums[:, 0] > 0))

    if n_thresholds < 1:
        return lambda sums: np.zeros(len(sums))
    return statistic


def _confidence_sweep(cells: ScoredCells, tree: TermTree) -> Measure:
    """Information kept at 5 % error over thresholds on the confidence of the calls made."""
    g, n = len(cells.groups), len(cells.truth)
    kinds = decompose(cells.truth, cells.call, tree=tree)
    kept = information_kept(cells.truth, cells.call, tree=tree)
    made = kinds != KINDS.index("unknown")
    levels = np.unique(cells.confidence[made])
    if len(levels) > _MOST_THRESHOLDS:
        levels = np.unique(np.quantile(levels, np.linspace(0, 1, _MOST_THRESHOLDS)))
    t = len(levels)
    # Bin t holds the cells that clear exactly t thresholds; summing from above gives what clears each one.
    at = np.searchsorted(levels, cells.confidence[made], side="right")
    sums = []
    for column in (np.ones(n), kinds == KINDS.index("wrong_branch"), kept):
        bins = np.bincount(
            cells.group[made] * (t + 1) + at, weights=column[made].astype(float), minlength=g * (t + 1)
        ).reshape(g, t + 1)
        sums.append(bins[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:])
    return from_sums(np.hstack([group_sums(cells.group, g, np.ones(n)), *sums]), n, best_at_error(t))


def _novelty(cells: ScoredCells) -> dict[str, Measure]:
    rows = cells[(cells.reach != "") & ~np.isnan(cells.novelty)]
    novel = rows.reach == "novel"
    if not novel.any() or novel.all():
        return {}
    g = len(cells.groups)
    return {
        "novelty_auroc": from_cells(rows.group, g, lambda r: auroc(rows.novelty[r], novel[r])),
        "novelty_fpr95": from_cells(rows.group, g, lambda r: fpr_at_tpr(rows.novelty[r], novel[r])),
    }
