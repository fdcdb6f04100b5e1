"""A pool of views: never far from the better one, and it knows where they disagree."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from whycell.encode.gene_vectors import GeneVectors, unit_rows
from whycell.errors import UsageError
from whycell.knowledge.terms import Ontology
from whycell.models.baselines import Logistic
from whycell.models.ensemble import Ensemble, pool, pool_weights
from whycell.models.gene_text import GenePTW

T, CD4, CD8 = "CL:0000084", "CL:0000624", "CL:0000625"
IDS = {"T": T, "CD4": CD4, "CD8": CD8}


def _cells(n: int, *, seed: int) -> tuple[sp.csr_matrix, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    kind = rng.integers(2, size=n)
    rates = np.ones((2, 40))
    rates[0, :8], rates[1, 8:16] = 4, 4
    donors = rng.integers(4, size=n).astype(str)
    return sp.csr_matrix(rng.poisson(rates[kind]).astype(np.float32)), np.array(["CD4", "CD8"])[kind], donors


def _fit(model: Any, X: sp.csr_matrix, y: np.ndarray, donors: np.ndarray) -> Any:
    genes = np.array([f"ENSG{i:011d}" for i in range(40)])
    return model.fit(X, y, genes=genes, donors=donors, studies=None, ontology=Ontology.load(), label_ids=IDS), genes


class Blind:
    """Says the same of every cell, in the coarser word."""

    name = "blind"

    def fit(self, X: Any, labels: Any, **_: Any) -> "Blind":
        return self

    def predict_proba(self, X: Any, *, genes: np.ndarray) -> tuple[np.ndarray, list[str]]:
        return np.ones((X.shape[0], 1)), ["T"]


def _views(**more: Any) -> Mapping[str, Any]:
    return {"genes": Logistic, **more}


def test_a_view_that_knows_nothing_changes_nothing() -> None:
    X, y, donors = _cells(400, seed=0)
    Z, truth, _ = _cells(200, seed=1)
    both, genes = _fit(Ensemble(views=_views(blind=Blind)), X, y, donors)
    alone, _ = _fit(Logistic(), X, y, donors)
    p, names = both.predict_proba(Z, genes=genes)
    q, _ = alone.predict_proba(Z, genes=genes)
    assert names == ["CD4", "CD8"]
    np.testing.assert_array_equal(p.argmax(axis=1), q.argmax(axis=1))
    assert np.mean(np.array(names)[p.argmax(axis=1)] == truth) > 0.95
    assert both.disagreement(Z, genes=genes).max() < 1e-3  # "T", shared out as the first view has it, says what it says


def test_text_joins_expression_and_calls_are_made() -> None:
    X, y, donors = _cells(400, seed=2)
    Z, truth, _ = _cells(100, seed=3)
    rng = np.random.default_rng(0)
    vectors = GeneVectors(
        np.array([f"ENSG{i:011d}" for i in range(40)], dtype=object),
        unit_rows(rng.standard_normal((40, 12))),
        "toy",
        (),
    )
    model, genes = _fit(Ensemble(views=_views(text=lambda: GenePTW(vectors=vectors)), threshold=0.8), X, y, donors)
    calls = model.call(Z, genes=genes)
    assert (calls["leaf"] == truth).mean() > 0.9
    assert set(calls["call_term_id"]) <= {CD4, CD8, *Ontology.load().ancestors(CD4)}
    apart = model.disagreement(Z, genes=genes)
    assert ((apart >= 0) & (apart <= 1)).all()
    assert apart.max() > 0.01


@pytest.mark.parametrize("seed", range(3))
def test_weights_find_the_view_that_is_right_and_temper_the_one_that_is_too_sure(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(3, size=2000)
    right = np.eye(3)[truth]
    good = np.log(0.6 * right + 0.4 / 3)
    noise = rng.dirichlet(np.ones(3), size=2000)
    weights = pool_weights(np.stack([good, np.log(noise)]), right.astype(bool), cell_weights=np.ones(2000))
    assert weights[1] < 0.1 < 1.0 < weights[0]
    wrong = np.where(rng.random(2000) < 0.3, rng.integers(3, size=2000), truth)
    sure = np.log(0.98 * np.eye(3)[wrong] + 0.02 / 3)
    (tempered,) = pool_weights(sure[None], right.astype(bool), cell_weights=np.ones(2000))
    p = pool(sure[None], np.array([tempered]))
    assert p.max(axis=1).mean() == pytest.approx((wrong == truth).mean(), abs=0.02)


def test_a_leaf_above_another_leaf_means_itself() -> None:
    X, y, donors = _cells(400, seed=4)
    Z, truth, _ = _cells(200, seed=5)
    names = {"CD4": "T", "CD8": "CD8"}  # "T" is a class here, and the ontology has "CD8" below it
    y, truth = np.array([names[k] for k in y]), np.array([names[k] for k in truth])
    both, genes = _fit(Ensemble(views={"one": Logistic, "two": Logistic}), X, y, donors)
    p, labels = both.predict_proba(Z, genes=genes)
    assert np.mean(np.array(labels)[p.argmax(axis=1)] == truth) > 0.95


def test_one_view_is_no_ensemble() -> None:
    with pytest.raises(UsageError, match="at least two views; got genes"):
        Ensemble(views=_views())
