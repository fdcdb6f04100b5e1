"""Kinds of sequence: planted ones come back, data in one piece stays in one."""

import numpy as np
import pandas as pd
import pytest

from whycell.errors import DataError, UsageError
from whycell.patterns.kinds import describe_totals, find_kinds, motif_totals
from whycell.patterns.partition import adjusted_rand


def _sites(rng, n, strength):
    """Total contribution of one to three sites in each of n sequences."""
    return np.array([rng.gamma(6, strength / 6, rng.integers(1, 4)).sum() for _ in range(n)])


def test_totals_are_sums_over_hits_and_zero_elsewhere():
    hits = pd.DataFrame(
        {
            "task": ["A", "A", "B", "A"],
            "motif": ["one", "one", "one", "gone"],
            "sequence": [2, 2, 0, 1],
            "contribution": [1.0, 0.5, 4.0, 9.0],
        }
    )
    totals = motif_totals(hits, 3, motifs=[("A", "one"), ("B", "one")])
    np.testing.assert_array_equal(totals, [[0, 4], [0, 0], [1.5, 0]])
    with pytest.raises(DataError, match="sequence 2 of 2"):
        motif_totals(hits, 2, motifs=[("A", "one")])


def test_the_size_of_an_output_does_not_matter():
    rng = np.random.default_rng(0)
    totals = rng.gamma(2, 1, (50, 3)) * (rng.random((50, 3)) < 0.5)
    rows = describe_totals(totals, tasks=["A", "A", "B"])
    np.testing.assert_allclose(describe_totals(totals * [7, 7, 0.1], tasks=["A", "A", "B"]), rows)
    np.testing.assert_allclose(describe_totals(-totals, tasks=["A", "A", "B"]), -rows)


@pytest.mark.parametrize("seed", [0, 1])
def test_planted_kinds_come_back(seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 4, 400)
    holds = np.stack([np.isin(truth, [0, 1]), np.isin(truth, [0, 2])], axis=1)
    totals = np.stack([_sites(rng, 400, 1), _sites(rng, 400, 2)], axis=1) * holds
    found = find_kinds(describe_totals(totals, tasks=["t", "t"]), rounds=10, n_clouds=19)
    assert len(found.middles) == 4
    assert adjusted_rand(truth, found.kind) > 0.9
    assert found.stability.min() > 0.8
    again = find_kinds(describe_totals(totals, tasks=["t", "t"]), rounds=10, n_clouds=19)
    np.testing.assert_array_equal(again.kind, found.kind)


def test_one_piece_is_one_kind():
    rng = np.random.default_rng(3)
    always = np.stack([_sites(rng, 300, 1), _sites(rng, 300, 2)], axis=1)
    for totals in (always, always[:, :1], rng.gamma(2, 1, (300, 3)), np.exp(rng.normal(size=(300, 2)))):
        found = find_kinds(describe_totals(totals, tasks=["t"] * totals.shape[1]), rounds=10, n_clouds=19)
        assert len(found.middles) == 1


def test_little_or_nothing_to_tell_apart():
    assert len(find_kinds(np.zeros((100, 2))).middles) == 1
    assert len(find_kinds(np.random.default_rng(0).normal(size=(20, 2))).middles) == 1
    assert len(find_kinds(np.arange(40.0)[:, None], n_kinds=3).middles) == 3
    with pytest.raises(UsageError, match="2 kinds of 1 sequences"):
        find_kinds(np.zeros((100, 2)), n_kinds=2)
