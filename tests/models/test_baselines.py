"""Back-off over summed probabilities, and the baselines behind the protocol."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from whycell.errors import GeneError
from whycell.knowledge.terms import Ontology
from whycell.metrics.scored_probabilities import THRESHOLDS, calls_at
from whycell.models.backoff import BackOff
from whycell.models.baselines import KNearest, Logistic, Majority
from whycell.models.forests import LightGBM, RandomForest
from whycell.models.protocol import CALL_COLUMNS, TypingModel

CD4, CD8, B, T = "CL:0000624", "CL:0000625", "CL:0000236", "CL:0000084"
IDS = {"CD4 T": CD4, "CD8 T": CD8, "B": B, "odd": ""}


@pytest.fixture(scope="module")
def ontology():
    return Ontology.load()


def test_the_call_is_the_most_telling_node_that_clears_the_threshold(ontology):
    back = BackOff(["CD4 T", "CD8 T", "B", "odd"], label_ids=IDS, ontology=ontology)
    p = np.array([[0.97, 0.01, 0.01, 0.01], [0.5, 0.47, 0.02, 0.01], [0.3, 0.2, 0.48, 0.02], [0, 0, 0.04, 0.96],
                  [0.2, 0.2, 0.2, 0.4]])  # fmt: skip
    found = back.call(p, threshold=0.95)
    assert tuple(found.columns) == CALL_COLUMNS
    shared = found["call_term_id"][2]
    assert found["call_term_id"].tolist() == [CD4, found["call_term_id"][1], shared, "", ""]
    assert found["call"].tolist()[3:] == ["odd", "unknown"], "a class of its own backs off to nothing"
    assert T in ontology.ancestors(found["call_term_id"][1]), "both kinds of alpha-beta T cell share more than T cell"
    assert {T, B} <= set(ontology.descendants(shared))
    assert found["confidence"].tolist() == pytest.approx([0.97, 0.97, 0.98, 0.96, 0])
    assert found["leaf"].tolist() == ["CD4 T", "CD4 T", "B", "odd", "odd"]
    assert found["runner_up"].tolist()[1] == "CD8 T"


def test_node_probabilities_do_not_count_a_class_twice(ontology):
    back = BackOff(list(IDS), label_ids=IDS, ontology=ontology)
    p = np.random.default_rng(0).dirichlet(np.ones(4), 20)
    for node, chance in zip(back.node_ids, back.of_nodes(p).T, strict=True):
        below = [node == "x:odd" if not i else node in ontology.ancestors(i) for i in IDS.values()]
        np.testing.assert_allclose(chance, p[:, below].sum(axis=1))


def test_every_threshold_at_once_is_one_threshold_at_a_time(ontology):
    back = BackOff(list(IDS), label_ids=IDS, ontology=ontology)
    chance = back.of_nodes(np.random.default_rng(3).dirichlet(np.full(4, 0.4), 300))
    found = calls_at(chance, back.nodes, back.tree.information[back.nodes], THRESHOLDS)
    for t, threshold in enumerate(THRESHOLDS):
        np.testing.assert_array_equal(found[:, t], np.append(back.nodes, -1)[back.choose(chance, threshold)])


@pytest.fixture(scope="module")
def cells():
    rng = np.random.default_rng(1)
    kinds = rng.integers(0, 4, 200)
    profiles = rng.gamma(0.5, 4, (4, 60))
    X = sparse.csr_matrix(rng.poisson(profiles[kinds]).astype(np.float32))
    return X, np.array(list(IDS))[kinds], np.array([f"g{i}" for i in range(60)])


@pytest.mark.parametrize("kind", [Majority, Logistic, KNearest, RandomForest, LightGBM], ids=lambda kind: kind.name)
def test_every_baseline_follows_the_protocol_whatever_the_order_of_genes(kind, cells, ontology):
    X, labels, genes = cells
    if kind is LightGBM:
        pytest.importorskip("lightgbm")
    model = kind() if kind not in (RandomForest, LightGBM) else kind(n_genes=50)
    assert isinstance(model, TypingModel)
    model.fit(X[:150], labels[:150], genes=genes, ontology=ontology, label_ids=IDS)
    p, names = model.predict_proba(X[150:], genes=genes)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    right = (np.array(names)[p.argmax(axis=1)] == labels[150:]).mean()
    assert right > 0.9 or kind is Majority
    order = np.random.default_rng(0).permutation(60)
    again = model.predict_proba(X[150:][:, order], genes=genes[order])[0]
    np.testing.assert_allclose(again, p, rtol=1e-4, atol=1e-6)
    assert tuple(model.call(X[150:], genes=genes).columns) == CALL_COLUMNS


def test_two_labels_of_one_term_are_one_class_and_unshared_genes_are_left_out(cells, ontology):
    X, labels, genes = cells
    renamed = labels.astype(object)
    renamed[:40][labels[:40] == "B"] = "B cells"
    studies = np.where(np.arange(200) < 100, "a", "b")
    measured = {"a": np.arange(60) < 50, "b": np.arange(60) >= 5}
    model = Logistic().fit(
        X, renamed, genes=genes, studies=studies, ontology=ontology, label_ids={**IDS, "B cells": B}, measured=measured
    )
    assert sorted(model.predict_proba(X, genes=genes)[1]) == sorted(IDS)
    assert len(model.genes_) == 45
    with pytest.raises(GeneError, match="none of the 45 genes"):
        model.predict_proba(X, genes=np.array([f"z{i}" for i in range(60)]))


WORKER = """
import sys
import numpy as np
import scipy.sparse as sp
with np.load(sys.argv[1]) as box:
    X, T = (
        sp.csr_matrix((box[k + "_data"], box[k + "_indices"], box[k + "_indptr"]), shape=(n, box["shape"][1])).toarray()
        for k, n in (("X", box["shape"][0]), ("T", box["n_test"]))
    )
    y = box["y"]
classes = np.unique(y)[::-1]
if len(classes) < 2:
    sys.exit("one class only")
centres = np.stack([X[y == c].mean(0) for c in classes])
np.savez(sys.argv[2], probabilities=np.exp(-((T[:, None] - centres) ** 2).mean(2)), classes=classes)
"""


def test_a_model_in_another_interpreter(cells, ontology, tmp_path):
    import sys

    from whycell.errors import ModelError, UsageError
    from whycell.models.external import External

    X, labels, genes = cells
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    model = External(python=sys.executable, script=str(script))
    model.fit(X[:150], labels[:150], genes=genes, ontology=ontology, label_ids=IDS)
    p, names = model.predict_proba(X[150:], genes=genes)
    assert (np.array(names)[p.argmax(axis=1)] == labels[150:]).mean() > 0.9
    np.testing.assert_allclose(p.sum(axis=1), 1)
    model.fit(X[:5], np.array(["B"] * 5), genes=genes, ontology=ontology, label_ids=IDS)
    with pytest.raises(ModelError, match="one class only"):
        model.predict_proba(X, genes=genes)
    with pytest.raises(UsageError, match="no file"):
        External(python=sys.executable, script="nowhere.py")
