"""DeepLIFT against the published numbers, Shapley values, other implementations, and its own manners."""

import itertools
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shap
import torch
from tangermeme.deep_lift_shap import deep_lift_shap
from torch import Tensor, nn

from whycell.errors import UsageError
from whycell.lenses import deeplift


def _linear(weight: Any, bias: Any = None) -> nn.Linear:
    """Weights as (outputs, inputs)."""
    weight = torch.as_tensor(weight, dtype=torch.float32)
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight.data = weight
    if bias is not None:
        layer.bias.data = torch.as_tensor(bias, dtype=torch.float32)
    return layer


class Minimum(nn.Module):
    """min(a, b) = a - relu(a - b), as a network."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x[:, 0]) - torch.relu(x[:, 0] - x[:, 1])


def test_activation_of_the_authors() -> None:
    net = nn.Sequential(_linear([[1, 2, 3, 4], [-1, -2, -3, -4]], [-1, 1]), nn.ReLU())
    x = np.array([[1.0] * 4, [2.0] * 4])
    first, second = (deeplift(net, x, target=target) for target in (0, 1))
    np.testing.assert_allclose(first.output, [9, 19])
    np.testing.assert_allclose(first.values / x, np.outer([0.9, 0.95], [1, 2, 3, 4]), rtol=1e-6)
    np.testing.assert_allclose(second.values / x, np.outer([-0.1, -0.05], [1, 2, 3, 4]), rtol=1e-6)


@pytest.mark.parametrize(
    ("stride", "multipliers"), [(1, [[-4, -6, -6, -2], [0, 2, 2, 2]]), (2, [[-4, -2, -4, -2], [0, 2, 0, 2]])]
)
def test_convolution_of_the_authors(stride: int, multipliers: list[list[int]]) -> None:
    convolution = nn.Conv1d(2, 2, 2, stride=stride)
    weight = torch.tensor([[-2.0, -1.0], [0.0, 1.0]])
    convolution.weight.data = torch.stack([weight, -weight])
    convolution.bias.data = torch.tensor([-1.0, 1.0])
    places = 4 - stride
    net = nn.Sequential(convolution, nn.Flatten(), _linear([[1] * places + [-1] * places]))
    x = (torch.arange(16.0) - 8.5).view(2, 2, 4)
    np.testing.assert_allclose(deeplift(net, x).values / x.numpy(), np.array([multipliers] * 2), atol=1e-5)


def test_maximum_pool_of_captum() -> None:
    net = nn.Sequential(_linear(np.eye(4)), nn.Unflatten(1, (1, 4)), nn.MaxPool1d(4), nn.Flatten(), _linear([[1]]))
    reference = torch.tensor([[1.0, 2, 3, 9], [4, 8, 6, 7]])
    scores = deeplift(net, torch.ones(2, 4), reference=reference, target=0)
    np.testing.assert_allclose(scores.values, [[0, 0, 0, -8], [0, -7, 0, 0]], atol=1e-4)


def test_two_inputs_of_captum() -> None:
    class Relus(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return 2 * torch.relu(a) + 2 * torch.relu(b - 1.5)

    a, b = deeplift(Relus(), (torch.tensor([[1.0]]), torch.tensor([[2.0]]))).values
    np.testing.assert_allclose([a.item(), b.item()], [2, 1])


def test_minimum_is_shared_by_reveal_cancel() -> None:
    x = np.array([[3, 1], [1, 3], [10, 9], [2, 2]])
    shared = deeplift(Minimum(), x, rule="reveal-cancel").values
    np.testing.assert_allclose(shared, [[0.5, 0.5], [0.5, 0.5], [4.5, 4.5], [1, 1]], atol=1e-6)
    np.testing.assert_allclose(deeplift(Minimum(), x).values, [[0, 1], [1, 0], [0, 9], [2, 0]], atol=1e-6)


def test_dense_network_of_the_authors() -> None:
    hidden = _linear(np.transpose([[1, -2, 0.5, 3], [2, 1, -1, -0.5], [-1, 0.5, 2, 1]]), [-1, 0.5, 0, -2])
    net = nn.Sequential(hidden, nn.ReLU(), _linear([[1, -2, 0.5, 1.5]], [0.25]))
    x = np.array([[1, 2, -1], [0.5, -1, 2], [3, 0, 1], [-1, -1, -1]])
    reference = np.array([[0, 0, 0], [0.5, 0.5, 0.5], [1, 1, 0], [0, 1, 0]])
    rescale = [[4.833333, -0.666667, 1.833333], [0, 2.75, 3], [11.4375, -0.8125, 1.375], [-4.25, 3, 1.25]]
    reveal = [[4.108334, 0.895833, 0.995833], [0, 3, 2.75], [10.9375, -0.479167, 1.541667], [-3.35, 2.25, 1.1]]
    for rule, wanted in (("rescale", rescale), ("reveal-cancel", reveal), ("genomics", reveal)):
        np.testing.assert_allclose(deeplift(net, x, reference=reference, rule=rule).values, wanted, atol=2e-6)


def test_saturation_is_seen() -> None:
    class Saturated(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 1 - torch.relu(1 - x.sum(1))

    np.testing.assert_allclose(deeplift(Saturated(), np.ones((1, 2))).values, [[0.5, 0.5]])


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.Softplus(), nn.GELU(), nn.Tanh()])
def test_reveal_cancel_is_the_shapley_value_of_two_groups(activation: nn.Module) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 1), activation).double()
    x, reference = torch.randn(2, 20, 6, dtype=torch.float64)
    found = deeplift(net, x, reference=reference, rule="reveal-cancel").values
    with torch.no_grad():
        terms = net[0].weight * (x - reference)
        groups = [terms > 0, terms < 0]
        shapley = np.zeros((20, 2))
        for order in itertools.permutations((0, 1)):
            z = net[0](reference)[:, 0]
            for group in order:
                after = z + (terms * groups[group]).sum(1)
                shapley[:, group] += (activation(after) - activation(z)).numpy() / math.factorial(2)
                z = after
    for group, members in enumerate(groups):
        np.testing.assert_allclose((found * members.numpy()).sum(1), shapley[:, group], atol=1e-12)


def test_a_linear_network_gives_gradient_times_difference() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(4, 3, 5), nn.BatchNorm1d(3), nn.AvgPool1d(2), nn.Flatten(), nn.Linear(24, 1)).double()
    net.eval()
    x = torch.randn(5, 4, 20, dtype=torch.float64, requires_grad=True)
    net(x).sum().backward()
    for rule in ("rescale", "reveal-cancel"):
        np.testing.assert_allclose(deeplift(net, x, rule=rule).values, (x.grad * x).detach().numpy(), atol=1e-13)


def _letters(*shape: int) -> Tensor:
    random = torch.Generator().manual_seed(len(shape))
    letters = torch.randint(0, 4, (*shape, 60), generator=random)
    return nn.functional.one_hot(letters, 4).movedim(-1, -2).float()


def _sequence_network(activation: type[nn.Module]) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv1d(4, 8, 7),
        activation(),
        nn.MaxPool1d(3),
        nn.Conv1d(8, 8, 5),
        activation(),
        nn.Flatten(),
        nn.Linear(112, 16),
        activation(),
        nn.Linear(16, 1),
    ).eval()


@pytest.mark.parametrize(
    ("activation", "kind"),
    # The smooth ones in double precision: in single, tangermeme's quotients of tiny differences are noise of 1e-3.
    [(nn.ReLU, "float32"), (nn.ELU, "float32"), (nn.GELU, "float64"), (nn.SiLU, "float64"), (nn.Sigmoid, "float64")],
)
def test_rescale_equals_tangermeme(activation: type[nn.Module], kind: str) -> None:
    net, x, reference = _sequence_network(activation), _letters(4), _letters(4, 5)
    if kind == "float64":
        net, x, reference = net.double(), x.double(), reference.double()
    multipliers = deep_lift_shap(net, x, references=reference, device="cpu", raw_outputs=True, warning_threshold=1)
    theirs = (multipliers * (x[:, None] - reference)).mean(1).detach().numpy()
    found = deeplift(net, x, reference=reference).values
    np.testing.assert_allclose(found, theirs, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.filterwarnings("ignore")
def test_rescale_equals_shap() -> None:
    net, x, reference = _sequence_network(nn.ReLU), _letters(3), _letters(5)
    theirs = np.asarray(shap.DeepExplainer(net, reference).shap_values(x)).reshape(x.shape)
    found = deeplift(net, x, reference=reference).values
    np.testing.assert_allclose(found, theirs, atol=1e-5 * np.abs(theirs).max())


def test_references_are_averaged_and_their_spread_told() -> None:
    net, x, reference = _sequence_network(nn.ReLU), _letters(3), _letters(3, 5)
    each = np.stack([deeplift(net, x, reference=reference[:, i]).values for i in range(5)])
    for chunk in (None, 1, 3, 7):
        scores = deeplift(net, x, reference=reference, chunk=chunk)
        np.testing.assert_allclose(scores.values, each.mean(0), atol=1e-7)
        np.testing.assert_allclose(scores.spread, each.std(0), atol=1e-7)
    shared = deeplift(net, x, reference=reference[0]).values
    own = deeplift(net, x, reference=reference[:1].expand(3, -1, -1, -1)).values
    np.testing.assert_allclose(shared, own, atol=1e-7)
    np.testing.assert_allclose(deeplift(net, x, reference=lambda x: reference).values, each.mean(0), atol=1e-7)


def test_targets() -> None:
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double(), torch.randn(6, 4, dtype=torch.float64)
    columns = [deeplift(net, x, target=i).values for i in range(3)]
    own = np.array([0, 1, 2, 0, 1, 2])
    np.testing.assert_allclose(deeplift(net, x, target=own).values, np.stack(columns)[own, range(6)])
    np.testing.assert_allclose(deeplift(net, x, target=(0, 2)).values, columns[0] - columns[2])
    np.testing.assert_allclose(deeplift(net, x, target=lambda y: y[:, 0] - y[:, 2]).values, columns[0] - columns[2])
    centred = deeplift(nn.Sequential(net, nn.Softmax(1)), x, target=0).values
    np.testing.assert_allclose(centred, columns[0] - np.mean(columns, axis=0), atol=1e-12)
    logit = deeplift(nn.Sequential(net, nn.Sigmoid()), x, target=1)
    np.testing.assert_allclose(logit.values, columns[1])
    assert np.abs(logit.output).max() > 0


def test_neurons() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    x = torch.randn(6, 4, dtype=torch.float64)
    units = deeplift(net, x, target=1, at="1")
    hidden = (torch.tanh(net[0](x)) - torch.tanh(net[0](0 * x))).detach().numpy()
    np.testing.assert_allclose(units.values, hidden * net[2].weight[1].detach().numpy(), atol=1e-12)
    one = deeplift(net, x, neuron=("1", 5))
    np.testing.assert_allclose(one.values.sum(1), hidden[:, 5], atol=1e-12)
    # Chained, the two are the whole: inputs to each unit, times the unit's multiplier.
    through = sum(deeplift(net, x, neuron=("1", j)).values * net[2].weight[1, j].item() for j in range(8))
    np.testing.assert_allclose(through, deeplift(net, x, target=1).values, atol=1e-12)


def test_tokens_are_explained_where_they_are_embedded() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.mix, self.head = nn.Embedding(20, 8), nn.GRU(8, 6, batch_first=True), nn.Linear(6, 1)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.head(self.mix(self.embed(tokens))[0][:, -1])

    torch.manual_seed(0)
    tokens = torch.randint(1, 20, (4, 7))
    scores = deeplift(Tokens(), tokens, at="embed")
    assert scores.values.shape == (4, 7, 8)
    assert np.abs(scores.residual).max() < 1e-6
    with pytest.raises(UsageError, match="x holds whole numbers"):
        deeplift(Tokens(), tokens)


def test_the_module_is_left_as_it_was() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(8, 1))
    net[1].eval()
    net(torch.randn(5, 4)).sum().backward()
    before = {name: (value.clone(), value._version) for name, value in net.state_dict(keep_vars=True).items()}
    grads = {name: value.grad.clone() for name, value in net.named_parameters()}
    kept = [(set(vars(part)), part.training, len(part._forward_hooks)) for part in net.modules()]
    x = torch.randn(6, 4)
    given = x.clone()
    for rule in ("rescale", "reveal-cancel"):
        deeplift(net, x, rule=rule)
    assert [(set(vars(part)), part.training, len(part._forward_hooks)) for part in net.modules()] == kept
    for name, value in net.state_dict(keep_vars=True).items():
        assert torch.equal(value, before[name][0])
        assert value._version == before[name][1]
    assert all(torch.equal(value.grad, grads[name]) for name, value in net.named_parameters())
    assert torch.equal(x, given)
    assert not nn.modules.module._global_forward_hooks
    assert not nn.modules.module._global_forward_pre_hooks


class Faulty(nn.Module):
    """One of the ways in which a network cannot be explained."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        if self.way == "random":
            return (x + torch.randn_like(x)).sum(1)
        if self.way == "mixes":
            return (x - x.mean(0)).sum(1)
        if self.way == "compares":
            return torch.softmax(x, 0).sum(1)
        if self.way == "complex":
            return torch.fft.rfft(x).abs().sum(1)
        if self.way == "decides":
            return x.sum(1) if x.sum().item() > 0 else -x.sum(1)
        return x[x > 0].sum() + x.sum(1)


