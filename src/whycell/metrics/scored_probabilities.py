"""Scores that need the probabilities of all classes, gathered fold by fold and block by block.

Only sums by group are kept, so neither the number of cells nor that of classes fills the memory. Folds may have
different classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from whycell.metrics.calibration import N_BINS, of_truth
from whycell.metrics.decomposition import KINDS, decompose, information_kept, trained_reach
from whycell.metrics.measures import Measure, from_sums, group_sums, ratio
from whycell.metrics.nodes import node_probabilities, node_sums
from whycell.metrics.ranking import hop_f1_each, ranks
from whycell.metrics.scored_cells import best_at_error
from whycell.metrics.tree import TermTree, row_blocks

__all__ = ["THRESHOLDS", "ProbabilitySums", "calls_at", "merged_classes", "probability_measures"]

#: Thresholds of the back-off that the sweep tries.
THRESHOLDS = np.concatenate([np.linspace(0.5, 0.95, 19), np.linspace(0.96, 0.99, 4), [0.993, 0.995, 0.997, 0.999]])
_MEANS = ("brier", "log_loss", "recall_at_2", "recall_at_5", "mrr_at_5", "ndcg_at_5")
_HOPS = 5
_LEAST_POSITIVES = 50
_BLOCK = 4096


class ProbabilitySums:
    """Sums by group, added to block by block.

    Parameters
    ----------
    tree
        Every class must be one of its terms.
    n_groups
        Groups that the intervals resample.
    """

    def __init__(self, tree: TermTree, n_groups: int) -> None:
        self.tree, self.n_groups = tree, n_groups
        self.means = np.zeros((n_groups, len(_MEANS)))
        self.trained = np.zeros(n_groups)
        self.hops = np.zeros((n_groups, _HOPS))
        self.line = np.zeros(n_groups)
        self.sweep = np.zeros((3, n_groups, len(THRESHOLDS)))
        self.conformal = np.zeros((n_groups, 3))
        self.nodes: dict[int, np.ndarray] = {}
        self.positives: dict[int, np.ndarray] = {}
        self._masks: dict[bytes, dict[tuple[int, int], tuple[np.ndarray, np.ndarray]]] = {}

    def add(
        self,
        probabilities: np.ndarray,
        classes: Any,
        truth: Any,
        group: np.ndarray,
        *,
        conformal_threshold: float | None = None,
    ) -> None:
        """Take in cells that one fold tested.

        Parameters
        ----------
        probabilities
            (n, k) over ``classes`` (k,) terms; columns of one term are added up.
        truth, group
            (n,) terms, and positions of the groups.
        conformal_threshold
            From ``coverage.conformal_threshold`` on the cells of other folds; no sets without.
        """
        truth = self.tree.codes(truth)
        merged, codes = merged_classes(probabilities, self.tree.codes(classes))
        for rows in row_blocks(len(truth), _BLOCK):
            part = (merged[rows], codes, truth[rows], np.asarray(group)[rows])
            self._add_ranks(*part, conformal_threshold)
            self._add_branch(*part)

    def _add_ranks(
        self, p: np.ndarray, classes: np.ndarray, truth: np.ndarray, group: np.ndarray, threshold: float | None
    ) -> None:
        place = np.searchsorted(classes, truth).clip(0, len(classes) - 1)
        known = (classes[place] == truth) & self.tree.usable(truth)
        p, column, group = p[known], place[known], group[known]
        if not len(p):
            return
        own, rank = of_truth(p, column), ranks(p, column)
        values = (
            np.square(p).sum(axis=1) + 1 - 2 * own,
            -np.log(np.maximum(own, 1e-15)),
            rank <= 2,
            rank <= 5,
            np.where(rank <= 5, 1 / rank, 0),
            np.where(rank <= 5, 1 / np.log2(rank + 1), 0),
        )
        self.means += group_sums(group, self.n_groups, *values)
        self.trained += np.bincount(group, minlength=self.n_groups)
        if threshold is not None:
            kept = p >= threshold - 1e-12
            self.conformal += group_sums(group, self.n_groups, of_truth(kept, column), kept.sum(axis=1), 1)

    def _add_branch(self, p: np.ndarray, classes: np.ndarray, truth: np.ndarray, group: np.ndarray) -> None:
        tree, g = self.tree, self.n_groups
        reach = trained_reach(truth, classes, tree=tree)
        line = (reach == "inside") | (reach == "finer")
        p, truth, group = p[line], truth[line], group[line]
        if not len(p):
            return
        nodes = np.flatnonzero(tree.closure_of(classes) & ~tree.stop)
        chance = node_probabilities(p, classes, nodes, tree=tree)
        self.line += np.bincount(group, minlength=g)
        calls = calls_at(chance, nodes, tree.information[nodes], THRESHOLDS)
        for t in range(len(THRESHOLDS)):
            kinds = decompose(truth, calls[:, t], tree=tree)
            made, wrong = kinds != KINDS.index("unknown"), kinds == KINDS.index("wrong_branch")
            kept = information_kept(truth, calls[:, t], tree=tree)
            self.sweep[:, :, t] += group_sums(group, g, made, wrong, kept).T
        sums, positives = node_sums(p, truth, classes, nodes, group=group, n_groups=g, tree=tree)
        for i, node in enumerate(nodes.tolist()):
            self.nodes[node] = self.nodes.get(node, 0) + sums[:, :, i].transpose(1, 0, 2)
            self.positives[node] = self.positives.get(node, 0) + positives[:, i]
        masks = self._masks.setdefault(nodes.tobytes(), {})
        each = hop_f1_each(chance, truth, nodes, tree=tree, hops=_HOPS - 1, masks=masks)
        self.hops += group_sums(group, g, *each.T)


def calls_at(chance: np.ndarray, nodes: np.ndarray, information: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """(n, t) the node that is called at every threshold, -1 for none; the rule of ``models.backoff``, all at once.

    The call is the most telling node over the threshold, the likelier of two equals: so of each level of information
    only the likeliest node counts, and going down the levels the largest probability so far says where to stop.
    """
    levels, level = np.unique(-information, return_inverse=True)
    rows = np.arange(len(chance))
    best, who = np.empty((len(chance), len(levels))), np.empty((len(chance), len(levels)), dtype=np.int64)
    for i in range(len(levels)):
        own = np.flatnonzero(level == i)
        likeliest = own[chance[:, own].argmax(axis=1)]
        best[:, i], who[:, i] = chance[rows, likeliest], nodes[likeliest]
    so_far = np.maximum.accumulate(best, axis=1)
    calls = np.full((len(chance), len(thresholds)), -1, dtype=np.int64)
    for t, threshold in enumerate(thresholds):
        over = so_far >= threshold - 1e-9
        calls[:, t] = np.where(over[:, -1], who[rows, over.argmax(axis=1)], -1)
    return calls


def merged_classes(probabilities: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns of one class added up: (n, k') probabilities and the (k',) distinct codes, sorted."""
    codes, place = np.unique(classes, return_inverse=True)
    if len(codes) == len(classes):
        return probabilities[:, np.argsort(classes)], codes
    spread = np.zeros((len(classes), len(codes)))
    spread[np.arange(len(classes)), place] = 1
    return probabilities @ spread, codes


