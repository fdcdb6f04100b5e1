"""Whatever was done to counts is recognised, on any subset of the genes, and undone up to one factor a cell."""

from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whycell.data.values import ValueKind, judge_values, to_linear
from whycell.errors import ExpressionError


def counts_of(seed: int, *, n: int = 40, genes: int = 300, depth: float = 2.0) -> np.ndarray:
    """Overdispersed counts: genes of very different strength, cells of different depth."""
    rng = np.random.default_rng(seed)
    strength = rng.gamma(0.3, 1.0, genes)
    size = rng.lognormal(0.0, 0.5, (n, 1))
    counts = rng.poisson(depth * strength * size * rng.gamma(2.0, 0.5, (n, genes))).astype(np.float64)
    counts[:, 0] += 1  # no cell is empty
    return counts


def sized(counts: np.ndarray, target: float | None) -> np.ndarray:
    sums = counts.sum(axis=1, keepdims=True)
    return counts / sums * (np.median(sums) if target is None else target)


DONE: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "counts": ("counts", lambda c: c),
    "cp10k": ("cpm", lambda c: sized(c, 1e4)),
    "cpm": ("cpm", lambda c: sized(c, 1e6)),
    "log1p cp10k": ("log1p", lambda c: np.log1p(sized(c, 1e4))),
    "log1p median": ("log1p", lambda c: np.log1p(sized(c, None))),
    "log1p cpm": ("log1p", lambda c: np.log1p(sized(c, 1e6))),
    "log1p of counts": ("log1p", np.log1p),
    "log10": ("log1p", lambda c: np.log10(1 + sized(c, 1e4))),
    "log2 cpm": ("log2", lambda c: np.log2(1 + sized(c, 1e6))),
    "log2 of counts": ("log2", lambda c: np.log2(1 + c)),
    "double": ("double_log", lambda c: np.log1p(np.log1p(sized(c, 1e4)))),
    "double of counts": ("double_log", lambda c: np.log1p(np.log1p(c))),
}


@pytest.mark.parametrize("name", DONE)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 10_000),
    depth=st.floats(1.0, 8.0),
    kept=st.sampled_from([1.0, 0.5, 0.2]),
    decimals=st.sampled_from([None, 4, 3]),
)
def test_every_transform_is_recognised_and_undone(name, seed, depth, kept, decimals):
    kind, do = DONE[name]
    counts = counts_of(seed, depth=depth)
    columns = np.sort(np.random.default_rng(seed).permutation(counts.shape[1])[: int(kept * counts.shape[1])])
    values = do(counts)[:, columns].astype(np.float32)
    counts = counts[:, columns]
    if decimals is not None:
        values = np.round(values, decimals)

    judged = judge_values(sp.csr_matrix(values))
    linear = to_linear(sp.csr_matrix(values), judged).toarray()

    assert judged.kind.removesuffix("_cp10k") == kind, judged
    shares = [x / np.maximum(x.sum(axis=1, keepdims=True), 1e-12) for x in (counts, linear)]
    np.testing.assert_allclose(shares[1], shares[0], atol=1e-6 if decimals is None else 0.02)


@pytest.mark.parametrize(
    ("name", "kind", "target"),
    [
        ("log1p cp10k", "log1p_cp10k", 1e4),
        ("log1p cpm", "log1p", 1e6),
        ("log2 cpm", "log2", 1e6),
        ("cpm", "cpm", 1e6),
        ("double", "double_log", 1e4),
        ("log1p of counts", "log1p", None),
    ],
)
def test_the_size_is_found_where_all_genes_are_there(name, kind, target):
    judged = judge_values(sp.csr_matrix(DONE[name][1](counts_of(1)).astype(np.float32)))
    assert judged.kind == kind
    assert judged.target_sum == (target if target is None else pytest.approx(target, rel=1e-3))


def test_constant_sums_tell_where_ratios_cannot():
    """Ambient-corrected counts are fractional: no whole ratios, but the normalised sums stay."""
    counts = counts_of(3)
    corrected = counts * np.random.default_rng(0).uniform(0.5, 1.0, counts.shape)
    assert judge_values(sp.csr_matrix(np.log1p(sized(corrected, 1e4)))).kind == "log1p_cp10k"
    assert judge_values(sp.csr_matrix(sized(corrected, 1e6))).kind == "cpm"


def z_scored(counts: np.ndarray, *, centre: bool = True) -> np.ndarray:
    x = np.log1p(sized(counts, 1e4))
    deviation = np.where(x.std(axis=0) > 0, x.std(axis=0), 1.0)
    return (x - (x.mean(axis=0) if centre else 0.0)) / deviation


def spoilt(value: float) -> np.ndarray:
    x = np.log1p(sized(counts_of(5), 1e4))
    x[3, 7] = value
    return x


@pytest.mark.parametrize(
    ("values", "kind", "reason"),
    [
        (z_scored(counts_of(4)), "scaled", "are negative"),
        (np.minimum(z_scored(counts_of(4, n=200)), 10.0), "scaled", "are negative"),
        (z_scored(counts_of(4, n=400), centre=False), "scaled", "standard deviation of 1"),
        (spoilt(-1.0), "negative", "1 of "),
        (spoilt(np.nan), "not_finite", "1 of "),
        (spoilt(np.inf), "not_finite", "1 of "),
        (np.zeros((5, 5)), "empty", "differs from zero"),
        (np.sqrt(counts_of(6)), "unknown", "square roots"),
        (np.random.default_rng(0).uniform(0, 3, (50, 100)), "unknown", "explains them"),
        (np.vstack([counts_of(7), np.log1p(sized(counts_of(8), 1e4))]), "unknown", "cells of two kinds"),
    ],
)
def test_what_cannot_be_undone_is_said_so(values, kind, reason):
    judged = judge_values(sp.csr_matrix(values))
    assert judged.kind == kind
    assert reason in judged.reason
    if not judged.usable:
        with pytest.raises(ExpressionError, match="Wanted raw counts"):
            to_linear(sp.csr_matrix(values), judged)


LOGGED = ValueKind("log1p_cp10k", 1e4, float(np.e))


@pytest.mark.parametrize(
    ("kind", "block", "message"),
    [
        (ValueKind("counts"), [[1.0, 2.0], [0.5, 1.0]], r"raw counts: fractional values, in row\(s\) 101 "),
        (ValueKind("counts"), [[1.0, -2.0]], r"negative values \(down to -2\), in row\(s\) 100 "),
        (ValueKind("counts"), [[1.0, np.nan]], "NaN or infinite values"),
        (LOGGED, [[0.5, 1.0], [3.2, 40.0]], r"1 cell\(s\) .* values up to 40, too large for a logarithm"),
        (LOGGED, [[0.5, np.inf]], "NaN or infinite values"),
        (LOGGED, np.tile([1.0, 2.0], (50, 1)), "whole numbers only, like raw counts"),
        (ValueKind("double_log", None, float(np.e)), [[0.5, 7.1]], "too large for a logarithm"),
    ],
)
def test_a_block_that_contradicts_is_refused_by_row(kind, block, message):
    with pytest.raises(ExpressionError, match=message):
        to_linear(sp.csr_matrix(np.asarray(block)), kind, first_row=100)


def test_linear_values_are_not_copied_and_the_input_is_not_changed():
    counts = sp.csr_matrix(counts_of(9))
    assert to_linear(counts, judge_values(counts)) is counts
    logged = sp.csr_matrix(np.log1p(counts.toarray()))
    before = logged.data.copy()
    to_linear(logged, judge_values(logged))
    np.testing.assert_array_equal(logged.data, before)
