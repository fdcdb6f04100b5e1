"""Scores of a ranked list equal scikit-learn's, ties included."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from whycell.metrics.pair_ranking import aupr, enrichment, ndcg, ranking_scores


@given(st.integers(0, 1000), st.integers(2, 30), st.integers(1, 6))
def test_they_equal_scikit_learn(seed: int, n: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    score, true = rng.integers(0, levels, n).astype(float), rng.integers(0, 2, n)
    true[rng.integers(n)] = 1
    assert aupr(score, true) == pytest.approx(average_precision_score(true, score))
    assert ndcg(score, true, k=5) == pytest.approx(ndcg_score([true], [score], k=5))


def test_a_perfect_order_is_as_enriched_as_can_be() -> None:
    true = np.repeat([1, 0], [10, 90])
    assert enrichment(-np.arange(100.0), true, k=10) == pytest.approx(10)
    assert enrichment(np.zeros(100), true, k=10) == pytest.approx(1)
    assert np.isnan(ranking_scores(np.zeros(5), np.zeros(5))["aupr"])