@pytest.mark.parametrize(
    ("way", "sentence"),
    [
        ("random", "draws random numbers"),
        ("mixes", "mixes the examples of a batch"),
        ("compares", "mixes the examples of a batch"),
        ("complex", "computes with complex numbers"),
        ("decides", "decides by a number that depends on the input"),
        ("counts", "keeps as many numbers as the input has it keep"),
    ],
)
def test_what_cannot_be_explained_is_refused(way: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        deeplift(Faulty(way), torch.randn(4, 5))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "say which with target="),
        ({"target": 5}, "wanted 0 to 1"),
        ({"target": 0, "at": "9"}, "'9' is no layer"),
        ({"neuron": ("1", 7)}, "within"),
        ({"target": 0, "rule": "no"}, "wanted one of rescale"),
        ({"target": 0, "reference": np.zeros((3, 3))}, "a reference of shape"),
        ({"target": np.zeros(3, int)}, "targets for 3 examples"),
    ],
)
def test_what_was_asked_wrongly_is_said(settings: dict[str, Any], sentence: str) -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    with pytest.raises(UsageError, match=sentence):
        deeplift(net, torch.randn(5, 4), **settings)


def test_the_page_runs() -> None:
    text = (Path(__file__).parents[2] / "docs" / "inputs-lens.md").read_text("utf-8")
    names: dict[str, Any] = {}
    torch.manual_seed(0)
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "inputs-lens.md", "exec"), names)
    assert names["units"].values.shape == (10, 8)
    assert names["one"].values.shape == (10, 5)
    assert names["why"].values.shape == (20, 200)
    assert abs(names["why"].residual).max() < 1e-5
