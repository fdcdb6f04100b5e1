"""The scores on the tree against sets, and against the worked table of the field notes."""

from __future__ import annotations

import importlib.util
import itertools
import resource
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from whycell.errors import LabelError
from whycell.knowledge.terms import Ontology
from whycell.metrics.closeness import edge_distance, hierarchical, hierarchical_macro_f1, lin, simgic
from whycell.metrics.decomposition import (
    KINDS,
    child_counts_as_correct,
    decompose,
    decomposition_shares,
    deepest_trained,
    information_kept,
    information_kept_at,
    trained_reach,
)
from whycell.metrics.ranking import hop_f1
from whycell.metrics.tree import TermTree

_spec = importlib.util.spec_from_file_location("trees", Path(__file__).with_name("trees.py"))
trees = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(trees)
called, above, steps_up = trees.called, trees.above, trees.steps_up

CD8 = "CL:0000625"
#: call, kind, undirected edges, hP, hR, hF, Lin, hF weighted by information; truth is CD8-positive, alpha-beta T cell
TABLE = [
    (CD8, "exact", 0, 1, 1, 1, 1, 1),
    ("CL:0000909", "over", 1, 0.87, 1, 0.93, 0.91, 0.85),
    ("CL:0000791", "under", 1, 1, 0.92, 0.96, 0.86, 0.92),
    ("CL:0000084", "under", 3, 1, 0.69, 0.82, 0.76, 0.67),
    ("CL:0000624", "wrong_branch", 2, 0.92, 0.92, 0.92, 0.78, 0.85),
    ("CL:0000623", "wrong_branch", 7, 0.73, 0.62, 0.67, 0.48, 0.44),
    ("CL:0000236", "wrong_branch", 6, 0.80, 0.62, 0.70, 0.54, 0.50),
    ("CL:0000182", "wrong_branch", 9, 0.20, 0.08, 0.11, 0.01, 0.00),
    ("CL:0000000", "unknown", 8, np.nan, 0, 0, 0, 0),
]


@pytest.fixture(scope="module")
def cell_ontology():
    return TermTree.of(Ontology.load("2025-07-30"), stop=["CL:0000000"])


@pytest.mark.parametrize("row", TABLE, ids=[row[0] for row in TABLE])
def test_worked_table(cell_ontology, row):
    call, kind, edges, *wanted = row
    truth, call = np.array([CD8]), np.array([call])
    tree = cell_ontology
    plain = hierarchical(truth, call, tree=tree)
    weighted = hierarchical(truth, call, tree=tree, weight="information")
    found = [plain.precision, plain.recall, plain.f, lin(truth, call, tree=tree)[0], weighted.f]
    np.testing.assert_allclose(np.round(found, 2), wanted, atol=1e-9)
    assert edge_distance(truth, call, tree=tree)[0] == edges
    assert KINDS[decompose(truth, call, tree=tree)[0]] == kind
    assert child_counts_as_correct(truth, call, tree=tree).accuracy == (kind in ("exact", "over"))


@given(called())
def test_kinds_and_information_are_those_of_sets(case):
    tree, parents, stop, truth, call = case
    content = dict(zip(tree.ids, tree.information, strict=True))
    kinds, kept = decompose(truth, call, tree=tree), information_kept(truth, call, tree=tree)
    for y, c, kind, share in zip(truth, call, kinds, kept, strict=True):
        if not y or y in stop:
            assert kind == -1
            assert np.isnan(share)
            continue
        wanted = (
            "unknown" if not c or c in stop
            else "exact" if c == y
            else "under" if c in above(y, parents)
            else "over" if y in above(c, parents)
            else "wrong_branch"
        )  # fmt: skip
        worth = {"unknown": 0, "wrong_branch": 0, "exact": 1, "over": 1}.get(wanted)
        assert KINDS[kind] == wanted
        assert share == pytest.approx(content[c] / content[y] if worth is None else worth)
    if (kinds >= 0).any():
        assert sum(decomposition_shares(kinds).values()) == pytest.approx(1)


@given(called())
def test_closeness_is_that_of_sets(case):
    tree, parents, stop, truth, call = case
    content = dict(zip(tree.ids, tree.information, strict=True))
    similar, union = lin(truth, call, tree=tree), simgic(truth, call, tree=tree)
    distance = edge_distance(truth, call, tree=tree)
    sums = np.zeros(3)
    for i, (y, c) in enumerate(zip(truth, call, strict=True)):
        if not y or y in stop:
            assert np.isnan([similar[i], union[i], distance[i]]).all()
            continue
        T, P = above(y, parents) - stop, above(c, parents) - stop
        sums += len(T & P), len(T), len(P)
        common = above(y, parents) & above(c, parents)
        weight = [sum(content[v] for v in s) for s in (T & P, T | P)]
        best, total = max((content[v] for v in common), default=0), content[y] + content.get(c, 0)
        assert similar[i] == pytest.approx(2 * best / total if c and total else 0)
        assert union[i] == pytest.approx(weight[0] / weight[1] if weight[1] else 0)
        if c:
            up, down = steps_up(y, parents), steps_up(c, parents)
            assert distance[i] == min(up[v] + down[v] for v in common)
    found = hierarchical(truth, call, tree=tree)
    if sums[1]:
        assert found.recall == pytest.approx(sums[0] / sums[1])
        assert found.f == pytest.approx(2 * sums[0] / (sums[1] + sums[2]))
        assert sums[2] == 0 or found.precision == pytest.approx(sums[0] / sums[2])


