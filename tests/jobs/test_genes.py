"""From public tables to vectors, by the jobs behind ``whycell genes``."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from whycell.encode.gene_vectors import read_gene_vectors
from whycell.encode.service import Service
from whycell.errors import OutputError, UsageError
from whycell.jobs import genes
from whycell.jobs.describe import describe
from whycell.knowledge.genes import GeneTable

_spec = importlib.util.spec_from_file_location("text_server", Path(__file__).parents[1] / "encode/text_server.py")
text_server = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(text_server)

INFO = """#tax_id\tGeneID\tSymbol\tSynonyms\tdbXrefs\tdescription\ttype_of_gene
9606\t3630\tINS\t-\tEnsembl:ENSG00000254647\tinsulin\tprotein-coding
9606\t920\tCD4\t-\tEnsembl:ENSG00000010610\tCD4 molecule\tprotein-coding
9606\t7\tNONE\t-\t-\tnothing\tunknown
"""
SUMMARIES = "#tax_id\tGeneID\tSource\tSummary\n9606\t3630\tRefSeq\tLowers glucose.\n9606\t920\tRefSeq\tOf T cells.\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "info.tsv").write_text(INFO)
    (tmp_path / "summaries.tsv").write_text(SUMMARIES)
    genes.build(tmp_path / "info.tsv", tmp_path / "genes.parquet", summaries=tmp_path / "summaries.tsv")
    return tmp_path / "genes.parquet"


def test_from_tables_through_a_service_to_vectors(table: Path, tmp_path: Path) -> None:
    server = text_server.TextServer(expire=True)
    asked = []
    with server.running() as url:
        service = Service(url, wait=lambda _: None)
        for _ in range(2):  # the second time everything is in the journal
            frame = describe(
                table,
                tmp_path / "facets.parquet",
                facets=["drugs", "pathways"],
                service=service,
                model="m",
                agreed=lambda found: asked.append((found.requests, found.answered)) or True,
                force=True,
            )
        assert asked == [(4, 0), (4, 4)]
        assert frame[["gene_id", "facet"]].to_numpy().tolist() == [
            ["NCBIGene:3630", "drugs"],
            ["NCBIGene:920", "drugs"],
            ["NCBIGene:3630", "pathways"],
            ["NCBIGene:920", "pathways"],
        ]
        assert "INSULIN" in frame["text"][0]
        assert "CD4 MOLECULE" in frame["text"][1]
        made = genes.embed(
            table,
            tmp_path / "vectors.parquet",
            more=tmp_path / "facets.parquet",
            encoder=url,
            service_model="letters",
            facets=["summary", "drugs"],
            cache=tmp_path / "cache",
        )
    assert (made["texts"], made["genes"], made["dims"], made["facets"]) == (4, 2, 2, ["summary", "drugs"])
    vectors = read_gene_vectors(tmp_path / "vectors.parquet", facets=["summary"])
    assert vectors.genes.tolist() == ["ENSG00000010610", "ENSG00000254647"]
    wanted = np.array([len("Of T cells."), 0.0])
    np.testing.assert_allclose(vectors.vectors[0], wanted / np.linalg.norm(wanted))


def test_nothing_is_sent_without_agreement_nor_over_what_is_there(table: Path, tmp_path: Path) -> None:
    nowhere = Service("http://127.0.0.1:9", wait=lambda _: None)
    with pytest.raises(UsageError, match="Nothing was sent"):
        describe(table, tmp_path / "f.parquet", facets=["drugs"], service=nowhere, model="m", agreed=lambda _: False)
    with pytest.raises(UsageError, match="no question on taste; there are associated"):
        describe(table, tmp_path / "f.parquet", facets=["taste"], service=nowhere, model="m")
    with pytest.raises(OutputError, match="exists already"):
        describe(table, table, facets=["drugs"], service=nowhere, model="m")
    with pytest.raises(UsageError, match="holds no gene XYZ"):
        describe(table, tmp_path / "f.parquet", facets=["drugs"], service=nowhere, model="m", genes=["INS", "XYZ"])


def test_coverage_of_a_file(table: Path, tmp_path: Path) -> None:
    import anndata as ad

    rng = np.random.default_rng(0)
    others = [i for i in GeneTable.load().ids[:400] if i not in ("ENSG00000254647", "ENSG00000010610")]
    names = ["ENSG00000254647", "ENSG00000010610", *others[:298]]
    counts = rng.poisson(1, (60, 300)).astype(np.float32)
    ad.AnnData(counts, var=pd.DataFrame(index=names)).write_h5ad(tmp_path / "q.h5ad")
    found = genes.coverage(tmp_path / "q.h5ad", table)
    assert (found.genes, found.with_text) == (300, 2)
    assert found.share_of_counts == pytest.approx(counts[:, :2].sum() / counts.sum())


def test_cells_are_embedded_block_by_block_as_all_at_once(tmp_path: Path) -> None:
    import anndata as ad
    import zarr

    from whycell.encode.gene_vectors import unit_rows, write_gene_vectors
    from whycell.encode.genept import genept_w
    from whycell.jobs.embed_cells import embed_cells

    rng = np.random.default_rng(0)
    ids = [str(i) for i in GeneTable.load().ids[:300]]
    counts = rng.poisson(0.5, (700, 300)).astype(np.float32)
    ad.AnnData(counts, var=pd.DataFrame(index=ids)).write_h5ad(tmp_path / "q.h5ad")
    vectors = unit_rows(rng.standard_normal((200, 8)))
    write_gene_vectors(
        tmp_path / "v.parquet",
        gene_ids=ids[:200],
        ensembl_ids=[[i] for i in ids[:200]],
        facets=["name"] * 200,
        vectors=vectors,
        about={"encoder": "toy"},
    )
    for chunk, threads in ((64, 2), (1000, 1)):
        out = tmp_path / f"c{chunk}.zarr"
        made = embed_cells(tmp_path / "q.h5ad", out, vectors=tmp_path / "v.parquet", chunk=chunk, threads=threads)
        stored = zarr.open_group(str(out), mode="r")
        matrix = np.vstack([vectors, np.zeros((100, 8), np.float32)])
        wanted, coverage = genept_w(sp.csr_matrix(counts), matrix, threads=1)
        np.testing.assert_allclose(stored["embedding"][:], wanted, atol=1e-6)  # read back, they are one again
        np.testing.assert_allclose(stored["coverage"][:], coverage, rtol=1e-6)
        assert made["cells"] == 700
        with pytest.raises(OutputError, match="exists already"):
            embed_cells(tmp_path / "q.h5ad", out, vectors=tmp_path / "v.parquet")
