"""Coordinates against plain numpy, and what must not change them: order, depth, names, and genes nobody measured."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from whycell.encode.cells import Encoder, Gaps, align_genes, gene_shares, log_normalise


def encoder(n_genes: int, n_directions: int = 3, *, target: float = 1e4, seed: int = 0) -> Encoder:
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.ones(n_genes))
    mean = rng.uniform(0, 2, n_genes).astype(np.float32)
    return Encoder(mean, share, rng.standard_normal((n_genes, n_directions)).astype(np.float32), target)


def counts(n: int, genes: int, *, seed: int = 0, density: float = 0.4) -> Any:
    rng = np.random.default_rng(seed)
    return sp.csr_matrix((rng.poisson(3, (n, genes)) * (rng.random((n, genes)) < density)).astype(np.float32))


def by_hand(
    enc: Encoder, values: np.ndarray, columns: np.ndarray, gaps: Gaps, pattern: np.ndarray, counted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The formula at the head of the module, gene by gene, in float64."""
    coordinates, facts = [], []
    for row, p in zip(values.astype(np.float64), pattern, strict=True):
        v = np.zeros(len(enc.mean))
        for column, gene in enumerate(columns):
            if gene >= 0:
                v[gene] += row[column]
        if gaps.scale is not None:
            v *= gaps.scale[p]
        total = v[counted[p]].sum()
        seen = gaps.seen[p] & counted[p]
        x = np.where(seen, v, 0)
        if enc.target > 0:
            x = np.log1p(x * (enc.target * enc.share[counted[p]].sum() / total if total > 0 else 1.0))
        # The mean is taken off every gene seen, whether or not this cell has it.
        apart = np.where(gaps.seen[p], x - enc.mean, 0)
        coordinates.append(apart @ enc.directions.astype(np.float64))
        facts.append([total, np.count_nonzero(x), (apart**2).sum()])
    return np.array(coordinates), np.array(facts)


@settings(max_examples=60)
@given(data=st.data())
def test_coordinates_are_the_formula(data: st.DataObject) -> None:
    n, genes, extra = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 25)), data.draw(st.integers(0, 6))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    values = counts(
        n, genes + extra, seed=data.draw(st.integers(0, 99)), density=data.draw(st.sampled_from([0.1, 0.9]))
    )
    columns = rng.integers(-1, genes, genes + extra).astype(np.int32)
    n_patterns = data.draw(st.integers(1, 3))
    seen = rng.random((n_patterns, genes)) < data.draw(st.sampled_from([0.3, 1.0]))
    scale = np.exp(rng.standard_normal(seen.shape)).astype(np.float32) if data.draw(st.booleans()) else None
    counted = seen | (rng.random(seen.shape) < 0.5) if data.draw(st.booleans()) else None
    pattern = rng.integers(n_patterns, size=n).astype(np.int32)
    enc = encoder(genes, target=data.draw(st.sampled_from([1e4, 0.0])))
    got, facts = enc.encode(values, columns, gaps=Gaps(seen, scale), pattern=pattern, counted=counted)
    wanted, wanted_facts = by_hand(
        enc, values.toarray(), columns, Gaps(seen, scale), pattern, seen if counted is None else counted
    )
    # Sums of terms of size |x|·|W|: their rounding is measured against that size, not against what cancels out.
    room = 1e-5 * (np.abs(wanted_facts[:, 2:]) ** 0.5 * np.abs(enc.directions).sum() + 1)
    assert (np.abs(got - wanted) < room).all()
    np.testing.assert_allclose(facts, wanted_facts, rtol=1e-4, atol=1e-3)


def test_a_gene_that_was_not_measured_is_masked_and_not_zero() -> None:
    enc, values = encoder(30), counts(20, 30, density=0.9)
    everything = np.arange(30, dtype=np.int32)
    seen = np.ones((1, 30), dtype=bool)
    seen[0, 20:] = False
    panel, _ = enc.encode(values[:, :20], everything[:20], gaps=Gaps(seen))
    # The same columns with anything whatever in the unmeasured genes: nothing changes.
    masked, _ = enc.encode(values, everything, gaps=Gaps(seen))
    np.testing.assert_array_equal(panel, masked)
    # Taken for zero, the same columns give something else.
    zero, _ = enc.encode(values[:, :20], everything[:20], gaps=Gaps.none(30))
    assert np.abs(zero - panel).max() > 1


