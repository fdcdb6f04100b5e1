"""A Lasso path of 100 penalties for 500 targets on 5,000 x 2,000 masks; scikit-learn in the same run on a few of them.

Effects are planted as datamodels have them: a few strong samples a target, many weak ones, and noise of the training.
``--targets`` and ``--small`` shorten it.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from sklearn.linear_model import lasso_path as theirs

from _harness import report
from whycell.lenses.lasso import lasso_path
from whycell.lenses.masks import draw_masks


def planted(n: int, n_models: int, n_targets: int) -> tuple[np.ndarray, np.ndarray]:
    """Masks, and outputs with a standard deviation of about one."""
    rng = np.random.default_rng(0)
    masks = draw_masks(n, n_models)
    effects = rng.normal(size=(n, n_targets)) * rng.gamma(0.2, size=(n, n_targets))
    outputs = masks @ effects
    outputs += 0.7 * outputs.std(axis=0) * rng.normal(size=outputs.shape)
    return masks, outputs / outputs.std(axis=0)


def main() -> bool:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=int, default=500)
    parser.add_argument("--small", action="store_true", help="1,000 x 400 masks")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    n_models, n = (1000, 400) if asked.small else (5000, 2000)
    masks, outputs = planted(n, n_models, asked.targets)
    lasso_path(masks[:50, :20], outputs[:50, :2], n_lambdas=3, visit=lambda *_: None)  # compiles

    nonzero = np.zeros(100)

    def count(k: int, _: slice, W: np.ndarray) -> None:
        nonzero[k] += np.count_nonzero(W) / asked.targets

    wall, cpu = time.perf_counter(), time.process_time()
    grid, _ = lasso_path(masks, outputs, threads=asked.threads, visit=count)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu

    few = 2
    _, path = lasso_path(masks, outputs[:, :few])
    centred = np.asfortranarray(masks - masks.mean(axis=0))
    gap, their_s = 0.0, 0.0
    for t in range(few):
        y = outputs[:, t] - outputs[:, t].mean()
        start = time.process_time()
        _, coefficients, _ = theirs(centred, y, alphas=grid[t], precompute=True, tol=1e-13, max_iter=10**6)
        their_s += (time.process_time() - start) / few
        gap = max(gap, float(np.abs(coefficients.T - path[t]).max()))
    results = {
        "masks": list(masks.shape),
        "targets": asked.targets,
        "seconds": round(wall, 1),
        "CPU seconds": round(cpu, 1),
        "CPU seconds a target": round(cpu / asked.targets, 3),
        "scikit-learn, CPU seconds a target (Gram matrix, tolerance 1e-13)": round(their_s, 2),
        "samples with a weight at every tenth penalty": [round(float(v)) for v in nonzero[::10]],
        "largest difference from scikit-learn, millionths": round(gap * 1e6, 3),
    }
    return report(
        "lasso_path",
        results,
        limits={
            "path of 100 penalties, s": (wall, "<=", 60.0),
            "largest difference from scikit-learn, millionths": (gap * 1e6, "<=", 1.0),
        },
    )


if __name__ == "__main__":
    raise SystemExit(not main())
