"""A score that can be drawn again: its value, and what it would be with other donors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from whycell.metrics.decomposition import deepest_trained, trained_reach
from whycell.metrics.tree import TermTree

__all__ = ["Measure", "ScoredCells", "count_of", "from_cells", "from_sums", "group_sums", "ratio", "scored_cells"]


@dataclass(frozen=True)
class Measure:
    """One score.

    Parameters
    ----------
    value
        On all cells; NaN where undefined.
    n
        Cells that it speaks of.
    n_groups
        Groups that can be resampled.
    resample
        Takes (m, n_groups) times that each group is drawn, gives (m,) scores; ``None`` for plain counts.
    dear
        Cells to go through again for every draw; 0 where a draw costs nothing.
    """

    value: float
    n: int
    n_groups: int
    resample: Callable[[np.ndarray], np.ndarray] | None = None
    dear: int = 0

    def draws(self, wanted: int) -> int:
        """How many draws to make: fewer where each goes through all cells again."""
        return min(wanted, max(100, 4_000_000 // self.dear)) if self.dear else wanted


@dataclass(frozen=True)
class ScoredCells:
    """Held-out cells as scores take them.

    Parameters
    ----------
    group
        (n,) position of each cell's group in ``groups``.
    groups
        (g,) names of donors or studies.
    truth, call, leaf
        (n,) codes of terms in the tree, -1 for none. The call may back off, the leaf is the best single class.
    confidence, leaf_confidence, novelty
        (n,) of the call, of the leaf, and how novel; NaN where not known.
    reach
        (n,) ``inside``, ``finer``, ``novel`` or ``""``, as ``decomposition.trained_reach`` gives them.
    trained
        (n,) bool, whether the truth is itself a class that the model was trained on.
    ideal
        (n,) codes of the deepest trained ancestor-or-self of the truth, -1 for none.
    """

    group: np.ndarray
    groups: np.ndarray
    truth: np.ndarray
    call: np.ndarray
    leaf: np.ndarray
    confidence: np.ndarray
    leaf_confidence: np.ndarray
    novelty: np.ndarray
    reach: np.ndarray
    trained: np.ndarray
    ideal: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> ScoredCells:
        parts = {name: part[rows] for name, part in vars(self).items() if name != "groups"}
        return ScoredCells(groups=self.groups, **parts)

    @property
    def on_branch(self) -> np.ndarray:
        """(n,) bool: the truth lies on a trained branch, so that the headline scores speak of the cell."""
        return np.asarray((self.reach == "inside") | (self.reach == "finer"))


def scored_cells(
    truth: Any,
    call: Any,
    *,
    tree: TermTree,
    leaf: Any | None = None,
    confidence: Any | None = None,
    leaf_confidence: Any | None = None,
    novelty: Any | None = None,
    groups: Any | None = None,
    trained: Any | None = None,
) -> ScoredCells:
    """Gather cells for scoring; what is not given is taken from what is.

    Parameters
    ----------
    truth, call, leaf
        (n,) term ids. Without ``leaf`` the call stands in, and its confidence with it.
    groups
        (n,) donor or study; one group without.
    trained
        Classes that the model was trained on; every truth counts as trained without.
    """
    codes, called = tree.codes(truth), tree.codes(call)
    n = len(codes)
    names, group = np.unique(
        np.zeros(n, dtype=str) if groups is None else np.asarray(groups).astype(str), return_inverse=True
    )
    unknown = np.full(n, np.nan)
    certain = unknown if confidence is None else np.asarray(confidence, dtype=np.float64)
    if trained is None:
        known = tree.usable(codes)
        reach = np.where(known, "inside", "").astype(object)
        ideal = codes
    else:
        reach = trained_reach(codes, trained, tree=tree)
        known = np.isin(codes, tree.codes(trained)) & tree.usable(codes)
        ideal = deepest_trained(codes, trained, tree=tree)
    return ScoredCells(
        group,
        names,
        codes,
        called,
        called if leaf is None else tree.codes(leaf),
        certain,
        certain if leaf_confidence is None else np.asarray(leaf_confidence, dtype=np.float64),
        unknown if novelty is None else np.asarray(novelty, dtype=np.float64),
        reach,
        known,
        ideal,
    )


def group_sums(group: np.ndarray, n_groups: int, *columns: Any) -> np.ndarray:
    """(n_groups, s) sums of the columns (n,) over the cells of each group."""
    return np.column_stack(
        [
            np.bincount(group, weights=np.broadcast_to(c, group.shape).astype(np.float64), minlength=n_groups)
            for c in columns
        ]
    )


def ratio(sums: np.ndarray) -> np.ndarray:
    """(m,) first column over the second, NaN where that is 0."""
    return np.asarray(np.divide(sums[:, 0], sums[:, 1], out=np.full(len(sums), np.nan), where=sums[:, 1] > 0))


def from_sums(sums: np.ndarray, n: float, statistic: Callable[[np.ndarray], np.ndarray] = ratio) -> Measure:
    """A score that is a function of sums over cells: (n_groups, s) sums, and the function of (m, s)."""

    def resample(times: np.ndarray) -> np.ndarray:
        return statistic(times @ sums)

    value = float(statistic(sums.sum(axis=0, keepdims=True))[0])
    return Measure(value, int(n), len(sums), resample)


def from_cells(group: np.ndarray, n_groups: int, score: Callable[[np.ndarray], float]) -> Measure:
    """A score that must see the cells: ``score`` takes the rows drawn, a row as often as its group is drawn."""
    order = np.argsort(group, kind="stable")
    rows = np.split(order, np.cumsum(np.bincount(group, minlength=n_groups))[:-1])

    def resample(times: np.ndarray) -> np.ndarray:
        every = np.arange(n_groups)
        return np.array([score(np.concatenate([rows[g] for g in np.repeat(every, t)])) for t in times.astype(int)])

    return Measure(float(score(np.arange(len(group)))), len(group), n_groups, resample, dear=max(len(group), 1))


def count_of(n: float, n_groups: int) -> Measure:
    """A plain count: no interval."""
    return Measure(float(n), int(n), n_groups)
