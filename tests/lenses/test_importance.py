"""Errors, nulls and stable directions, on data whose truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from whycell.errors import DataError, UsageError
from whycell.lenses import agop
from whycell.lenses.importance import group_sums, importance, jackknife, max_null


def _data(seed: int, *, n: int = 240, d: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slopes 2 and 1, six features that do not matter, and twelve donors with a noise of their own on the slopes."""
    rng = np.random.default_rng(seed)
    X, donor = rng.normal(size=(n, d)), np.arange(n) % 12
    slope = np.zeros((12, d))
    slope[:, :2] = np.array([2.0, 1.0]) + 0.3 * rng.normal(size=(12, 2))
    return X, (X * slope[donor]).sum(1) + 0.5 * rng.normal(size=n), donor


def _fit(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    coef = np.linalg.lstsq(np.c_[X, np.ones(len(X))], y, rcond=None)[0][:-1]
    return np.outer(coef, coef)


def test_the_exact_jackknife_has_the_error_that_new_data_show() -> None:
    truth = np.std([np.diag(_fit(*_data(s)[:2]))[1] / np.trace(_fit(*_data(s)[:2])) for s in range(200)], ddof=1)
    told = []
    for seed in range(20):
        X, y, donor = _data(seed)
        found = importance(_fit(X, y), groups=donor, refit=lambda rows, X=X, y=y: _fit(X[rows], y[rows]))
        told.append(found.table.set_index("feature").loc["x1", "standard_error"])
    assert np.sqrt(np.mean(np.square(told))) == pytest.approx(truth, rel=0.25)
    assert found.table["feature"].tolist()[:2] == ["x0", "x1"]
    assert "exact jackknife" in found.notes[0]
    assert found.directions.shape == (5, 8)
    assert found.stability["angle"].iloc[0] < 0.2 < found.stability["chance"].iloc[0]


def test_p_values_are_family_wise() -> None:
    """Of noise alone some feature passes .05 in about one data set in twenty, not in a third of them."""
    passed = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(60, 8)), rng.normal(size=60)
        found = importance(_fit(X, y), n=60, permuted=lambda o, X=X, y=y: _fit(X, y[o]), draws=39, k=0, seed=seed)
        passed += bool((found.table["p_value"] <= 0.05).any())
    assert passed <= 8  # binomial(60, .05): more is less likely than one in a hundred
    X, y, _ = _data(0)
    found = importance(_fit(X, y), n=len(y), permuted=lambda o: _fit(X, y[o]), draws=39)
    assert found.table["p_value"].iloc[0] == pytest.approx(1 / 40)
    assert len(found.null_maxima) == 39


def test_sums_by_group_are_the_model_without_each_group() -> None:
    X, _, donor = _data(0)
    curved = lambda rows: np.sin(rows[:, 0]) + rows[:, 1] * rows[:, 2]  # noqa: E731
    sums, names = group_sums(curved, X, groups=donor, step=1e-3)
    assert len(names) == 12
    whole = agop(curved, X, step=1e-3)
    found = importance(whole, by_group=sums)
    assert "held fixed" in found.notes[0]
    rest = agop(curved, X[donor != 0], step=1e-3).scores()
    total = sums[0]
    for each in sums[1:]:
        total = total + each
    np.testing.assert_allclose(total.matrix(), whole.matrix, rtol=1e-6, atol=1e-9)
    left = [agop(curved, X[donor != int(g)], step=1e-3).scores() for g in names]
    assert any(np.allclose(rest, each) for each in left)
    error, _, _ = jackknife(whole.scores(), np.stack(left), sizes=np.full(12, 20.0))
    order = [int(name[1:]) for name in found.table["feature"]]
    np.testing.assert_allclose(found.table["standard_error"], error[order], rtol=1e-4, atol=1e-7)
    assert found.table["p_value"].isna().all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=3, max_size=40), st.integers(0, 9))
def test_the_jackknife_of_a_mean_is_its_standard_error(values: list[float], seed: int) -> None:
    x = np.array(values)
    left = np.array([[np.delete(x, i).mean()] for i in range(len(x))])
    error, *_ = jackknife(np.array([x.mean()]), left, sizes=np.ones(len(x)))
    assert error[0] == pytest.approx(x.std(ddof=1) / np.sqrt(len(x)), abs=1e-9)
    p = max_null(np.abs(x), np.random.default_rng(seed).random((19, len(x))) * 5)
    assert ((p >= 1 / 20) & (p <= 1)).all()
    assert (np.diff(p[np.argsort(np.abs(x))]) <= 0).all()


def test_labels_stay_within_their_strata() -> None:
    strata = np.repeat([0, 1], 10)
    seen = []
    importance(np.ones(3), n=20, permuted=lambda o: (seen.append(o), np.ones(3))[1], strata=strata, draws=3)
    assert all((strata[o] == strata).all() and sorted(o) == list(range(20)) for o in seen)


def test_what_is_missing_is_said() -> None:
    found = importance(agop(LinearRegression().fit(np.eye(4), np.arange(4)), np.eye(4)))
    assert [note.split(":")[1].split(";")[0] for note in found.notes] == [" none", " none"]
    with pytest.raises(UsageError, match="Neither groups nor n"):
        importance(np.eye(3), refit=lambda rows: np.eye(3))
    with pytest.raises(DataError, match="All rows are of one group"):
        importance(np.eye(3), groups=np.zeros(9), refit=lambda rows: np.eye(3))
    with pytest.raises(UsageError, match="2 names for 3"):
        importance(np.eye(3), names=["a", "b"])
