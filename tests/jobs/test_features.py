"""Genes that a typer decides along: the closed form against autograd, what is written, and what is refused."""

from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import torch

import whycell
from whycell.errors import ModelError, OutputError, UsageError
from whycell.jobs.annotate import annotate
from whycell.jobs.explain_targets import find_node
from whycell.jobs.features import features
from whycell.models.explaining import Pipeline
from whycell.models.store import load
from whycell.results import TypeFeatures


@pytest.fixture(scope="module")
def typed(pbmc: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("features")
    cells = ad.read_h5ad(pbmc / "query.h5ad")
    cells.obs["donor"] = np.resize(list("abcdef"), cells.n_obs)
    cells.write_h5ad(folder / "query.h5ad")
    annotate(folder / "query.h5ad", folder / "typed.h5ad", model=str(pbmc / "model"), threads=1)
    return folder / "typed.h5ad"


@pytest.fixture(scope="module")
def found(typed: Path) -> TypeFeatures:
    return features(
        typed,
        typed.with_name("features.h5ad"),
        report=typed.with_name("f.html"),
        tsv=typed.with_name("f.tsv"),
        threads=1,
    )


def test_the_matrix_is_the_mean_outer_product_of_the_slopes_in_gene_space(
    typed: Path, found: TypeFeatures, pbmc: Path
) -> None:
    """Autograd through the whole way from normalised expression to the log-odds, gene by gene."""
    answerer, about = load(pbmc / "model")
    cells = ad.read_h5ad(typed)
    t = int(found.types["cells"].argmax())
    name = found.types["type"].iat[t]
    mine = cells[(cells.obs["whycell"] == name).to_numpy()]
    columns = answerer.align(np.asarray(found_ids(mine), dtype=object))
    pipeline = Pipeline.of(answerer, columns)
    counts = mine.X.tocsr().astype(np.float32)
    v = torch.tensor(pipeline.expression(counts), dtype=torch.float64, requires_grad=True)
    x = (v - torch.tensor(pipeline.mean, dtype=torch.float64)) @ torch.tensor(pipeline.directions, dtype=torch.float64)
    z = 0.0
    for head in pipeline.heads:
        w = {k: torch.tensor(value, dtype=torch.float64) for k, value in head.items()}
        hidden = torch.nn.functional.layer_norm(x @ w["hidden"] + w["hidden_bias"], w["hidden"].shape[-1:])
        hidden = torch.nn.functional.gelu(hidden * w["gain"] + w["shift"])
        z = z + (x @ w["linear"] + w["bias"] + hidden @ w["out"]) / len(pipeline.heads)
    node = find_node(name, answerer.space, release=about["ontology"]["release"])
    leaves = torch.tensor(answerer.space.below[node])
    f = torch.logsumexp(z[:, leaves], 1) - torch.logsumexp(z[:, ~leaves], 1)
    (slopes,) = torch.autograd.grad(f.sum(), v)
    scaled = slopes.numpy() * found.genes["deviation"].to_numpy()
    genes = found.top_genes(t)
    exact = scaled[:, genes].T @ scaled[:, genes] / len(scaled)
    np.testing.assert_allclose(found.matrix(t, genes), exact, rtol=1e-4, atol=1e-6 * np.abs(exact).max())
    assert found.types["total"].iat[t] == pytest.approx((scaled**2).sum(1).mean(), rel=1e-4)
    np.testing.assert_allclose(found.pulls()[t], scaled.mean(0), rtol=1e-3, atol=1e-6)


def found_ids(cells: ad.AnnData) -> list[str]:
    from whycell.knowledge.genes import resolve_genes

    return list(resolve_genes(cells.var_names).ids)


def test_what_is_written_lies_along_the_files_own_genes(typed: Path, found: TypeFeatures) -> None:
    written = ad.read_h5ad(typed.with_name("features.h5ad"))
    told = written.uns["whycell_features"]
    types = list(told["types"])
    assert types == found.types["type"].tolist()
    symbols = found.genes["symbol"].to_numpy(dtype=object)
    for t, name in enumerate(types):
        matrix = written.varp[f"whycell_agop:{name}"]
        assert matrix.nnz <= found.top**2
        assert abs(matrix - matrix.T).max() < 1e-6
        best = int(matrix.diagonal().argmax())
        assert symbols[found.top_genes(t)[0]] == whycell.pl._symbols(written)[best]
        assert written.varm["whycell_agop"][best, t] == pytest.approx(found.scores()[t].max(), rel=1e-4)
    assert written.varp["whycell_agop"].diagonal().sum() == pytest.approx(np.mean(found.types["kept"]), rel=1e-3)
    assert typed.with_name("f.tsv").read_text().startswith("type\tterm_id\trank\tgene")
    page = typed.with_name("f.html").read_text()
    assert "Program 1" in page
    assert "jackknife over donors" in page


def test_scores_have_errors_and_programs_are_steady(found: TypeFeatures) -> None:
    frame = found.frame(top=5)
    assert (frame["standard_error"] > 0).all()
    assert (frame["standard_error"] < 0.5).all()
    first = found.stability[found.stability["directions"] == 1]
    assert (first["angle"] < first["chance"] / 2).all()
    assert set(found.programs["side"]) == {"+", "-"}
    b = found.frame()
    genes = b.loc[b["type"] == "B cell", "gene"].head(15).tolist() if (b["type"] == "B cell").any() else ["CD79A"]
    assert {"CD79A", "CD79B", "MS4A1", "CD74", "HLA-DRA"} & set(genes)


def test_neither_chunk_nor_threads_change_the_answer_and_an_anndata_is_written_in_place(
    typed: Path, found: TypeFeatures, pbmc: Path
) -> None:
    cells = ad.read_h5ad(typed)
    again = whycell.tl.features(cells, model=pbmc / "model", threads=2)
    np.testing.assert_allclose(again.inner, found.inner, rtol=1e-6)
    assert again.frame().equals(features(typed, threads=1).frame())
    name = found.types["type"].iat[0]
    assert whycell.pl.gene_network(cells, name).axes
    assert whycell.pl.gene_matrix(cells, name).axes[0].get_title() == name
    with pytest.raises(UsageError, match="no features of 'Martian'"):
        whycell.pl.gene_network(cells, "Martian")
    with pytest.raises(OutputError, match="force"):
        whycell.tl.features(cells, model=pbmc / "model")


def test_what_cannot_be_asked(typed: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no type 'platelet'"):
        features(typed, of_type="platelet")
    with pytest.raises(UsageError, match="there is nothing to average over"):
        features(typed, of_type="hematopoietic precursor cell")
    with pytest.raises(UsageError, match="ask for at least 1"):
        features(typed, top=0)
    with pytest.raises(ModelError, match="is not a saved model"):
        features(typed, model=str(tmp_path))
