"""Groups of samples that share causes: the same training samples taught their predictions.

Within each class, rows of datamodel weights are clustered; the number of groups is chosen by stability
(:mod:`whycell.patterns.stability`) and may be one. The groups are those on which the clusterings by many halves of the
models agree, which errs less than one clustering by all. What was found is held against models that took no part in it
(fresh masks) and, where samples come from donors, against each donor in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from whycell.errors import DataError
from whycell.patterns.partition import Clustering, adjusted_rand, centres, consensus, nearest, partitions
from whycell.patterns.stability import Curve, stability_curve
from whycell.patterns.teaching import Teaching, unit_rows

__all__ = ["ClassGroups", "Subgroups", "agreement_with", "find_subgroups"]

#: A class of fewer samples is not looked into.
FEWEST = 40


@dataclass(frozen=True)
class ClassGroups:
    """What was found within one class.

    Parameters
    ----------
    label
        The class.
    rows
        (n,) its samples.
    groups
        (n,) group of each, from 0, the largest first; all 0 where there are no subgroups.
    curve
        Stability by number of groups; ``None`` where the class was too small to look into.
    closeness
        (n,) silhouette of each sample by the directions of the weights; NaN where there is one group.
    fresh
        Adjusted Rand index of groups found by one half of the models and by the other, mean over the halvings.
    held_out
        Donor -> (samples, adjusted Rand index): the groups of its samples by clustering the other donors' samples by
        the weights of the other donors' samples, against ``groups``.
    """

    label: str
    rows: np.ndarray
    groups: np.ndarray
    curve: Curve | None
    closeness: np.ndarray
    fresh: float
    held_out: dict[str, tuple[int, float]] = field(default_factory=dict)

    @property
    def n_groups(self) -> int:
        """How many groups; 1 is none."""
        return int(self.groups.max()) + 1


@dataclass(frozen=True)
class Subgroups:
    """What was found in all classes.

    Parameters
    ----------
    weights
        (t, n) float32: what each training sample did for the margin of each target.
    classes
        In the order of their labels.
    """

    weights: np.ndarray
    classes: tuple[ClassGroups, ...]


def find_subgroups(
    teaching: Teaching,
    labels: np.ndarray,
    *,
    donors: np.ndarray | None = None,
    unit_donors: np.ndarray | None = None,
    n_groups: int | dict[str, int] | None = None,
    most: int = 10,
    method: Clustering = "ward",
    rounds: int = 8,
    n_clouds: int = 99,
    level: float = 0.05,
    least: float = 0.5,
    seed: int = 0,
    told: Callable[[], None] | None = None,
) -> Subgroups:
    """Groups within each class.

    Parameters
    ----------
    teaching
        Masks and margins, :class:`~whycell.patterns.teaching.Teaching`.
    labels
        (t,) class of each target.
    donors, unit_donors
        (t,) and (n,) donor of each target and of each training sample; tried one by one where both are given.
    n_groups
        Take this many in every class (or in each, by its label) instead of choosing.
    most
        Largest number tried.
    method
        How to cluster.
    rounds, n_clouds
        Halvings of models and samples; clouds without groups that the data must outdo.
    level
        Largest p-value of an answer, before dividing by the number of classes looked into.
    least
        Smallest gain of an answer, :attr:`whycell.patterns.stability.Curve.gain`.
    seed
        See docs/parameters.md.
    told
        Called after each cloud of each class.

    Raises
    ------
    DataError
        Labels of another length than the targets.
    """
    labels = np.asarray(labels).astype(str)
    if labels.shape != (teaching.margins.shape[1],):
        msg = f"{labels.shape} labels: wanted one for each of {teaching.margins.shape[1]} targets"
        raise DataError(msg)
    rng = np.random.default_rng(seed)
    halvings = [teaching.halves(rng) for _ in range(rounds)]
    weights = teaching.weights()
    names = sorted(set(labels))
    looked_into = max(1, sum(int((labels == name).sum()) >= FEWEST for name in names))
    classes = []
    for name in names:
        rows = np.flatnonzero(labels == name)
        asked = n_groups.get(name) if isinstance(n_groups, dict) else n_groups
        halves = [(first[rows], second[rows]) for first, second in halvings]
        curve = None
        chosen = 1
        if len(rows) >= FEWEST:
            own = np.random.default_rng((seed, len(classes)))
            counts = range(2, max(most, asked or 2) + 1)
            curve = stability_curve(halves, counts, method=method, n_clouds=n_clouds, rng=own, told=told)
            chosen = asked or curve.choose(level=level / looked_into, least=least)
        classes.append(
            _class_groups(
                name, rows, weights, halves, curve, chosen, method, seed, donors=donors, unit_donors=unit_donors
            )
        )
    return Subgroups(weights, tuple(classes))


def _class_groups(
    name: str,
    rows: np.ndarray,
    weights: np.ndarray,
    halves: Sequence[tuple[np.ndarray, np.ndarray]],
    curve: Curve | None,
    chosen: int,
    method: Clustering,
    seed: int,
    *,
    donors: np.ndarray | None,
    unit_donors: np.ndarray | None,
) -> ClassGroups:
    if chosen == 1 or len(rows) <= chosen:
        return ClassGroups(name, rows, np.zeros(len(rows), int), curve, np.full(len(rows), np.nan), np.nan)
    from sklearn.metrics import silhouette_samples

    own = unit_rows(weights[rows])
    pairs = [
        [partitions(unit_rows(half), [chosen], method=method, seed=seed)[:, 0] for half in pair] for pair in halves
    ]
    groups = consensus([labels for pair in pairs for labels in pair], chosen)
    fresh = [adjusted_rand(*pair) for pair in pairs]
    held_out = {}
    if donors is not None and unit_donors is not None:
        held_out = _by_donor(weights[rows], groups, donors[rows], unit_donors, chosen, method, seed)
    return ClassGroups(name, rows, groups, curve, silhouette_samples(own, groups), float(np.mean(fresh)), held_out)


def _by_donor(
    weights: np.ndarray,
    groups: np.ndarray,
    donors: np.ndarray,
    unit_donors: np.ndarray,
    chosen: int,
    method: Clustering,
    seed: int,
) -> dict[str, tuple[int, float]]:
    found = {}
    for donor in sorted(set(donors.astype(str))):
        inside = donors.astype(str) == donor
        if inside.sum() < 10 or (~inside).sum() <= 4 * chosen:
            continue
        rows = unit_rows(weights[:, unit_donors.astype(str) != donor])
        others = partitions(rows[~inside], [chosen], method=method, seed=seed)[:, 0]
        placed = nearest(rows[inside], centres(rows[~inside], others))
        found[donor] = (int(inside.sum()), float(adjusted_rand(groups[inside], placed)))
    return found


def agreement_with(
    rows: np.ndarray, found: ClassGroups, *, truth: np.ndarray | None = None, method: Clustering = "ward", seed: int = 0
) -> dict[str, float]:
    """Another description of the same samples, clustered into as many groups.

    Parameters
    ----------
    rows
        (n, d) one row for each of ``found.rows``: the inputs, or an embedding.
    found
        Groups of one class.
    truth
        (n,) what the groups ought to be, where it is known.
    method, seed
        As in :func:`find_subgroups`.

    Returns
    -------
    ``with_groups``, and where the truth is known ``with_truth``: adjusted Rand index of that clustering.
    """
    others = partitions(rows, [found.n_groups], method=method, seed=seed)[:, 0]
    out = {"with_groups": float(adjusted_rand(found.groups, others))}
    if truth is not None:
        out["with_truth"] = float(adjusted_rand(np.unique(truth, return_inverse=True)[1], others))
    return out
