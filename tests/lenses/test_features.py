"""The AGOP of any model: three ways to the same numbers, and what each kind of model needs."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.svm import SVR
from torch import nn
from torch.func import functional_call, jacrev, vmap

from whycell.errors import DataError, UsageError
from whycell.lenses import agop
from whycell.lenses.features_ways import way_of

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 7)).astype(np.float32)


def _network(*sizes: int, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for i, o in itertools.pairwise(sizes):
        layers += [nn.Linear(i, o), nn.Tanh()]
    return nn.Sequential(*layers[:-1]).double()


def _jacobians(module: nn.Module, x: torch.Tensor) -> np.ndarray:
    """The oracle: torch.func, one example at a time."""
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    one = lambda row: functional_call(module, state, (row[None],))[0].reshape(-1)  # noqa: E731
    return vmap(jacrev(one))(x).detach().numpy()


def _outer(J: np.ndarray, *, centre: bool = False) -> np.ndarray:
    J = J.reshape(*J.shape[:2], -1)
    J = J - J.mean(0) if centre else J
    return np.einsum("ncd,nce->de", J, J) / len(J)


def test_autograd_differences_and_the_oracle_agree() -> None:
    net = _network(7, 16, 20)
    x = torch.as_tensor(X).double()
    net.train()
    for centre in (False, True):
        exact = _outer(_jacobians(net, x), centre=centre)
        found = agop(net, X, centre=centre, chunk=17)
        np.testing.assert_allclose(found.matrix, exact, rtol=1e-9)
        thin = agop(net, X, centre=centre, diagonal=True)
        np.testing.assert_allclose(thin.matrix, np.diag(exact), rtol=1e-9)
        np.testing.assert_allclose(found.per_target.sum(0), np.diag(exact), rtol=1e-9)
        asked = agop(lambda rows: net(torch.as_tensor(rows)).detach().numpy(), X, centre=centre)
        np.testing.assert_allclose(asked.matrix, exact, rtol=1e-5, atol=1e-8)
    assert net.training
    assert all(p.grad is None for p in net.parameters())
    assert found.names.tolist() == [f"x{k}" for k in range(7)]


class _Awkward(nn.Module):
    """An operation that a vectorised backward pass cannot take."""

    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return torch.as_tensor(g.detach().numpy()) * 3 * x**2

    def __init__(self) -> None:
        super().__init__()
        self.net = _network(7, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(self.Cube.apply(x))


def test_a_module_that_vmap_cannot_take_and_one_that_mixes_examples() -> None:
    x = torch.as_tensor(X).double()
    awkward = _Awkward()
    exact = np.stack([torch.autograd.functional.jacobian(awkward, row[None])[0, :, 0].numpy() for row in x])
    np.testing.assert_allclose(agop(awkward, X).matrix, _outer(exact), rtol=1e-9)

    class Mixing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x**2).sum(1, keepdim=True) + 3 * x[:, :1] * x.mean()

    alone = np.stack([torch.autograd.functional.jacobian(Mixing(), row[None])[0, :, 0].numpy() for row in x])
    found = agop(Mixing(), x)
    np.testing.assert_allclose(found.matrix, _outer(alone), rtol=1e-9)
    assert "one example at a time" in found.how


def test_a_layer_by_name_is_the_agop_of_the_rest_of_the_network() -> None:
    net = _network(7, 16, 9, 3)
    x = torch.as_tensor(X).double()
    hidden = net[:2](x)
    exact = _outer(_jacobians(net[2:], hidden.detach()))
    np.testing.assert_allclose(agop(net, X, at="2").matrix, exact, rtol=1e-9)
    # The activation before it: no weights to go through, the same numbers by another way.
    inside = agop(net, X, at="3", targets=[0, 2]).matrix
    np.testing.assert_allclose(inside, _outer(_jacobians(net[3:], net[:3](x).detach())[:, [0, 2]]), rtol=1e-9)
    with pytest.raises(UsageError, match=r"no layer 'conv'; it has 0, 1, 2"):
        agop(net, X, at="conv")


def test_patches_of_a_convolution_are_those_that_unfolding_shows() -> None:
    torch.manual_seed(1)
    conv, rest = (
        nn.Conv2d(2, 4, 3, stride=2, padding=1).double(),
        nn.Sequential(nn.Tanh(), nn.Flatten(), nn.LazyLinear(3)),
    )
    net = nn.Sequential(conv, *rest)
    images = torch.randn(6, 2, 8, 8, dtype=torch.float64)
    rest.double()(conv(images[:1]))

    def of_patches(u: torch.Tensor) -> torch.Tensor:  # (p, d) -> outputs
        z = u @ conv.weight.flatten(1).T + conv.bias
        return rest(z.T.reshape(1, 4, 4, 4))[0]

    unfolded = nn.functional.unfold(images, 3, padding=1, stride=2).transpose(1, 2)
    J = torch.stack([torch.autograd.functional.jacobian(of_patches, u) for u in unfolded])  # (n, c, p, d)
    exact = torch.einsum("ncpd,ncpe->de", J, J).numpy() / (J.shape[0] * J.shape[2])
    found = agop(net, images, at="0")
    np.testing.assert_allclose(found.matrix, exact, rtol=1e-9)
    assert found.shape == (2, 3, 3)
    assert found.n == 6 * 16
    # Windows cut from the gradient by the input.
    G = _jacobians(net, images)
    cut = np.lib.stride_tricks.sliding_window_view(G, (3, 3), axis=(3, 4)).transpose(0, 3, 4, 1, 2, 5, 6)
    cut = cut.reshape(6 * 36, 3, 18)
    np.testing.assert_allclose(agop(net, images, patches=3).matrix, _outer(cut), rtol=1e-9)


def test_a_grouped_convolution_sums_its_groups() -> None:
    torch.manual_seed(2)
    net = nn.Sequential(nn.Conv1d(4, 6, 3, groups=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2)).double()
    x = torch.randn(5, 4, 10, dtype=torch.float64)
    net(x)
    z = net[0](x).detach()
    J = _jacobians(net[1:], z)  # (n, c, 6, p)
    W = net[0].weight.detach().flatten(1).numpy()
    exact = sum(
        np.einsum("ncop,od,ncqp,qe->de", J[:, :, s], W[s], J[:, :, s], W[s]) for s in (slice(0, 3), slice(3, 6))
    )
    np.testing.assert_allclose(agop(net, x, at="0").matrix, exact / (5 * 8), rtol=1e-9)


def test_motif_of_a_sequence_network_is_its_first_direction() -> None:
    """A network that counts one motif decides along that motif."""
    motif = np.zeros((4, 5))
    motif[[0, 3, 1, 2, 2], np.arange(5)] = 1
    conv = nn.Conv1d(4, 3, 5).double()
    with torch.no_grad():
        conv.weight.copy_(torch.as_tensor(np.stack([motif, 0.02 * rng.normal(size=(4, 5)), -motif])))
    net = nn.Sequential(conv, nn.Softplus(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(3, 1).double())
    with torch.no_grad():
        net[-1].weight.copy_(torch.tensor([[1.0, 0.1, 0.0]]))
    letters = torch.as_tensor(np.eye(4)[rng.integers(4, size=(20, 30))].transpose(0, 2, 1))
    found = agop(net, letters, at="0")
    top = found.directions(1)[0].reshape(found.shape)
    assert abs((top * motif).sum()) / np.linalg.norm(motif) > 0.99


def test_kernel_machines_of_scikit_learn_have_a_closed_form() -> None:
    y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2]
    for model in (KernelRidge(kernel="rbf", gamma=0.2), KernelRidge(kernel="laplacian", gamma=0.1), SVR(gamma=0.3)):
        model.fit(X.astype(float), y)
        far = rng.normal(size=(20, 7))
        closed, asked = agop(model, far), agop(model, far, ask="predict")
        assert "closed" in closed.how
        assert "differences" in asked.how
        np.testing.assert_allclose(closed.matrix, asked.matrix, rtol=1e-4, atol=1e-6 * np.abs(asked.matrix).max())


def test_estimators_are_asked_what_they_answer() -> None:
    table = pd.DataFrame(X.astype(float), columns=list("abcdefg"))
    table["g"] = 3.0  # a constant column is no division by nought
    y = (table["a"] + table["b"] > 0).astype(int)
    linear = LinearRegression().fit(table.to_numpy(), np.stack([y, 2 * y], 1))
    found = agop(linear, table, names=list("ABCDEFG"))
    np.testing.assert_allclose(found.matrix, linear.coef_.T @ linear.coef_, atol=1e-9)
    assert found.names[0] == "A"
    logistic = LogisticRegression().fit(table, y)
    p = logistic.predict_proba(table)[:, 1]
    exact = ((p * (1 - p)) ** 2).mean() * np.outer(logistic.coef_, logistic.coef_)
    answer = agop(logistic, table)
    np.testing.assert_allclose(answer.matrix, exact, rtol=1e-5, atol=1e-10)
    assert answer.names.tolist() == list("abcdefg")
    assert answer.target_names.tolist() == ["1"]
    forest = RandomForestClassifier(20, random_state=0).fit(table, y)
    stairs = agop(forest, table)
    assert "stairs" in stairs.how
    assert set(stairs.scores().argsort()[-2:]) == {0, 1}
    # A step that none of the points tried meets: no cliff, whatever a small step across it would say.
    rare = agop(lambda rows: 1.0 * (rows[:, 0] > 0) + 1e-3 * (rows[:, 1] > table["b"].max() - 1e-9), table)
    assert rare.scores()[1] < 0.01


def test_results_say_what_they_are() -> None:
    net = _network(7, 4, 1)
    found = agop(net, X, weights=np.r_[np.ones(30), np.zeros(30)])
    np.testing.assert_allclose(found.matrix, agop(net, X[:30]).matrix, rtol=1e-9)
    assert found.scores().sum() == pytest.approx(1)
    U = found.directions(7)
    np.testing.assert_allclose(U.T * found.spectrum() @ U, found.matrix, atol=1e-12)
    assert 1 <= found.participation() <= 4.0001
    assert found.frame().columns.tolist() == ["feature", "score", "diagonal", "slope"]
    with pytest.raises(UsageError, match="Only the diagonal"):
        agop(net, X, diagonal=True).directions()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: agop(object(), X), "has none of predict_proba"),
        (lambda: agop(_network(7, 2), X, targets=[5]), "wanted some of 0 to 1"),
        (lambda: agop(lambda rows: rows, X, at="0"), "are for torch modules"),
        (lambda: agop(lambda rows: rows * np.nan, X), "NaN or infinity"),
        (lambda: agop(lambda rows: rows, np.full((3, 2), np.nan)), "slopes need numbers"),
        (lambda: agop(_network(7, 2), X, weights=np.ones(3)), "3 weights for another number"),
        (lambda: agop(_network(7, 2), X, names=["a"]), "1 names for 7"),
        (lambda: agop(nn.Embedding(5, 3), np.arange(4)), "whole numbers"),
    ],
)
def test_what_cannot_be_asked(call, said: str) -> None:
    with pytest.raises((UsageError, DataError), match=said):
        call()


def test_the_way_is_known_before_anything_is_computed() -> None:
    way = way_of(
        LinearRegression().fit(X, X[:, 0]), X, at=None, targets=None, patches=None, ask=None, step=0.1, chunk=8
    )
    assert way.how() == "central differences, steps given"
