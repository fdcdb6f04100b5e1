"""Labelled files, joined: no gene is taken for zero, donors of two files are two donors, copies teach nothing."""

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from whycell.compute import Talk
from whycell.errors import GeneError, GroupError, LabelError, OutputError, UsageError
from whycell.jobs.annotate import annotate
from whycell.jobs.references import load_references
from whycell.jobs.train import train
from whycell.knowledge.genes import resolve_genes
from whycell.models.store import read_card

GENES = [
    "CD3D", "CD3E", "CD4", "CD8A", "CD8B", "CD19", "MS4A1", "CD79A", "CD79B", "NKG7", "KLRD1", "CD14", "FCER1A", "CST3",
    "PPBP", "PF4", "IL7R", "CCR7", "S100A4", "S100A8", "S100A9", "CD2", "CD5", "CD6", "CD7", "CD22", "CD27", "CD28",
]  # fmt: skip


class Heard(Talk):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str) -> None:
        self.said.append(text)


def study(path: Path, genes: list[str], *, n: int = 60, seed: int = 0, **obs: Any) -> Path:
    """Counts of T and B cells; ``obs`` overrides columns."""
    rng = np.random.default_rng(seed)
    label = np.where(rng.random(n) < 0.5, "T cell", "B cell")
    is_b = (label == "B cell")[:, None]
    high = np.array([g in ("CD19", "MS4A1", "CD79A", "CD79B") for g in genes])
    rate = np.where(is_b == high, 6.0, 1.0)
    columns = {"label": label, "donor": [f"d{i % 3}" for i in range(n)], **obs}
    frame = pd.DataFrame(columns, index=[f"c{i}" for i in range(n)])
    X = sp.csr_matrix(rng.poisson(rate).astype(np.float32))
    ad.AnnData(X, obs=frame, var=pd.DataFrame(index=genes)).write_h5ad(path)
    return path


def test_genes_are_the_union_and_each_study_says_which_it_measured(tmp_path: Path) -> None:
    a, b = study(tmp_path / "a.h5ad", GENES[:22]), study(tmp_path / "b.h5ad", GENES[:6:-1], seed=1)
    loaded = load_references([a, b], label="label", donor="donor", threads=1)
    ids = dict(zip(GENES, resolve_genes(GENES).ids, strict=True))
    assert loaded.genes.tolist() == sorted(ids.values())
    assert set(loaded.genes[loaded.measured["a"]]) == {ids[g] for g in GENES[:22]}
    assert set(loaded.genes[loaded.measured["b"]]) == {ids[g] for g in GENES[7:]}
    for path, rows in ((a, loaded.obs["study"] == "a"), (b, loaded.obs["study"] == "b")):
        there = ad.read_h5ad(path)
        joined = pd.DataFrame(loaded.X[rows.to_numpy()].toarray(), columns=loaded.genes)
        for gene in there.var_names:
            assert joined[ids[gene]].tolist() == there[:, gene].X.toarray().ravel().tolist(), gene
    assert len(loaded.fingerprints) == 2
    assert loaded.species == "human"


def test_donors_of_two_files_are_two_donors_and_one_file_keeps_its_names(tmp_path: Path) -> None:
    a, b = study(tmp_path / "a.h5ad", GENES), study(tmp_path / "b.h5ad", GENES, seed=1)
    both = load_references([a, b], label="label", donor="donor", threads=1)
    assert set(both.obs["donor"]) == {f"{s}:d{i}" for s in "ab" for i in range(3)}
    assert both.obs["study"].tolist() == ["a"] * 60 + ["b"] * 60
    one = load_references([a], label="label", donor="donor", threads=1)
    assert set(one.obs["donor"]) == {"d0", "d1", "d2"}
    assert set(one.obs["study"]) == {"all"}
    assert "donor" not in load_references([a], label="label", threads=1).obs
    parts = study(tmp_path / "c.h5ad", GENES, batch=["x", "y"] * 30)
    by_column = load_references([parts, b], label="label", study="batch", donor="donor", threads=1)
    assert set(by_column.obs["study"]) == {"x", "y", "b"}, "a file without the column counts as one study"
    assert {"x:d0", "y:d0", "b:d0"} < set(by_column.obs["donor"])
    card = train([parts, b], tmp_path / "model", label="label", study="batch", donor="donor", threads=1)
    assert [(row["file"], row["cells"]) for row in card["inputs"]] == [("c.h5ad", 60), ("b.h5ad", 60)]
    assert sorted(card["trained_on"]["studies"]) == ["b", "x", "y"]


def test_columns_of_one_gene_are_summed_and_unknown_genes_left_out(tmp_path: Path) -> None:
    ids = resolve_genes(GENES).ids
    path = study(tmp_path / "a.h5ad", [*GENES, "notagene1", f"{ids[0]}.3"])
    loaded, there = load_references([path], label="label", threads=1), ad.read_h5ad(path).X.toarray()
    assert len(loaded.genes) == len(GENES)
    wanted = there[:, 0] + there[:, -1]
    assert loaded.X[:, loaded.genes.tolist().index(ids[0])].toarray().ravel().tolist() == wanted.tolist()


