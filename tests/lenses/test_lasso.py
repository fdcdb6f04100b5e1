"""The Lasso of many targets at once: scikit-learn's path, an optimum everywhere, lambda from held-out masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import lasso_path as theirs

from whycell.errors import DataError
from whycell.lenses.lasso import lasso_fit, lasso_path
from whycell.lenses.masks import draw_masks


def planted(n: int, n_models: int, n_targets: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    masks = draw_masks(n, n_models, seed=seed)
    effects = rng.normal(size=(n_targets, n)) * (rng.random((n_targets, n)) < 0.1)
    return masks, masks @ effects.T + 0.3 * rng.normal(size=(n_models, n_targets)), effects


def test_the_path_is_that_of_scikit_learn() -> None:
    masks, outputs, _ = planted(90, 300, 4)
    grid, path = lasso_path(masks, outputs, n_lambdas=30)
    centred = np.asfortranarray(masks - masks.mean(axis=0))
    for t in range(4):
        y = outputs[:, t] - outputs[:, t].mean()
        _, coefficients, _ = theirs(centred, y, alphas=grid[t], tol=1e-13, max_iter=10**6)
        assert np.abs(path[t] - coefficients.T).max() < 1e-6


@settings(max_examples=15)
@given(st.integers(3, 130), st.integers(20, 90), st.integers(0, 10**6))
def test_every_point_of_a_path_is_an_optimum(n, n_models, seed) -> None:
    masks, outputs, _ = planted(n, n_models, 2, seed)  # more samples than models, too
    grid, path = lasso_path(masks, outputs, n_lambdas=8, smallest=0.05)
    X, Y = masks - masks.mean(axis=0), outputs - outputs.mean(axis=0)
    slack = 1e-5 * Y.std(axis=0)
    for t in range(2):
        for penalty, w in zip(grid[t], path[t], strict=True):
            slope = X.T @ (Y[:, t] - X @ w) / n_models
            assert (np.abs(slope) <= penalty + slack[t]).all()
            assert np.abs(slope - penalty * np.sign(w))[w != 0].max(initial=0) <= slack[t]


def test_lambda_chosen_on_held_out_masks_finds_the_planted_effects() -> None:
    masks, outputs, effects = planted(150, 400, 3)
    fit = lasso_fit(masks[:300], outputs[:300], held_masks=masks[300:], held_outputs=outputs[300:])
    assert np.corrcoef(fit.values.ravel(), effects.ravel())[0, 1] > 0.98
    assert fit.values.shape == (3, 150)
    predicted = masks[300:] @ fit.values.T + fit.intercept
    np.testing.assert_allclose(((predicted - outputs[300:]) ** 2).mean(axis=0), fit.error, rtol=1e-3)


def test_outputs_of_another_length_are_refused() -> None:
    with pytest.raises(DataError, match="a row for each model"):
        lasso_path(np.ones((5, 3), bool), np.zeros((4, 1)))
