"""Where on the tree a call lies as seen from the truth, and how much it says.

The headline of every report: each cell is *exact*, *under* (an honest ancestor), *over* (a descendant, more than the
truth says), *wrong_branch* or *unknown*; the shares add up to one and hide nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from whycell.metrics.flat import class_counts, f1_scores
from whycell.metrics.tree import TermTree, pair_terms

__all__ = [
    "KINDS",
    "NOT_SCORED",
    "ChildCorrect",
    "InformationAtError",
    "child_counts_as_correct",
    "decompose",
    "decomposition_shares",
    "deepest_trained",
    "information_kept",
    "information_kept_at",
    "trained_reach",
]

#: The kinds of call, in the order of their codes.
KINDS = ("exact", "under", "over", "wrong_branch", "unknown")
#: The code of a cell whose truth cannot be scored.
NOT_SCORED = -1


def decompose(truth: Any, call: Any, *, tree: TermTree) -> np.ndarray:
    """Kind of every call: an index into :data:`KINDS`, or -1 where the truth is unknown or a stop-term.

    With A(y) the ancestors and D(y) the descendants of the truth y: *exact* call = y, *under* call in A(y), *over*
    call in D(y), *wrong_branch* everything else. A call that is empty, ``unknown`` or a stop-term is *unknown*: the
    root is an ancestor of everything, so it must not earn the credit of an honest answer.

    Parameters
    ----------
    truth, call
        (n,) term ids, ``""`` for unknown.

    Returns
    -------
    (n,) int8.
    """
    pairs = pair_terms(truth, call, tree=tree)
    kinds = np.full(len(pairs.truth), KINDS.index("wrong_branch"), dtype=np.int8)
    kinds[tree.is_below(pairs.call, pairs.truth)] = KINDS.index("over")
    kinds[tree.is_below(pairs.truth, pairs.call)] = KINDS.index("under")
    kinds[pairs.truth == pairs.call] = KINDS.index("exact")
    kinds[~tree.usable(pairs.call)] = KINDS.index("unknown")
    kinds[~tree.usable(pairs.truth)] = NOT_SCORED
    return np.asarray(kinds[pairs.which])


def decomposition_shares(kinds: np.ndarray) -> dict[str, float]:
    """Share of each of :data:`KINDS` among the cells that can be scored; they sum to 1, or are NaN for no cells.

    ``kinds`` (n,) are positions in :data:`KINDS`, -1 where a cell cannot be scored.
    """
    counts = np.bincount(kinds[kinds >= 0], minlength=len(KINDS))
    total = counts.sum()
    return {kind: float(n / total) if total else float("nan") for kind, n in zip(KINDS, counts, strict=True)}


def information_kept(truth: Any, call: Any, *, tree: TermTree) -> np.ndarray:
    """Of every cell, how much of the truth's information the call delivers: IC(call) / IC(truth) on the true branch.

    0 for *unknown* and *wrong_branch* calls: a wrong answer delivers nothing, however precise it is. 1 for *exact* and
    for *over*: the truth's content is delivered, and what is said beyond it cannot be checked. NaN where the truth
    cannot be scored. The mean over scored cells is the headline ``information_kept``.
    """
    pairs = pair_terms(truth, call, tree=tree)
    kinds = decompose(pairs.truth, pairs.call, tree=tree)
    content = np.append(tree.information, 0.0)
    kept = np.zeros(len(kinds))
    kept[(kinds == KINDS.index("exact")) | (kinds == KINDS.index("over"))] = 1.0
    under = kinds == KINDS.index("under")
    kept[under] = content[pairs.call[under]] / content[pairs.truth[under]]
    kept[kinds == NOT_SCORED] = np.nan
    return np.asarray(kept[pairs.which])


@dataclass(frozen=True)
class InformationAtError:
    """The best point of a threshold sweep.

    Parameters
    ----------
    information
        Mean information kept over all scored cells; cells under the threshold count as unknown, with 0.
    threshold
        Calls with this confidence or more are made; infinity where no threshold meets the error.
    error
        Share of wrong-branch calls among the calls made.
    coverage
        Share of scored cells for which a call is made.
    """

    information: float
    threshold: float
    error: float
    coverage: float


def information_kept_at(
    truth: Any, call: Any, confidence: Any, *, tree: TermTree, error: float = 0.05
) -> InformationAtError:
    """Most information that a threshold on confidence keeps while at most ``error`` of the calls made are off-branch.

    ::

        max over t of  (1/n) sum_i [c_i >= t] kept_i    subject to
                       #{c_i >= t, wrong branch} / #{c_i >= t, a term is called} <= error

    n counts every scored cell, so keeping silent costs information; the error's denominator counts calls made, so
    keeping silent does not buy a lower error. Thresholds are the distinct confidences: cells that tie are called
    together. Where no threshold meets the error the result is 0 at an infinite threshold.
    Source: the back-off policy (deepest node over a threshold set for a stated error).
    """
    kinds = decompose(truth, call, tree=tree)
    kept = information_kept(truth, call, tree=tree)
    scored = kinds != NOT_SCORED
    n = int(scored.sum())
    made = scored & (kinds != KINDS.index("unknown"))
    if not n:
        return InformationAtError(float("nan"), float("inf"), float("nan"), float("nan"))
    certainty = np.asarray(confidence, dtype=np.float64)[made]
    order = np.argsort(-certainty, kind="stable")
    certainty = certainty[order]
    calls = np.arange(1, len(order) + 1)
    wrong = np.cumsum((kinds[made] == KINDS.index("wrong_branch"))[order])
    gained = np.cumsum(kept[made][order])
    last = np.append(certainty[1:] != certainty[:-1], True)[: len(order)]
    allowed = last & (wrong <= error * calls + 1e-12)
    if not allowed.any():
        return InformationAtError(0.0, float("inf"), 0.0, 0.0)
    best = int(np.argmax(np.where(allowed, gained, -1.0)))
    return InformationAtError(
        float(gained[best] / n), float(certainty[best]), float(wrong[best] / calls[best]), float(calls[best] / n)
    )


@dataclass(frozen=True)
class ChildCorrect:
    """scTab's score.

    Parameters
    ----------
    accuracy, macro_f1
        After a descendant of the truth was made equal to it.
    over_specific
        Share of cells that were so mended: read the two others next to it, since guessing too finely is free here.
    """

    accuracy: float
    macro_f1: float
    over_specific: float


def child_counts_as_correct(truth: Any, predicted: Any, *, tree: TermTree) -> ChildCorrect:
    """scTab's rule: a prediction at or below the truth is right, one above it is wrong.

    The prediction becomes y where it lies in D(y), then accuracy and macro-F1 over classes with support. An unknown
    prediction is a miss. Truths that cannot be scored are left out. Source: scTab (Fischer et al. 2024); for comparison
    only, because over-specific guessing is free and honest backing off is punished.
    """
    usable = tree.usable(truth)
    t, p = tree.codes(truth)[usable], tree.codes(predicted)[usable]
    below = tree.is_below(p, t)
    over = below & (p != t)
    mended = np.where(below, t, p)
    counts = class_counts(tree.names(t), tree.names(mended))
    support = counts.support.sum(0)
    if not support.any():
        return ChildCorrect(float("nan"), float("nan"), float("nan"))
    scores = f1_scores(counts.hits.sum(0), support, counts.predicted.sum(0))
    return ChildCorrect(float(below.mean()), float(scores[support > 0].mean()), float(over.mean()))


def trained_reach(truth: Any, trained: Any, *, tree: TermTree) -> np.ndarray:
    """Of every truth, how it stands to the classes L that a model was trained on.

    Returns
    -------
    (n,) of ``"inside"`` (the truth is in L or above a class of L: it can be called exactly), ``"finer"`` (below a class
    of L: the best possible call is that class), ``"novel"`` (no class of L lies on its line: the best possible call is
    a common ancestor, and unknown is an honest answer), or ``""`` where the truth cannot be scored.
    """
    codes = tree.codes(truth)
    classes = np.unique(tree.codes(trained))
    classes = classes[classes >= 0]
    n = len(tree.ids)
    table = np.full(n + 1, "novel", dtype=object)
    table[:-1][np.asarray(tree.closure[:, classes].sum(axis=1)).ravel() > 0] = "finer"
    table[:-1][tree.closure_of(classes)] = "inside"
    table[:-1][tree.stop] = ""
    table[-1] = ""
    return np.asarray(table[codes])


def deepest_trained(truth: Any, trained: Any, *, tree: TermTree) -> np.ndarray:
    """(n,) the ideal call of every truth: its ancestor-or-self in closure(L) with the most information.

    L are the ``trained`` terms. -1 where only stop-terms are shared. Ties go to the first in the tree's order.
    """
    codes = tree.codes(truth)
    seen = tree.closure_of(trained) & ~tree.stop
    content = np.where(seen, tree.information, -1.0)
    ideal = np.full(len(tree.ids) + 1, -1, dtype=np.int64)
    for code in np.unique(codes[codes >= 0]):
        above = tree.closure.indices[tree.closure.indptr[code] : tree.closure.indptr[code + 1]]
        best = above[np.argmax(content[above])]
        ideal[code] = best if content[best] >= 0 else -1
    return np.asarray(ideal[codes])
