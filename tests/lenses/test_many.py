"""Thousands of models: each equals the model fitted alone, blocks are kept, and a resumed run gives the same bytes."""

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge

from whycell.errors import LabelError, UsageError
from whycell.lenses import many
from whycell.lenses.heads_closed import SHARPNESS
from whycell.lenses.many import HeadSettings, fit_many, margins_of, train_many
from whycell.lenses.masks import draw_masks


@pytest.fixture(scope="module")
def blobs() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.repeat(["a", "b", "c"], 60)
    centres = {"a": 0.0, "b": 1.0, "c": -1.0}
    X = rng.normal(size=(180, 6)) + np.array([[centres[c]] * 3 + [0.0] * 3 for c in y])
    return X.astype(np.float32), y


def test_linear_heads_are_those_of_scikit_learn(blobs) -> None:
    X, y = blobs
    masks = draw_masks(len(X), 7, alpha=0.4)
    ours = train_many("linear", X, y, masks=masks, settings=HeadSettings(l2=0.5))
    for k, mask in enumerate(masks):
        alone = LogisticRegression(C=2.0, tol=1e-8, max_iter=1000).fit(X[mask], y[mask])
        theirs = alone.predict_log_proba(X)
        z = ours.logits(X)[k]
        gap = np.abs(z - z.mean(1, keepdims=True) - theirs + theirs.mean(1, keepdims=True))
        assert gap.max() < 0.1  # of logits up to 18


def test_ridge_heads_are_those_of_scikit_learn(blobs) -> None:
    X, y = blobs
    masks = draw_masks(len(X), 5)
    ours = train_many("ridge", X, y, masks=masks, settings=HeadSettings(l2=3.0)).logits(X)
    onehot = (y[:, None] == np.unique(y)).astype(float)
    for k, mask in enumerate(masks):
        alone = Ridge(alpha=3.0).fit(X[mask], onehot[mask])
        np.testing.assert_allclose(ours[k], SHARPNESS * alone.predict(X), atol=2e-4)


def test_kernel_heads_are_those_of_scikit_learn(blobs) -> None:
    X, y = blobs
    masks = draw_masks(len(X), 5)
    ours = train_many("kernel", X, y, masks=masks, settings=HeadSettings(l2=0.2, bandwidth=2.0)).logits(X)
    onehot = (y[:, None] == np.unique(y)).astype(float)

    def laplace(a, b):
        return np.exp(-np.linalg.norm(a - b) / 2.0)

    for k, mask in enumerate(masks[:2]):
        alone = KernelRidge(alpha=0.2, kernel=laplace).fit(X[mask], onehot[mask])
        np.testing.assert_allclose(ours[k], SHARPNESS * alone.predict(X), atol=5e-3)


def test_networks_learn_as_well_as_a_loop_of_torch(blobs) -> None:
    X, y = blobs
    masks = draw_masks(len(X), 40, kind="fixed")
    ours = train_many("mlp", X, y, masks=masks, settings=HeadSettings(hidden=16, epochs=15, batch=30))
    right = np.array([(ours.predict(X)[k] == y)[~m].mean() for k, m in enumerate(masks)])
    codes = torch.from_numpy(np.unique(y, return_inverse=True)[1])
    alone = []
    for seed, mask in enumerate(masks[:12]):
        torch.manual_seed(seed)
        net = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
        sgd = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        rows, inputs = torch.from_numpy(np.flatnonzero(mask)), torch.from_numpy(X)
        for _ in range(15):
            for part in rows[torch.randperm(len(rows))].split(30):
                sgd.zero_grad()
                torch.nn.functional.cross_entropy(net(inputs[part]), codes[part]).backward()
                sgd.step()
        alone.append((net(inputs).argmax(1) == codes).numpy()[~mask].mean())
    assert right.mean() == pytest.approx(np.mean(alone), abs=0.02)
    assert right.std() > 0


def test_one_step_of_the_network_is_the_step_of_autograd(blobs) -> None:
    X, y = blobs
    masks = np.zeros((1, len(X)), bool)
    masks[:, :30] = True
    settings = HeadSettings(hidden=8, epochs=1, batch=30, rate=0.5, l2=0.01)
    y = np.where(np.arange(len(y)) % 3 == 0, "a", y)
    still = HeadSettings(hidden=8, epochs=1, batch=30, rate=0.0)
    start = train_many("mlp", X, y, masks=masks, settings=still).weights
    before = [torch.from_numpy(w[0]).requires_grad_() for w in start]
    codes = torch.from_numpy(np.unique(y, return_inverse=True)[1][:30])
    z = torch.relu(torch.from_numpy(X[:30]) @ before[0] + before[1]) @ before[2] + before[3]
    loss = torch.nn.functional.cross_entropy(z, codes) + 0.005 * sum((w**2).sum() for w in before)
    loss.backward()
    after = train_many("mlp", X, y, masks=masks, settings=settings).weights
    for w, ours in zip(before, after, strict=True):
        np.testing.assert_allclose(ours[0], (w - 0.5 * w.grad).detach().numpy(), atol=1e-5)


def test_margins_are_log_odds_and_clipped() -> None:
    z = np.array([[[1.0, 2.0, 3.0], [900.0, 0.0, 0.0]]])
    p = np.exp(z[0, 0]) / np.exp(z[0, 0]).sum()
    margin = margins_of(z, np.array([2, 0]))
    assert margin[0, 0] == pytest.approx(np.log(p[2] / (1 - p[2])), rel=1e-6)
    assert margin[0, 1] == many.CLIP


def test_a_killed_run_resumes_to_the_same_bytes(blobs, tmp_path, monkeypatch) -> None:
    X, y = blobs
    monkeypatch.setattr(many, "BLOCK", 8)
    asked = {"masks": draw_masks(len(X), 20), "X_target": X[:9], "y_target": y[:9], "seed": 3}
    settings = HeadSettings(epochs=2, hidden=4)
    whole = fit_many("mlp", X, y, settings=settings, folder=tmp_path / "a", threads=2, **asked)
    (tmp_path / "a" / "block_00001.npy").unlink()
    times = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "a").iterdir()}
    again = fit_many("mlp", X, y, settings=settings, folder=tmp_path / "a", **asked)
    assert again.tobytes() == whole.tobytes()
    assert {p.name: p.stat().st_mtime_ns for p in (tmp_path / "a").iterdir() if p.name in times} == times
    assert fit_many("mlp", X, y, settings=settings, **asked).tobytes() == whole.tobytes()
    with pytest.raises(UsageError, match=r"another request \(differs in: seed\)"):
        fit_many("mlp", X, y, settings=settings, folder=tmp_path / "a", **(asked | {"seed": 4}))


def test_a_label_never_trained_on_is_refused(blobs) -> None:
    X, y = blobs
    with pytest.raises(LabelError, match="holds 'd', which is not among the 3 classes"):
        fit_many("ridge", X, y, masks=draw_masks(len(X), 2), X_target=X[:1], y_target=["d"])
