"""Checks of explanations on functions whose truth is known by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from whycell.errors import UsageError
from whycell.metrics import fidelity

WEIGHTS = np.array([4.0, -1.0, 2.0, 0.5, 0.0])


def _linear(x: np.ndarray) -> np.ndarray:
    return x @ WEIGHTS + 3


def _sample(n: int = 12) -> np.ndarray:
    return np.random.default_rng(0).random((n, 5)) + 0.1


def test_completeness_is_in_units_of_the_spread() -> None:
    found = fidelity.completeness([[1.0, 2.0], [0.0, 0.5]], [3.0, 1.5])
    assert found.residual.tolist() == [0.0, 1.0]
    assert (found.spread, found.median, found.worst) == (0.75, pytest.approx(2 / 3), pytest.approx(4 / 3))


def test_curves_of_a_linear_function_are_sums_of_its_largest_contributions() -> None:
    x = _sample()
    values = x * WEIGHTS
    falling = -np.sort(-values, axis=1)
    for curve in (fidelity.deletion_curve, fidelity.insertion_curve):
        found = curve(_linear, x, scores=values, reference=0, counts=[1, 2, 4], chunk=5)
        np.testing.assert_allclose(found.change, falling.cumsum(axis=1)[:, [0, 1, 3]])
        one, two, four = found.change.T
        np.testing.assert_allclose(found.area, (one / 2 + (one + two) / 2 + (two + four)) / 4)


def test_positions_of_a_sequence_are_deleted_as_a_whole() -> None:
    x = np.zeros((1, 4, 3))
    x[0, [2, 0, 3], [0, 1, 2]] = 1
    background = np.full((4, 1), 0.25)
    seen = []

    def predict(inputs: np.ndarray) -> np.ndarray:
        seen.append(inputs)
        return inputs[:, 2, 0]

    scores = np.array([[[0.9, 0.1, 0.2]]])
    found = fidelity.deletion_curve(predict, x, scores=scores, reference=background, counts=[1, 2])
    assert found.change.tolist() == [[0.75, 0.75]]
    np.testing.assert_array_equal(seen[0][1], np.stack([[0.25] * 4, x[0, :, 1], x[0, :, 2]], axis=1))
    np.testing.assert_array_equal(seen[0][2], np.stack([[0.25] * 4, x[0, :, 1], [0.25] * 4], axis=1))
    order = fidelity.random_scores(x, like=scores, reference=x * [1, 0, 0])
    assert order.shape == scores.shape
    assert order[0, 0, 0] < order[0, 0, 1:].min()


def test_the_true_contributions_beat_random_ones_on_the_same_samples() -> None:
    x = _sample(40)
    scores = {"true": x * WEIGHTS, fidelity.RANDOM: fidelity.random_scores(x, like=x, reference=0)}
    curves = {
        name: fidelity.deletion_curve(_linear, x, scores=each, reference=0, counts=[1, 2])
        for name, each in scores.items()
    }
    table = fidelity.compare_curves(curves, best="true", groups=np.arange(40) % 8)
    assert table["true"][1].value == 0
    gain = table[fidelity.RANDOM][1]
    assert 0 < gain.low < gain.value < gain.high
    assert gain.n_groups == 8
    with pytest.raises(UsageError, match="no curve named 'best'"):
        fidelity.compare_curves(curves, best="best")


@pytest.mark.parametrize(
    ("scores", "counts", "sentence"),
    [
        (np.ones((2, 5)), [1], "scores of shape"),
        (np.ones((12, 5)), [2, 2], "counts="),
        (np.ones((12, 5)), [], "counts"),
    ],
)
def test_what_cannot_be_deleted_is_refused(scores: np.ndarray, counts: list[int], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        fidelity.deletion_curve(_linear, _sample(), scores=scores, reference=0, counts=counts)


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=5, max_size=15))
def test_rank_agreement_is_spearman_s_where_a_score_is_held(pairs: list[tuple[int, int]]) -> None:
    first, second = np.array(pairs, dtype=float).T
    held = (first != 0) | (second != 0)
    got = fidelity.rank_agreement(first[None], second[None])[0]
    if held.sum() < 3 or np.ptp(first[held]) == 0 or np.ptp(second[held]) == 0:
        assert np.isnan(got)
    else:
        assert got == pytest.approx(stats.spearmanr(first[held], second[held]).statistic)


def test_scores_that_forget_the_model_fail_the_sanity_check() -> None:
    x = _sample()
    assert not fidelity.sanity_check(x, lambda seed: x + 0.01 * seed).passed
    check = fidelity.sanity_check(
        np.tile(x, 20), lambda seed: np.tile(x, 20) * np.random.default_rng(seed).normal(size=100), draws=4
    )
    assert check.passed
    assert check.correlation.shape == (4,)
    assert check.absolute.mean() > abs(check.correlation.mean())


def test_stability_over_seeds_and_donors() -> None:
    scores = np.array([[[3.0, 2.0, 1.0, -1.0]], [[3.0, 2.0, 1.0, -1.0]], [[-1.0, 1.0, 2.0, 3.0]]])
    found = fidelity.stability(scores, top=2)
    np.testing.assert_allclose(found.correlation, [(1 - 1 - 1) / 3])
    np.testing.assert_allclose(found.overlap, [(1 + 0 + 0) / 3])
    means, names = fidelity.mean_by_group([[1.0, 0.0, 2.0], [3.0, 0.0, 2.0], [5.0, 1.0, 7.0]], ["b", "b", "a"])
    assert names.tolist() == ["a", "b"]
    assert means.tolist() == [[5.0, 1.0, 7.0], [2.0, 0.0, 2.0]]
    assert fidelity.group_stability([[1.0, 2.0, 3.0], [2.0, 4.0, 7.0]], [0, 1], top=1).overlap.tolist() == [1.0]
    with pytest.raises(UsageError, match="1 array of scores"):
        fidelity.stability(scores[:1])
