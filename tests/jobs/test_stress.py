"""The stresses do what they say, and the table holds what it must."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from whycell.data.stresses import STRESSES, each_stress
from whycell.jobs.stress import stress_references, stress_warnings, write_stress


@pytest.fixture(scope="module")
def references():
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 3, 240)
    profiles = rng.gamma(0.4, 6, (3, 450))
    labels = np.array(["B", "NK", "odd"])[kinds]
    obs = pd.DataFrame({"label": labels, "donor": np.repeat(["a", "b", "c"], 80), "study": "s"})
    return SimpleNamespace(
        X=sparse.csr_matrix(rng.poisson(profiles[kinds]).astype(np.float32)),
        genes=np.array([f"ENSG{i:011d}" for i in range(450)]),
        obs=obs,
        measured=None,
        label_ids={"B": "CL:0000236", "NK": "CL:0000623", "odd": ""},
    )


def test_each_stress_does_what_it_says(references):
    X, genes = references.X, references.genes
    total = X.sum()
    seen = {}
    for name, level, found in each_stress(X, genes, seed=1):
        seen.setdefault(name, []).append(level)
        assert found.X.shape == (240, len(found.genes))
        if name == "gene_dropout":
            assert len(found.genes) == round(450 * (1 - level))
            np.testing.assert_array_equal(found.X.toarray(), X[:, np.isin(genes, found.genes)].toarray())
        elif name == "panel":
            assert len(found.genes) == level
        elif name == "depth":
            assert found.X.sum() == pytest.approx(total * level, rel=0.05)
            assert (found.X > X).nnz == 0
        elif name == "ambient":
            assert found.X.sum() == pytest.approx(total)
        elif name == "doublets":
            mixed = found.also >= 0
            assert mixed.sum() == round(240 * level)
            assert (found.also[mixed] != np.flatnonzero(mixed)).all()
            i = np.flatnonzero(mixed)[0]
            np.testing.assert_allclose(found.X[i].toarray(), (X[i] + X[found.also[i]]).toarray())
        elif name == "columns_reordered":
            back = np.argsort(found.genes)
            np.testing.assert_array_equal(found.X[:, back].toarray(), X.toarray())
        elif name == "columns_mislabelled":
            assert (found.genes != genes).mean() <= level
            assert sorted(found.genes) == sorted(genes)
    assert seen == {name: list(levels) for name, (_, levels) in STRESSES.items()}


def test_the_table(references, tmp_path):
    table = stress_references(references, only=["knn", "majority"], threads=1)
    assert len(table) == 2 * sum(len(levels) for _, levels in STRESSES.values())
    row = table.set_index(["model", "stress", "level"])
    assert row.loc[("knn", "none", 0.0), "accuracy"] > 0.95
    same = ["accuracy", "confidence", "unknown"]
    pd.testing.assert_series_equal(
        row.loc[("knn", "none", 0.0), same], row.loc[("knn", "columns_reordered", 1.0), same], check_names=False
    )
    assert row.loc[("knn", "columns_mislabelled", 1.0), "accuracy"] < 0.7
    np.testing.assert_allclose(table["gap"], table["confidence"] - table["accuracy"])
    assert (table["honest"] == (table["gap"] <= 0.05)).all()
    write_stress(table, tmp_path, inputs={})
    assert {p.name for p in tmp_path.iterdir()} == {"stress.tsv", "run.json"}


def test_our_typer_refuses_what_a_person_would_be_refused_and_mends_what_would_be_mended(references):
    table = stress_references(references, only=["whycell"], n_folds=2, threads=1)
    assert table["stress"].tolist() == [name for name, (_, levels) in STRESSES.items() for _ in levels]
    row = table.set_index(["stress", "level"])
    shuffled = row.loc[("columns_mislabelled", 1.0)]
    assert (shuffled["n"], shuffled["refused"]) == (0, 2)
    assert shuffled["honest"]
    assert "do not behave like" in shuffled["said"]
    assert row.loc[("normalised_twice", 1.0), "accuracy"] == row.loc[("none", 0.0), "accuracy"]
    assert row.loc[("normalised_twice", 1.0), "refused"] == 0


def test_half_of_the_names_shuffled_is_told_from_unlike_cells(references):
    from whycell.jobs.fitting import fit_rows
    from whycell.jobs.likeness import MOST_BURIED, likeness
    from whycell.jobs.specs import Spec, build
    from whycell.knowledge.terms import Ontology

    model = fit_rows(build(Spec("whycell")), references, np.arange(240), ontology=Ontology.load())
    answerer = model.typer.answerer_
    halves = STRESSES["columns_mislabelled"][0](references.X, references.genes, 0.5, np.random.default_rng(0))
    _, buried = likeness(halves.X, answerer.align(halves.genes), answerer)
    alike, none = likeness(references.X[:80], answerer.align(references.genes), answerer)
    assert alike > 0.9
    assert none == 0 < MOST_BURIED < buried
    assert likeness(references.X[:, :20], answerer.align(references.genes[:20]), answerer) == (1.0, 0.0)


def test_a_model_too_sure_of_itself_is_named():
    table = pd.DataFrame(
        {"model": "m", "stress": ["none", "gene_dropout"], "level": [0.0, 0.9], "gap": [0.0, 0.2], "honest": [True, 0]}
    )
    (said,) = stress_warnings(table)
    assert "m exceeds" in said
    assert said.endswith("gene dropout 0.9 (by 0.20).")


def test_types_left_out_are_scored_on_unseen_donors(references):
    from whycell.jobs.novelty import leave_types_out

    table = leave_types_out(references, types=[["B", "NK"], ["odd"], ["B"]], only=["logistic"], threads=1)
    assert table["type"].tolist() == ["odd", "B"], "without B and NK one class is left: nothing to train on"
    row = table.set_index("type").loc["odd"]
    assert row["n_novel"] == (references.obs["label"] == "odd").sum()
    assert row["n_novel"] + row["n_seen"] == len(references.obs)
    assert row["unknown"] + row["on_branch"] + row["wrong_branch"] == pytest.approx(1)
    assert 0 <= row["fpr95"] <= 1
