"""Choosing fragments: 30,000 of 1,500 files, 700 types with Zipf counts, beside a plain greedy and HiGHS alone.

The instance follows measurements of a public corpus: file sizes lognormal, 92.7 million cells, 5.1 kB a cell, 3 MB a
request, about 9.5 types a fragment. ``make bench NAME=corpus_select``; ``--quick`` takes a tenth of it.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import scipy.sparse as sp
from scipy.optimize import Bounds, LinearConstraint, milp

from _harness import report
from whycell.corpus.cover import cover
from whycell.corpus.demands import Problem

HIGHS_SECONDS = 20.0


def instance(
    *, n_files: int, n_types: int, n_cells: float, request: float, seed: int = 0
) -> tuple[sp.csr_matrix, np.ndarray]:
    """(n_fragments, n_types) counts and MB of each fragment; twenty fragments a file."""
    rng = np.random.default_rng(seed)
    size = rng.lognormal(0, 1.2, n_files)
    size *= n_cells / size.sum()
    popularity = rng.permutation(1 / (np.arange(n_types) + 1.0) ** 0.9)
    rows, columns, values = [], [], []
    cost = np.empty(n_files * 20)
    for f in range(n_files):
        k = int(np.clip(rng.poisson(22), 3, min(60, n_types)))
        types = np.argsort(-(rng.random(n_types) ** (1 / popularity)), kind="stable")[:k]
        share = rng.dirichlet(np.full(k, 0.6))
        for j in range(20):
            here = rng.random(k) < 0.45
            here[rng.integers(k)] |= not here.any()
            part = share * here
            counts = rng.multinomial(int(size[f] / 20), part / part.sum()) if part.sum() > 0 else np.zeros(k, int)
            kept = np.flatnonzero(counts)
            rows += [f * 20 + j] * len(kept)
            columns += types[kept].tolist()
            values += counts[kept].tolist()
            cost[f * 20 + j] = size[f] / 20 * 5.1e-3 + request
    return sp.csr_matrix((values, (rows, columns)), shape=(n_files * 20, n_types), dtype=np.float64), cost


def plain_greedy(counts: sp.csr_matrix, need: np.ndarray, cost: np.ndarray) -> float:
    """The textbook's: most of what is lacking a megabyte, each type as a share of its need; then drop the idle."""
    left = need.astype(float).copy()
    taken: list[int] = []
    clipped = counts.copy()
    while (left > 0).any():
        clipped.data = np.minimum(counts.data, np.maximum(left, 0)[counts.indices])
        worth = (clipped @ (1 / need)) / cost
        worth[taken] = -1
        best = int(worth.argmax())
        if worth[best] <= 0:
            break
        taken.append(best)
        left -= counts[best].toarray().ravel()
    for i in sorted(taken, key=lambda j: -cost[j]):
        row = counts[i].toarray().ravel()
        if (left + row <= 0)[row > 0].all():
            left += row
            taken.remove(i)
    return float(cost[taken].sum())


def highs(counts: sp.csr_matrix, need: np.ndarray, cost: np.ndarray) -> float | None:
    """scipy.optimize.milp for twenty seconds."""
    clipped = counts.T.tocsr()
    clipped.data = np.minimum(clipped.data, np.repeat(need, np.diff(clipped.indptr)))
    found = milp(
        cost,
        constraints=LinearConstraint(clipped, lb=need),
        integrality=np.ones(len(cost)),
        bounds=Bounds(0, 1),
        options={"time_limit": HIGHS_SECONDS},
    )
    return None if found.x is None else float(found.fun)


def main(*, quick: bool) -> bool:
    scale = 10 if quick else 1
    cover(Problem.of_cells(sp.csr_matrix([[5.0]]), np.array([3.0]), np.array([1.0])))  # compiled once, kept on disk
    results, limits = {}, {}
    for asked, request in ((5000, 3.0), (500, 3.0), (5000, 0.3)):
        counts, cost = instance(n_files=1500 // scale, n_types=700, n_cells=92.7e6 / scale, request=request)
        need = np.minimum(float(asked), np.asarray(counts.sum(axis=0)).ravel())
        start, cpu = time.perf_counter(), time.process_time()
        found = cover(Problem.of_cells(counts, need, cost))
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        ours = found.cost + found.penalty
        row = {
            "fragments": counts.shape[0],
            "nonzeros": counts.nnz,
            "corpus_gb": round(float(cost.sum()) / 1e3, 1),
            "chosen": int(found.taken.sum()),
            "gb": round(ours / 1e3, 3),
            "bound_gb": round(found.bound / 1e3, 3),
            "gap": round(found.gap, 4),
            "lacking_mb": round(found.penalty, 2),
            "seconds": round(seconds, 2),
            "cpu_seconds": round(cpu, 2),
        }
        if asked == 5000 and request == 3.0:
            start = time.perf_counter()
            plain = plain_greedy(counts, need, cost)
            row["plain_greedy"] = {
                "gap": round(plain / found.bound - 1, 4),
                "seconds": round(time.perf_counter() - start, 1),
            }
            alone = highs(counts, need, cost)
            row["highs_20s"] = {"gap": None if alone is None else round(alone / found.bound - 1, 4)}
            limits["5,000 per type, gap to the LP bound"] = (found.gap, "<=", 0.09)
            limits["5,000 per type, s"] = (seconds, "<=", 10.0)
            limits["plain greedy's cost over ours"] = (plain / ours, ">=", 1.0)
        results[f"{asked} per type, {request} MB a request"] = row
    return report("corpus_select" + ("_quick" if quick else ""), results, limits=limits)


if __name__ == "__main__":
    sys.exit(not main(quick="--quick" in sys.argv))
