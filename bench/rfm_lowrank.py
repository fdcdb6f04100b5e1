"""A target along three directions of a hundred, y = z1 z2 + sin(2 z3) / 2: are they found, and at what cost?

whycell's machine as it comes, all choices included, beside xRFM as it comes, which is given 500 validation rows beyond
the training rows, and a plain Laplace kernel whose bandwidth and ridge are chosen by leave-one-out. CPU seconds of one
thread, in the same run, prediction of 2,000 test rows included. Overlap: of the space of the three first directions
with the planted one, 0 to 1.
"""

from __future__ import annotations

import sys
import time
import warnings

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from xrfm import xRFM

from _harness import report
from whycell.models.rfm import RecursiveFeatureMachine

SIZES = (2_000, 10_000)
ASKED = {2_000: 0.79, 10_000: 0.99}
D, K, TEST, VALIDATION = 100, 3, 2_000, 500


def planted(n: int, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Rows and targets to train, validate and test on, and the planted directions (d, 3)."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((D, K)))[0]
    out = {}
    for name, rows in (("train", n), ("valid", VALIDATION), ("test", TEST)):
        x = rng.standard_normal((rows, D))
        z = x @ basis
        out[f"x_{name}"], out[f"y_{name}"] = x, z[:, 0] * z[:, 1] + 0.5 * np.sin(2 * z[:, 2])
    return out, basis


def r2(truth: np.ndarray, answer: np.ndarray) -> float:
    """Share of the variance explained."""
    return float(1 - np.mean((truth - answer) ** 2) / truth.var())


def overlap(directions: np.ndarray, basis: np.ndarray) -> float:
    """Mean squared cosine between two spaces; ``directions`` (k, d)."""
    return float(np.linalg.norm(directions @ basis) ** 2 / K)


def ours(data: dict[str, np.ndarray], basis: np.ndarray, **told: object) -> dict[str, float]:
    """R², CPU seconds, and overlap."""
    start = time.process_time()
    machine = RecursiveFeatureMachine(**told).fit(data["x_train"], data["y_train"])
    answer = machine.predict(data["x_test"])
    seconds = time.process_time() - start
    return {
        "r2": r2(data["y_test"], answer),
        "cpu_s": seconds,
        "overlap": overlap(machine.directions_(K), basis),
        "r2_by_leave_one_out": machine.loo_score_,
        "iterations": int(machine.trials_["iteration"].iloc[-1]),
    }


def theirs(data: dict[str, np.ndarray], basis: np.ndarray) -> dict[str, float]:
    """The same of xRFM."""
    x = {name: np.float32(value if value.ndim == 2 else value[:, None]) for name, value in data.items()}
    start = time.process_time()
    machine = xRFM(device="cpu", verbose=False, random_state=0)
    machine.fit(x["x_train"], x["y_train"], x["x_valid"], x["y_valid"])
    answer = np.asarray(machine.predict(x["x_test"])).ravel()
    seconds = time.process_time() - start
    metric = machine.collect_best_agops()[0].numpy()
    directions = np.linalg.eigh(metric)[1][:, -K:].T
    return {"r2": r2(data["y_test"], answer), "cpu_s": seconds, "overlap": overlap(directions, basis)}


def main(sizes: tuple[int, ...]) -> bool:
    results, limits = {}, {}
    for n in sizes:
        data, basis = planted(n)
        here = {
            "whycell": ours(data, basis),
            "xRFM": theirs(data, basis),
            "plain Laplace kernel": ours(data, basis, kernel="laplace", metric="none"),
        }
        results[f"n={n}"] = {name: {k: round(v, 4) for k, v in each.items()} for name, each in here.items()}
        print(n, results[f"n={n}"], flush=True)
        if n in ASKED:
            limits[f"R² at n = {n}"] = (here["whycell"]["r2"], ">=", ASKED[n])
        limits[f"R² at n = {n}, minus xRFM's"] = (here["whycell"]["r2"] - here["xRFM"]["r2"], ">=", 0.0)
        limits[f"CPU at n = {n}, share of xRFM's"] = (here["whycell"]["cpu_s"] / here["xRFM"]["cpu_s"], "<=", 0.65)
    return report("rfm_lowrank", results, limits=limits)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with threadpool_limits(1):
        warm = planted(300)
        ours(*warm)
        theirs(*warm)
        sys.exit(0 if main(tuple(map(int, sys.argv[1:])) or SIZES) else 1)
