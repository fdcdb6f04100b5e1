"""Networks side by side: the same as one alone, a convolution learns, running statistics are refused."""

import numpy as np
import pytest
import torch
from torch import nn

from whycell.errors import UsageError
from whycell.lenses import datamodels
from whycell.lenses.masks import draw_masks
from whycell.lenses.vectorised import Network, fit_networks


def small() -> nn.Module:
    convolution = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
    return nn.Sequential(convolution, nn.Flatten(), nn.Linear(16, 2))


def stripes(n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    wave = np.sin(np.arange(8) * np.pi / 1.5)
    X = np.where(y[:, None, None] == 0, wave[None, None, :], wave[None, :, None]) + 0.5 * rng.normal(size=(n, 8, 8))
    return X[:, None].astype(np.float32), y


def test_convolutions_side_by_side_learn_and_resume(tmp_path) -> None:
    X, y = stripes()
    network = Network(small, epochs=12, batch=10, rate=0.1, together=3)
    masks = draw_masks(len(X), 5, kind="fixed")
    asked = {"masks": masks, "X_target": X, "y_target": y}
    before = torch.random.get_rng_state()
    margins = fit_networks(network, X, y, folder=tmp_path, **asked)
    assert torch.equal(before, torch.random.get_rng_state())
    assert (margins > 0).mean() > 0.8
    (tmp_path / "block_00001.npy").unlink()
    assert fit_networks(network, X, y, folder=tmp_path, **asked).tobytes() == margins.tobytes()
    alone = fit_networks(Network(small, epochs=12, batch=10, rate=0.1, together=1), X, y, **asked)
    assert (alone > 0).mean() == pytest.approx((margins > 0).mean(), abs=0.08)


def test_datamodels_of_networks() -> None:
    X, y = stripes()
    found = datamodels(Network(small, epochs=2, batch=10), X, y, X[:3], y[:3], n_models=24)
    assert found.values.shape == (3, 40)


def test_running_statistics_are_refused() -> None:
    X, y = stripes(20)
    network = Network(lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 2)))
    with pytest.raises(UsageError, match="use GroupNorm"):
        fit_networks(network, X, y, masks=draw_masks(20, 2), X_target=X, y_target=y)
