"""The neural feature ansatz: its measures, its controls, and what is measured of it."""

import numpy as np
import pytest
import torch
from torch import nn

from whycell.errors import UsageError
from whycell.lenses import ansatz
from whycell.lenses.neural_ansatz import agreement


def _network(*, scale: float = 1.0, width: int = 64, d: int = 20, outputs: int = 1) -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(d, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs))
    with torch.no_grad():
        for p in net.parameters():
            p *= scale
    return net


def _train(net: nn.Module, X: torch.Tensor, y: torch.Tensor, *, steps: int = 300) -> nn.Module:
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(steps):
        loss = ((net(X)[:, 0] - y) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net


def test_learning_a_product_of_two_inputs_makes_the_first_layer_look_at_them() -> None:
    """x0 x1 of many inputs, small first weights: the AGOP's root comes to resemble W'W; also on shuffled labels."""
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(1000, 20, generator=generator)
    y = X[:, 0] * X[:, 1]
    net = _network(scale=0.3)
    start = {name: value.clone() for name, value in net.state_dict().items()}
    _train(net, X, y)
    found = ansatz(net, (X, y), initial=start, train=_train)
    table = found.gain()
    assert table.columns.tolist() == ["trained", "initial", "random labels"]
    assert table.index.tolist() == ["0", "2"]  # the last layer agrees whatever was learned
    assert (table["trained"] > table["initial"] + 0.1).all()
    assert table.loc["2", "trained"] > 0.95
    # Why the control stands there: fitting noise makes the two agree as well.
    assert (table["random labels"] > table["initial"] + 0.1).all()
    trivial = found.table[found.table["trivial"]]
    assert trivial["layer"].unique().tolist() == ["4"]
    np.testing.assert_allclose(trivial[trivial["power"] == 1]["cosine"], 1, rtol=1e-6)
    assert not any("no control" in note for note in found.notes)


def test_the_control_that_was_not_made_is_named_and_the_network_is_left_alone() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    batches = [torch.randn(8, 1, 8, 8), torch.randn(4, 1, 8, 8)]
    state = torch.random.get_rng_state()
    found = ansatz(net, batches)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert sorted(found.table["state"].unique()) == ["initial", "trained"]
    assert any("no control with random labels" in note for note in found.notes)
    assert any("drawn anew" in note for note in found.notes)
    assert found.table["n_inputs"].tolist()[:2] == [9, 9]


def test_the_exponent_is_found() -> None:
    rng = np.random.default_rng(0)
    A = rng.normal(size=(8, 8))
    found = A @ A.T
    values, vectors = np.linalg.eigh(found)
    rows, best = agreement((vectors * values**0.7) @ vectors.T, found, top=3)
    assert best["exponent"] == pytest.approx(0.7)
    assert best["cosine"] == pytest.approx(1)
    assert rows[0]["angle_max"] == pytest.approx(0, abs=1e-6)
    assert {row["power"] for row in rows} == {1.0, 0.5}


@pytest.mark.parametrize(
    ("asked", "said"),
    [({"layers": ["1"]}, "linear layers or convolutions"), ({"train": _train}, "needs labels to shuffle")],
)
def test_what_cannot_be_asked(asked: dict, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ansatz(_network(), torch.randn(5, 20), **asked)
