"""What a model sees of a cell: texts on genes, sentences, embeddings; each learned, saved, read back and pooled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from whycell.encode.gene_vectors import GeneVectors, unit_rows
from whycell.encode.genept import genept_w, prepare_gene_matrix
from whycell.errors import DataError, FormatError, GeneError, ModelError, UsageError
from whycell.models import pooled
from whycell.models.explaining import Pipeline
from whycell.models.forward import softmax
from whycell.models.neighbours import CosineNeighbours
from whycell.models.representations import names_of
from whycell.models.store import POOLED
from whycell.models.typer import CellTyper

SMALL: dict[str, Any] = {"epochs": 2, "n_hidden": 32}


class Letters:
    """A text encoder that hashes words: the same text, the same vector."""

    name = "letters"
    fingerprint = "letters-1"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        out = np.zeros((len(texts), 32), dtype=np.float32)
        for i, text in enumerate(texts):
            for rank, word in enumerate(text.split()[6:36]):
                out[i] += of_word(word) / (1 + rank) ** 0.5
        return unit_rows(out)


@cache
def of_word(word: str) -> np.ndarray:
    return np.random.default_rng(int.from_bytes(word.encode()[-6:], "big")).standard_normal(32)


@pytest.fixture(scope="module")
def vectors(blood) -> GeneVectors:
    """Vectors of 24 numbers for 140 of the 150 genes."""
    rng = np.random.default_rng(0)
    return GeneVectors(np.array(blood.genes[:140], dtype=object), unit_rows(rng.standard_normal((140, 24))), "toy", ())


@pytest.fixture(scope="module")
def embed():
    """An embedding as another program would make it."""
    turn = np.random.default_rng(1).standard_normal((150, 12))
    return lambda X: np.asarray(np.log1p(X.toarray()) @ turn, dtype=np.float32)


@pytest.fixture
def letters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WHYCELL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pooled, "encoder_named", lambda which: Letters())
    monkeypatch.setattr("whycell.models.representations.encoder_named", lambda which: Letters())


def _fit(blood, obsm: Any = None, **more: Any) -> CellTyper:
    return CellTyper(**SMALL, **more).fit(blood.X, blood.labels, genes=blood.genes, groups=blood.donors, obsm=obsm)


def test_coordinates_are_sums_of_text_vectors(blood, others, vectors) -> None:
    """Two cells are as far apart as their GenePT-w sums are, before those are brought to length one."""
    typer = _fit(blood, representation="genept-w", gene_vectors=vectors, text_components=24)
    matrix = prepare_gene_matrix(vectors.matrix(blood.genes), centre="mean")
    logged = others.X.multiply(1e4 / others.X.sum(axis=1)).tocsr()
    logged.data = np.log1p(logged.data)
    sums = logged @ matrix
    unit, _ = genept_w(others.X, matrix)
    np.testing.assert_allclose(unit, unit_rows(np.asarray(sums)), atol=1e-5)
    learned = typer.answerer_.learned
    seen = np.ones(150, dtype=bool)
    x, facts = learned.encode(others.X, np.arange(150, dtype=np.int32), seen)
    # The directions span 23 or 24 of the 24 dimensions, so distances are kept but for one of them.
    ours = learned.unit * np.linalg.norm(x[:50, None] - x[None, :50], axis=2)
    theirs = np.linalg.norm(sums[:50, None] - sums[None, :50], axis=2)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.99
    # What the directions do not explain of a cell, by least squares.
    centred = logged.toarray() - learned.encoder.mean
    explained, *_ = np.linalg.lstsq(learned.encoder.directions, centred.T, rcond=None)
    rest = ((centred.T - learned.encoder.directions @ explained) ** 2).sum(axis=0)
    np.testing.assert_allclose(facts[:, 2], rest, rtol=2e-3)


@pytest.mark.parametrize("representation", ["genept-w", "genept-s", "ensemble"])
def test_what_is_saved_answers_the_same(
    blood, others, vectors, embed, letters, tmp_path: Path, representation: str
) -> None:
    more: dict[str, Any] = {} if representation == "genept-s" else {"gene_vectors": vectors}
    if representation == "ensemble":
        more["views"] = ("obsm:X_toy",)
    typer = _fit(blood, {"X_toy": embed(blood.X)}, representation=representation, **more)
    obsm = {"X_toy": embed(others.X)}
    p = typer.predict_proba(others.X, obsm=obsm)
    assert (typer.classes_[p.argmax(axis=1)] == others.labels).mean() > (0.4 if representation == "genept-s" else 0.75)
    folder = typer.save(tmp_path / "model")
    assert json.loads((folder / "about.json").read_text())["format"] == POOLED
    back = CellTyper.load(folder)
    # In parts and in another order of columns, to the last bit.
    turned = np.arange(150)[::-1]
    parts = [
        back.predict_proba(
            others.X[rows][:, turned],
            genes=[others.genes[i] for i in turned],
            obsm={"X_toy": obsm["X_toy"][rows]},
        )
        for rows in (np.arange(77), np.arange(77, 400))
    ]
    np.testing.assert_allclose(np.concatenate(parts), p, atol=1e-5)
    calls = back.call(others.X, obsm=obsm)
    assert ("disagreement" in calls) == (representation != "genept-w")
    if representation == "ensemble":
        assert calls["disagreement"].between(0, 1).all()
        assert calls["disagreement"].max() > 0.01


def test_the_pool_is_the_weighted_mean_of_what_its_views_say(blood, others, vectors) -> None:
    typer = _fit(blood, representation="ensemble", gene_vectors=vectors)
    answerer = typer.answerer_
    pool, space = answerer.pool, answerer.space
    assert pool is not None
    columns, seen = np.arange(150, dtype=np.int32), np.ones(150, dtype=bool)
    from whycell.models.forward import ensemble_logits

    every = [
        ensemble_logits(one.encode(others.X, columns, seen)[0], one.heads)
        for one in (answerer.learned, *(view.learned for view in pool.views))
    ]
    mixed = sum(w * log_p for w, log_p in zip(pool.weights, every, strict=True))
    expected = softmax(mixed / answerer.calibration.temperatures[0])
    found = answerer.answer(others.X, columns)
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)
    # One network on the coordinates of both views side by side says the same: what explain walks back through.
    pipeline = Pipeline.of(answerer, columns)
    leaf = np.zeros((400, space.n_leaves), dtype=bool)
    leaf[:, 0] = True
    p = pipeline.probability(pipeline.expression(others.X), leaf)
    np.testing.assert_allclose(p, found.probabilities[:, 0], atol=2e-4)


def test_a_view_that_says_nothing_is_left_out_and_need_not_be_brought(blood, others) -> None:
    noise = np.random.default_rng(3).standard_normal((600, 6)).astype(np.float32)
    typer = _fit(blood, {"X_noise": noise}, representation="ensemble", views=("obsm:X_noise",))
    weights = {row["name"]: row["weight"] for row in typer.about_["representation"]["views"]}
    assert weights["obsm:X_noise"] == 0
    assert typer.answerer_.obsm_keys == ()
    assert (typer.predict(others.X) == others.labels).mean() > 0.8


def test_what_is_missing_or_wrong_is_said(blood, others, vectors, embed, letters) -> None:
    typer = _fit(
        blood, {"X_toy": embed(blood.X)}, representation="genept-w", gene_vectors=vectors, views=("obsm:X_toy",)
    )
    with pytest.raises(
        FormatError, match=r"reads obsm\['X_toy'\] \(12 numbers a cell\), and the file's obsm holds X_p"
    ):
        typer.predict(others.X, obsm={"X_pca": embed(others.X)})
    with pytest.raises(FormatError, match=r"has 5 numbers a cell, and the model was trained on 12"):
        typer.predict(others.X, obsm={"X_toy": embed(others.X)[:, :5]})
    with pytest.raises(FormatError, match="NaN"):
        typer.predict(others.X, obsm={"X_toy": embed(others.X) * np.nan})
    with pytest.raises(UsageError, match="in part by obsm:X_toy, of which no gene has a share"):
        Pipeline.of(typer.answerer_, np.arange(150, dtype=np.int32))
    with pytest.raises(DataError, match=r"needs obsm\['X_no'\] of every reference; given: nothing"):
        _fit(blood, views=("obsm:X_no",))
    with pytest.raises(UsageError, match="needs vectors of the genes' texts: give --gene-vectors"):
        _fit(blood, representation="genept-w")
    other = GeneVectors(np.array(["ENSMUSG00000000001"], dtype=object), np.ones((1, 4), dtype=np.float32), "toy", ())
    with pytest.raises(GeneError, match="0 of the model's 150 genes have a vector"):
        _fit(blood, representation="genept-w", gene_vectors=other)


def test_sentences_ask_for_the_encoder_they_were_trained_with(blood, others, letters, monkeypatch) -> None:
    typer = _fit(blood, representation="genept-s")
    assert typer.about_["representation"]["sentences"]["fingerprint"] == "letters-1"
    monkeypatch.setattr(Letters, "fingerprint", "letters-2")
    with pytest.raises(
        ModelError, match=r"through the encoder 'minilm' \(letters-1...\), and here that name is another"
    ):
        typer.predict(others.X)


def test_names_of_views() -> None:
    assert names_of("ensemble", ("obsm:X", "genept-w")) == ("expression", "genept-w", "obsm:X")
    assert names_of("ensemble", ("obsm:X",), described=False) == ("expression", "obsm:X")
    for representation, views, sentence in (
        ("text", (), "one of expression, genept-w"),
        ("expression", ("obsm:",), "There is no view 'obsm:'"),
    ):
        with pytest.raises(UsageError, match=sentence):
            names_of(representation, views)
    with pytest.raises(UsageError, match="at least two views"):
        names_of("ensemble", described=False)


def test_the_graph_finds_the_neighbours_that_comparing_with_all_finds() -> None:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((6, 24))
    y = rng.integers(6, size=4000)
    X = centres[y] + 1.2 * rng.standard_normal((4000, 24))
    Q = centres[rng.integers(6, size=500)] + 1.2 * rng.standard_normal((500, 24))
    exact, graph = (CosineNeighbours(search=search).fit(X, y) for search in ("exact", "hnsw"))
    from sklearn.neighbors import KNeighborsClassifier

    theirs = KNeighborsClassifier(15, metric="cosine").fit(X, y)
    np.testing.assert_allclose(exact.predict_proba(Q), theirs.predict_proba(Q), atol=1e-9)
    shared = [len(set(a) & set(b)) for a, b in zip(exact.nearest(Q), graph.nearest(Q), strict=True)]
    assert np.mean(shared) >= 0.99 * 15
    assert np.abs(exact.predict_proba(Q) - graph.predict_proba(Q)).max() <= 3 / 15
    assert CosineNeighbours().fit(X, y).nearest(sp.csr_matrix((0, 24)).toarray()).shape == (0, 15)
