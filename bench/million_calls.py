"""Scoring one million hard calls over the whole ontology: under 10 s and 1 GB, intervals over 20 donors included.

Truths and calls are drawn from all live terms, so that nearly every pair is a new one: the worst case for scores that
are worked out once a distinct pair. The peer is the same decomposition written as the sets that define it, on as many
cells as it manages in about a second.
"""

from __future__ import annotations

import sys
from pathlib import Path

from _harness import measure_command, report

N, BY_SETS = 1_000_000, 20_000
HERE = Path(__file__).resolve()


def draw(n: int):
    """Truths and calls, uniform over the ontology, half of the calls on the truth's own line."""
    import numpy as np

    from whycell.knowledge.terms import Ontology

    onto, rng = Ontology.load(), np.random.default_rng(0)
    terms = np.array([t for t in onto.ids if t not in onto.stop_terms])
    truth, call = rng.choice(terms, n), rng.choice(terms, n)
    above = {t: sorted(onto.ancestors(t)) for t in terms}
    for i in range(0, n, 2):
        line = above[truth[i]]
        call[i] = line[int(rng.integers(len(line)))]
    return onto, truth, call


def ours(n: int) -> None:
    """Score, print seconds of the scoring alone."""
    import time

    import numpy as np

    from whycell.metrics.measures import scored_cells
    from whycell.metrics.scorecard import measures, scorecard
    from whycell.metrics.tree import TermTree

    onto, truth, call = draw(n)
    rng = np.random.default_rng(1)
    donor = rng.integers(0, 20, n).astype(str)
    start, busy = time.perf_counter(), time.process_time()
    tree = TermTree.of(onto)
    cells = scored_cells(truth, call, tree=tree, groups=donor, confidence=rng.random(n))
    card = scorecard(measures(cells, tree=tree))
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    print(len(card), seconds, card["exact"]["value"], card["wrong_branch"]["value"], busy)


def by_sets(n: int) -> None:
    """The decomposition as its definition reads, cell by cell."""
    import time

    onto, truth, call = draw(n)
    start = time.perf_counter()
    exact = wrong = 0
    for y, c in zip(truth, call, strict=True):
        if y == c:
            exact += 1
        elif c not in onto.stop_terms and c not in onto.ancestors(y) and y not in onto.ancestors(c):
            wrong += 1
    print(0, time.perf_counter() - start, exact / n, wrong / n)


def main() -> bool:
    import subprocess

    def child(way: str, n: int) -> list[float]:
        done = subprocess.run([sys.executable, HERE, way, str(n)], check=True, capture_output=True, text=True)
        return [float(x) for x in done.stdout.split()]

    runs = [child("ours", N) for _ in range(3)]
    seconds = sorted(run[1] for run in runs)[1]
    whole = measure_command([sys.executable, HERE, "ours", str(N)], repeats=1)
    few, sets = child("ours", BY_SETS), child("sets", BY_SETS)
    results = {
        "cells": N,
        "scores in the card": int(runs[0][0]),
        "scoring, s": [round(run[1], 2) for run in runs],
        "of which this process had a core, s": [round(run[4], 2) for run in runs],
        "process that draws and scores": whole,
        "by sets, one decomposition only, microseconds a cell": round(1e6 * sets[1] / BY_SETS, 2),
        "ours, the whole card, microseconds a cell": round(1e6 * seconds / N, 2),
    }
    gap = max(abs(few[i] - sets[i]) for i in (2, 3))
    limits = {
        "a million calls, s": (seconds, "<=", 10),
        "peak of the process, MB": (whole["peak_mb"], "<=", 1024),
        "largest difference from the definition by sets": (gap, "<=", 1e-9),
    }
    return report("million_calls", results, limits=limits)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        {"ours": ours, "sets": by_sets}[sys.argv[1]](int(sys.argv[2]))
        sys.exit(0)
    sys.exit(0 if main() else 1)
