"""A kernel machine in place of the typer's network: everything that a typer does, and gradients that are its own."""

from pathlib import Path

import numpy as np
import pytest
import torch

from whycell.errors import DataError, UsageError
from whycell.jobs.specs import Spec, build
from whycell.models.explaining import Pipeline
from whycell.models.multipliers import contrast, gradient, mean_logits, rescale
from whycell.models.rfm_head import machine_logits, sample_rows
from whycell.models.store import read_card
from whycell.models.typer import CellTyper

N, GENES = 240, 60
LABELS = np.array(["CL:0000236", "CL:0000623", "CL:0000624", "CL:0000625"])


@pytest.fixture(scope="module")
def cells() -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(0)
    kind, donor = np.arange(N) % 4, np.arange(N) // 80
    rates = np.full((4, GENES), 1.0)
    for k in range(4):
        rates[k, 6 * k : 6 * k + 6] = 5.0
    counts = rng.poisson(rates[kind] * rng.gamma(8, 1 / 8, size=(N, 1)) * (1 + 0.2 * rng.random((3, GENES)))[donor])
    return counts.astype(np.float32), LABELS[kind], donor, [f"G{i}" for i in range(GENES)]


@pytest.fixture(scope="module")
def typer(cells: tuple) -> CellTyper:
    X, y, donor, genes = cells
    return CellTyper(network="rfm", machine_rows=150, n_components=8, random_state=0).fit(
        X, y, genes=genes, groups=donor
    )


def test_it_types_saves_and_loads_like_any_typer(typer: CellTyper, cells: tuple, tmp_path: Path) -> None:
    X, y, donor, genes = cells
    assert (typer.predict(X) == y).mean() > 0.95
    assert (typer.call(X)["confidence"] > 0.5).mean() > 0.9
    few = typer.predict_proba(X[:, ::2], genes=genes[::2])
    np.testing.assert_allclose(few.sum(1), 1)
    folder = typer.save(tmp_path / "machine")
    again = CellTyper.load(folder)
    assert np.array_equal(again.predict_proba(X), typer.predict_proba(X))
    assert np.array_equal(again.predict_proba(X[:7]), typer.predict_proba(X)[:7])  # of its neighbours nothing depends
    assert again.network == "rfm"
    assert read_card(folder)["format"] == 2
    twin = CellTyper(network="rfm", machine_rows=150, n_components=8, random_state=0).fit(
        X, y, genes=genes, groups=donor
    )
    assert np.array_equal(twin.predict_proba(X), typer.predict_proba(X))


def test_gradients_and_multipliers_are_those_of_the_kernel(typer: CellTyper, cells: tuple) -> None:
    X, _, _, genes = cells
    answerer = typer.answerer_
    columns = answerer.align(np.asarray(genes, dtype=object))
    pipeline = Pipeline.of(answerer, columns)
    from scipy.sparse import csr_matrix

    x = pipeline.coordinates(pipeline.expression(csr_matrix(X[:20]))).astype(np.float64)
    leaves = np.zeros((20, answerer.space.n_leaves), dtype=bool)
    leaves[:, 1] = True
    (head,) = pipeline.heads
    t = {name: torch.tensor(value, dtype=torch.float64) for name, value in head.items()}
    v = torch.tensor(x, requires_grad=True)
    distance = ((v @ t["factor"])[:, None] - t["centres"]).square().sum(-1).clamp_min(1e-18).sqrt()
    z = torch.exp(-distance / t["bandwidth"]) @ t["coefficients"] + t["bias"]
    f = z[:, 1] - torch.logsumexp(z[:, [k for k in range(z.shape[1]) if k != 1]], 1)
    (exact,) = torch.autograd.grad(f.sum(), v)
    np.testing.assert_allclose(machine_logits(x, head), z.detach().numpy(), rtol=1e-4, atol=1e-4)
    found = gradient(x, pipeline.heads, leaves, ~leaves)
    away = (distance.min(1).values > 1e-3).numpy()  # at a centre the kernel has a kink
    assert away.any()
    np.testing.assert_allclose(found[away], exact.numpy()[away], rtol=1e-5, atol=1e-6)
    at = np.roll(x, 1, axis=0)
    m = rescale(x, at, pipeline.heads, leaves, ~leaves)
    rise = contrast(mean_logits(x, pipeline.heads), leaves, ~leaves) - contrast(
        mean_logits(at, pipeline.heads), leaves, ~leaves
    )
    np.testing.assert_allclose((m * (x - at)).sum(1), rise, atol=1e-9)
    np.testing.assert_allclose(rescale(x, x, pipeline.heads, leaves, ~leaves), found)


def test_a_label_above_leaves_is_shared_among_them(cells: tuple) -> None:
    X, y, donor, genes = cells
    coarse = y.copy()
    coarse[np.isin(y, LABELS[2:]) & (donor < 2)] = "CL:0000084"  # T cell, above two of them
    typer = CellTyper(network="rfm", machine_rows=150, n_components=8).fit(
        X, coarse, genes=genes, groups=donor, studies=np.where(donor < 2, "one", "two")
    )
    found = typer.predict(X)
    assert set(LABELS) <= set(typer.classes_)
    assert (found == y).mean() > 0.9


def test_the_sample_has_every_label_and_a_spec_can_ask_for_the_machine() -> None:
    meaning = np.repeat([0, 1, 2], [900, 90, 10])
    rows = sample_rows(meaning, 100, np.random.default_rng(0))
    assert len(rows) == len(np.unique(rows)) == 100
    assert (np.bincount(meaning[rows]) >= 10).all()
    model = build(Spec(model="whycell", name="machine", parameters={"network": "rfm", "machine_rows": 500}))
    assert model.typer.get_params()["machine_rows"] == 500
    with pytest.raises(DataError, match="'mlp' or 'rfm' is needed"):
        CellTyper(network="forest").fit(np.random.default_rng(0).poisson(2, (40, 30)), np.arange(40) % 2)
    with pytest.raises(UsageError, match="does not take"):
        build(Spec(model="whycell", name="machine", parameters={"networks": "rfm"}))
