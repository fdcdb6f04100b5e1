"""Cells as weighted sums of gene vectors."""

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from whycell.encode.gene_vectors import GeneVectors, read_gene_vectors, unit_rows, write_gene_vectors
from whycell.encode.genept import cell_sentences, genept_w, idf_weights, prepare_gene_matrix, product
from whycell.errors import FormatError, GeneError, UsageError


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.sampled_from([1, 7, 384]))
def test_the_product_is_scipys(seed: int, n: int, dims: int) -> None:
    rng = np.random.default_rng(seed)
    cells = sp.random(n, 1500, density=rng.choice([0.0, 0.01, 0.3]), format="csr", dtype=np.float32, rng=rng)
    matrix = rng.standard_normal((1500, dims)).astype(np.float32)
    wanted = cells.astype(np.float64) @ matrix.astype(np.float64)
    scale = np.abs(cells) @ np.abs(matrix) + 1e-30
    assert (np.abs(product(cells, matrix, threads=1) - wanted) / scale).max() < 2e-6


def test_the_product_does_not_depend_on_threads_chunks_or_order_of_indices() -> None:
    rng = np.random.default_rng(0)
    cells = sp.random(2500, 900, density=0.1, format="csr", dtype=np.float32, rng=rng)
    matrix = rng.standard_normal((900, 32)).astype(np.float32)
    whole = product(cells, matrix, threads=2)
    assert np.array_equal(whole[1300:1400], product(cells[1300:1400], matrix, threads=1))
    turned = cells.copy()
    for start, stop in zip(turned.indptr[:-1], turned.indptr[1:], strict=True):
        turned.indices[start:stop] = turned.indices[start:stop][::-1]
        turned.data[start:stop] = turned.data[start:stop][::-1]
    turned.has_sorted_indices = False
    assert np.array_equal(product(turned, matrix, threads=1), whole)


def test_normalisations_are_what_their_names_say() -> None:
    cells = sp.csr_matrix(np.array([[4.0, 0, 1, 1], [0, 0, 0, 0]], dtype=np.float32))
    eye = np.eye(4, dtype=np.float32)
    for name, values in {
        "none": [4, 0, 1, 1],
        "cp10k": [4, 0, 1, 1],
        "log1p-cp10k": np.log1p(np.array([4, 0, 1, 1]) * 1e4 / 6),
        "sqrt": [2, 0, 1, 1],
        "rank": [1, 0, 0.5, 0.5],
    }.items():
        embedding, coverage = genept_w(cells, eye, normalise=name, threads=1)
        np.testing.assert_allclose(embedding[0], np.asarray(values) / np.linalg.norm(values), rtol=1e-6)
        assert coverage.tolist() == [1.0, 0.0]
        assert not embedding[1].any()
    assert np.isnan(genept_w(cells, eye, zero="nan", threads=1)[0][1]).all()
    with pytest.raises(UsageError, match="1 cells, first row 1, have no count"):
        genept_w(cells, eye, zero="raise", threads=1)
    with pytest.raises(UsageError, match="one of none, cp10k"):
        genept_w(cells, eye, normalise="log", threads=1)


