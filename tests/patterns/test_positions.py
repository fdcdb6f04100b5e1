"""Places in profiles, and the letters that drive a channel."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from whycell.patterns.filters import TopWindows, meme_of
from whycell.patterns.positions import mean_position, profile_of_units, strongest_events

LENGTH = 120


def bump(at, height=1.0):
    return height * np.exp(-0.5 * ((np.arange(LENGTH) - at) / 3) ** 2)


@settings(max_examples=40, deadline=None)
@given(st.floats(0, LENGTH - 1), st.floats(0.1, 50))
def test_a_peak_is_found_wherever_it_stands(at, height):
    profile = (bump(at, height) + 0.02 * height)[None]
    found = strongest_events(profile)
    assert abs(found.position[0, 0] - at) < 3
    assert 0 < found.weight[0, 0] <= 1
    mirrored = strongest_events(profile[:, ::-1])
    np.testing.assert_allclose(mirrored.position[0, 0], LENGTH - 1 - found.position[0, 0], atol=1e-6)


def test_two_events_are_two_and_wide():
    profile = np.stack([bump(20) + 0.8 * bump(90), bump(20) + 0.1 * bump(90), bump(20)])
    found = strongest_events(profile, most=3)
    np.testing.assert_allclose(found.position[0, :2], [20, 90], atol=0.5)
    assert np.isnan(found.position[0, 2])
    assert np.isnan(found.position[1:, 1:]).all()
    assert found.spread[0] > 30 > 5 > found.spread[2]
    assert found.lower[0] < 20 < 90 < found.upper[0]
    assert 40 < mean_position(profile)[0] < 60


def test_nothing_to_see_is_the_middle_and_as_wide_as_the_sequence():
    found = strongest_events(np.zeros((2, LENGTH)))
    np.testing.assert_array_equal(found.position[:, 0], (LENGTH - 1) / 2)
    np.testing.assert_allclose(found.spread, np.arange(LENGTH).std())
    assert (found.lower < 0.1 * LENGTH).all()


def test_units_put_their_weight_where_they_look():
    values = np.random.default_rng(0).normal(size=(5, 2, 3, 10))
    centre = np.stack([np.linspace(-2, 50, 10), np.linspace(70, 30.25, 10)])
    profile = profile_of_units(values, centre, length=60)
    positive = np.maximum(values, 0)
    np.testing.assert_allclose(profile.sum(axis=1), positive.sum(axis=(1, 2, 3)))
    expected = (positive.sum(axis=2) * np.clip(centre, 0, 59)).sum(axis=(1, 2)) / positive.sum(axis=(1, 2, 3))
    np.testing.assert_allclose(mean_position(profile), expected)


def test_windows_shown_in_parts_are_those_shown_at_once():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (40, 30))
    x = np.eye(4, dtype=np.float32)[codes].transpose(0, 2, 1)
    added = rng.normal(size=(40, 3, 30))
    added[:, 2] = -1
    first = np.arange(30) - 2
    whole, parts = (TopWindows(3, first, 5, most=10) for _ in range(2))
    whole.add(x, added)
    for at in range(0, 40, 7):
        parts.add(x[at : at + 7], added[at : at + 7])
    letters, sites = whole.letters()
    np.testing.assert_array_equal(letters, parts.letters()[0])
    assert sites.tolist()[2] == 0
    best = np.dstack(np.unravel_index(np.argsort(-added[:, 0, 2:28].ravel())[:10], (40, 26)))[0]
    windows = np.stack([x[row, :, at : at + 5] for row, at in best])
    np.testing.assert_allclose(letters[0], windows.mean(axis=0), atol=1e-6)
    text = meme_of(letters, sites, names=["a", "b", "c"])
    assert text.count("MOTIF") == 2
    assert "w= 5 nsites= 10" in text
