"""Intervals over groups: that they cover, pair, and agree between the two ways of working them out."""

from __future__ import annotations

import numpy as np
import pytest

from whycell.metrics.intervals import (
    bootstrap_cells,
    bootstrap_sums,
    expanded_quantiles,
    paired_cells,
    paired_sums,
    t_interval,
)


def mean_of(sums):
    return sums[:, 0] / sums[:, 1]


def test_with_eight_donors_the_interval_still_covers():
    rng = np.random.default_rng(0)
    covered = plain = 0
    for _ in range(400):
        donors = rng.normal(0.9, 0.05, 8)
        sums = np.column_stack([donors * 100, np.full(8, 100.0)])
        found = bootstrap_sums(sums, mean_of, draws=1000)
        covered += found.low <= 0.9 <= found.high
        drawn = donors[rng.integers(0, 8, (500, 8))].mean(1)
        plain += np.quantile(drawn, 0.025) <= 0.9 <= np.quantile(drawn, 0.975)
    assert covered / 400 > 0.93
    assert plain / 400 < 0.93, "what the plain percentile interval gives, and why it is not used"


def test_sums_and_cells_give_the_same_interval():
    rng = np.random.default_rng(1)
    groups = np.repeat(list("abcdefgh"), rng.integers(20, 200, 8))
    chance = dict(zip("abcdefgh", rng.uniform(0.7, 1, 8), strict=True))
    hit = rng.random(len(groups)) < [chance[g] for g in groups]
    sums = np.array([[hit[groups == g].sum(), (groups == g).sum()] for g in "abcdefgh"], dtype=float)
    fast = bootstrap_sums(sums, mean_of, draws=500)
    slow = bootstrap_cells(groups, lambda rows: hit[rows].mean(), draws=500)
    assert (fast.value, fast.low, fast.high, fast.n_groups) == pytest.approx(
        (slow.value, slow.low, slow.high, slow.n_groups)
    )


def test_pairing_takes_the_donors_out_of_the_difference():
    rng = np.random.default_rng(2)
    donors = rng.uniform(0.5, 1, 8) * 100
    first = np.column_stack([donors, np.full(8, 100.0)])
    second = np.column_stack([donors - 2, np.full(8, 100.0)])
    found = paired_sums(first, second, mean_of)
    assert found.value == pytest.approx(0.02)
    assert (found.low, found.high) == pytest.approx((0.02, 0.02))
    groups = np.repeat(np.arange(8), 5)
    same = paired_cells(groups, lambda rows: rows.mean(), lambda rows: rows.mean() - 1, draws=50)
    assert (same.low, same.high) == pytest.approx((1, 1))


def test_one_group_has_no_interval_and_many_need_no_widening():
    alone = bootstrap_sums(np.array([[9.0, 10.0]]), mean_of)
    assert alone.value == 0.9
    assert np.isnan(alone.low)
    assert expanded_quantiles(10_000)[0] == pytest.approx(0.025, abs=1e-4)
    assert np.isnan(t_interval([0.5]).low)
    assert t_interval([0.5, np.nan, 0.7]).n_groups == 2