def test_without_compiled_loops_the_answer_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    cells = sp.random(60, 200, density=0.2, format="csr", dtype=np.float32, rng=rng)
    matrix = unit_rows(rng.standard_normal((200, 16)))
    with_loops = genept_w(cells, matrix, threads=1)
    monkeypatch.setattr("whycell.encode.genept._compiled", lambda: False)
    for one, other in zip(with_loops, genept_w(cells, matrix, threads=1), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_genes_without_a_vector_count_for_coverage_only() -> None:
    cells = sp.csr_matrix(np.array([[3.0, 1.0]], dtype=np.float32))
    matrix = np.array([[1.0, 0.0], [0.0, 0.0]], dtype=np.float32)
    embedding, coverage = genept_w(cells, matrix, normalise="none", threads=1)
    assert embedding.tolist() == [[1.0, 0.0]]
    assert coverage.tolist() == [0.75]


def test_projecting_the_genes_is_projecting_the_cells() -> None:
    rng = np.random.default_rng(1)
    cells = sp.random(50, 200, density=0.2, format="csr", dtype=np.float32, rng=rng)
    matrix, turn = rng.standard_normal((200, 20)).astype(np.float32), rng.standard_normal((20, 5)).astype(np.float32)
    np.testing.assert_allclose(
        product(cells, matrix @ turn, threads=1), product(cells, matrix, threads=1) @ turn, rtol=1e-4, atol=1e-4
    )


def test_what_is_common_to_all_genes_can_be_taken_away() -> None:
    rng = np.random.default_rng(2)
    matrix = unit_rows(rng.standard_normal((100, 8)) + 5)
    matrix[3] = 0
    for centre in ("mean", "first"):
        out = prepare_gene_matrix(matrix, centre=centre)
        assert np.abs(out[np.arange(100) != 3].mean(axis=0)).max() < 0.02
        assert not out[3].any()
    weighted = prepare_gene_matrix(matrix, weights=np.arange(100.0))
    np.testing.assert_allclose(np.linalg.norm(weighted, axis=1)[[1, 50]], [1, 50], rtol=1e-5)
    assert idf_weights(sp.csr_matrix([[1.0, 0], [1, 0], [1, 1]])).tolist() == [0.0, np.float32(np.log(1.5))]


def test_a_sentence_goes_by_expression_then_by_gene_id() -> None:
    cells = sp.csr_matrix(np.array([[2.0, 5, 2, 0], [0, 0, 0, 1]], dtype=np.float32))
    sentences = cell_sentences(cells, ["B", "A", "C", "D"], ids=["ENSG9", "ENSG2", "ENSG1", "ENSG4"], most=2)
    assert [s.removeprefix("A cell with genes ranked by expression: ") for s in sentences] == ["A C", "D"]


def test_facets_are_combined_by_gene_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    write_gene_vectors(
        path,
        gene_ids=["NCBIGene:1", "NCBIGene:1", "NCBIGene:2"],
        ensembl_ids=[["ENSG1", "ENSG3"], ["ENSG1", "ENSG3"], ["ENSG2"]],
        facets=["name", "summary", "name"],
        vectors=np.array([[1, 0], [0, 1], [0, 1]], dtype=np.float32),
        about={"encoder": "toy"},
    )
    both = read_gene_vectors(path)
    assert (both.genes.tolist(), both.facets, both.encoder) == (["ENSG1", "ENSG2", "ENSG3"], ("name", "summary"), "toy")
    np.testing.assert_allclose(both.vectors, [[0.5**0.5, 0.5**0.5], [0, 1], [0.5**0.5, 0.5**0.5]], rtol=1e-6)
    assert both.matrix(["ENSG2", "ENSG7"]).tolist() == [[0, 1], [0, 0]]
    assert read_gene_vectors(path, facets=["summary"]).genes.tolist() == ["ENSG1", "ENSG3"]
    with pytest.raises(GeneError, match="no facet drugs; it holds name, summary"):
        read_gene_vectors(path, facets=["drugs"])
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(FormatError, match="cannot be read as gene vectors"):
        read_gene_vectors(tmp_path / "x.parquet")


def test_controls_keep_the_spectrum_and_lose_the_text() -> None:
    rng = np.random.default_rng(3)
    vectors = unit_rows(rng.standard_normal((500, 20)) * np.geomspace(3, 0.3, 20) + 1)
    held = GeneVectors(np.array([f"ENSG{i:03}" for i in range(500)], dtype=object), vectors, "toy", ("name",))
    sizes = [np.linalg.svd(v.vectors, compute_uv=False) for v in (held, held.random(seed=1), held.permuted(seed=1))]
    np.testing.assert_allclose(sizes[2], sizes[0], rtol=1e-4)
    assert np.abs(np.log(sizes[1] / sizes[0])).max() < 0.25
    assert (held.permuted(seed=1).vectors != vectors).any()
    assert abs((held.random(seed=1).vectors * vectors).sum(axis=1).mean() - (vectors.mean(axis=0) ** 2).sum()) < 0.1
    cut = held.projected(6)
    assert cut.vectors.shape == (500, 6)
    np.testing.assert_allclose(np.linalg.norm(cut.vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(cut.words(vectors), cut.vectors, atol=1e-5)
    with pytest.raises(UsageError, match="21 dimensions were asked for; the vectors have 20"):
        held.truncated(21)
