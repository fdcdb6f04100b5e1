"""Probabilities and calibration of every node: "the cell lies at or below this term"."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from whycell.metrics.calibration import N_BINS, bin_of, ece_from_bins
from whycell.metrics.tree import TermTree

__all__ = ["NodeCalibration", "node_probabilities", "node_sums", "node_wise_calibration"]


def node_probabilities(probabilities: np.ndarray, classes: Any, nodes: Any, *, tree: TermTree) -> np.ndarray:
    """(n, m) probability that the cell lies at or below each of ``nodes``: the sum over the classes at or below it.

    ``probabilities`` (n, k) over ``classes`` (k,) terms. Each class counts once, however many ways lead up to the node.
    Source: HCE, SOCAM.
    """
    class_codes, node_codes = tree.codes(classes), tree.codes(nodes)
    return np.asarray(probabilities @ tree.below_table(class_codes, node_codes).astype(np.float64))


@dataclass(frozen=True)
class NodeCalibration:
    """Calibration of "the cell lies at or below this node".

    Parameters
    ----------
    value
        Mean of the ECE over the nodes with enough positives; NaN where there are none.
    table
        One row a node: ``term_id, n, positives, ece``.
    """

    value: float
    table: pd.DataFrame


def node_wise_calibration(
    blocks: Iterable[tuple[np.ndarray, np.ndarray]],
    classes: Any,
    *,
    tree: TermTree,
    least_positives: int = 50,
    n_bins: int = N_BINS,
) -> NodeCalibration:
    """ECE of the event y in D(v) against P(v), for every node v above a class, in one pass over blocks of cells.

    Parameters
    ----------
    blocks
        Pairs of probabilities (n, k) and truths (n,) terms; only sums over bins are kept, so memory does not grow.
    classes
        (k,) terms of the columns.
    least_positives
        Nodes with fewer cells at or below them are listed and left out of the mean.

    A cell labelled above v is left out at v: whether it lies below v is not known. Truths that cannot be scored are
    left out everywhere, and so are stop-terms as nodes.
    """
    nodes = np.flatnonzero(tree.closure_of(classes) & ~tree.stop)
    sums, positives = np.zeros((3, 1, len(nodes), n_bins)), np.zeros((1, len(nodes)))
    for probabilities, truth in _in_blocks(blocks):
        group = np.zeros(len(truth), dtype=np.int64)
        part, found = node_sums(probabilities, truth, classes, nodes, group=group, n_groups=1, tree=tree, n_bins=n_bins)
        sums += part
        positives += found
    errors = ece_from_bins(*sums[:, 0])
    table = pd.DataFrame(
        {
            "term_id": tree.ids[nodes],
            "n": sums[0, 0].sum(axis=1).astype(int),
            "positives": positives[0].astype(int),
            "ece": errors,
        }
    )
    enough = positives[0] >= least_positives
    return NodeCalibration(float(errors[enough].mean()) if enough.any() else float("nan"), table)


def node_sums(
    probabilities: np.ndarray,
    truth: Any,
    classes: Any,
    nodes: Any,
    *,
    group: np.ndarray,
    n_groups: int,
    tree: TermTree,
    n_bins: int = N_BINS,
) -> tuple[np.ndarray, np.ndarray]:
    """(3, n_groups, m, n_bins) cells, probability and hits of every node and bin; (n_groups, m) cells at or below.

    ``probabilities``, ``classes`` and ``nodes`` as in :func:`node_probabilities`; ``group`` (n,) in 0..n_groups.
    """
    codes, m = tree.codes(truth), len(nodes)
    usable = tree.usable(codes)
    codes, group = codes[usable], group[usable]
    chance = node_probabilities(probabilities[usable], classes, nodes, tree=tree)
    distinct, which = np.unique(codes, return_inverse=True)
    event = tree.below_table(codes, np.asarray(nodes))
    decided = ~tree.below_table(np.asarray(nodes), distinct).T[which] | event
    at = ((group[:, None] * m + np.arange(m)[None, :]) * n_bins + bin_of(chance, n_bins=n_bins))[decided]
    size = n_groups * m * n_bins
    weights = (np.ones_like(chance), chance, event)
    sums = np.stack([np.bincount(at, weights=w[decided], minlength=size) for w in weights])
    positives = np.stack([np.bincount(group, weights=e, minlength=n_groups) for e in event.T], axis=1)
    return sums.reshape(3, n_groups, m, n_bins), positives


def _in_blocks(blocks: Iterable[tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for probabilities, truth in blocks:
        for start in range(0, len(probabilities), 4096):
            rows = slice(start, start + 4096)
            yield probabilities[rows], np.asarray(truth)[rows]
