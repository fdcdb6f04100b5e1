"""The typer with a recursive feature machine in place of its network: Kang's eight donors, each held out in turn.

Same folds, coordinates and calibration; paired intervals over donors are shown, and either may be ahead. Asked of both:
calls off the branch and calibration as of any typer (``kang_donors``). CPU seconds, one thread.
``make bench NAME=rfm_head``.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from _harness import report
from peers.backoff import call_scores
from peers.protocols import donor_folds
from peers.scores import accuracy, ece, macro_f1, paired_interval, rounded
from whycell import CellTyper

HEADS: dict[str, dict] = {"mlp": {}, "rfm": {"network": "rfm"}}


def main(heads: list[str]) -> bool:
    folds = list(donor_folds())
    results: dict = {"folds": len(folds)}
    for name in heads:
        answers, seconds = [], 0.0
        for fold in folds:
            start = time.process_time()
            typer = CellTyper(random_state=0, **HEADS[name]).fit(fold.X, fold.y, genes=fold.genes, groups=fold.donors)
            seconds += time.process_time() - start
            p = typer.predict_proba(fold.T, genes=fold.genes)
            called = typer.call(fold.T, genes=fold.genes)["call_term_id"].to_numpy().astype(str)
            answers.append((fold.truth, np.asarray(typer.classes_, str)[p.argmax(1)], p.max(1).astype(float), called))
        results[name] = _scores(answers) | {"fit_cpu_s": seconds}
        print(name, {k: v for k, v in results[name].items() if not isinstance(v, list)}, file=sys.stderr, flush=True)
    limits = {}
    for name in heads:
        limits[f"calls off the branch, {name}"] = (results[name]["calls"]["off_branch"], "<=", 0.05)
        limits[f"pooled ECE, {name}"] = (results[name]["ece"], "<=", 0.015)
    if set(heads) == set(HEADS):
        results["rfm_less_mlp"] = {
            metric: paired_interval(results["rfm"][f"donor_{metric}"], results["mlp"][f"donor_{metric}"])
            for metric in ("accuracy", "macro_f1")
        }
    return report("rfm_head", rounded(results), limits=limits)


def _scores(answers: list[tuple]) -> dict:
    truth, leaf, sure, called = (np.concatenate(parts) for parts in zip(*answers, strict=True))
    return {
        "accuracy": accuracy(truth, leaf),
        "macro_f1": macro_f1(truth, leaf),
        "ece": ece(sure, leaf == truth),
        "calls": call_scores(truth, called)._asdict(),
        "donor_accuracy": [accuracy(t, own) for t, own, _, _ in answers],
        "donor_macro_f1": [macro_f1(t, own) for t, own, _, _ in answers],
    }


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1:] or list(HEADS)) else 1)
