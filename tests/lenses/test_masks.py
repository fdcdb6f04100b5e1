"""Masks: the share asked for, the same ones again, groups whole, strata kept, and an unbalanced draw noticed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whycell.errors import GroupError, UsageError
from whycell.lenses.masks import check_balance, draw_masks, models_needed, smallest_effect


@given(st.integers(2, 60), st.floats(0.05, 0.95), st.integers(0, 2**31))
def test_fixed_masks_hold_the_share_of_each_stratum_and_more_models_extend_fewer(n, alpha, seed) -> None:
    strata = np.arange(n) % 3
    masks = draw_masks(n, 4, alpha=alpha, kind="fixed", strata=strata, seed=seed)
    for s in np.unique(strata):
        held = masks[:, strata == s].sum(axis=1)
        assert (held == max(1, round(alpha * (strata == s).sum()))).all()
    assert np.array_equal(masks[:2], draw_masks(n, 2, alpha=alpha, kind="fixed", strata=strata, seed=seed))


def test_bernoulli_masks_are_balanced_and_seeded() -> None:
    masks = draw_masks(300, 2000, alpha=0.3, seed=5)
    balance = check_balance(masks)
    assert balance.balanced
    assert balance.share == pytest.approx(0.3, abs=0.003)
    assert balance.worst_pair < 0.13
    assert not np.array_equal(masks, draw_masks(300, 2000, alpha=0.3, seed=6))


def test_an_unbalanced_draw_is_noticed() -> None:
    masks = draw_masks(50, 1000, seed=0)
    masks[:, 7] = True
    assert not check_balance(masks).balanced


def test_groups_go_in_or_out_as_a_whole() -> None:
    donors = np.array(["a", "b", "a", "c", "b", "d"])
    masks = draw_masks(6, 50, kind="fixed", groups=donors)
    for donor in "ab":
        assert (masks[:, donors == donor].min(axis=1) == masks[:, donors == donor].max(axis=1)).all()
    assert len(np.unique(masks, axis=0)) == 6  # two of four groups


def test_strata_that_cut_through_a_group_are_refused() -> None:
    with pytest.raises(GroupError, match="a group lies in several strata"):
        draw_masks(4, 2, groups=["a", "a", "b", "b"], strata=[0, 1, 0, 0])


def test_the_number_of_models_and_the_effect_seen_are_inverse() -> None:
    assert models_needed(smallest_effect(5000, spread=2.0), spread=2.0) in (5000, 5001)
    with pytest.raises(UsageError, match="wanted a positive size"):
        models_needed(0.0, spread=1.0)
