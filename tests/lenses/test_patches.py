"""What trained convolutions decide along: the planted motif, and edges."""

import numpy as np
import torch
from torch import nn

from whycell.lenses import agop


def _train(net: nn.Module, X: torch.Tensor, y: torch.Tensor, *, steps: int) -> None:
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(steps):
        some = torch.randint(len(X), (128,), generator=generator)
        loss = nn.functional.binary_cross_entropy_with_logits(net(X[some])[:, 0], y[some])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def test_a_network_that_learned_a_motif_shows_it_in_the_agop_of_its_patches() -> None:
    rng = np.random.default_rng(0)
    letters = rng.integers(4, size=(1500, 60))
    motif = np.array([2, 0, 1, 1, 3, 2])
    y = rng.integers(2, size=1500)
    for row in np.flatnonzero(y):
        at = rng.integers(0, 54)
        letters[row, at : at + 6] = motif
    X = torch.tensor(np.eye(4)[letters].transpose(0, 2, 1), dtype=torch.float32)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(4, 16, 10), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(16, 1))
    before = _likeness(agop(net, X[:200], at="0"), motif)
    _train(net, X, torch.tensor(y, dtype=torch.float32), steps=400)
    found = agop(net, X[:200], at="0")
    assert found.shape == (4, 10)
    assert _likeness(found, motif) > 0.7
    assert before < 0.5


def _likeness(found, motif: np.ndarray) -> float:
    """Largest correlation of the first direction, wherever in the filter, with the motif's letters less their mean."""
    filter_ = found.directions(1)[0].reshape(found.shape)
    filter_ = filter_ - filter_.mean(0)
    letters = np.eye(4)[motif].T - 0.25
    width = len(motif)
    places = [filter_[:, i : i + width] for i in range(found.shape[1] - width + 1)]
    return max(abs((part * letters).sum()) / np.linalg.norm(letters) / np.linalg.norm(filter_) for part in places)


def test_a_network_that_tells_orientations_looks_at_edges() -> None:
    """Stripes across or along, of any phase: the first directions of the filters' patches are such stripes."""
    rng = np.random.default_rng(0)
    phase, across = rng.uniform(0, 2 * np.pi, 800), rng.integers(2, size=800)
    wave = np.sin(np.arange(12)[None] * 1.2 + phase[:, None])
    images = np.where(across[:, None, None] == 1, wave[:, :, None], wave[:, None, :])
    X = torch.tensor(images[:, None] + 0.3 * rng.normal(size=(800, 1, 12, 12)), dtype=torch.float32)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 1))
    _train(net, X, torch.tensor(across, dtype=torch.float32), steps=300)
    found = agop(net, X[:100], at="0")
    shares = []
    for direction in found.directions(3):
        window = direction.reshape(5, 5)
        rows, columns = window.mean(1), window.mean(0)
        assert abs(window.mean()) < 0.5 * np.abs(window).mean()  # the mean brightness says nothing
        # Stripes across and stripes along, and what mixes them; of a random window a third is of that kind.
        stripes = 5 * ((rows - rows.mean()) ** 2).sum() + 5 * ((columns - columns.mean()) ** 2).sum()
        shares.append(stripes / (window**2).sum())
    assert min(shares) > 0.9
    cut = agop(net, X[:100], patches=5)
    assert cut.shape == (1, 5, 5)
