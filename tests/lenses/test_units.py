"""Layers are found by name, their units where they look, and a neuron inside is explained as an output is."""

import numpy as np
import pytest
import torch
from torch import nn

from whycell.errors import UsageError
from whycell.lenses import deeplift, fields_of, hypothetical, layers_of

LENGTH = 41


class Residual(nn.Module):
    """The sum behind its last convolution has no name of its own."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Sequential(nn.Conv1d(4, 6, 7, padding=3), nn.ReLU())
        self.pool = nn.MaxPool1d(3, ceil_mode=True)
        self.further = nn.Conv1d(6, 6, 3, padding=1)
        self.dense = nn.Linear(12, 5)
        self.last = nn.Linear(5, 2)

    def forward(self, x):
        h = self.pool(self.first(x))
        h = h + torch.relu(self.further(h))
        return self.last(torch.relu(self.dense(torch.cat([h.amax(-1), h.mean(-1)], 1))))


@pytest.fixture(scope="module")
def net():
    return Residual().eval()


@pytest.fixture(scope="module")
def pairs():
    letters = np.random.default_rng(0).integers(0, 4, (2, 6, LENGTH))
    return tuple(np.eye(4, dtype=np.float32)[each].transpose(0, 2, 1) for each in letters)


def test_layers_are_listed_with_their_units(net, pairs):
    found = {layer.name: layer.units for layer in layers_of(net, pairs[0])}
    assert found["first.0"] == (6, LENGTH)
    assert found["pool"] == found["@last"] == (6, 14)
    assert found["dense"] == (5,)


def test_units_look_where_convolutions_and_pools_say(net, pairs):
    first = fields_of(net, pairs[0], layer="first")
    np.testing.assert_allclose(first.centre, np.arange(LENGTH))
    assert first.width == 7
    last = fields_of(net, pairs[0], layer="@last")  # 7 letters, a pool of 3, a convolution of 3 pooled positions
    np.testing.assert_allclose(last.centre, 1 + 3 * np.arange(14))
    assert last.width == 7 + 2 + 2 * 3
    with pytest.raises(UsageError, match="no place"):
        fields_of(net, pairs[0], layer="dense")


def test_what_has_no_name_is_complete(net, pairs):
    x, r = pairs
    last = deeplift(net, x, reference=r, target=1, at="@last")
    bypassed = deeplift(net, x, reference=r, target=1, at="further")
    scale = np.abs(last.output - last.reference_output).max()
    assert np.abs(last.residual).max() < 1e-5 * scale < 1e-2 * np.abs(bypassed.residual).max()


@pytest.mark.parametrize("rule", ["rescale", "reveal-cancel", "genomics"])
def test_a_neuron_behind_a_pool_equals_the_network_cut_there(net, pairs, rule):
    x, r = pairs
    cut = nn.Sequential(net.first, net.pool)
    one = hypothetical(net, x, reference=r, rule=rule, neuron=("pool", (2, 5)))
    by_hand = hypothetical(cut, x, reference=r, rule=rule, target=lambda out: out[:, 2, 5])
    np.testing.assert_allclose(one.values, by_hand.values, atol=1e-6)
    channel = deeplift(net, x, reference=r, rule=rule, neuron=("pool", 2))
    of_all = deeplift(cut, x, reference=r, rule=rule, target=lambda out: out[:, 2].sum(1))
    np.testing.assert_allclose(channel.values, of_all.values, atol=1e-6)
    dense = deeplift(net, x, reference=r, rule=rule, neuron=("dense", 3))
    assert np.abs(dense.residual).max() < 1e-5


def test_a_neuron_that_is_not_there(net, pairs):
    with pytest.raises(UsageError, match="wanted up to 2 numbers"):
        deeplift(net, pairs[0], neuron=("pool", (2, 99)))
    with pytest.raises(UsageError, match="for a neuron take"):
        hypothetical(net, pairs[0], reference=pairs[1], neuron=("pool", 1), rule="integrated gradients")
