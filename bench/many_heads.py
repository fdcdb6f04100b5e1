"""10,000 logistic regressions and 10,000 one-hidden-layer networks; n = 2,000, d = 64, 10 classes, halves.

Beside them, in the same run and on a few of the same subsets: a loop of scikit-learn, a loop of torch, and their
accuracy. Digits (64 pixels), each of 1,797 drawn and 203 again with a little noise, so that the classes are real ones.
``--models`` shortens it. CPU seconds are compared, on one thread each: on two, those of the loops are mostly waiting
(scikit-learn's were six times as many). The five minutes are wall-clock.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import time
import warnings

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from _harness import report
from whycell.lenses import draw_masks, fit_many, train_many


def digits() -> tuple[np.ndarray, np.ndarray]:
    """(2000, 64) pixels in 0..1 and labels."""
    X, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.permutation(len(X)), rng.integers(0, len(X), 2000 - len(X))])
    noise = 0.05 * rng.normal(size=(2000, 64)) * (np.arange(2000)[:, None] >= len(X))
    return (X[rows] / 16 + noise).astype(np.float32), y[rows]


def torch_loop(X: np.ndarray, y: np.ndarray, mask: np.ndarray, *, hidden: int, seed: int) -> np.ndarray:
    """The plain recipe: an nn.Module, SGD with momentum, 20 passes in batches of 100; answers labels."""
    torch.manual_seed(seed)
    layers = [torch.nn.Linear(64, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 10)] if hidden else []
    net = torch.nn.Sequential(*layers) if hidden else torch.nn.Linear(64, 10)
    sgd = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    inputs, codes = torch.from_numpy(X), torch.from_numpy(y)
    rows = torch.from_numpy(np.flatnonzero(mask))
    for _ in range(20):
        for part in rows[torch.randperm(len(rows))].split(100):
            sgd.zero_grad()
            torch.nn.functional.cross_entropy(net(inputs[part]), codes[part]).backward()
            sgd.step()
    with torch.no_grad():
        return net(inputs).argmax(1).numpy()


def timed(fit, masks: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """CPU seconds of one fit, and accuracy on what it did not see, over a few subsets."""
    fit(0, masks[0])  # what is paid once is not a fit's
    start = time.process_time()
    answers = [fit(k, mask) for k, mask in enumerate(masks)]
    seconds = (time.process_time() - start) / len(masks)
    right = [(a == y)[~mask].mean() for a, mask in zip(answers, masks, strict=True)]
    return {"CPU ms a model": 1000 * seconds, "accuracy": float(np.mean(right))}


def main() -> bool:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=10_000)
    parser.add_argument("--peers", type=int, default=20, help="fits of each loop")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    X, y = digits()
    masks = draw_masks(len(X), asked.models, kind="fixed")
    few = masks[: asked.peers]

    loops = {
        "linear": {
            "scikit-learn": lambda k, m: LogisticRegression(max_iter=1000).fit(X[m], y[m]).predict(X),
            "torch": lambda k, m: torch_loop(X, y, m, hidden=0, seed=k),
        },
        "mlp": {
            "scikit-learn": lambda k, m: (
                MLPClassifier(
                    64, solver="sgd", batch_size=100, learning_rate_init=0.1, momentum=0.9, nesterovs_momentum=False,
                    max_iter=20, n_iter_no_change=20, random_state=k,
                ).fit(X[m], y[m]).predict(X)
            ),
            "torch": lambda k, m: torch_loop(X, y, m, hidden=64, seed=k),
        },
    }  # fmt: skip
    results, limits = {"models": asked.models, "threads": asked.threads}, {}
    for kind, least in (("linear", 50.0), ("mlp", 12.0)):
        train_many(kind, X[:200], y[:200], masks=few[:2, :200])  # compiles
        wall, cpu = time.perf_counter(), time.process_time()
        fit_many(kind, X, y, masks=masks, X_target=X[:200], y_target=y[:200], threads=asked.threads)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        said = train_many(kind, X, y, masks=few).predict(X)
        right = float(np.mean([(a == y)[~mask].mean() for a, mask in zip(said, few, strict=True)]))
        ours = {"seconds": wall, "CPU ms a model": 1000 * cpu / asked.models, "accuracy": right}
        results[kind] = {"whycell": ours}
        limits[f"{kind}: {asked.models} models, s"] = (wall, "<=", 300.0 * asked.models / 10_000)
        for name, fit in loops[kind].items():
            theirs = timed(fit, few, y)
            ratio = theirs["CPU ms a model"] / ours["CPU ms a model"]
            results[kind][name] = theirs | {"times our CPU seconds": ratio}
        slower = max(r["times our CPU seconds"] for n, r in results[kind].items() if n != "whycell")
        limits[f"{kind}: times less CPU than the slower loop"] = (slower, ">=", least)
        best = max(r["accuracy"] for n, r in results[kind].items() if n != "whycell")
        limits[f"{kind}: accuracy below the best loop"] = (best - right, "<=", 0.01)
    shown = {k: ({n: {a: round(b, 4) for a, b in r.items()} for n, r in v.items()} if isinstance(v, dict) else v)
             for k, v in results.items()}  # fmt: skip
    return report("many_heads", shown, limits=limits)


if __name__ == "__main__":
    raise SystemExit(not main())
