"""Closed forms of kernel machines against autograd and finite differences."""

import numpy as np
import pytest
import torch

from whycell.errors import UsageError
from whycell.lenses.agop_kernels import kernel_agop, kernel_gradients, kernel_matrix, kernel_outer_products

SHAPES = [
    {"kernel": "laplace", "bandwidth": 2.0},
    {"kernel": "gaussian", "bandwidth": 1.5},
    {"kernel": "generalised", "bandwidth": 2.5, "norm": 2.0, "exponent": 1.3},
    {"kernel": "generalised", "bandwidth": 2.5, "norm": 1.0, "exponent": 0.8},
    {"kernel": "generalised", "bandwidth": 3.0, "norm": 1.6, "exponent": 1.2},
]
METRICS = ["none", "diagonal", "whole", "factor", "root of a diagonal"]


def _metric(kind: str, d: int, rng: np.random.Generator) -> dict:
    a = rng.normal(size=(d, 3))
    return {
        "none": {},
        "diagonal": {"metric": rng.uniform(0.1, 2, d)},
        "whole": {"metric": a @ a.T + 0.2 * np.eye(d)},
        "factor": {"factor": a},
        "root of a diagonal": {"factor": rng.uniform(0.1, 2, d)},
    }[kind]


def _machine(kind: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict]:
    rng = np.random.default_rng(seed)
    d = 6
    return rng.normal(size=(17, d)) + 3, rng.normal(size=(23, d)) + 3, rng.normal(size=(23, 2)), _metric(kind, d, rng)


def _plain(x: torch.Tensor, z: torch.Tensor, shape: dict, metric: dict) -> torch.Tensor:
    """The kernel as the formula has it, of every pair; differentiable."""
    d = x.shape[-1]
    root = torch.eye(d, dtype=x.dtype)
    if "metric" in metric:
        m = torch.as_tensor(metric["metric"])
        values, vectors = torch.linalg.eigh(torch.diag(m) if m.ndim == 1 else m)
        root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    if "factor" in metric:
        root = torch.as_tensor(metric["factor"])
        root = torch.diag(root) if root.ndim == 1 else root
    p = shape.get("norm", 2.0)
    length = ((((x[:, None] - z) @ root).abs() ** p).sum(-1)) ** (1 / p) / shape["bandwidth"]
    if shape["kernel"] == "gaussian":
        return torch.exp(-(length**2) / 2)
    return torch.exp(-(length ** shape.get("exponent", 1.0)))


@pytest.mark.parametrize("kind", METRICS)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "-".join(str(v) for v in s.values()))
def test_kernel_gradients_and_agop_equal_autograd(shape: dict, kind: str) -> None:
    X, Z, a, metric = _machine(kind)
    x = torch.tensor(X, requires_grad=True)
    kernel = _plain(x, torch.tensor(Z), shape, metric)
    np.testing.assert_allclose(kernel_matrix(X, Z, **shape, **metric), kernel.detach().numpy(), atol=1e-12)
    outputs = kernel @ torch.tensor(a)
    exact = torch.stack([torch.autograd.grad(outputs[:, c].sum(), x, retain_graph=True)[0] for c in range(2)], 1)
    exact = exact.numpy()
    np.testing.assert_allclose(kernel_gradients(X, Z, a, **shape, **metric), exact, rtol=1e-6, atol=1e-9)
    for centre in (False, True):
        around = exact - exact.mean(0) if centre else exact
        agop = np.einsum("ncd,nce->de", around, around) / len(X)
        found = kernel_agop(X, Z, a, **shape, **metric, centre=centre, block=5)
        np.testing.assert_allclose(found, agop, rtol=1e-6, atol=1e-9)
        thin = kernel_agop(X, Z, a, **shape, **metric, centre=centre, diagonal=True, block=4)
        np.testing.assert_allclose(thin, np.diag(agop), rtol=1e-6, atol=1e-9)
        sums = kernel_outer_products(X, Z, a, **shape, **metric, block=7)
        np.testing.assert_allclose(
            sums.diagonals(centre=centre), (around**2).mean(0), rtol=1e-6, atol=1e-9, err_msg="per output"
        )


@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "-".join(str(v) for v in s.values()))
def test_gradients_equal_finite_differences(shape: dict) -> None:
    X, Z, a, metric = _machine("whole", seed=3)
    step = 1e-5
    numeric = np.empty((len(X), 2, X.shape[1]))
    for k in range(X.shape[1]):
        shift = step * np.eye(X.shape[1])[k]
        up, down = (kernel_matrix(X + s, Z, **shape, **metric) @ a for s in (shift, -shift))
        numeric[:, :, k] = (up - down) / (2 * step)
    np.testing.assert_allclose(kernel_gradients(X, Z, a, **shape, **metric), numeric, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("far", [0.0, 1e4])
def test_a_point_on_a_centre_adds_nothing_however_far_from_the_origin(far: float) -> None:
    rng = np.random.default_rng(1)
    Z = rng.normal(size=(30, 4))
    a = rng.normal(size=(30, 1))
    near = kernel_gradients(Z, Z, a, bandwidth=2.0)
    np.testing.assert_allclose(kernel_gradients(Z + far, Z + far, a, bandwidth=2.0), near, rtol=1e-6, atol=1e-8)
    assert np.diag(kernel_matrix(Z + far, Z + far)).tolist() == [1.0] * 30


def test_torch_gives_what_numpy_gives_and_weights_repeat_points() -> None:
    X, Z, a, metric = _machine("factor")
    ours = kernel_agop(X, Z, a, bandwidth=2.0, **metric, centre=True)
    theirs = kernel_agop(
        *map(torch.as_tensor, (X, Z, a)), bandwidth=2.0, factor=torch.as_tensor(metric["factor"]), centre=True
    )
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-10)
    times = np.arange(len(X)) % 3
    twice = kernel_agop(np.repeat(X, times, axis=0), Z, a, **metric, centre=True)
    np.testing.assert_allclose(kernel_agop(X, Z, a, weights=times * 1.0, **metric, centre=True), twice, rtol=1e-10)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"kernel": "linear"}, "no kernel 'linear'; there are laplace"),
        ({"bandwidth": 0.0}, "above 0"),
        ({"kernel": "generalised", "norm": 1.0, "exponent": 1.5}, "exponent <= norm"),
        ({"metric": np.eye(3)}, "for 3 inputs, the centres have 6"),
        ({"metric": np.eye(6), "factor": np.eye(6)}, "both metric and factor"),
    ],
)
def test_what_cannot_be_asked(asked: dict, said: str) -> None:
    X, Z, *_ = _machine("none")
    with pytest.raises(UsageError, match=said):
        kernel_matrix(X, Z, **asked)
