"""Scores of hard calls, from the distinct (group, truth, call), so that the number of cells does not matter."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse

from whycell.metrics.closeness import edge_distance, lin, overlap, simgic
from whycell.metrics.decomposition import KINDS, decompose, information_kept
from whycell.metrics.flat import f1_scores
from whycell.metrics.measures import Measure, ScoredCells, count_of, from_sums, group_sums, ratio
from whycell.metrics.tree import TermTree, row_blocks

__all__ = ["pair_measures"]

Triples = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def pair_measures(cells: ScoredCells, *, tree: TermTree) -> dict[str, Measure]:
    """Counts, accuracy, F1, kinds of call, information kept, hierarchical scores, and the calls of novel truths."""
    g = len(cells.groups)
    usable = tree.usable(cells.truth)
    found = {"n_cells": count_of(len(usable), g), "n_not_scored": count_of((~usable).sum(), g)}
    found.update(_flat(cells[cells.trained], g))
    line = cells[cells.on_branch]
    calls = _triples(line.group, line.truth, line.call, tree)
    found.update(_kinds(calls, g, tree))
    found.update(_hierarchical(calls, g, tree))
    found.update(_child_correct(_triples(line.group, line.truth, line.leaf, tree), g, tree))
    found.update(_novel(cells[cells.reach == "novel"], g, tree))
    found.update(_finer(cells[cells.reach == "finer"], g))
    return found


def _triples(group: np.ndarray, truth: np.ndarray, call: np.ndarray, tree: TermTree) -> Triples:
    """Distinct (group, truth, call) and the cells of each."""
    width = len(tree.ids) + 1
    keys, counts = np.unique((group * width + truth + 1) * width + call + 1, return_counts=True)
    return keys // width**2, keys // width % width - 1, keys % width - 1, counts.astype(np.float64)


def _class_sums(group: np.ndarray, truth: np.ndarray, call: np.ndarray, weight: np.ndarray, g: int) -> np.ndarray:
    """(g, 3 k) hits, support and predictions of every class that is a truth."""
    classes, t = np.unique(truth, return_inverse=True)
    place = np.searchsorted(classes, call).clip(0, max(len(classes) - 1, 0))
    called = (classes[place] == call) if len(classes) else np.zeros(len(call), dtype=bool)
    k = len(classes)

    def count(where: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return np.bincount(group[rows] * k + where[rows], weights=weight[rows], minlength=g * k).reshape(g, k)

    everything = np.ones(len(truth), dtype=bool)
    return np.hstack([count(t, called & (place == t)), count(t, everything), count(place, called)])


def _f1(weighted: bool) -> Callable[[np.ndarray], np.ndarray]:  # noqa: FBT001
    """Mean F1 over the classes that the drawn cells hold, plain or by support, from (m, 3 k) sums."""

    def statistic(sums: np.ndarray) -> np.ndarray:
        hits, support, predicted = np.split(sums, 3, axis=1)
        weights = support if weighted else (support > 0).astype(np.float64)
        total = weights.sum(axis=1)
        scores = (f1_scores(hits, support, predicted) * weights).sum(axis=1)
        return np.asarray(np.divide(scores, total, out=np.full(len(sums), np.nan), where=total > 0))

    return statistic


def _flat(cells: ScoredCells, g: int) -> dict[str, Measure]:
    n = len(cells.truth)
    hit = cells.leaf == cells.truth
    sums = group_sums(cells.group, g, hit, 1)
    classes = _class_sums(cells.group, cells.truth, cells.leaf, np.ones(n), g)
    own = ratio(sums)
    each = np.column_stack([np.nan_to_num(own), ~np.isnan(own)])
    return {
        "accuracy": from_sums(sums, n),
        "macro_f1": from_sums(classes, n, _f1(weighted=False)),
        "weighted_f1": from_sums(classes, n, _f1(weighted=True)),
        "donor_accuracy": from_sums(each, n),
    }


def _kinds(calls: Triples, g: int, tree: TermTree) -> dict[str, Measure]:
    group, truth, call, weight = calls
    n = weight.sum()
    kinds = decompose(truth, call, tree=tree)
    found = {kind: from_sums(group_sums(group, g, weight * (kinds == i), weight), n) for i, kind in enumerate(KINDS)}
    made = weight * (kinds != KINDS.index("unknown"))
    wrong = weight * (kinds == KINDS.index("wrong_branch"))
    kept = information_kept(truth, call, tree=tree) * weight
    return found | {
        "wrong_branch_of_calls": from_sums(group_sums(group, g, wrong, made), made.sum()),
        "information_kept": from_sums(group_sums(group, g, kept, weight), n),
    }


def _hierarchical(calls: Triples, g: int, tree: TermTree) -> dict[str, Measure]:
    group, truth, call, weight = calls
    n = weight.sum()
    plain = overlap(truth, call, tree=tree)
    content = overlap(truth, call, tree=tree, weight="information")
    terms, of_truth, of_call, hits = _per_term(calls, g, tree)
    found = {
        "h_precision": from_sums(group_sums(group, g, weight * plain.shared, weight * plain.call), n),
        "h_recall": from_sums(group_sums(group, g, weight * plain.shared, weight * plain.truth), n),
        "h_macro_f1": from_sums(np.hstack([hits, of_truth, of_call]), n, _f1(weighted=False)),
        "lin": from_sums(group_sums(group, g, weight * lin(truth, call, tree=tree), weight), n),
        "simgic": from_sums(group_sums(group, g, weight * simgic(truth, call, tree=tree), weight), n),
    }
    for key, part, value in (
        ("h_f1", plain, np.ones(len(terms))),
        ("h_f1_information", content, tree.information[terms]),
    ):
        both = group_sums(group, g, 2 * weight * part.shared, weight * (part.truth + part.call))
        found[key] = from_sums(both, n)
        cells = group_sums(group, g, weight)
        found[f"{key}_corrected"] = from_sums(np.hstack([both, cells, of_truth, of_call]), n, _corrected(value))
    steps = edge_distance(truth, call, tree=tree)
    known = np.isfinite(steps)
    sums = group_sums(group, g, weight * np.where(known, steps, 0), weight * known)
    return found | {"edge_distance": from_sums(sums, (weight * known).sum())}


def _corrected(value: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """(hF - chance) / (1 - chance) from sums; chance as in ``closeness.hierarchical``."""

    def statistic(sums: np.ndarray) -> np.ndarray:
        shared, total, n = sums[:, 0], sums[:, 1], sums[:, 2]
        of_truth, of_call = np.split(sums[:, 3:], 2, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            chance = 2 * (of_truth * of_call) @ value / n / total
            return np.asarray(np.where(chance < 1 - 1e-12, (shared / total - chance) / (1 - chance), np.nan))

    return statistic


def _per_term(calls: Triples, g: int, tree: TermTree) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Terms above any truth or call, and of each (g, m) cells whose truth, whose call, and whose both lie below."""
    group, truth, call, weight = calls
    members = tree.members()
    totals = np.zeros((3, g, len(tree.ids)))
    for rows in row_blocks(len(weight)):
        of_truth, of_call = members[truth[rows]], members[call[rows]]
        both = of_truth.multiply(of_call).tocsr()
        size = rows.stop - rows.start
        spread = sparse.csr_matrix((weight[rows], (group[rows], np.arange(size))), shape=(g, size))
        for total, part in zip(totals, (of_truth, of_call, both), strict=True):
            total += (spread @ part).toarray()
    terms = np.flatnonzero(totals[:2].sum(axis=(0, 1)))
    return terms, totals[0][:, terms], totals[1][:, terms], totals[2][:, terms]


