"""A whole-knockout screen: closed forms equal explicit refits, nulls are calibrated, planted partners are found."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control
from sklearn.kernel_ridge import KernelRidge

from whycell.lenses.agop_kernels import kernel_agop, kernel_and_slopes, kernel_matrix
from whycell.models.knockout_null import pooled_p_values, q_values, shuffles
from whycell.models.knockout_partners import diagonals, find_partners
from whycell.models.knockout_rivals import correlations, elastic_nets, shared_tops
from whycell.models.knockouts import (
    PENALTIES,
    _Factor,
    held_out,
    line_folds,
    residuals,
    squared_distances,
    typical_distance,
)


@pytest.fixture(scope="module")
def screen() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """240 lines of 4 lineages, 120 features, 300 knockouts of which the first 30 follow feature k and the square of
    feature 60 + k."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((240, 120)).astype(np.float32)
    lineage = rng.integers(0, 4, 240)
    Y = rng.standard_normal((240, 300)).astype(np.float32) + rng.standard_normal((4, 300)).astype(np.float32)[lineage]
    k = np.arange(30)
    Y[:, k] += 2 * X[:, k] + X[:, 60 + k] ** 2
    return X / np.linalg.norm(X, axis=1, keepdims=True), Y, lineage


def test_the_penalty_chosen_is_the_one_that_explicit_refits_choose(screen: tuple) -> None:
    X, Y, _ = screen
    X, y = X[:40].astype(float), Y[:40, :1].astype(float)
    K = kernel_and_slopes(squared_distances(X), bandwidth=typical_distance(squared_distances(X)))[0]
    factor = _Factor.of(K, np.arange(40), np.arange(40))
    Z = factor.vectors.T @ y.astype(np.float32)
    errors = []
    for penalty in PENALTIES:
        out = 0.0
        for i in range(40):
            rest = np.arange(40) != i
            ridge = KernelRidge(alpha=penalty, kernel="precomputed").fit(K[np.ix_(rest, rest)], y[rest])
            out += ((y[i] - ridge.predict(K[[i]][:, rest])) ** 2).sum()
        errors.append(out)
    assert factor.penalties(Z)[0] == np.argmin(errors)
    fitted = KernelRidge(alpha=PENALTIES[3], kernel="precomputed").fit(K, y).predict(K)
    np.testing.assert_allclose(factor.predicted(Z, np.array([3])), fitted, atol=1e-4)


def test_planted_knockouts_are_told_from_the_others(screen: tuple) -> None:
    X, Y, lineage = screen
    gaps = Y.copy()
    gaps[3, 5] = np.nan
    told = held_out(
        squared_distances(X), gaps, lineage=lineage, fold=line_folds(240, lineage=lineage, by="line", folds=4), nulls=4
    )
    assert (told.q[:30] < 0.05).mean() > 0.9
    assert (told.q[30:] < 0.05).mean() < 0.02
    assert abs(told.p[30:].mean() - 0.5) < 0.08
    assert np.isfinite(told.r2).all()


def test_diagonals_equal_the_lens(screen: tuple) -> None:
    X = screen[0][:60, :20].astype(float)
    rng = np.random.default_rng(1)
    a = rng.standard_normal((60, 3))
    squares = squared_distances(X)
    slopes = kernel_and_slopes(squares, bandwidth=1.3)[1]
    found, _ = diagonals(X.astype(np.float32), slopes, a)
    for c in range(3):
        whole = kernel_agop(X, X, a[:, [c]], kernel="laplace", bandwidth=1.3)
        np.testing.assert_allclose(found[c] / 60, np.diag(whole), rtol=1e-4)
    np.testing.assert_allclose(
        kernel_and_slopes(squares, bandwidth=1.3)[0], kernel_matrix(X, X, kernel="laplace", bandwidth=1.3), atol=1e-9
    )


def test_partners_are_found_and_the_own_locus_is_not(screen: tuple) -> None:
    X, Y, lineage = screen
    rest = residuals(Y[:, :30], lineage, np.arange(240))
    own = [np.array([k]) if k < 10 else np.empty(0, dtype=int) for k in range(30)]
    kind = np.zeros(120, dtype=int)
    found = find_partners(X, rest, penalty=np.full(30, 0.3), own=own, kind=kind, lineage=lineage, nulls=4, threads=1)
    assert (found.first[:10][np.arange(10), np.arange(10)] == 0).all()
    assert np.isnan(found.q[:10][np.arange(10), np.arange(10)]).all()
    best = found.again[10:].argmax(axis=1)
    assert (best == np.arange(10, 30)).mean() > 0.9
    assert (found.slope[np.arange(10, 30), np.arange(10, 30)] > 0).all()
    assert (found.q[np.arange(10, 30), np.arange(10, 30)] < 0.05).mean() > 0.9
    planted = np.zeros((30, 120), dtype=bool)
    planted[np.arange(30), np.arange(30)] = planted[np.arange(30), 60 + np.arange(30)] = True
    assert (found.q[~planted] < 0.05).mean() < 0.02
    assert (found.r2[10:] > 0.1).mean() > 0.8


def test_null_p_values_are_even_and_q_values_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    spread = rng.uniform(0.5, 2, 2000)
    p = pooled_p_values(rng.standard_normal(2000) * spread, rng.standard_normal((5, 2000)) * spread, spread)
    assert abs((p < 0.05).mean() - 0.05) < 0.015
    np.testing.assert_allclose(q_values(p), false_discovery_control(p))
    p[7] = np.nan
    assert np.isnan(q_values(p)[7])


def test_shuffles_stay_inside_a_lineage_and_folds_hold_lineages_whole() -> None:
    lineage = np.repeat([0, 1, 2, 3], [30, 20, 10, 5])
    for order in shuffles(65, lineage, seed=0, orders=5):
        assert sorted(order) == list(range(65))
        np.testing.assert_array_equal(lineage[order], lineage)
    fold = line_folds(65, lineage=lineage, by="lineage", folds=2)
    assert all(len(np.unique(fold[lineage == k])) == 1 for k in range(4))


def test_rivals_see_what_is_linear(screen: tuple) -> None:
    X, Y, lineage = screen
    rest = residuals(Y[:, :8], lineage, np.arange(240))
    own = [np.empty(0, dtype=int)] * 8
    r = correlations(X, rest, own=own)
    assert r[2, 2] == pytest.approx(np.corrcoef(X[:, 2], rest[:, 2])[0, 1], abs=1e-5)
    net = elastic_nets(X, rest, correlation=r)
    assert (np.abs(net).argmax(axis=1) == np.arange(8)).all()
    assert shared_tops({"a": r, "b": r, "c": -r}, against="a", top=5) == {"b": 1.0, "c": 1.0}
