"""References have the right shape and values, and do not depend on what is explained beside them."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from whycell.errors import GroupError, UsageError
from whycell.lenses import references


def test_zeros_and_background_have_the_shape_of_an_example() -> None:
    x = np.ones((3, 4, 5), dtype=np.float32)
    assert references.zeros(x).shape == x.shape
    found = references.background([0.3, 0.2, 0.2, 0.3])(x)
    assert (found.shape, found.dtype) == ((1, 4, 5), np.float32)
    np.testing.assert_allclose(found[0, :, 3], [0.3, 0.2, 0.2, 0.3], rtol=1e-6)
    with pytest.raises(UsageError, match="4 frequencies along axis 2"):
        references.background([0.25] * 4, axis=2)(x)


@given(st.integers(0, 1000), st.integers(1, 9))
def test_samples_are_drawn_from_the_pool_by_what_an_example_holds(seed: int, k: int) -> None:
    pool = np.arange(14, dtype=np.float32).reshape(7, 2)
    x = np.random.default_rng(seed).random((4, 2)).astype(np.float32)
    draw = references.samples(pool, k=k, seed=seed)
    found = draw(x)
    assert found.shape == (4, min(k, 7), 2)
    assert all(len({tuple(row) for row in each}) == min(k, 7) for each in found)
    assert {tuple(row) for row in found.reshape(-1, 2)} <= {tuple(row) for row in pool}
    np.testing.assert_array_equal(draw(x[2:3]), found[2:3])
    np.testing.assert_array_equal(references.samples(sp.csr_matrix(pool), k=k, seed=seed)(x), found)


def test_samples_need_a_pool() -> None:
    with pytest.raises(UsageError, match="k=3 of a pool of 0 samples"):
        references.samples(np.zeros((0, 2)), k=3)


@pytest.mark.parametrize("made", [np.asarray, sp.csr_matrix])
def test_a_donor_s_own_mean(made: object) -> None:
    pool = made(np.array([[1.0, 0.0], [3.0, 2.0], [10.0, 0.0]]))  # type: ignore[operator]
    found = references.group_mean(pool, ["b", "b", "a"], groups=["a", "b", "a"])
    assert found.tolist() == [[10.0, 0.0], [2.0, 1.0], [10.0, 0.0]]
    with pytest.raises(GroupError, match="no sample of c, d to compare with"):
        references.group_mean(pool, ["b", "b", "a"], groups=["d", "b", "c"])
    assert references.group_mean(pool, ["b", "b", "a"], groups=["zz"], absent="mean").tolist() == [[6.0, 0.5]]
