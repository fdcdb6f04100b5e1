"""Which training cells taught a call: of a cell, of a type, of everything; and what is refused."""

from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

from whycell.errors import ModelError, OutputError, UsageError
from whycell.jobs.annotate import annotate
from whycell.jobs.explain_examples import explain_examples
from whycell.jobs.train import train
from whycell.knowledge.genes import resolve_genes
from whycell.results import ExampleEvidence

GENES = ("CD3D", "CD3E", "CD2", "IL7R", "LTB", "CD79A", "CD79B", "MS4A1", "CD19", "BANK1", "LYZ", "S100A8", "S100A9",
         "CST3", "FCN1", "NKG7", "GNLY", "PRF1", "GZMB", "KLRD1")  # fmt: skip
TYPES = ("T cell", "B cell", "monocyte", "natural killer cell")
HOUSE = tuple(
    f"RPL{i}" for i in (3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 18, 19, 21, 22, 23, 24, 26, 27, 28, 29, 30)
)


def cells(n: int, *, seed: int, only_donor: str = "") -> ad.AnnData:
    """Four types, three donors; cells of ``natural killer cell`` all of one donor where asked."""
    rng = np.random.default_rng(seed)
    kind, donor = rng.integers(4, size=n), np.array([f"d{d}" for d in rng.integers(3, size=n)])
    if only_donor:
        donor[kind == 3] = only_donor
    rate = np.full((n, len(GENES) + len(HOUSE)), 0.5)
    rate[:, len(GENES) :] = 12.0
    for t in range(4):
        rate[kind == t, 5 * t : 5 * t + 5] = 4.0
    made = ad.AnnData(sp.csr_matrix(rng.poisson(rate).astype(np.float32)))
    made.var_names = [*GENES, *HOUSE]
    made.obs_names = [f"{seed}-{i}" for i in range(n)]
    made.obs["cell_type"] = np.array(TYPES)[kind]
    made.obs["donor"] = donor
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("taught")
    assert all(resolve_genes(list(GENES), species="human").ids)
    cells(360, seed=1, only_donor="d1").write_h5ad(where / "reference.h5ad")
    cells(60, seed=2).write_h5ad(where / "query.h5ad")
    train([where / "reference.h5ad"], where / "model", label="cell_type", donor="donor", threads=1)
    annotate(where / "query.h5ad", where / "typed.h5ad", model=str(where / "model"), threads=1)
    return where


@pytest.fixture(scope="module")
def of_all(folder: Path) -> ExampleEvidence:
    return explain_examples(folder / "typed.h5ad", model=str(folder / "model"), threads=1)


def test_a_cell_is_taught_by_cells_of_its_kind(folder: Path) -> None:
    typed = ad.read_h5ad(folder / "typed.h5ad")
    name = str(typed.obs_names[typed.obs["whycell_leaf"] == "B cell"][0])
    found = explain_examples(folder / "typed.h5ad", model=str(folder / "model"), cell=name, top=5, threads=1)
    (one,) = found.targets
    assert one.name == name
    assert one.call == "B cell"
    assert (one.supporters["label"] == "B cell").mean() >= 0.6
    assert (one.opponents["label"] != "B cell").all()
    reference = ad.read_h5ad(folder / "reference.h5ad")
    assert set(one.supporters["cell"]) <= set(reference.obs_names)
    labels = reference.obs["cell_type"].astype(str)
    assert labels[one.supporters["cell"]].tolist() == one.supporters["label"].tolist()
    donors = reference.obs["donor"].astype(str)
    assert donors[one.supporters["cell"]].tolist() == one.supporters["donor"].tolist()
    assert one.donors["share"].sum() == pytest.approx(1)
    assert one.labels["net"].sum() == pytest.approx(one.donors["net"].sum())
    frame = found.frame()
    assert set(frame["what"]) == {"cell", "donor", "label"}  # one study: no study to name


def test_a_type_that_rests_on_one_donor_says_so(of_all: ExampleEvidence) -> None:
    by_name = {each.name: each for each in of_all.targets}
    killer = by_name["natural killer cell"]
    assert killer.donors["donor"].iat[0] == "d1"
    assert killer.donors["share"].iat[0] > 0.8
    assert killer.warnings
    assert "rests on one donor" in killer.warnings[0]
    assert not by_name["B cell"].warnings
    assert by_name["B cell"].donors_effective > 1.5 > killer.donors_effective
    assert of_all.overview().set_index("type").loc["natural killer cell", "first_donor"] == "d1"


def test_a_type_is_the_mean_of_its_cells(folder: Path, of_all: ExampleEvidence) -> None:
    found = explain_examples(folder / "typed.h5ad", model=str(folder / "model"), of_type="monocyte", threads=1)
    (one,) = found.targets
    (same,) = (each for each in of_all.targets if each.name == "monocyte")
    assert one.n_cells >= same.n_cells
    assert one.supporters["label"].eq("monocyte").mean() > 0.6


def test_from_memory_and_the_doors(folder: Path) -> None:
    import whycell

    adata = ad.read_h5ad(folder / "typed.h5ad")
    found = whycell.tl.explain_examples(adata, model=folder / "model", cell=str(adata.obs_names[0]))
    columns = ["what", "side", "rank", "name", "label", "donor", "study", "score", "share"]
    assert list(found.frame().columns) == columns
    assert found.summary()["targets"][0]["supporters"]


def test_page_and_table(folder: Path, tmp_path: Path) -> None:
    places: dict[str, Any] = {"report": tmp_path / "why.html", "tsv": tmp_path / "why.tsv"}
    explain_examples(folder / "typed.h5ad", model=str(folder / "model"), threads=1, **places)
    page = places["report"].read_text(encoding="utf-8")
    assert "rests on one donor" in page
    assert "src=" not in page.replace("img-src", "")
    assert places["tsv"].read_text().startswith("of\twhat\tside\trank\tname")
    with pytest.raises(OutputError, match="exists already"):
        explain_examples(folder / "typed.h5ad", model=str(folder / "model"), threads=1, **places)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"cell": "nobody"}, "no cell named 'nobody'"),
        ({"of_type": "neuron"}, "no type 'neuron'"),
        ({"cell": "2-0", "of_type": "B cell"}, "one of them can be explained"),
        ({"inplace": True}, "writes no cells"),
        ({"top": 0}, "one training cell at least"),
    ],
)
def test_refusals(folder: Path, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        explain_examples(folder / "typed.h5ad", model=str(folder / "model"), threads=1, **asked)


def test_a_model_without_training_cells_is_refused(folder: Path, tmp_path: Path) -> None:
    train([folder / "reference.h5ad"], tmp_path / "bare", label="cell_type", donor="donor", threads=1, examples=0)
    assert not (tmp_path / "bare" / "examples.safetensors").exists()
    with pytest.raises(ModelError, match="keeps no training cells"):
        explain_examples(folder / "query.h5ad", model=str(tmp_path / "bare"), cell="2-0", threads=1)