@given(called())
def test_macro_f1_over_terms_is_that_of_sets(case):
    tree, parents, stop, truth, call = case
    usable = [(above(y, parents) - stop, above(c, parents) - stop) for y, c in zip(truth, call, strict=True)
              if y and y not in stop]  # fmt: skip
    scores = []
    for v in tree.ids:
        hit = sum(v in T & P for T, P in usable)
        miss = sum(v in T - P for T, P in usable)
        false = sum(v in P - T for T, P in usable)
        if hit + miss:
            scores.append(2 * hit / (2 * hit + miss + false))
    found = hierarchical_macro_f1(truth, call, tree=tree)
    assert found == pytest.approx(np.mean(scores)) if scores else np.isnan(found)


@given(called())
def test_chance_is_the_mean_over_all_shuffles(case):
    tree, _, _, truth, call = case
    usable = np.flatnonzero(tree.usable(truth))[:4]
    truth, call = truth[usable], call[usable]
    found = hierarchical(truth, call, tree=tree, weight="information")
    if not len(usable):
        assert np.isnan(found.chance)
        return
    orders = itertools.permutations(range(len(call)))
    shuffled = [hierarchical(truth, call[list(i)], tree=tree, weight="information").f for i in orders]
    assert found.chance == pytest.approx(np.mean(shuffled))


@given(called())
def test_threshold_sweep_equals_trying_every_threshold(case):
    tree, _, _, truth, call = case
    confidence = np.round(np.linspace(0, 1, len(truth)) ** 2, 1)
    kinds, kept = decompose(truth, call, tree=tree), information_kept(truth, call, tree=tree)
    best = 0.0
    for level in np.unique(confidence):
        made = (confidence >= level) & np.isin(kinds, [0, 1, 2, 3])
        if made.any() and (kinds[made] == 3).mean() <= 0.3:
            best = max(best, kept[made].sum() / (kinds >= 0).sum())
    found = information_kept_at(truth, call, confidence, tree=tree, error=0.3)
    assert np.isnan(found.information) if not (kinds >= 0).any() else found.information == pytest.approx(best)


def test_a_class_of_its_own_is_a_leaf_under_the_root(cell_ontology):
    tree = TermTree.of(Ontology.load("2025-07-30"), extra=["x:odd"])
    assert KINDS[decompose(["x:odd"], ["x:odd"], tree=tree)[0]] == "exact"
    assert KINDS[decompose(["x:odd"], [CD8], tree=tree)[0]] == "wrong_branch"
    assert tree.information[tree.index[CD8]] == cell_ontology.information[cell_ontology.index[CD8]]


def test_truths_outside_what_was_trained(cell_ontology):
    truth = np.array([CD8, "CL:0000084", "CL:0000909", "CL:0000236", ""])
    trained = [CD8, "CL:0000624"]
    reach = trained_reach(truth, trained, tree=cell_ontology)
    assert reach.tolist() == ["inside", "inside", "finer", "novel", ""]
    ideal = cell_ontology.names(deepest_trained(truth, trained, tree=cell_ontology))
    assert ideal[:3].tolist() == [CD8, "CL:0000084", CD8]
    assert ideal[4] == ""
    assert cell_ontology.is_below(["CL:0000236"], [ideal[3]])[0]


def test_a_foreign_id_is_refused_by_name(cell_ontology):
    with pytest.raises(LabelError, match="'CL:9999999'"):
        decompose(["CL:9999999"], [CD8], tree=cell_ontology)


def test_a_circle_is_refused():
    with pytest.raises(LabelError, match="circle"):
        TermTree.from_parents(["a", "b"], {"a": ["b"], "b": ["a"]})


def test_a_million_hard_calls_in_ten_seconds_and_one_gigabyte():
    tree = TermTree.of(Ontology.load("2025-07-30"))
    rng = np.random.default_rng(0)
    truth, call = (tree.ids[rng.integers(0, len(tree.ids), 1_000_000)] for _ in range(2))
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    decomposition_shares(decompose(truth, call, tree=tree))
    for weight in ("count", "information"):
        hierarchical(truth, call, tree=tree, weight=weight)
    information_kept(truth, call, tree=tree)
    child_counts_as_correct(truth, call, tree=tree)
    hierarchical_macro_f1(truth, call, tree=tree)
    for score in (lin, simgic, edge_distance):
        score(truth, call, tree=tree)
    assert time.process_time() - start < 10
    # Linux counts kilobytes; the two arrays of ids (80 MB) are held already.
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 1e9


def _near(term, parents, k):
    up = {v for v, steps in steps_up(term, parents).items() if steps <= k}
    return up | {v for v in parents if steps_up(v, parents).get(term, k + 1) <= k}


@given(called())
def test_hop_f1_is_that_of_sets(case):
    tree, parents, stop, truth, _ = case
    scores = np.random.default_rng(len(truth)).random((len(truth), len(tree.ids)))
    found = hop_f1([(scores[:3], truth[:3]), (scores[3:], truth[3:])], tree.ids, tree=tree, hops=2)
    wanted = []
    for y, row in zip(truth, scores, strict=True):
        if not y or y in stop:
            continue
        score, each = dict(zip(tree.ids, row, strict=True)), []
        for k in range(3):
            near = _near(y, parents, k) - stop
            around = set().union(*(above(v, parents) for v in near))
            around |= {v for v in parents if above(v, parents) & near}
            hit = max(score[v] for v in near)
            false = max((score[v] for v in parents if v not in around | stop), default=0)
            each.append(2 * hit**2 / (hit + false) / (hit / (hit + false) + hit))
        wanted.append(each)
    np.testing.assert_allclose(found, np.mean(wanted, axis=0) if wanted else np.full(3, np.nan))