def test_copies_and_cells_without_a_label_teach_nothing(tmp_path: Path) -> None:
    label = ["T cell"] * 25 + ["B cell"] * 25 + ["unknown"] * 3 + [None] * 3 + ["mast cell"] * 4
    primary = [True] * 20 + [False] * 5 + [True] * 35
    path = study(tmp_path / "a.h5ad", GENES, label=label, is_primary_data=primary)
    heard = Heard()
    card = train([path], tmp_path / "model", label="label", threads=1, talk=heard)
    taught = {row["label"]: row["cells"] for row in card["labels"]}
    assert taught == {"T cell": 20, "B cell": 25}
    assert card["cells_left_out"] == 15
    assert any("left out, with fewer than 5 cells each: mast cell" in said for said in heard.said)
    assert any("15 of 60 cells are left out" in said for said in heard.said)
    assert read_card(tmp_path / "model")["inputs"][0]["cells"] == 60
    assert (tmp_path / "model" / "run.json").exists()


def test_labels_are_mapped_and_those_that_match_nothing_are_listed(tmp_path: Path) -> None:
    path = study(tmp_path / "a.h5ad", GENES, label=["CD4+ clump", "B cell", "my own"] * 20)
    heard = Heard()
    loaded = load_references([path], label="label", threads=1, talk=heard)
    assert loaded.label_ids == {"B cell": "CL:0000236", "CD4+ clump": "", "my own": ""}
    assert any("2 labels match no Cell Ontology term" in s and "CD4+ clump, my own" in s for s in heard.said)
    (tmp_path / "map.tsv").write_text("label\tid\nCD4+ clump\tCL:0000624\n")
    mapped = load_references([path], label="label", label_map=tmp_path / "map.tsv", threads=1)
    assert mapped.label_ids["CD4+ clump"] == "CL:0000624"
    card = train([path], tmp_path / "m", label="label", label_map=tmp_path / "map.tsv", threads=1)
    rules = {row["label"]: row["rule"] for row in card["label_map"]}
    assert rules == {"B cell": "name", "CD4+ clump": "label_map", "my own": "none"}


@pytest.mark.parametrize(
    ("asked", "error", "sentence"),
    [
        (
            {"label": "cell_type"},
            LabelError,
            r"a\.h5ad has no column 'cell_type' of labels in obs; it has: label, donor",
        ),
        ({"label": "label", "donor": "patient"}, GroupError, r"No reference has a column 'patient' of donors in obs"),
        ({"label": "label", "study": "batch"}, GroupError, "No reference has a column 'batch' of studies"),
    ],
)
def test_a_column_that_is_not_there(tmp_path: Path, asked: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        load_references([study(tmp_path / "a.h5ad", GENES)], threads=1, **asked)


def test_two_species_make_no_model_and_one_of_mouse_does(tmp_path: Path) -> None:
    human = study(tmp_path / "a.h5ad", GENES)
    mouse = study(tmp_path / "b.h5ad", [gene.capitalize() for gene in GENES])
    with pytest.raises(LabelError, match="genes of human and mouse; train a model on one species"):
        load_references([human, mouse], label="label", threads=1)
    card = train([mouse], tmp_path / "model", label="label", threads=1)
    assert card["species"] == "mouse"
    result = annotate(mouse, tmp_path / "typed.h5ad", model=str(tmp_path / "model"), threads=1)
    assert (result.calls["leaf"].astype(str).to_numpy() == ad.read_h5ad(mouse).obs["label"]).mean() > 0.9
    with pytest.raises(GeneError, match="wanted mouse"):
        annotate(human, tmp_path / "no.h5ad", model=str(tmp_path / "model"), threads=1)


def test_two_files_of_one_name_stay_two_studies(tmp_path: Path) -> None:
    """Everybody's file is called counts.h5ad."""
    places = [tmp_path / "x", tmp_path / "y"]
    paths = []
    for seed, place in enumerate(places):
        place.mkdir()
        paths.append(study(place / "counts.h5ad", GENES[seed : 24 + seed], seed=seed))
    loaded = load_references(paths, label="label", donor="donor", threads=1)
    assert loaded.obs["study"].nunique() == 2
    assert loaded.obs["donor"].nunique() == 6
    assert list(loaded.n_cells.values()) == [60, 60]
    with pytest.raises(UsageError, match=r"counts\.h5ad and .*counts\.h5ad hold the same bytes; give each file once"):
        load_references([paths[0], paths[0]], label="label", threads=1)


def test_train_refuses_before_it_works(tmp_path: Path) -> None:
    path = study(tmp_path / "a.h5ad", GENES, label=["unknown"] * 60)
    with pytest.raises(LabelError, match=r"No cell can be learned from: 60 cells, labels unknown"):
        train([path], tmp_path / "model", label="label", threads=1)
    assert not (tmp_path / "model").exists()
    (tmp_path / "model").mkdir()
    with pytest.raises(OutputError, match="model exists already; choose another name, or replace it with --force"):
        train([tmp_path / "nowhere.h5ad"], tmp_path / "model", label="label")


def test_the_same_files_and_seed_are_the_same_bytes_whatever_the_threads(tmp_path: Path) -> None:
    path = study(tmp_path / "a.h5ad", GENES, n=90)
    asked = {"label": "label", "donor": "donor", "name": "m"}
    for threads in (1, 2):
        train([path], tmp_path / f"m{threads}", threads=threads, **asked)
    for name in ("weights.safetensors", "about.json", "examples.safetensors"):
        assert (tmp_path / "m1" / name).read_bytes() == (tmp_path / "m2" / name).read_bytes()
    card = read_card(tmp_path / "m1")
    assert card["calibration"]["held_out"] == "donors"
    assert card["ontology"]["release"]
    assert card["inputs"][0]["fingerprint"].startswith("sha256:")
    assert card["seed"] == 0
