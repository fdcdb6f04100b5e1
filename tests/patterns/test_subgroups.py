"""Groups that share causes: found where planted, none where there are none, the same bytes again."""

import numpy as np
import pytest

from whycell.errors import DataError
from whycell.patterns.described import donor_shares, enriched, influential, typical
from whycell.patterns.partition import adjusted_rand, centres, nearest, partitions
from whycell.patterns.stability import stability_curve
from whycell.patterns.subgroups import agreement_with, find_subgroups
from whycell.patterns.teaching import Teaching, unit_rows


def taught(parts: np.ndarray, *, strength: float, seed: int, models: int = 800) -> tuple[np.ndarray, np.ndarray]:
    """Masks, and margins to which every present sample of a target's own part adds ``strength``."""
    rng = np.random.default_rng(seed)
    masks = rng.random((models, len(parts))) < 0.2
    kin = strength * (parts[:, None] == parts[None, :])
    return masks, (masks @ kin.T + rng.normal(0, 1, (models, len(parts)))).astype(np.float32)


def test_weights_are_those_of_least_squares_with_the_own_effect_taken_out() -> None:
    rng = np.random.default_rng(0)
    masks = rng.random((400, 30)) < 0.3
    margins = rng.normal(size=(400, 30)).astype(np.float32)
    found = Teaching(masks, margins, own=np.arange(30), ridge=1e-6).weights()
    design = np.column_stack([masks - masks.mean(axis=0)])
    answers = margins - margins.mean(axis=0)
    own = (design * answers).sum(axis=0) / (design**2).sum(axis=0)
    expected = np.linalg.lstsq(design, answers - design * own, rcond=None)[0].T
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_fewer_models_than_samples_give_the_same_weights_as_the_other_gram_matrix() -> None:
    rng = np.random.default_rng(1)
    masks, margins = rng.random((40, 60)) < 0.5, rng.normal(size=(40, 5)).astype(np.float32)
    teaching = Teaching(masks, margins)
    design, answers = masks - masks.mean(axis=0), margins - margins.mean(axis=0)
    penalty = 0.5 * (design**2).sum() / 60
    expected = np.linalg.solve(design.T @ design + penalty * np.eye(60), design.T @ answers).T
    np.testing.assert_allclose(teaching.weights(), expected, atol=1e-5)


def test_planted_groups_are_found_and_a_class_of_one_piece_is_left_whole() -> None:
    labels = np.repeat(["one", "two"], 120)
    parts = np.concatenate([np.repeat([0, 1, 2], 40), np.full(120, 3)])
    masks, margins = taught(parts, strength=0.5, seed=2)
    donors = np.tile(np.array(["a", "b", "c"], dtype=object), 80)
    teaching = Teaching(masks, margins, own=np.arange(240))
    found = find_subgroups(teaching, labels, donors=donors, unit_donors=donors, rounds=3, n_clouds=49, most=5)
    one, two = found.classes
    assert (one.n_groups, two.n_groups) == (3, 1)
    truth = parts[one.rows]
    assert all(len(set(truth[one.groups == g])) == 1 for g in range(3))
    assert one.fresh > 0.9
    assert set(one.held_out) == {"a", "b", "c"}
    assert min(score for _, score in one.held_out.values()) > 0.9
    assert agreement_with(np.eye(3)[truth], one, truth=truth) == {"with_groups": 1.0, "with_truth": 1.0}
    again = find_subgroups(teaching, labels, rounds=3, n_clouds=49, most=5)
    assert all((a.groups == b.groups).all() for a, b in zip(found.classes, again.classes, strict=True))
    assert np.array_equal(found.weights, again.weights)


@pytest.mark.parametrize("seed", range(5))
def test_no_number_of_groups_stands_out_of_a_cloud(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((200, 12)) * np.exp(-np.arange(12) / 3)
    halves = [tuple(points + 0.1 * rng.standard_normal(points.shape) for _ in range(2)) for _ in range(3)]
    curve = stability_curve(halves, range(2, 8), n_clouds=19, rng=rng)
    assert curve.choose(level=0.05, least=0.4) == 1


@pytest.mark.parametrize("method", ["ward", "spectral"])
def test_cuts_are_numbered_by_size_and_new_rows_find_their_group(method: str) -> None:
    rng = np.random.default_rng(3)
    truth = np.repeat([0, 1, 2], [50, 30, 20])
    rows = np.eye(3)[truth] + 0.05 * rng.standard_normal((100, 3))
    groups = partitions(rows, [3], method=method)[:, 0]
    assert np.array_equal(groups, truth)
    assert np.array_equal(nearest(rows, centres(rows, groups)), truth)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_rand_index_is_scikit_learns(k: int) -> None:
    from sklearn.metrics import adjusted_rand_score

    rng = np.random.default_rng(k)
    first, second = rng.integers(0, k, 50), rng.integers(0, 4, 50)
    assert adjusted_rand(first, second) == pytest.approx(adjusted_rand_score(first, second))
    assert adjusted_rand(first, first) == 1


def test_a_group_is_described_by_what_is_its_own() -> None:
    rng = np.random.default_rng(4)
    groups = np.repeat([0, 1], [60, 40])
    values = rng.standard_normal((100, 6))
    values[groups == 1, 2] += 3
    values[:, 5] = 1.0
    table = enriched(values, groups, list("abcdef"))
    first = table[table["group"] == 1].iloc[0]
    assert first["feature"] == "c"
    assert first["effect"] > 1
    assert first["auroc"] > 0.9
    assert first["q_value"] < 1e-6
    assert table.set_index(["group", "feature"]).loc[(1, "f"), "q_value"] == 1
    weights = np.zeros((100, 4))
    weights[groups == 1, 3], weights[groups == 1, 0] = 1.0, -1.0
    assert [list(map(list, pair)) for pair in influential(weights, groups)] == [[[], []], [[3], [0]]]
    assert all((groups[members] == g).all() for g, members in enumerate(typical(unit_rows(values), groups)))
    shares = donor_shares(np.repeat(["x", "y"], 50), groups)
    assert shares["samples"].tolist() == [50, 10, 0, 40]


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(DataError, match="a row of each"):
        Teaching(np.ones((5, 3), bool), np.ones((4, 3)))
    teaching = Teaching(np.eye(8, 3, dtype=bool), np.ones((8, 3)))
    with pytest.raises(DataError, match="one for each of 3 targets"):
        find_subgroups(teaching, np.array(["a", "b"]))
