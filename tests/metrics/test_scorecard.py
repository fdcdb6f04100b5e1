"""The keys of scores.json: documented, agreeing with the plain functions, and honest about their cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from whycell.knowledge.terms import Ontology
from whycell.metrics.closeness import edge_distance, hierarchical, hierarchical_macro_f1, lin, simgic
from whycell.metrics.decomposition import child_counts_as_correct, information_kept, information_kept_at
from whycell.metrics.measures import scored_cells
from whycell.metrics.scorecard import KEYS, compare_measures, measures, scorecard
from whycell.metrics.tree import TermTree

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_every_key_is_documented():
    text = (DOCS / "metrics.md").read_text(encoding="utf-8")
    assert [key for key in KEYS if f"| `{key}` |" not in text] == []


@pytest.fixture(scope="module")
def cells():
    tree = TermTree.of(Ontology.load("2025-07-30"))
    rng = np.random.default_rng(0)
    some = tree.ids[rng.choice(len(tree.ids), 30, replace=False)]
    truth, call = rng.choice([*some, ""], 400), rng.choice([*some, ""], 400)
    truth = np.where(rng.random(400) < 0.5, call, truth)
    confidence = np.round(rng.random(400), 2)
    groups = rng.choice(list("abcdef"), 400)
    return tree, truth, call, confidence, groups


def test_scores_equal_the_plain_functions(cells):
    tree, truth, call, confidence, groups = cells
    found = measures(scored_cells(truth, call, tree=tree, confidence=confidence, groups=groups), tree=tree)
    value = {key: measure.value for key, measure in found.items()}
    plain = hierarchical(truth, call, tree=tree)
    weighted = hierarchical(truth, call, tree=tree, weight="information")
    child = child_counts_as_correct(truth, call, tree=tree)
    steps = edge_distance(truth, call, tree=tree)
    assert value["h_precision"] == pytest.approx(plain.precision)
    assert value["h_recall"] == pytest.approx(plain.recall)
    assert value["h_f1"] == pytest.approx(plain.f)
    assert value["h_f1_corrected"] == pytest.approx(plain.corrected)
    assert value["h_f1_information_corrected"] == pytest.approx(weighted.corrected)
    assert value["h_macro_f1"] == pytest.approx(hierarchical_macro_f1(truth, call, tree=tree))
    assert value["lin"] == pytest.approx(np.nanmean(lin(truth, call, tree=tree)))
    assert value["simgic"] == pytest.approx(np.nanmean(simgic(truth, call, tree=tree)))
    assert value["edge_distance"] == pytest.approx(steps[np.isfinite(steps)].mean())
    assert value["child_correct_accuracy"] == pytest.approx(child.accuracy)
    assert value["child_correct_macro_f1"] == pytest.approx(child.macro_f1)
    assert value["information_kept"] == pytest.approx(np.nanmean(information_kept(truth, call, tree=tree)))
    swept = information_kept_at(truth, call, confidence, tree=tree)
    assert value["information_kept_at_5"] == pytest.approx(swept.information)


def test_a_donor_drawn_alone_gives_its_own_score(cells):
    tree, truth, call, confidence, groups = cells
    found = measures(scored_cells(truth, call, tree=tree, confidence=confidence, groups=groups), tree=tree)
    one = groups == "c"
    own = measures(scored_cells(truth[one], call[one], tree=tree, confidence=confidence[one]), tree=tree)
    for key in ("accuracy", "macro_f1", "exact", "information_kept", "h_f1_corrected", "ece", "aurc", "lin"):
        assert found[key].resample(np.eye(6)[2:3])[0] == pytest.approx(own[key].value), key


def test_novel_truths_do_not_enter_the_headline(cells):
    tree, *_ = cells
    cd8, t, b, nk = "CL:0000625", "CL:0000084", "CL:0000236", "CL:0000623"
    truth = np.array([cd8, b, nk, nk, "unknown"])
    call = np.array([t, b, "", t, b])
    novelty = np.array([0.1, 0.2, 0.9, 0.8, 0.5])
    found = scorecard(measures(scored_cells(truth, call, tree=tree, novelty=novelty, trained=[t, b]), tree=tree))
    assert found["exact"]["value"] == found["under"]["value"] == 0.5
    assert found["exact"]["n"] == 2
    assert found["n_not_scored"]["value"] == 1
    assert (found["novel_unknown"]["value"], found["novel_wrong_branch"]["value"]) == (0.5, 0.5)
    assert found["novelty_auroc"]["value"] == 1
    assert found["finer_ideal"] == {"value": 1.0, "low": None, "high": None, "n": 1, "unit": "share"}
    assert found["accuracy"]["n"] == 1, "only B is itself a trained class"


def test_a_model_against_itself_differs_by_nothing(cells):
    tree, truth, call, confidence, groups = cells
    found = measures(scored_cells(truth, call, tree=tree, confidence=confidence, groups=groups), tree=tree)
    table = compare_measures(found, found)
    assert (table[["difference", "low", "high"]].abs().max() < 1e-12).all()
    assert set(table["n_groups"]) == {6}
