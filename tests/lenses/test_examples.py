"""Datamodels: planted teachers found, groups as units, a budget kept, a plan told; q-values that are honest."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from whycell.compute import Talk
from whycell.errors import UsageError
from whycell.lenses import datamodels, draw_masks
from whycell.lenses.estimators import difference_in_means, estimate, joint_ridge, ridge
from whycell.lenses.significance import (
    out_of_bag_effects,
    out_of_bag_outputs,
    q_values,
    selection_stability,
    significance,
)
from whycell.metrics.attribution import lds


@pytest.fixture(scope="module")
def blobs() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    return (rng.normal(size=(120, 8)) + 1.2 * np.eye(8)[y]).astype(np.float32), y


def planted(n: int = 60, n_models: int = 500, n_targets: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    effects = rng.normal(size=(n_targets, 2)) @ (rng.normal(size=(2, n)) * (rng.random(n) < 0.3))
    masks = draw_masks(n, n_models)
    return masks, masks @ effects.T + 2 * rng.normal(size=(n_models, n_targets)), effects


class Heard(Talk):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_sample_with_a_false_label_is_its_targets_strongest_opponent(blobs) -> None:
    X, y = blobs
    wrong = y.copy()
    wrong[7] = (y[7] + 1) % 3
    heard = Heard()
    found = datamodels("kernel", X, wrong, X[[7]], y[[7]], n_models=400, talk=heard)
    assert found.top(0, k=1)[1][0] == 7
    assert found.quality["lds"] > 0.8
    assert found.values.shape == found.standard_errors.shape == (1, 120)
    assert heard.notes[0].startswith("400 models, about")
    again = datamodels("kernel", X, wrong, X[[7]], y[[7]], n_models=400)
    np.testing.assert_array_equal(found.outputs, again.outputs)


def test_groups_are_the_units_and_a_function_may_train(blobs) -> None:
    X, y = blobs
    donors = np.array([f"d{i % 10}" for i in range(120)])
    y = y.copy()
    y[donors == "d4"] = (y[donors == "d4"] + 1) % 3

    def centroids(X, y, mask):
        centre = np.stack([X[mask & (y == k)].mean(axis=0) for k in range(3)])
        return lambda new: -((new[:, None] - centre) ** 2).sum(axis=2)

    found = datamodels(centroids, X, y, X[:20], blobs[1][:20], groups=donors, n_models=60)
    assert found.units.tolist() == sorted(set(donors))
    assert found.units[found.values.mean(axis=0).argmin()] == "d4"


def test_a_budget_buys_gradients_first_and_models_later(blobs) -> None:
    X, y = blobs
    small = datamodels("mlp", X, y, X[:5], budget=0.5)
    assert small.masks.shape == (0, 120)
    assert small.values.shape == (5, 120)
    with pytest.raises(UsageError, match="not agreed to"):
        datamodels("ridge", X, y, X[:5], n_models=50, confirm=lambda plan: plan.n_models != 50)
    with pytest.raises(UsageError, match="wanted one of linear, mlp"):
        datamodels("forest", X, y, X[:5])


def test_estimates_agree_where_models_are_many_and_the_best_is_best_where_they_are_few() -> None:
    masks, outputs, effects = planted(n_models=4000)
    for found in (difference_in_means(masks, outputs), ridge(masks, outputs), joint_ridge(masks, outputs)):
        assert np.corrcoef(found.values.ravel(), effects.ravel())[0, 1] > 0.95
    z = (difference_in_means(masks, outputs).values - effects) / difference_in_means(masks, outputs).standard_errors
    assert z.std() == pytest.approx(1.0, abs=0.15)
    few, new = slice(0, 100), slice(2000, 4000)
    score = {
        name: lds(make(masks[few], outputs[few]).values, masks[new], outputs[new]).mean()
        for name, make in {"means": difference_in_means, "best": estimate}.items()
    }
    assert score["best"] > score["means"]
    with_prior = estimate(masks[few], outputs[few], prior=0.01 * effects)
    assert lds(with_prior.values, masks[new], outputs[new]).mean() > score["best"]


def test_ridge_of_fewer_models_than_samples_is_the_primal_one() -> None:
    masks, outputs, _ = planted(n=80, n_models=50)
    X, f = masks - masks.mean(axis=0), outputs - outputs.mean(axis=0)
    expected = np.linalg.solve(X.T @ X / 50 + 0.2 * np.eye(80), X.T @ f / 50).T
    np.testing.assert_allclose(ridge(masks, outputs, penalty=0.2).values, expected, atol=1e-5)


def test_q_values_are_scipys_and_nothing_is_found_in_noise() -> None:
    p = np.random.default_rng(0).random(40) ** 3
    np.testing.assert_allclose(q_values(p), false_discovery_control(p))
    masks, outputs, effects = planted()
    noise = np.random.default_rng(2).normal(size=outputs.shape)
    assert (significance(masks, noise).q < 0.05).sum() <= 1
    found = significance(masks, outputs).q < 0.05
    assert found[np.abs(effects) > 2].mean() > 0.9
    assert (np.abs(effects)[found] < 1e-12).mean() < 0.15


def test_half_samples_agree_on_the_strong_effects() -> None:
    masks, outputs, effects = planted()
    share = selection_stability(masks, outputs, draws=6)
    assert share[np.abs(effects) > 2].min() > 0.8
    assert share[effects == 0].mean() < 0.4


def test_a_cohort_is_explained_by_models_that_did_not_see_the_patient() -> None:
    rng = np.random.default_rng(3)
    effects = rng.normal(size=(12, 12))
    np.fill_diagonal(effects, 0)
    masks = draw_masks(12, 800)
    seen = 50.0 * masks  # what a model says of a patient it was trained on is worthless
    outputs = masks @ effects.T + seen
    found = out_of_bag_effects(masks, outputs)
    np.testing.assert_allclose(found.values, effects, atol=0.05)
    assert out_of_bag_outputs(masks, outputs).max() < 20
