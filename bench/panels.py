"""Panels of 1,280, 400 and 100 genes on donors held out: confidence must fall with the evidence.

The model is trained on all of Kang's genes, each donor held out in turn; the query has only the genes of the panel:
drawn at random (three draws), or the ones most expressed. Mean confidence minus accuracy, of the leaf and of the call.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from _harness import report
from _ours import fit_donor_fold
from peers.backoff import call_scores
from peers.protocols import Fold, donor_folds
from peers.scores import accuracy, ece, rounded

SIZES, DRAWS, MOST_OVER = (1280, 400, 100), 3, 0.05


def panels(fold: Fold) -> dict[str, np.ndarray]:
    """Columns of every panel; the same in every fold."""
    n = len(fold.genes)
    out = {}
    for size in SIZES:
        for draw in range(DRAWS if size < n - 10 else 1):
            rng = np.random.default_rng([size, draw])
            out[f"{size} random, draw {draw}"] = np.sort(rng.choice(n, size, replace=False))
    most = np.argsort(-np.asarray(fold.X.sum(axis=0)).ravel(), kind="stable")
    return out | {f"{size} most expressed": np.sort(most[:size]) for size in SIZES[1:]}


def main() -> bool:
    start = time.perf_counter()
    kept: dict[str, list] = {}
    for fold in donor_folds():
        typer, _ = fit_donor_fold(fold)
        for name, columns in panels(fold).items():
            calls = typer.call(fold.T[:, columns], genes=fold.genes[columns])
            kept.setdefault(name, []).append((fold.truth, calls))
    results, limits = {}, {}
    for name, parts in kept.items():
        truth = np.concatenate([t for t, _ in parts])
        leaf = np.concatenate([c["leaf_term_id"].to_numpy().astype(str) for _, c in parts])
        sure = np.concatenate([c["leaf_confidence"].to_numpy() for _, c in parts]).astype(float)
        called = np.concatenate([c["call_term_id"].to_numpy().astype(str) for _, c in parts])
        scores = call_scores(truth, called)
        over = float(sure.mean() - accuracy(truth, leaf))
        results[name] = {
            "accuracy": accuracy(truth, leaf),
            "mean_confidence": sure.mean(),
            "overconfidence": over,
            "ece": ece(sure, leaf == truth),
            **scores._asdict(),
        }
        limits[f"{name}: mean confidence minus accuracy"] = (over, "<=", MOST_OVER)
    results["seconds"] = time.perf_counter() - start
    return report("panels", rounded(results), limits=limits)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
