"""Models that see texts and embeddings, from files to typed files."""

from __future__ import annotations

import runpy
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from whycell.data.cells import open_cells
from whycell.data.splits import make_split
from whycell.encode.gene_vectors import unit_rows, write_gene_vectors
from whycell.errors import DataError, FormatError, ModelError, UsageError
from whycell.jobs.annotate import annotate
from whycell.jobs.crossfit import cross_fit, tree_for
from whycell.jobs.explain import explain
from whycell.jobs.explain_examples import explain_examples
from whycell.jobs.references import load_references
from whycell.jobs.specs import Spec, build, obsm_keys_of, read_spec
from whycell.jobs.train import train
from whycell.knowledge.genes import resolve_genes
from whycell.knowledge.terms import Ontology
from whycell.models.ensemble import Ensemble
from whycell.models.gene_text import GenePTW
from whycell.models.store import read_card

DEMO = Path(__file__).resolve().parents[2] / "demo"
LABELS = {"label": "bulk_labels", "label_map": DEMO / "labels.tsv"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``reference.h5ad`` and ``query.h5ad`` with an embedding, gene vectors, and an ensemble of all three views."""
    folder = tmp_path_factory.mktemp("views")
    runpy.run_path(str(DEMO / "cells.py"))["write_two_files"](folder)
    rng = np.random.default_rng(0)
    for path in folder.glob("*.h5ad"):
        cells = ad.read_h5ad(path)
        _, codes = np.unique(cells.obs["bulk_labels"].astype(str), return_inverse=True)
        centres = np.random.default_rng(1).standard_normal((codes.max() + 1, 8))
        cells.obsm["X_toy"] = (centres[codes] + 0.5 * rng.standard_normal((len(codes), 8))).astype("float32")
        cells.obsm["frame"] = pd.DataFrame({"a": np.zeros(cells.n_obs)}, index=cells.obs_names)
        cells.write_h5ad(path)
    ids = [str(i) for i in resolve_genes(list(cells.var_names)).ids if i]
    write_gene_vectors(
        folder / "vectors.parquet",
        gene_ids=ids,
        ensembl_ids=[[i] for i in ids],
        facets=["name"] * len(ids),
        vectors=unit_rows(rng.standard_normal((len(ids), 32))),
        about={"encoder": "toy"},
    )
    train(
        [folder / "reference.h5ad"],
        folder / "model",
        **LABELS,
        representation="ensemble",
        gene_vectors=folder / "vectors.parquet",
        views=("obsm:X_toy",),
        threads=1,
    )
    return folder


def test_the_card_says_what_is_seen(folder: Path) -> None:
    told = read_card(folder / "model")["representation"]
    assert told["name"] == "ensemble"
    assert [row["name"] for row in told["views"]] == ["expression", "genept-w", "obsm:X_toy", "pooled"]
    assert told["gene_vectors"].startswith("sha256:")
    assert told["texts"]["encoder"] == "toy"
    assert str(folder) not in (folder / "model" / "about.json").read_text()


def test_annotate_streams_the_embedding_along(folder: Path, tmp_path: Path) -> None:
    whole = annotate(folder / "query.h5ad", tmp_path / "a.h5ad", model=str(folder / "model"), threads=1)
    small = annotate(folder / "query.h5ad", tmp_path / "b.h5ad", model=str(folder / "model"), chunk=37, threads=2)
    pd.testing.assert_frame_equal(whole.calls, small.calls)
    typed = ad.read_h5ad(tmp_path / "a.h5ad")
    assert typed.obs["whycell_disagreement"].between(0, 1).all()
    in_memory = ad.read_h5ad(folder / "query.h5ad")
    annotate(in_memory, model=str(folder / "model"), inplace=True, threads=1)
    assert in_memory.obs["whycell_disagreement"].tolist() == typed.obs["whycell_disagreement"].tolist()
    in_memory.write_zarr(tmp_path / "q.zarr")
    annotate(tmp_path / "q.zarr", tmp_path / "z.zarr", model=str(folder / "model"), key="z", threads=1)
    assert ad.read_zarr(tmp_path / "z.zarr").obs["z"].astype(str).tolist() == typed.obs["whycell"].astype(str).tolist()


def test_a_file_without_the_embedding_is_refused_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    cells = ad.read_h5ad(folder / "query.h5ad")
    cells.obsm["X_toy"] = cells.obsm["X_toy"][:, :3]
    cells.write_h5ad(tmp_path / "narrow.h5ad")
    del cells.obsm["X_toy"]
    cells.write_h5ad(tmp_path / "bare.h5ad")
    for name, sentence in (
        ("bare", r"reads obsm\['X_toy'\] \(8 numbers a cell\), and the file's obsm holds nothing"),
        ("narrow", r"has 3 numbers a cell, and the model was trained on 8"),
    ):
        with pytest.raises(FormatError, match=sentence):
            annotate(tmp_path / f"{name}.h5ad", tmp_path / "out.h5ad", model=str(folder / "model"), threads=1)
    assert not (tmp_path / "out.h5ad").exists()
    with pytest.raises(UsageError, match=r"bare.h5ad has no obsm\['X_toy'\] of numbers; it has none"):
        load_references([tmp_path / "bare.h5ad"], **LABELS, obsm=["X_toy"])
    with pytest.raises(DataError, match=r"has not one width in all references \(8 in .*reference.h5ad, 3 in .*narrow"):
        load_references([folder / "reference.h5ad", tmp_path / "narrow.h5ad"], **LABELS, obsm=["X_toy"])


def test_rows_of_an_embedding(folder: Path) -> None:
    whole = ad.read_h5ad(folder / "query.h5ad").obsm["X_toy"]
    with open_cells(folder / "query.h5ad") as cells:
        assert cells.obsm_widths == {"X_toy": 8}
        np.testing.assert_array_equal(cells.obsm("X_toy", start=5, stop=9), whole[5:9])
        with pytest.raises(UsageError, match="no obsm"):
            cells.obsm("frame")


def test_what_such_a_model_cannot_answer_is_said(folder: Path, tmp_path: Path) -> None:
    annotate(folder / "query.h5ad", tmp_path / "t.h5ad", model=str(folder / "model"), threads=1)
    with pytest.raises(UsageError, match="in part by obsm:X_toy, of which no gene has a share"):
        explain(tmp_path / "t.h5ad", model=str(folder / "model"), threads=1)
    with pytest.raises(ModelError, match="pools several views and keeps no training cells"):
        explain_examples(tmp_path / "t.h5ad", model=str(folder / "model"), threads=1)
    with pytest.raises(UsageError, match="--gene-vectors speak of genept-w and ensemble; the representation is expr"):
        train([folder / "reference.h5ad"], tmp_path / "m", **LABELS, gene_vectors=folder / "vectors.parquet")


@pytest.mark.parametrize(("model", "head", "least"), [("ensemble", "network", 0.8), ("genept-w", "knn", 0.45)])
def test_specs_name_text_models(folder: Path, tmp_path: Path, model: str, head: str, least: float) -> None:
    spec = _spec(folder, tmp_path, model=model, head=head, views='views = ["obsm:X_toy"]' if head == "network" else "")
    keys = obsm_keys_of([spec])
    assert keys == (["X_toy"] if head == "network" else [])
    ontology = Ontology.load()
    loaded = load_references([folder / "reference.h5ad"], **LABELS, obsm=keys, ontology=ontology, threads=1)
    split = make_split(loaded.obs, by="random", n_folds=2, seed=0)
    tree = tree_for(ontology, dict(loaded.label_ids))
    tested = cross_fit(spec, loaded, split, ontology=ontology, tree=tree, threads=1)
    assert (tested.calls["leaf_id"] == tested.calls["truth_id"]).mean() > least


def test_a_spec_names_the_head(folder: Path, tmp_path: Path) -> None:
    pool = build(_spec(folder, tmp_path, model="ensemble", head="lightgbm"))
    assert isinstance(pool, Ensemble)
    text = pool.views["genept-w"]()
    assert isinstance(text, GenePTW)
    assert text.head == "lightgbm"
    with pytest.raises(UsageError, match="head is 'oracle'"):
        build(_spec(folder, tmp_path, model="genept-w", head="oracle"))


def _spec(folder: Path, scratch: Path, *, model: str, head: str, views: str = "") -> Spec:
    own = (f'gene_vectors = "{folder}/vectors.parquet"', f'head = "{head}"', views)
    lines = (f'model = "{model}"', "[parameters]", *own)
    (scratch / "spec.toml").write_text("\n".join(lines))
    return read_spec(scratch / "spec.toml")