def test_a_panel_is_brought_to_the_scale_of_the_whole() -> None:
    """Every gene at its usual share: seen through any gap, each one has the value it has in the whole."""
    enc = encoder(200)
    cell = sp.csr_matrix((enc.share * 5e6).astype(np.float32)[None])
    seen = np.random.default_rng(1).random((4, 200)) < 0.2
    columns = np.arange(200, dtype=np.int32)
    repeated = sp.vstack([cell] * 4, format="csr")
    got, _ = enc.encode(repeated, columns, gaps=Gaps(seen), pattern=np.arange(4))
    each = (np.log1p(1e4 * enc.share) - enc.mean)[:, None] * enc.directions
    np.testing.assert_allclose(got, seen @ each, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("target", [1e4, 0.0])
def test_order_and_names_of_columns_do_not_matter(target: float) -> None:
    enc, values = encoder(40, target=target), counts(25, 40)
    genes = [f"g{i}" for i in range(40)]
    order = np.random.default_rng(3).permutation(40)
    plain, facts = enc.encode(values, align_genes(genes, genes), gaps=Gaps.none(40))
    mixed = sp.csr_matrix(values[:, order])
    mixed.sort_indices()
    again, facts_again = enc.encode(mixed, align_genes([genes[i] for i in order], genes), gaps=Gaps.none(40))
    np.testing.assert_allclose(again, plain, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(facts_again, facts, rtol=1e-5)


def test_columns_of_one_gene_are_summed_and_strangers_left_out() -> None:
    enc, values = encoder(10), counts(8, 10, density=1)
    genes = [f"g{i}" for i in range(10)]
    half = sp.hstack([values * 0.25, counts(8, 3, seed=5), values * 0.75], format="csr").astype(np.float32)
    columns = align_genes([*genes, "", "stranger", "", *genes], genes)
    assert columns[10:13].tolist() == [-1, -1, -1]
    split, facts = enc.encode(half, columns, gaps=Gaps.none(10))
    plain, plain_facts = enc.encode(values, align_genes(genes, genes), gaps=Gaps.none(10))
    np.testing.assert_allclose(split, plain, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(facts, plain_facts, rtol=1e-5)
    assert align_genes(["", "g1"], ["", "g1"]).tolist() == [-1, 1], "an unresolved name is nobody's gene"


@given(st.integers(0, 99), st.floats(1e-3, 1e3))
def test_depth_does_not_matter_under_normalisation(seed: int, factor: float) -> None:
    enc, values = encoder(20), counts(6, 20, seed=seed)
    per_cell = factor ** np.linspace(-1, 1, 6)
    scaled = sp.csr_matrix(sp.diags_array(per_cell) @ values).astype(np.float32)
    plain, facts = enc.encode(values, np.arange(20), gaps=Gaps.none(20))
    again, facts_again = enc.encode(scaled, np.arange(20), gaps=Gaps.none(20))
    np.testing.assert_allclose(again, plain, rtol=1e-4, atol=2e-3)
    np.testing.assert_allclose(facts_again[:, 0], facts[:, 0] * per_cell, rtol=1e-5)
    np.testing.assert_array_equal(facts_again[:, 1], facts[:, 1])


@given(st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=50))
def test_the_fast_logarithm_is_the_logarithm(values: list[float]) -> None:
    """Seen from outside: one gene, one direction, mean zero, so that a coordinate is log(1 + v · target / v)."""
    x = np.array(values, dtype=np.float64)
    # Two genes: the first holds v of 1e6, the second the rest, so that with target 1e6 the first keeps its value.
    pair = sp.csr_matrix(np.column_stack([x, 1e6 - x]).astype(np.float32))
    enc = Encoder(np.zeros(2, dtype=np.float32), np.array([0.5, 0.5]), np.array([[1.0], [0.0]], dtype=np.float32), 1e6)
    got, _ = enc.encode(pair, np.arange(2), gaps=Gaps.none(2))
    np.testing.assert_allclose(got[:, 0], np.log1p(x), rtol=2e-6, atol=2e-6)


def test_an_empty_cell_is_only_the_mean_taken_off() -> None:
    enc = encoder(12)
    got, facts = enc.encode(sp.csr_matrix((2, 12), dtype=np.float32), np.arange(12), gaps=Gaps.none(12))
    np.testing.assert_allclose(got, -(enc.mean @ enc.directions)[None].repeat(2, axis=0), rtol=1e-5)
    assert facts[:, :2].tolist() == [[0, 0], [0, 0]]


def test_shares_are_found_across_studies_that_measured_different_genes() -> None:
    """Two panels with some genes in common are put on one scale, as if each cell had been measured whole."""
    truth = np.random.default_rng(0).dirichlet(np.ones(60))
    measured = np.zeros((2, 60), dtype=bool)
    measured[0, :40] = measured[1, 25:] = True
    study = np.repeat([0, 1], 30)
    whole = np.tile(truth * 1e5, (60, 1)) * measured[study]
    np.testing.assert_allclose(gene_shares(sp.csr_matrix(whole), study, measured), truth, rtol=1e-3)


def test_log_normalise_is_log1p_of_counts_per_target() -> None:
    values = counts(9, 15)
    dense = values.toarray().astype(np.float64)
    totals = np.maximum(dense.sum(axis=1, keepdims=True), 1e-12)
    np.testing.assert_allclose(log_normalise(values, target=1e4).toarray(), np.log1p(1e4 * dense / totals), rtol=1e-5)
    np.testing.assert_array_equal(log_normalise(values, target=0).toarray(), values.toarray())
    assert values.dtype == np.float32, "the input stays as it was"