def probability_measures(sums: ProbabilitySums) -> dict[str, Measure]:
    """The scores, each able to be drawn again."""
    n, line = sums.trained.sum(), sums.line.sum()
    found = {key: from_sums(np.column_stack([sums.means[:, i], sums.trained]), n) for i, key in enumerate(_MEANS)}
    for k in range(_HOPS):
        found[f"hop_f1_{k}"] = from_sums(np.column_stack([sums.hops[:, k], sums.line]), line)
    found["information_kept_at_5"] = from_sums(
        np.hstack([sums.line[:, None], *sums.sweep]), line, best_at_error(len(THRESHOLDS))
    )
    if sums.conformal[:, 2].any():
        tested = sums.conformal[:, 2].sum()
        found["conformal_coverage"] = from_sums(sums.conformal[:, [0, 2]], tested)
        found["conformal_size"] = from_sums(sums.conformal[:, [1, 2]], tested)
    enough = [node for node, positives in sums.positives.items() if positives.sum() >= _LEAST_POSITIVES]
    if enough:
        stacked = np.stack([sums.nodes[node] for node in enough], axis=1)
        found["node_ece"] = from_sums(stacked.reshape(sums.n_groups, -1), line, _mean_ece(len(enough)))
    return found


def _mean_ece(m: int) -> Callable[[np.ndarray], np.ndarray]:
    def statistic(sums: np.ndarray) -> np.ndarray:
        count, chance, hits = np.moveaxis(sums.reshape(len(sums), m, 3, N_BINS), 2, 0)
        total = count.sum(axis=2)
        gaps = np.abs(hits - chance).sum(axis=2)
        return ratio(
            np.column_stack(
                [np.divide(gaps, total, out=np.zeros_like(gaps), where=total > 0).sum(axis=1), (total > 0).sum(axis=1)]
            )
        )

    return statistic
