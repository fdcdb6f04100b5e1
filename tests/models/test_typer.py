"""What comes out of a trained typer: probabilities, calls on the tree, and nothing that depends on how it was asked."""

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.utils.estimator_checks import estimator_checks_generator

from whycell.errors import DataError, GeneError, LabelError
from whycell.knowledge.terms import Ontology
from whycell.models.answer import BLOCK
from whycell.models.typer import CellTyper

SMALL = CellTyper(epochs=2)
#: scipy decides at its import whether it takes other array libraries, so this one check needs a process of its own.
OWN_PROCESS = "check_array_api_input"


def checks() -> list[Any]:
    return [check for _, check in estimator_checks_generator(SMALL)]


@pytest.mark.parametrize(
    "check", [c for c in checks() if c.func.__name__ != OWN_PROCESS], ids=lambda check: check.func.__name__
)
def test_scikit_learn(check: Any) -> None:
    check(clone(SMALL))


def test_scikit_learn_with_arrays_of_other_libraries() -> None:
    code = (
        "from sklearn.utils.estimator_checks import estimator_checks_generator as checks\n"
        "from whycell.models.typer import CellTyper\n"
        f"found = [c for _, c in checks({SMALL!r}) if c.func.__name__ == {OWN_PROCESS!r}]\n"
        f"[c({SMALL!r}) for c in found]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_it_learns(typer, others) -> None:
    assert (typer.predict(others.X) == others.labels).mean() > 0.85
    p = typer.predict_proba(others.X)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert typer.classes_.tolist() == sorted(set(others.labels))
    assert typer.about_["calibration"]["held_out"] == "donors"


def test_a_call_is_a_node_above_its_leaf_and_as_probable_as_the_leaves_below_it(typer, others) -> None:
    ontology = Ontology.load()
    calls, p = typer.call(others.X), typer.predict_proba(others.X)
    terms = {c["label"]: c["term_id"] for c in typer.about_["classes"]}
    threshold = typer.about_["calibration"]["threshold"]
    for row, chances in zip(calls.itertuples(), p, strict=True):
        by_label = dict(zip(typer.classes_, chances, strict=True))
        assert row.leaf_confidence == pytest.approx(max(chances), abs=1e-6)
        ranked = sorted(by_label, key=by_label.get, reverse=True)
        assert (row.leaf, row.runner_up) == tuple(ranked[:2])
        if row.call == "unknown":
            assert row.call_term_id == ""
        elif row.call_term_id:
            below = [p for label, p in by_label.items() if terms[label] in ontology.descendants(row.call_term_id)]
            assert row.confidence == pytest.approx(sum(below), abs=1e-6)
            assert row.confidence >= threshold - 1e-6
            assert row.call_term_id not in ontology.stop_terms
        else:
            assert row.call == "odd"
    assert set(calls["call_term_id"][calls["leaf"] == "odd"]) == {""}, "a class of its own has nothing to back off to"
    backed_off = calls["call"] != calls["leaf"]
    assert 0.01 < backed_off.mean() < 0.4, "some cells are too unsure for their leaf, most are not"


def test_a_cell_has_one_answer_whatever_lies_beside_it(typer, others) -> None:
    """Bit for bit: alone, in any order, in a block that is full, or cut across one."""
    many = sp.vstack([others.X] * 3, format="csr")
    assert many.shape[0] > BLOCK
    whole = typer.predict_proba(many)
    np.testing.assert_array_equal(whole[: others.X.shape[0]], whole[-others.X.shape[0] :])
    order = np.random.default_rng(0).permutation(400)
    np.testing.assert_array_equal(typer.predict_proba(others.X[order]), whole[:400][order])
    np.testing.assert_array_equal(np.vstack([typer.predict_proba(others.X[i]) for i in range(5)]), whole[:5])
    assert typer.call(others.X[:7]).equals(typer.call(others.X)[:7])


def test_genes_are_found_by_name(typer, others) -> None:
    order = np.random.default_rng(0).permutation(150)
    mixed = sp.csr_matrix(others.X[:, order])
    names = [others.genes[i] for i in order]
    wide = sp.hstack([mixed, np.ones((400, 2))], format="csr")
    np.testing.assert_allclose(
        typer.predict_proba(wide, genes=[*names, "", "stranger"]), typer.predict_proba(others.X), atol=1e-4
    )
    with pytest.raises(
        GeneError, match=r"None of the model's 150 genes is among the 150 given: got x0, x1, x2, wanted"
    ):
        typer.predict(others.X, genes=[f"x{i}" for i in range(150)])
    with pytest.raises(DataError, match="Got 3 gene names for 150 columns"):
        typer.predict(others.X, genes=["a", "b", "c"])


def test_small_panels_are_less_sure_and_say_so(typer, others) -> None:
    p = [typer.predict_proba(others.X[:, :n], genes=others.genes[:n]).max(axis=1).mean() for n in (150, 75, 30, 12)]
    assert p == sorted(p, reverse=True)
    right = typer.predict(others.X[:, :30], genes=others.genes[:30]) == others.labels
    assert p[2] - right.mean() < 0.05, "not surer than right"
    few = typer.call(others.X[:, :12], genes=others.genes[:12])
    assert few["flag"].str.split(";").map(lambda words: "low_overlap" in words).all()
    assert not typer.call(others.X)["flag"].str.contains("low_overlap").any()


def test_cells_like_nothing_seen_are_novel(typer, others) -> None:
    strange = np.random.default_rng(4)
    profile = strange.gamma(0.4, 1.0, 150) + 0.02
    X = sp.csr_matrix(strange.poisson(250 * profile / profile.sum(), (100, 150)).astype(np.float32))
    novel, known = typer.call(X)["novelty"], typer.call(others.X)["novelty"]
    assert (known > 0.5).mean() < 0.1
    assert np.median(novel) > np.quantile(known, 0.9)
    assert (typer.call(X)["flag"].str.contains("novel") == (novel > 0.5)).all()


def test_cells_that_spend_their_counts_on_genes_the_model_does_not_read_are_not_called(blood, others) -> None:
    """Of another tissue: seen through the model's genes alone they look like shallow cells of a known type."""
    few = CellTyper(epochs=2, n_hidden=32, n_genes=80).fit(blood.X, blood.labels, genes=blood.genes)
    unread = ~np.isin(blood.genes, few.answerer_.genes)
    assert unread.sum() == 70
    foreign = others.X[:50].toarray()
    foreign[:, unread] = foreign[:, unread] * 100 + 5
    calls = few.call(sp.csr_matrix(foreign), genes=others.genes)
    assert (calls["call"] == "unknown").all()
    assert (calls["novelty"] > 0.5).all()
    known = few.call(others.X, genes=others.genes)
    assert (known["novelty"] > 0.5).mean() < 0.1


def test_shallow_cells_and_mixtures_are_flagged(typer, others) -> None:
    rng = np.random.default_rng(0)
    thin = others.X.copy()
    thin.data = rng.binomial(thin.data.astype(int), 0.1).astype(np.float32)
    words = typer.call(thin)["flag"].str.split(";")
    assert words.map(lambda w: "low_counts" in w).mean() > 0.9
    assert words.map(lambda w: "few_genes" in w).mean() > 0.9
    a, b = (np.flatnonzero(others.labels == kind)[:30] for kind in ("B cell", "natural killer cell"))
    doublets = typer.call(others.X[a] + others.X[b])["flag"].str.contains("possible_doublet").mean()
    single = typer.call(others.X)["flag"].str.contains("possible_doublet").mean()
    assert doublets > 5 * single


def test_the_same_seed_is_the_same_model(blood, typer) -> None:
    again = CellTyper(epochs=2, n_hidden=32).fit(blood.X, blood.labels, genes=blood.genes, groups=blood.donors)
    np.testing.assert_array_equal(again.predict_proba(blood.X), typer.predict_proba(blood.X))
    assert again.about_ == typer.about_
    other = CellTyper(epochs=2, n_hidden=32, random_state=1).fit(blood.X, blood.labels, groups=blood.donors)
    assert (other.predict_proba(blood.X) != typer.predict_proba(blood.X)).any()


def test_with_fewer_than_three_donors_the_confidence_is_lowered_and_the_card_says_so(blood, typer, others) -> None:
    alone = CellTyper(epochs=2, n_hidden=32).fit(blood.X, blood.labels, genes=blood.genes)
    assert alone.about_["calibration"]["held_out"] == "random cells"
    assert any("not tested on a new donor" in sentence for sentence in alone.about_["warnings"])
    assert typer.about_["warnings"] == ["not tested on a new study"]
    assert alone.predict_proba(others.X).max(axis=1).mean() < typer.predict_proba(others.X).max(axis=1).mean()


def test_what_cannot_be_learned_from_is_one_sentence(blood) -> None:
    with pytest.raises(LabelError, match="One class is not enough"):
        CellTyper().fit(blood.X[:50], ["B cell"] * 25 + ["CL:0000236"] * 25)
    with pytest.raises(DataError, match="Got 3 gene names for 150 columns"):
        CellTyper().fit(blood.X, blood.labels, genes=["a", "b", "c"])
    with pytest.raises(DataError, match="normalise is 'cpm'; 'auto', 'cp10k' or 'none' is needed"):
        CellTyper(normalise="cpm").fit(blood.X, blood.labels)
    with pytest.raises(DataError, match="Got 2 groups for 600 cells"):
        CellTyper().fit(blood.X, blood.labels, groups=["a", "b"])


def test_cell_as_a_label_does_not_swallow_the_others(blood) -> None:
    """The root says nothing: as a class of its own it stays visible, and no call is the root."""
    labels = blood.labels.copy()
    labels[:60] = "cell"
    typer = CellTyper(epochs=1, n_hidden=16).fit(blood.X, labels, groups=blood.donors)
    calls = typer.call(blood.X)
    assert not calls["call_term_id"].isin(Ontology.load().stop_terms).any()
    assert "cell" in typer.classes_
