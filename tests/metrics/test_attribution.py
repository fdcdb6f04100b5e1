"""Scores of attribution against scipy, a simulated ceiling, and counts made by hand."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from whycell.errors import UsageError
from whycell.metrics.attribution import brittleness, counterfactual, lds, noise_ceiling


def test_the_score_is_scipys_rank_correlation_and_perfect_effects_reach_one() -> None:
    rng = np.random.default_rng(0)
    masks, effects = rng.random((60, 20)) < 0.5, rng.normal(size=(3, 20))
    outputs = masks @ effects.T
    np.testing.assert_allclose(lds(effects, masks, outputs), 1.0)
    noisy = outputs + 3 * rng.normal(size=outputs.shape)
    expected = [spearmanr(outputs[:, t], noisy[:, t]).statistic for t in range(3)]
    np.testing.assert_allclose(lds(effects, masks, noisy), expected, atol=1e-6)
    assert (lds(np.zeros((3, 20)), masks, noisy) == 0).all()


def test_the_ceiling_is_what_the_truth_itself_reaches() -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(size=(400, 8))
    outputs = truth + rng.normal(size=(4, 400, 8))
    found = noise_ceiling(outputs)
    reached = np.mean([spearmanr(truth[:, t], outputs.mean(0)[:, t]).statistic for t in range(8)])
    assert found.ceiling == pytest.approx(reached, abs=0.02)
    assert found.between_seeds < found.between_halves < found.reliability < found.ceiling
    with pytest.raises(UsageError, match="two seeds at least"):
        noise_ceiling(outputs[:1])


def test_brittleness_counts_the_strongest_supporters_first() -> None:
    values = np.array([[3.0, 1.0, -5.0, 2.0], [3.0, 1.0, -5.0, 2.0], [0.1, 0.0, 0.0, 0.0], [9.0, 0.0, 0.0, 0.0]])
    assert brittleness(values, np.array([4.0, 2.9, 4.0, -1.0])).tolist() == [2, 1, 5, 0]


def test_counterfactuals_foretold_exactly() -> None:
    change = np.array([-1.0, -2.0, -0.5])
    found = counterfactual(change, 0.5 * change, before=np.array([0.6, 0.5, 3.0]))
    assert found.correlation == pytest.approx(1.0)
    assert found.slope == pytest.approx(0.5)
    assert found.flipped == pytest.approx(1 / 3)
