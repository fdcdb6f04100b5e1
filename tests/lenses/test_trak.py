"""Per-sample gradients and TRAK against loops, formulas and another implementation."""

import numpy as np
import pytest
import torch
from torch import nn

from whycell.errors import DataError, UsageError
from whycell.lenses import train_many, trak
from whycell.lenses.baselines import gradient_dot, nearest_neighbours, representation_similarity
from whycell.lenses.gradients import margin, mlp_factors, per_sample_gradients, value
from whycell.lenses.masks import draw_masks
from whycell.lenses.projections import Projection
from whycell.metrics.attribution import lds as score

MODULES = {
    "head": lambda: nn.Linear(6, 4),
    "relu": lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)),
    "deep": lambda: nn.Sequential(
        nn.Linear(6, 5, bias=False), nn.GELU(), nn.Linear(5, 5), nn.Tanh(), nn.Identity(), nn.Linear(5, 4)
    ),
    "number": lambda: nn.Sequential(nn.Linear(6, 5), nn.SiLU(), nn.Linear(5, 1)),
    "pictures": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 3, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4)
    ),
}


def some(n: int, *, seed: int = 0, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((n, 6), generator=generator, dtype=torch.float64)
    return x, torch.randint(0, classes, (n,), generator=generator)


def made(name: str) -> nn.Module:
    torch.manual_seed(3)
    return MODULES[name]().double().eval()


def looped(module: nn.Module, x: torch.Tensor, y: torch.Tensor, output: object) -> torch.Tensor:
    rows = []
    for xi, yi in zip(x, y, strict=True):
        module.zero_grad()
        output(module(xi[None])[0], yi).backward()
        rows.append(torch.cat([p.grad.flatten() for p in module.parameters()]))
    return torch.stack(rows)


@pytest.mark.parametrize("name", MODULES)
def test_gradients_equal_a_loop(name: str) -> None:
    module, (x, y) = made(name), some(7, classes=1 if name == "number" else 4)
    output = value if name == "number" else margin
    wanted = looped(module, x, y, output)
    found, f = per_sample_gradients(module, (x, y), output=output)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(f, torch.stack([output(module(xi[None])[0], yi) for xi, yi in zip(x, y, strict=True)]))
    if name != "pictures":
        factors = mlp_factors(module, (x, y), output=output)
        torch.testing.assert_close(factors.dense(), wanted)
        torch.testing.assert_close(factors.kernel(factors), wanted @ wanted.T)


def test_projections_keep_inner_products() -> None:
    factors = mlp_factors(made("deep"), some(40))
    exact = factors.kernel(factors)
    for k, projected in enumerate((Projection(4096).dense(factors.dense()), Projection(4096).factors(factors))):
        error = (projected @ projected.T - exact).norm() / exact.norm()
        assert error < 0.05, (k, error)
    long = torch.randn((5, (1 << 19) + 9), generator=torch.Generator().manual_seed(1))
    hashed = Projection(4096, seed=2).dense(long)
    assert (hashed @ hashed.T - long @ long.T).norm() / (long @ long.T).norm() < 0.05
    torch.testing.assert_close(hashed, Projection(4096, seed=2).dense(long))  # the seed fixes it


def test_one_checkpoint_of_a_head_is_the_influence_formula() -> None:
    module, (x, y), (z, t) = made("head"), some(30), some(5, seed=9)
    phi, psi = looped(module, x, y, margin), looped(module, z, t, margin)
    p = torch.softmax(module(x), dim=1)[torch.arange(30), y].detach()
    weight = p * (1 - p)
    ridge = 0.7
    unit = (phi**2).sum(dim=1).mean() * weight.mean()
    hessian = phi.T @ (phi * weight[:, None]) + ridge * unit * torch.eye(phi.shape[1])
    wanted = (psi @ torch.linalg.solve(hessian, phi.T) * (1 - p)).numpy()
    found = trak(module, (x, y), (z, t), ridge=ridge)
    np.testing.assert_allclose(found.values, wanted, rtol=1e-4, atol=1e-6)
    assert found.way == "exact"
    assert "could not be tuned" in found.notes[0]


def test_samples_and_parameters_lead_to_the_same_scores() -> None:
    """The push-through identity: 60 samples of 28 parameters, by the inner products and by the vectors."""
    from whycell.lenses.influence import Gradients, Influence

    module, data, targets = made("head"), some(60), some(4, seed=5)
    factors = Gradients(mlp_factors(module, data), mlp_factors(module, targets))
    vectors = Gradients(*(looped(module, *part, margin) for part in (data, targets)))
    curvature = torch.rand(60, dtype=torch.float64) + 0.1
    ways = [Influence(each, curvature) for each in (factors, vectors)]
    assert [way.among_samples for way in ways] == [True, False]
    torch.testing.assert_close(ways[0].at(0.5), ways[1].at(0.5))


def test_projected_gradients_give_nearly_the_same_scores() -> None:
    """A convolutional network of 1,400 parameters, by 1,024 numbers and by all of them."""
    torch.manual_seed(5)
    module = nn.Sequential(
        nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(96, 12), nn.ReLU(),
        nn.Linear(12, 4),
    )  # fmt: skip
    x, y = some(150)
    z, t = some(8, seed=4)
    exact = trak(module, (x, y), (z, t), proj_dim=5_000, ridge=3.0)
    short = trak(module, (x, y), (z, t), proj_dim=1_024, ridge=3.0)
    assert (exact.way, short.way) == ("exact", "projected to 1024")
    assert np.corrcoef(exact.values.ravel(), short.values.ravel())[0, 1] > 0.95


def test_a_value_is_the_influence_on_a_regression() -> None:
    """For a linear model on squared loss the score is exact: leaving a sample out of a ridge regression."""
    x, _ = some(80)
    y = x @ torch.arange(6, dtype=torch.float64) + 0.3 * torch.randn(80, dtype=torch.float64)
    with_one = torch.cat([x, torch.ones((80, 1), dtype=torch.float64)], dim=1)
    unit, ridge = float((with_one**2).sum(dim=1).mean()), 0.05

    def solve(keep: torch.Tensor) -> torch.Tensor:
        a, b = with_one[keep], y[keep]
        return torch.linalg.solve(a.T @ a + ridge * unit * torch.eye(7, dtype=torch.float64), a.T @ b)

    module = nn.Linear(6, 1).double()
    full = solve(torch.arange(80))
    with torch.no_grad():
        module.weight.copy_(full[None, :6])
        module.bias.copy_(full[6:])
    found = trak(module, (x, y), (x[:3], y[:3]), output="value", ridge=ridge).values
    left_out = [with_one[:3] @ (full - solve(torch.arange(80) != i)) for i in range(80)]
    wanted = torch.stack(left_out, dim=1).numpy()
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.995


@pytest.fixture(scope="module")
def blobs() -> dict[str, object]:
    rng = np.random.default_rng(4)
    centres = rng.standard_normal((5, 8))
    y = rng.integers(5, size=260)
    X = (centres[y] + rng.standard_normal((260, 8))).astype(np.float32)
    masks = draw_masks(200, 120, kind="fixed", seed=77)
    truth = np.mean(
        [train_many("mlp", X[:200], y[:200], masks=masks, seed=s).margins(X[200:], y[200:]) for s in (5, 6)], axis=0
    )
    return {"train": (X[:200], y[:200]), "test": (X[200:], y[200:]), "masks": masks, "truth": truth}


def lds(values: np.ndarray, blobs: dict) -> float:
    return float(score(values, blobs["masks"], blobs["truth"]).mean())


def test_halves_tell_what_retraining_would(blobs: dict) -> None:
    found = trak("mlp", blobs["train"], blobs["test"], n_checkpoints=16, seed=1)
    torch.manual_seed(0)
    again = trak("mlp", blobs["train"], blobs["test"], n_checkpoints=16, seed=1)
    np.testing.assert_array_equal(found.values, again.values)
    plain = nearest_neighbours(blobs["train"], blobs["test"])
    assert lds(found.values, blobs) > max(0.35, lds(plain, blobs) + 0.1)
    assert found.quality["lds"] > found.quality["lds_gradient_dot"]
    assert 0.2 < found.quality["slope"] < 20


def test_a_budget_and_a_fit_of_ones_own(blobs: dict) -> None:
    X, y = blobs["train"]
    calls = []

    def fit(rows: np.ndarray, seed: int) -> nn.Module:
        calls.append(len(rows))
        torch.manual_seed(seed)
        module = nn.Linear(8, 5)
        optimiser = torch.optim.LBFGS(module.parameters(), max_iter=10)

        def closure() -> torch.Tensor:
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(module(torch.as_tensor(X[rows])), torch.as_tensor(y[rows]))
            loss = loss + 1e-2 * (module.weight**2).sum()
            loss.backward()
            return loss

        optimiser.step(closure)
        return module

    found = trak(nn.Linear(8, 5), blobs["train"], blobs["test"], fit=fit, budget=0.4)
    assert set(calls) == {100}
    assert found.quality["n_checkpoints"] == len(calls) >= 8
    assert np.isfinite(found.values).all()


def test_it_finds_what_another_implementation_finds() -> None:
    """dattri's TRAK: one checkpoint, no curvature, its own projection, the same formula otherwise."""
    task = pytest.importorskip("dattri.task")
    from dattri.algorithm import TRAKAttributor
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(3)
    module = MODULES["relu"]()
    x, y = (part.float() if part.is_floating_point() else part for part in some(300))
    z, t = (part.float() if part.is_floating_point() else part for part in some(6, seed=8))

    def output(parameters: dict, batch: tuple) -> torch.Tensor:
        out = torch.func.functional_call(module, parameters, (batch[0].unsqueeze(0),))[0]
        return margin(out, batch[1].squeeze())

    def probability(parameters: dict, batch: tuple) -> torch.Tensor:
        return torch.sigmoid(output(parameters, batch)).reshape(1)

    attributor = TRAKAttributor(
        task=task.AttributionTask(
            model=module, loss_func=output, checkpoints=[module.state_dict()], target_func=output
        ),
        correct_probability_func=probability,
        projector_kwargs={"proj_dim": 1024, "proj_max_batch_size": 32},
        regularization=20.0 / 59,  # its gradients are divided by the root of their length
        device="cpu",
    )
    attributor.cache(DataLoader(TensorDataset(x, y), batch_size=300))
    theirs = attributor.attribute(DataLoader(TensorDataset(z, t), batch_size=6)).numpy().T
    from whycell.lenses.influence import Gradients, Influence

    parts = Gradients(mlp_factors(module, (x, y)), mlp_factors(module, (z, t)))
    influence = Influence(parts, torch.ones(300))
    ours = influence.at(20.0 / influence.unit) * torch.sigmoid(-parts.train.output)
    assert np.corrcoef(theirs.ravel(), ours.detach().numpy().ravel())[0, 1] > 0.95


def test_baselines_agree_with_themselves() -> None:
    module, data, targets = made("relu"), some(20), some(3, seed=2)
    g = looped(module, *data, margin)
    h = looped(module, *targets, margin)
    p = torch.softmax(module(data[0]), dim=1)[torch.arange(20), data[1]].detach()
    np.testing.assert_allclose(gradient_dot(module, data, targets), (h @ g.T * (1 - p)).numpy(), rtol=1e-4, atol=1e-6)
    similarity = representation_similarity(module, data, data)
    np.testing.assert_allclose(similarity.diagonal(), 1, rtol=1e-5)
    assert nearest_neighbours(data, data).argmax(axis=1).tolist() == list(range(20))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"ridge": -1.0}, "positive number"),
        ({"output": "logit"}, "'margin', 'value'"),
        ({"checkpoints": []}, "empty list"),
        ({"checkpoints": [{"weight": torch.zeros(4, 6)}]}, "not of this module"),
        ({"subsets": np.ones((2, 30), bool)}, r"wanted \(1, 30\)"),
    ],
)
def test_refusals(changed: dict, words: str) -> None:
    with pytest.raises((DataError, UsageError), match=words):
        trak(made("head"), some(30), some(3), **changed)
