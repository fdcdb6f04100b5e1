"""How near a call lies to the truth: hierarchical precision and recall, Lin, simGIC, edge counts.

All of them give partial credit, so none may stand alone: a plain hF gives a *wrong* CD4 call .92 where the honest
"T cell" gets .82. Read them beside the decomposition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy import sparse

from whycell.metrics.flat import f1_scores
from whycell.metrics.tree import TermTree, pair_terms, row_blocks

__all__ = [
    "Hierarchical",
    "Overlap",
    "edge_distance",
    "hierarchical",
    "hierarchical_macro_f1",
    "lin",
    "overlap",
    "simgic",
]

Weight = Literal["count", "information"]


@dataclass(frozen=True)
class Overlap:
    """Of every cell the weight of T and P and of what they share; NaN where the truth cannot be scored.

    Parameters
    ----------
    shared, truth, call
        (n,) the sums of weights over T and P together, over T = A(y) minus S, over P = A(call) minus S.
    """

    shared: np.ndarray
    truth: np.ndarray
    call: np.ndarray


@dataclass(frozen=True)
class Hierarchical:
    """Hierarchical precision, recall and F, with the F that chance alone would give.

    Parameters
    ----------
    precision, recall, f
        Kiritchenko's hP, hR and hF over all cells together (micro).
    chance
        Expected hF when the calls are shuffled among the cells.
    corrected
        (f - chance) / (1 - chance): 0 for shuffled calls, 1 for perfect ones; NaN where chance is already 1.
    """

    precision: float
    recall: float
    f: float
    chance: float
    corrected: float


def overlap(truth: Any, call: Any, *, tree: TermTree, weight: Weight = "count") -> Overlap:
    """Weights of the ancestor sets of truth and call and of what they share.

    A(v) includes v; stop-terms S are taken out of both. ``weight="count"`` counts terms, ``"information"`` sums IC.
    An unknown call has an empty set: it costs recall and no precision.
    """
    pairs = pair_terms(truth, call, tree=tree)
    members, values = tree.members(), _weights(tree, weight)
    size = members @ values
    shared = np.zeros(len(pairs.truth))
    for rows in row_blocks(len(shared)):
        shared[rows] = members[pairs.truth[rows]].multiply(members[pairs.call[rows]]) @ values
    unusable = ~tree.usable(pairs.truth)
    parts = (shared, size[pairs.truth], size[pairs.call])
    for part in parts:
        part[unusable] = np.nan
    return Overlap(*(part[pairs.which] for part in parts))


def hierarchical(truth: Any, call: Any, *, tree: TermTree, weight: Weight = "count") -> Hierarchical:
    """Kiritchenko's hierarchical precision, recall and F, plain or weighted by information content.

    ::

        hP = sum_i w(T_i & P_i) / sum_i w(P_i)     hR = sum_i w(T_i & P_i) / sum_i w(T_i)     hF = 2 hP hR / (hP + hR)

    Truths that cannot be scored are left out. hP is NaN where nothing was called; hF is then 0.

    *Corrected for chance.* Shuffling the calls leaves sum w(P) and sum w(T) as they are, so hF is linear in the shared
    weight, and its mean over all n! permutations has a closed form: E[sum w(T & P)] = sum_v w(v) n_T(v) n_P(v) / n,
    with n_T(v) the cells whose truth lies at or below v. No shuffling, no seed.
    Source: Kiritchenko et al. 2006; Silla and Freitas 2011.
    """
    pairs = pair_terms(truth, call, tree=tree)
    found = overlap(pairs.truth, pairs.call, tree=tree, weight=weight)
    usable = tree.usable(pairs.truth)
    counts = np.where(usable, pairs.counts, 0).astype(np.float64)
    n = counts.sum()
    shared, of_truth, of_call = (float(np.nansum(x * counts)) for x in (found.shared, found.truth, found.call))
    if not n:
        return Hierarchical(*[float("nan")] * 5)
    members = tree.members()
    truth_cells = _per_term(members, pairs.truth, counts)
    call_cells = _per_term(members, pairs.call, counts)
    by_chance = float((_weights(tree, weight) * truth_cells * call_cells).sum() / n)
    f, chance = _ratio(2 * shared, of_truth + of_call), _ratio(2 * by_chance, of_truth + of_call)
    corrected = (f - chance) / (1 - chance) if chance < 1 else float("nan")
    return Hierarchical(_ratio(shared, of_call), _ratio(shared, of_truth), f, chance, corrected)


def hierarchical_macro_f1(truth: Any, call: Any, *, tree: TermTree) -> float:
    """Mean over terms of the F1 of "the cell lies at or below this term".

    TP(v) = #(v in T and P), FP(v) = #(v in P only), FN(v) = #(v in T only); F1 per term; mean over the terms with
    TP + FN > 0, i.e. that are somewhere in a truth's set. Source: the benchmark of Cellarium CAS (``h_f1_macro``),
    which excludes only the root; here all stop-terms are out. NaN for no scored cells.
    """
    pairs = pair_terms(truth, call, tree=tree)
    counts = np.where(tree.usable(pairs.truth), pairs.counts, 0).astype(np.float64)
    members = tree.members()
    hits = np.zeros(len(tree.ids))
    for rows in row_blocks(len(counts)):
        both = members[pairs.truth[rows]].multiply(members[pairs.call[rows]]).tocsr()
        hits += both.T @ counts[rows]
    of_truth = _per_term(members, pairs.truth, counts)
    scores = f1_scores(hits, of_truth, _per_term(members, pairs.call, counts))
    return float(scores[of_truth > 0].mean()) if (of_truth > 0).any() else float("nan")


def lin(truth: Any, call: Any, *, tree: TermTree) -> np.ndarray:
    """(n,) Lin's similarity 2 IC(MICA) / (IC(truth) + IC(call)), in 0..1; NaN where the truth cannot be scored.

    MICA is the common ancestor with the most information (a graph may hold several lowest ones). 0 / 0 is 0; an unknown
    call gets 0. Stop-terms are kept here: their content is next to nothing. Source: Lin 1998.
    """
    pairs = pair_terms(truth, call, tree=tree)
    members = tree.members(keep_stop=True)
    scaled = (members @ sparse.diags(tree.information)).tocsr()
    best = np.zeros(len(pairs.truth))
    for rows in row_blocks(len(best)):
        best[rows] = members[pairs.truth[rows]].multiply(scaled[pairs.call[rows]]).max(axis=1).toarray().ravel()
    content = np.append(tree.information, 0.0)
    total = content[pairs.truth] + content[pairs.call]
    found = np.divide(2 * best, total, out=np.zeros_like(best), where=(total > 0) & (pairs.call >= 0))
    found[~tree.usable(pairs.truth)] = np.nan
    return np.asarray(found[pairs.which])


def simgic(truth: Any, call: Any, *, tree: TermTree) -> np.ndarray:
    """(n,) simGIC: sum of IC over T and P together / sum of IC over their union, in 0..1.

    NaN where the truth cannot be scored; 0 for an unknown call. Source: Pesquita et al. 2008.
    """
    found = overlap(truth, call, tree=tree, weight="information")
    union = found.truth + found.call - found.shared
    empty = np.where(np.isnan(union), np.nan, 0.0)
    return np.asarray(np.divide(found.shared, union, out=empty, where=union > 0))


def edge_distance(truth: Any, call: Any, *, tree: TermTree) -> np.ndarray:
    """(n,) edges from truth to call through the common ancestor that makes the way shortest; never a headline.

    d = min over c in A(y) & A(call) of steps(y -> c) + steps(call -> c). Infinity without a common ancestor, NaN where
    the truth cannot be scored or the call is unknown. Depth means little in the Cell Ontology: shortest and longest way
    to the root differ for more than half of its terms, and T cells lie deep where stroma lies shallow.
    """
    pairs = pair_terms(truth, call, tree=tree)
    steps = sparse.vstack([tree.steps, sparse.csr_matrix((1, len(tree.ids)), dtype=np.int32)], format="csr")
    ones = (steps > 0).astype(np.int32)
    distance = np.full(len(pairs.truth), np.inf)
    for rows in row_blocks(len(distance)):
        t, p = pairs.truth[rows], pairs.call[rows]
        up = steps[t].multiply(ones[p]).tocsr()
        down = ones[t].multiply(steps[p]).tocsr()
        up.sort_indices()
        down.sort_indices()
        # Both hold exactly the common ancestors in the same order, so their data line up.
        way = up.data + down.data - 2
        filled = np.flatnonzero(np.diff(up.indptr) > 0)
        if len(filled):
            distance[rows.start + filled] = np.minimum.reduceat(way, up.indptr[filled])
    distance[~tree.usable(pairs.truth) | (pairs.call < 0)] = np.nan
    return np.asarray(distance[pairs.which])


def _weights(tree: TermTree, weight: Weight) -> np.ndarray:
    return np.ones(len(tree.ids)) if weight == "count" else tree.information


def _per_term(members: sparse.csr_matrix, codes: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(n_terms,) cells at or below each term."""
    at = np.zeros(members.shape[0])
    np.add.at(at, codes, counts)
    return np.asarray(members.T @ at)


def _ratio(a: float, b: float) -> float:
    return a / b if b > 0 else float("nan")
