"""Explaining a file: what is written, that it does not depend on how it was reckoned, and what is refused."""

import shutil
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest

import whycell
from whycell._keys import ObsKeys
from whycell.errors import GeneError, ModelError, OutputError, UsageError
from whycell.jobs import explain_checks
from whycell.jobs.annotate import annotate
from whycell.jobs.explain import explain
from whycell.jobs.explain_targets import find_node
from whycell.models.store import load
from whycell.results import Explanation

KEYS = ObsKeys()


@pytest.fixture(scope="module")
def typed(pbmc: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The query, typed, with donors."""
    folder = tmp_path_factory.mktemp("typed")
    cells = ad.read_h5ad(pbmc / "query.h5ad")
    cells.obs["donor"] = np.resize(["a", "b"], cells.n_obs)
    cells.write_h5ad(folder / "query.h5ad")
    annotate(folder / "query.h5ad", folder / "typed.h5ad", model=str(pbmc / "model"), threads=1)
    return folder / "typed.h5ad"


@pytest.fixture(scope="module")
def whole(typed: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Explanation]:
    """All cells explained by the model that the file records, everything written."""
    folder = tmp_path_factory.mktemp("why")
    return folder, explain(
        typed,
        folder / "why.h5ad",
        tsv=folder / "why.tsv",
        layer=True,
        n_checked=30,
        threads=1,
    )


def test_contributions_of_every_cell_add_up(whole: tuple[Path, Explanation]) -> None:
    cells = whole[1].cells
    spread = (cells["log_odds"] - cells["reference_log_odds"]).std()
    assert len(cells) == 200
    assert cells["residual"].abs().max() / spread < 1e-4
    assert (cells["log_odds"] > cells["reference_log_odds"]).mean() > 0.9


def test_the_file_holds_the_fields_of_the_schema_and_what_was_asked(
    typed: Path, whole: tuple[Path, Explanation]
) -> None:
    folder, result = whole
    before, after = ad.read_h5ad(typed), ad.read_h5ad(folder / "why.h5ad")
    assert [c for c in after.obs if c not in before.obs] == list(KEYS.explained())
    assert after.obs[KEYS.rationale].tolist() == result.cells["rationale"].tolist()
    layer, one = after.layers[KEYS.contributions], result.frame().query("cell == @after.obs_names[3]")
    assert np.isclose(layer[3].sum(), one["contribution"].sum(), atol=1e-4)
    assert after.varm[KEYS.contributions].shape == (after.n_vars, len(result.by_type.types))
    assert list(after.uns[KEYS.explanation]["types"]) == result.by_type.types["type"].tolist()
    named = {gene for genes in after.obs[KEYS.marker_gene_evidence] for gene in genes.split(", ") if gene}
    assert named <= set(result.genes["symbol"])
    assert (folder / "run.json").is_file()
    assert len((folder / "why.tsv").read_text().splitlines()) == 1 + len(result.frame())


def test_the_answers_do_not_depend_on_chunks_or_threads(typed: Path, whole: tuple[Path, Explanation]) -> None:
    other = explain(typed, n_checked=0, threads=2, chunk=37)
    assert other.cells["rationale"].equals(whole[1].cells["rationale"])
    for one, two in ((other.speaking_for, whole[1].speaking_for), (other.speaking_against, whole[1].speaking_against)):
        assert all(np.array_equal(getattr(one, name), getattr(two, name)) for name in vars(one))
    assert np.array_equal(other.by_type.mean, whole[1].by_type.mean)
    assert other.cells.equals(whole[1].cells)


def test_one_cell_is_explained_as_among_all(typed: Path, whole: tuple[Path, Explanation]) -> None:
    name = str(whole[1].cells.index[17])
    alone = explain(typed, cell=name, n_checked=1, threads=1)
    assert alone.cells["rationale"].tolist() == [whole[1].cells.loc[name, "rationale"]]
    assert alone.cell_checks.index.tolist() == [name]


def test_the_cells_of_one_type_are_those_called_it_or_below(typed: Path, whole: tuple[Path, Explanation]) -> None:
    found = explain(typed, of_type="monocyte", n_checked=0, threads=1)
    assert set(found.cells["call"]) == {"CD14-positive monocyte"}
    assert found.cells["row"].tolist() == whole[1].cells.query("call == 'CD14-positive monocyte'")["row"].tolist()


@pytest.mark.parametrize(
    ("against", "name"), [("sibling", "other "), ("rest", "all other types"), ("B cell", "B cell")]
)
def test_what_a_call_is_weighed_against(typed: Path, against: str, name: str) -> None:
    found = explain(typed, of_type="dendritic cell", against=against, n_checked=0, threads=1)
    assert found.cells["against"].str.startswith(name).all()
    assert found.cells["explained"].eq("dendritic cell").all()


def test_a_call_against_itself_is_explained_against_its_runner_up(typed: Path) -> None:
    found = explain(typed, of_type="B cell", against="B cell", n_checked=0, threads=1)
    assert found.cells["note"].str.contains("runner-up").all()
    assert (found.cells["against"] == found.cells["runner_up"]).all()


def test_references_are_of_the_same_donor_where_there_are_enough(whole: tuple[Path, Explanation]) -> None:
    result = whole[1]
    own = result.cells["reference"].str.contains(" of donor ")
    assert own.any()
    named = result.cells.loc[own, "reference"].str.extract(r"of donor (\w)$")[0].to_numpy()
    assert (named == np.asarray(result.donors)[own.to_numpy()]).all()


def test_checks_tell_the_top_genes_from_random_ones(whole: tuple[Path, Explanation]) -> None:
    everything = whole[1].checks.iloc[0]
    assert everything["cells"] == 30
    assert everything["fall"] > everything["fall_random"] + 0.02
    assert everything["perturbation"] > 0.5
    assert everything["passed"]


def test_an_explanation_that_shuffled_networks_share_fails_and_says_so(
    typed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explain_checks, "_shuffled", lambda pipeline, seed: pipeline)
    result = explain(typed, report=tmp_path / "why.html", of_type="B cell", n_checked=5, threads=1)
    assert not result.checks["passed"].any()
    page = (tmp_path / "why.html").read_text()
    assert "fails its sanity check" in page
    assert "Fails its sanity check" in page


def test_known_markers_come_from_the_ontology_and_from_the_user(typed: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.tsv").write_text("B-cell\tMS4A1\n# a remark\nlymphocyte\t-LYZ\n")
    found = explain(typed, markers=tmp_path / "mine.tsv", n_checked=0, threads=1).markers
    b_cell = found[found["type"] == "B cell"].set_index("name")
    assert b_cell.loc["MS4A1", "source"] == "yours"
    assert b_cell.loc["LYZ", "sign"] == -1
    monocyte = found[found["type"] == "CD14-positive monocyte"].set_index("name")
    assert monocyte.loc["CD14", ["sign", "source"]].tolist() == [1, "name"]
    assert monocyte.loc["CD19", "sign"] == -1


def test_the_model_recorded_is_found_or_asked_for(typed: Path, pbmc: Path, tmp_path: Path) -> None:
    shutil.copy(typed, tmp_path / "typed.h5ad")  # without the run.json beside it
    with pytest.raises(ModelError, match="--model"):
        explain(tmp_path / "typed.h5ad", n_checked=0, threads=1)
    with pytest.raises(ModelError, match="does not say which model"):
        explain(pbmc / "query.h5ad", n_checked=0, threads=1)
    shutil.copytree(pbmc / "model", tmp_path / "seven hundred")  # a folder of that name beside the file
    assert len(explain(tmp_path / "typed.h5ad", n_checked=0, threads=1).cells) == 200


def test_an_anndata_is_explained_in_place(typed: Path, pbmc: Path) -> None:
    adata = ad.read_h5ad(typed)
    result = whycell.tl.explain(adata, model=pbmc / "model", of_type="B cell", n_checked=0, threads=1)
    assert (adata.obs[KEYS.rationale] != "").sum() == len(result.cells)
    assert adata.layers[KEYS.contributions].nnz > 0
    whycell.pl.contributions(adata, str(result.cells.index[0]))
    whycell.pl.type_genes(adata)
    adata.obsm["X_umap"] = np.random.default_rng(0).normal(size=(adata.n_obs, 2))
    whycell.pl.contribution_map(adata, str(adata.var_names[0]))
    with pytest.raises(OutputError, match="already"):
        whycell.tl.explain(adata, model=pbmc / "model", n_checked=0, threads=1)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("nk cell", "natural killer cell"),
        ("NK", "natural killer cell"),
        ("CL:0000236", "B cell"),
        ("CD8 T cells", "CD8-positive, alpha-beta T cell"),
        ("CD19+ B", "B cell"),  # a label of the training
    ],
)
def test_types_are_known_by_the_names_people_use(pbmc: Path, given: str, name: str) -> None:
    space = load(pbmc / "model")[0].space
    assert space.node_names[find_node(given, space, release="2025-07-30")] == name


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"cell": "nobody"}, UsageError, "no cell 'nobody'"),
        ({"of_type": "hepatocyte"}, UsageError, "no type 'hepatocyte'"),
        ({"against": "hepatocyte"}, UsageError, "no type 'hepatocyte'"),
        ({"cell": "x", "of_type": "B cell"}, UsageError, "not both"),
        ({"reference": "nothing"}, UsageError, "nothing"),
        ({"layer": True}, UsageError, "needs a file"),
        ({"donor": "patient"}, whycell.errors.GroupError, "patient"),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_sentence(
    typed: Path, asked: dict[str, Any], error: type, words: str
) -> None:
    with pytest.raises(error, match=words):
        explain(typed, n_checked=0, threads=1, **asked)


def test_a_marker_file_that_makes_no_sense_is_refused(typed: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.tsv").write_text("B cell\tNOTAGENE\n")
    with pytest.raises(GeneError, match=r"Line 1 .* 'NOTAGENE'"):
        explain(typed, markers=tmp_path / "mine.tsv", n_checked=0, threads=1)
