"""Sweeps and views on cells whose types are told by words that were planted in the texts."""

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from whycell.encode.gene_vectors import unit_rows, write_gene_vectors
from whycell.errors import OutputError, UsageError
from whycell.jobs.sweep import sweep
from whycell.jobs.views import views
from whycell.knowledge.genes import GeneTable

TYPES = ("B cell", "T cell", "natural killer cell")
N_GENES, N_MARKERS, N_CELLS = 300, 40, 420


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Cells in which each of forty genes a type is seen a little more often, and two facets of vectors.

    ``summary`` tells the forty of a type by one common direction, so that a sum gathers what no single gene shows;
    ``cell-types`` tells the types outright.
    """
    folder = tmp_path_factory.mktemp("planted")
    rng = np.random.default_rng(0)
    genes = [str(i) for i in GeneTable.load().ids[:N_GENES]]
    kind = np.arange(N_CELLS) % len(TYPES)
    rates = np.full((N_CELLS, N_GENES), 0.25)
    for t in range(len(TYPES)):
        rates[kind == t, t * N_MARKERS : (t + 1) * N_MARKERS] *= 1.5
    obs = pd.DataFrame({"type": np.array(TYPES)[kind], "donor": [f"d{i}" for i in rng.integers(0, 6, N_CELLS)]})
    obs.index = [f"c{i}" for i in range(N_CELLS)]
    cells = ad.AnnData(rng.poisson(rates).astype(np.float32), obs=obs, var=pd.DataFrame(index=genes))
    cells.obsm["X_own"] = np.eye(len(TYPES))[kind] + rng.normal(0, 0.1, (N_CELLS, len(TYPES)))
    cells.write_h5ad(folder / "ref.h5ad")
    group = np.where(np.arange(N_GENES) < len(TYPES) * N_MARKERS, np.arange(N_GENES) // N_MARKERS, len(TYPES))
    common = np.eye(64)[group] * 2
    parts = [unit_rows(common * strength + rng.standard_normal((N_GENES, 64)) * 0.3) for strength in (0.1, 3)]
    write_gene_vectors(
        folder / "v.parquet",
        gene_ids=genes * 2,
        ensembl_ids=[[g] for g in genes] * 2,
        facets=["summary"] * N_GENES + ["cell-types"] * N_GENES,
        vectors=np.concatenate(parts),
        about={"encoder": "toy"},
    )
    return folder / "ref.h5ad", folder / "v.parquet"


def test_texts_that_tell_types_stand_above_their_controls(planted: tuple[Path, Path], tmp_path: Path) -> None:
    reference, vectors = planted
    asked = {"label": "type", "donor": "donor", "gene_vectors": vectors, "dims": [8, 32], "threads": 1}
    found = sweep(reference, tmp_path / "sweep", **asked)
    assert not found.leaking
    assert found.split == "6 donors, each held out in turn"
    gaps = found.gaps.set_index(["against", "dims"])
    for control in ("permuted", "random"):
        assert gaps.loc[(control, 8), "low"] > 0.05
    assert gaps.loc[("permuted", 8), "difference"] > gaps.loc[("permuted", 32), "difference"]
    assert set(found.scores["way"]) == {"projected", "truncated", "principal"}
    facets = found.facets.set_index("facets")
    assert facets.index.tolist() == ["summary, cell-types", "summary", "cell-types"]
    assert facets.loc["summary", "difference_high"] < 0  # without the facet that names the types, the score falls
    page = (tmp_path / "sweep" / "report.html").read_text()
    assert "Facets that name cell types" in page
    assert {p.name for p in (tmp_path / "sweep").iterdir()} == {
        *("scores.tsv", "gaps.tsv", "facets.tsv", "report.html", "run.json"),
    }
    again = sweep(reference, tmp_path / "sweep", **asked | {"threads": 2}, force=True)
    pd.testing.assert_frame_equal(found.scores, again.scores)
    assert (tmp_path / "sweep" / "report.html").read_text() == page
    with pytest.raises(OutputError, match="exists already"):
        sweep(reference, tmp_path / "sweep", **asked)


def test_a_sweep_without_donors_says_what_it_is_worth(planted: tuple[Path, Path]) -> None:
    reference, vectors = planted
    found = sweep(reference, label="type", gene_vectors=vectors, facets=["summary"], dims=[8], draws=1, threads=1)
    assert found.leaking
    assert "at random" in found.split
    assert any("nothing of a new donor" in sentence for sentence in found.warnings)
    assert found.facets.empty
    with pytest.raises(UsageError, match="65 dimensions were asked for; the vectors have 64"):
        sweep(reference, label="type", gene_vectors=vectors, dims=[65])


def test_views_measure_what_they_draw(
    planted: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whycell.jobs.overview.find_spec", lambda _: None)  # UMAP takes longer to load than all else
    reference, vectors = planted
    found = views(
        reference,
        tmp_path / "views",
        label="type",
        donor="donor",
        gene_vectors=vectors,
        facets=["cell-types"],
        obsm=["X_own"],
        threads=1,
    )
    numbers = found.numbers.set_index("representation")
    assert numbers.index.tolist() == [
        *("expression", "genept-w", "genept-w, texts permuted", "genept-w, random vectors", "X_own"),
    ]
    assert numbers.loc["X_own", "ari_type"] > 0.99
    assert numbers.loc["genept-w", "ari_type"] > numbers.loc["genept-w, texts permuted", "ari_type"] + 0.1
    assert numbers["ari_donor"].abs().max() < 0.05  # donors differ in nothing
    assert numbers["mixing"].between(0.9, 1.1).all()
    assert found.method == "PCA"
    assert len(pd.read_csv(tmp_path / "views" / "map-X-own.tsv", sep="\t")) == N_CELLS
    assert "silhouette, donors" in (tmp_path / "views" / "report.html").read_text()
