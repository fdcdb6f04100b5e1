"""Completeness: on every architecture the contributions add up, whatever the rule, the precision and the batch."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from whycell.lenses import deeplift

_spec = importlib.util.spec_from_file_location("networks", Path(__file__).with_name("networks.py"))
assert _spec is not None
assert _spec.loader is not None
networks: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(networks)

RULES = ("rescale", "reveal-cancel", "genomics")


def _data(shape: tuple[int, ...], *, seed: int, n: int = 8, k: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(n, *shape, generator=random, dtype=torch.float64)
    return x, torch.randn(n, k, *shape, generator=random, dtype=torch.float64)


def _target(net: nn.Module, x: torch.Tensor) -> int | None:
    with torch.no_grad():
        out = net(x)
    return 1 if out.ndim == 2 and out.shape[1] > 1 else None


def _missed(scores: Any) -> np.ndarray:
    """Residuals as shares of the spread of the differences explained."""
    return np.abs(scores.residual) / np.std(scores.output - scores.reference_output)


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_contributions_add_up_in_single_precision(name: str) -> None:
    net, shape = networks.network(name)
    x, reference = (each.float() for each in _data(shape, seed=1))
    target = _target(net, x)
    for rule in RULES:
        scores = deeplift(net, x, reference=reference, target=target, rule=rule)
        assert scores.values.shape == x.shape
        assert np.median(_missed(scores)) < 1e-5
        assert _missed(scores).max() < 1e-4


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_contributions_add_up_in_double_precision_and_do_not_know_the_batch(name: str) -> None:
    net, shape = networks.network(name)
    net = net.double()
    x, reference = _data(shape, seed=2)
    target = _target(net, x)
    for rule in RULES:
        scores = deeplift(net, x, reference=reference, target=target, rule=rule)
        alone = deeplift(net, x[3:4], reference=reference[3:4], target=target, rule=rule, chunk=2)
        assert _missed(scores).max() < 1e-10
        np.testing.assert_allclose(scores.values[3], alone.values[0], rtol=0, atol=1e-8 * np.abs(scores.values).max())
        np.testing.assert_allclose(scores.spread[3], alone.spread[0], rtol=0, atol=1e-8 * np.abs(scores.values).max())


@st.composite
def stacks(draw: st.DrawFn) -> nn.Module:
    """Layers over (4, 24) in any order, ended by a dense one."""
    torch.manual_seed(draw(st.integers(0, 99)))
    layers: list[nn.Module] = []
    channels, length = 4, 24
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["conv", "norm", "pool", "mean", "act", "layer norm", "dropout"]))
        if kind == "conv":
            width, taps = draw(st.integers(1, 9)), draw(st.integers(1, 4))
            stride, padding = draw(st.integers(1, 2)), draw(st.integers(0, 3))
            layers.append(nn.Conv1d(channels, width, taps, stride=stride, padding=padding))
            channels, length = width, (length + 2 * padding - taps) // stride + 1
        elif kind in ("pool", "mean"):
            size = draw(st.integers(1, 3))
            stride = draw(st.integers(1, 3))
            layers.append((nn.MaxPool1d if kind == "pool" else nn.AvgPool1d)(size, stride))
            length = (length - size) // stride + 1
        elif kind == "act":
            layers.append(draw(st.sampled_from([nn.ReLU, nn.ELU, nn.GELU, nn.Softplus, nn.Tanh, nn.Hardtanh]))())
        else:
            layers.append(
                {"norm": nn.BatchNorm1d(channels), "layer norm": nn.LayerNorm(length), "dropout": nn.Dropout()}[kind]
            )
        if length < 4:
            break
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * length, 2)).double()


@settings(max_examples=30)
@given(stacks(), st.sampled_from(RULES), st.integers(0, 9))
def test_any_stack_of_layers_adds_up(net: nn.Module, rule: str, seed: int) -> None:
    x, reference = _data((4, 24), seed=seed, n=3, k=2)
    scores = deeplift(net, x, reference=reference, target=(0, 1), rule=rule)
    assert np.abs(scores.residual).max() < 1e-10 * max(1, np.abs(scores.output).max())
    assert scores.residual_by_layer == {}


def test_what_has_no_rule_is_named() -> None:
    net, shape = networks.network("no rule")
    x, reference = _data(shape, seed=3)
    scores = deeplift(net.double(), x, reference=reference)
    assert set(scores.residual_by_layer) == {"network (cumprod)", "network (sort)"}
    assert all(gap.shape == (len(x),) for gap in scores.residual_by_layer.values())


def test_what_is_lost_is_named() -> None:
    """A column picked by the input itself has no parts to share the difference among."""
    table = torch.randn(5, 3, dtype=torch.float64)
    net = networks.Calls(lambda net, x: table[net.a(x).argmax(1)].sum(1) + net.a(x).sum(1), a=nn.Linear(4, 5)).double()
    scores = deeplift(net, _data((4,), seed=4)[0])
    assert np.abs(scores.residual).max() > 0.1
    lost = sum(gap for name, gap in scores.residual_by_layer.items())
    np.testing.assert_allclose(lost, scores.residual, atol=1e-10)
