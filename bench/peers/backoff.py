"""The back-off that every peer gets: the deepest term whose summed probability clears a threshold; and its scores."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from whycell.knowledge.terms import Ontology

__all__ = ["CallScores", "call_scores", "calls_at", "node_table", "threshold_for", "tree"]


class CallScores(NamedTuple):
    """``off_branch`` is a share of the calls made, the others are shares or means over all cells."""

    off_branch: float
    off_branch_of_cells: float
    information_kept: float
    unknown: float
    exact: float
    n: int


@cache
def tree() -> Ontology:
    """The ontology release that the package uses by default."""
    return Ontology.load()


def node_table(probabilities: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes at or above any class, probability of each (sum over the classes at or below it), and its IC.

    Rows are first divided by their sum, because one-against-rest probabilities (CellTypist) do not sum to one.
    """
    onto = tree()
    content = onto.information_content()
    above = {c: onto.ancestors(c) for c in classes}
    nodes = np.array(sorted(set().union(*above.values()) - set(onto.stop_terms)))
    below = np.array([[node in above[c] for node in nodes] for c in classes], dtype=np.float64)
    total = probabilities.sum(axis=1, keepdims=True, dtype=np.float64)
    sums = (probabilities / np.maximum(total, 1e-30)) @ below
    return nodes, sums, np.array([content[onto.index[node]] for node in nodes])


def calls_at(nodes: np.ndarray, sums: np.ndarray, content: np.ndarray, threshold: float) -> np.ndarray:
    """The most informative node at or above the threshold, the likelier of two equals; '' where there is none."""
    rank = np.where(sums >= threshold, content[None, :] + 1e-6 * sums, -1.0)
    best = rank.argmax(axis=1)
    return np.where(rank[np.arange(len(best)), best] >= 0, nodes[best], "")


def call_scores(truth: np.ndarray, called: np.ndarray) -> CallScores:
    """Off-branch: the call is neither the truth, nor above it, nor below it; ``unknown`` is not a call.

    Information kept: mean over cells of IC(call) / IC(truth), 0 off the branch and for ``unknown``, at most 1.
    """
    onto = tree()
    content = onto.information_content()
    pairs, inverse = np.unique(np.stack([truth, called]), axis=1, return_inverse=True)
    off = np.zeros(pairs.shape[1])
    kept = np.zeros(pairs.shape[1])
    whole = np.array([content[onto.index[t]] for t in pairs[0]])
    for i, (t, c) in enumerate(pairs.T):
        if c == "":
            continue
        if c in onto.ancestors(t):
            kept[i] = content[onto.index[c]] / whole[i]
        elif t in onto.ancestors(c):
            kept[i] = 1.0
        else:
            off[i] = 1.0
    inverse = np.ravel(inverse)
    return CallScores(
        off_branch=float(off[inverse].sum() / max(1, np.sum(called != ""))),
        off_branch_of_cells=float(off[inverse].mean()),
        information_kept=float(kept[inverse].mean()),
        unknown=float(np.mean(called == "")),
        exact=float(np.mean(called == truth)),
        n=len(truth),
    )


def threshold_for(
    nodes: np.ndarray, sums: np.ndarray, content: np.ndarray, truth: np.ndarray, *, off_branch: float
) -> tuple[float, CallScores]:
    """The lowest threshold at which at most ``off_branch`` of the calls are off the branch, chosen *on the test cells*.

    A favour to the peer: our own threshold is chosen without seeing them.
    """
    best: tuple[float, CallScores] | None = None
    for t in np.concatenate([np.linspace(0.2, 0.99, 80), 1 - np.geomspace(0.009, 1e-7, 40)]):
        scores = call_scores(truth, calls_at(nodes, sums, content, t))
        if scores.off_branch <= off_branch and (best is None or scores.information_kept > best[1].information_kept):
            best = (float(t), scores)
    if best is None:
        best = (1.1, call_scores(truth, np.full(len(truth), "")))
    return best
