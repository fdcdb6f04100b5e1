"""Gradients and perturbation on modules whose answers are known, and against captum."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import InputXGradient, IntegratedGradients
from torch import nn

from whycell.errors import UsageError
from whycell.lenses.comparators import expected_gradients, gradient, gradient_times_input, integrated_gradients
from whycell.lenses.perturbation import in_silico_perturbation, mutation_effects

ADDING_UP = (gradient_times_input, integrated_gradients, expected_gradients, in_silico_perturbation)


class Product(nn.Module):
    """a · b of two inputs, which no sum of their own effects explains."""

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a * b).sum(dim=1)


def _smooth() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3)).double()


def _convolution() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(24, 2)
    )


def _random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def _letters(n: int = 5, length: int = 10) -> np.ndarray:
    codes = np.random.default_rng(3).integers(0, 4, (n, length))
    return (codes[:, None] == np.arange(4)[:, None]).astype(np.float32)


@pytest.mark.parametrize("method", ADDING_UP)
def test_a_linear_module_is_its_weights_times_the_difference(method: Callable[..., Any]) -> None:
    module = nn.Linear(5, 1).double()
    x, reference = _random(4, 5), _random(3, 5, seed=1)
    found = method(module, x, reference=reference)
    weights = module.weight.detach().numpy()[0]
    np.testing.assert_allclose(found.values, weights * (x - reference.mean(axis=0)), atol=1e-12)
    np.testing.assert_allclose(
        found.spread, np.broadcast_to(np.abs(weights) * reference.std(axis=0), (4, 5)), atol=1e-12
    )
    np.testing.assert_allclose(found.residual, 0, atol=1e-12)
    np.testing.assert_allclose(found.output, module(torch.tensor(x)).detach()[:, 0], atol=1e-12)


def test_integrated_gradients_and_gradient_times_input_equal_captum_s() -> None:
    module, x, reference = _smooth().eval(), _random(4, 5), _random(4, 5, seed=1)
    target = np.array([0, 2, 1, 1])
    theirs = IntegratedGradients(module).attribute(
        torch.tensor(x), torch.tensor(reference), target=torch.tensor(target), n_steps=20, method="gausslegendre"
    )
    ours = integrated_gradients(module, x, reference=reference, target=target, steps=20, chunk=7)
    np.testing.assert_allclose(ours.values, theirs, atol=1e-12)
    assert np.abs(ours.residual).max() < 1e-6
    theirs = InputXGradient(module).attribute(torch.tensor(x, requires_grad=True), target=torch.tensor(target)).detach()
    np.testing.assert_allclose(gradient_times_input(module, x, target=target, chunk=3).values, theirs, atol=1e-12)


def test_expected_gradients_close_in_on_integrated_ones() -> None:
    module, x, pool = _smooth(), _random(3, 5), _random(6, 5, seed=2)
    many = expected_gradients(module, x, reference=pool, target=1, draws=600)
    exact = integrated_gradients(module, x, reference=pool, target=1)
    np.testing.assert_allclose(many.values, exact.values, atol=2e-4)
    np.testing.assert_allclose(many.spread, exact.spread, atol=2e-4)
    again = expected_gradients(module, x[1:2], reference=pool, target=1, draws=600, chunk=11)
    np.testing.assert_allclose(again.values[0], many.values[1], atol=1e-12)


@pytest.mark.parametrize("target", [1, (0, 1), np.array([1, 0, 1, 1, 0]), lambda out: out[:, 1] - out[:, 0]])
def test_saturation_mutagenesis_replaces_every_letter(target: Any) -> None:
    module, x = _convolution().eval(), _letters()
    effects = mutation_effects(module, x, target=target, chunk=13)

    def asked(rows: np.ndarray, of: int) -> np.ndarray:
        out = module(torch.tensor(rows)).detach()
        if callable(target):
            return target(out).numpy()
        if isinstance(target, tuple):
            return (out[:, 0] - out[:, 1]).numpy()
        return out[:, target if isinstance(target, int) else target[of]].numpy()

    for i, letter, place in [(0, 2, 0), (4, 3, 9), (2, 1, 5)]:
        other = x[i : i + 1].copy()
        other[0, :, place] = np.eye(4)[letter]
        expected = asked(other, i) - asked(x[i : i + 1], i)
        np.testing.assert_allclose(effects[i, letter, place], expected[0], atol=1e-6)
    assert (effects[x == 1] == 0).all()
    summed = in_silico_perturbation(module, x, target=target, simplex=1)
    np.testing.assert_allclose(summed.values.sum(axis=1), -effects.sum(axis=1) / 3, atol=1e-6)
    assert (summed.values[x == 0] == 0).all()


def test_features_perturbed_together_share_their_effect() -> None:
    class Least(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[:, :2].max(dim=1).values + x[:, 2]

    x = np.array([[2.0, 2.0, 5.0]])
    assert in_silico_perturbation(Least(), x).values.tolist() == [[0.0, 0.0, 5.0]]
    together = in_silico_perturbation(Least(), x, groups=["a", "a", "b"])
    assert together.values.tolist() == [[1.0, 1.0, 5.0]]
    assert together.residual.tolist() == [0.0]
    with pytest.raises(UsageError, match="groups of shape"):
        in_silico_perturbation(Least(), x, groups=["a", "a"])


def test_the_correction_takes_away_what_all_letters_share() -> None:
    module, x = _convolution(), _letters()
    plain, corrected = (gradient(module, x, target=0, simplex=simplex).values for simplex in (None, 1))
    np.testing.assert_allclose(corrected, plain - plain.mean(axis=1, keepdims=True), atol=1e-6)
    with pytest.raises(UsageError, match="simplex=3"):
        gradient(module, x, target=0, simplex=3)


@pytest.mark.parametrize("method", [gradient, *ADDING_UP])
def test_the_module_is_left_as_it_was(method: Callable[..., Any]) -> None:
    module = _convolution().train()
    module[1].eval()
    before = {name: each.clone() for name, each in module.state_dict().items()}
    x = torch.tensor(_letters())
    extra = {} if method is gradient else {"reference": np.zeros((1, 4, 10))}
    found = method(module, x, target=0, **extra)
    assert [part.training for part in module.modules()] == [True, True, False, True, True, True, True]
    assert all(torch.equal(each, before[name]) for name, each in module.state_dict().items())
    assert all(each.grad is None for each in module.parameters())
    assert x.grad is None
    assert not x.requires_grad
    assert found.values.shape == found.spread.shape == (5, 4, 10)


@pytest.mark.parametrize("method", ADDING_UP)
def test_what_is_explained_beside_changes_nothing(method: Callable[..., Any]) -> None:
    module, x = _convolution().double(), _letters()
    own = _random(5, 2, 4, 10)
    together = method(module, x, reference=own, target=(0, 1), chunk=3)
    alone = method(module, x[3:4], reference=own[3:4], target=(0, 1))
    np.testing.assert_allclose(together.values[3], alone.values[0], atol=1e-12)
    by_function = method(module, x, reference=lambda rows: np.full((2, 4, 10), float(len(rows) > 0)), target=1)
    by_array = method(module, x, reference=np.ones((2, 4, 10)), target=1)
    np.testing.assert_array_equal(by_function.values, by_array.values)


def test_several_inputs_are_a_tuple_of_scores() -> None:
    a, b = _random(3, 2), _random(3, 2, seed=1)
    found = integrated_gradients(Product(), (a, b), steps=4)
    np.testing.assert_allclose(found.values[0], a * b / 2, atol=1e-12)
    np.testing.assert_allclose(found.values[1], a * b / 2, atol=1e-12)
    np.testing.assert_allclose(found.residual, 0, atol=1e-12)
    one_at_a_time = in_silico_perturbation(Product(), (a, b))
    np.testing.assert_allclose(one_at_a_time.values[0], a * b, atol=1e-12)
    np.testing.assert_allclose(one_at_a_time.residual, -(a * b).sum(axis=1), atol=1e-12)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"target": None}, r"an output of \(3,\) numbers for each example"),
        ({"target": 3}, "target 3: wanted 0 to 2"),
        ({"target": [0, 1]}, "targets for 2 examples, inputs of 4"),
        ({"target": 0, "reference": np.zeros((2, 6))}, r"a reference of shape \(2, 6\)"),
    ],
)
def test_what_has_no_answer_is_refused(asked: dict[str, Any], sentence: str) -> None:
    module = _smooth().train()
    with pytest.raises(UsageError, match=sentence):
        integrated_gradients(module, _random(4, 5), **asked)
    assert module.training