def _child_correct(leaves: Triples, g: int, tree: TermTree) -> dict[str, Measure]:
    group, truth, leaf, weight = leaves
    below = tree.is_below(leaf, truth)
    mended = np.where(below, truth, leaf)
    classes = _class_sums(group, truth, mended, weight, g)
    return {
        "child_correct_accuracy": from_sums(group_sums(group, g, weight * below, weight), weight.sum()),
        "child_correct_macro_f1": from_sums(classes, weight.sum(), _f1(weighted=False)),
    }


def _novel(cells: ScoredCells, g: int, tree: TermTree) -> dict[str, Measure]:
    n = len(cells.truth)
    found = {"n_novel": count_of(n, g)}
    if not n:
        return found
    kinds = decompose(cells.truth, cells.call, tree=tree)
    on_branch = np.isin(kinds, [KINDS.index("exact"), KINDS.index("under"), KINDS.index("over")])
    return found | {
        "novel_on_branch": from_sums(group_sums(cells.group, g, on_branch, 1), n),
        "novel_unknown": from_sums(group_sums(cells.group, g, kinds == KINDS.index("unknown"), 1), n),
        "novel_wrong_branch": from_sums(group_sums(cells.group, g, kinds == KINDS.index("wrong_branch"), 1), n),
    }


def _finer(cells: ScoredCells, g: int) -> dict[str, Measure]:
    n = len(cells.truth)
    found = {"n_finer": count_of(n, g)}
    if n:
        found["finer_ideal"] = from_sums(group_sums(cells.group, g, cells.call == cells.ideal, 1), n)
    return found
