"""A whole-knockout screen of DepMap's size on planted data: time for all knockouts, time for the best, what is found.

17,000 knockouts x 1,000 lines x 20,000 features. First held-out R² of every knockout and of ten shuffled copies of
each; then the AGOP of the 500 best with its null. Planted partners are looked for in four orders: the AGOP learned
twice, once, plain correlation, and an elastic net. ``--small`` is a tenth of everything, for a look.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from _harness import report
from planted_screen import KINDS, PlantedScreen, planted_screen
from whycell.jobs.screen_lines import standardised
from whycell.metrics.pair_ranking import aupr
from whycell.models.knockout_partners import Partners, find_partners
from whycell.models.knockout_rivals import correlations, elastic_nets
from whycell.models.knockouts import held_out, line_folds, residuals, squared_distances

THREADS = 2
TEN_MINUTES = 600.0


def truth_of(screen: PlantedScreen, chosen: np.ndarray, own: list[np.ndarray]) -> np.ndarray:
    """(c, d) planted partners of the chosen knockouts; their own locus left out."""
    d = screen.expression.shape[1] + screen.mutations.shape[1]
    truth = np.zeros((len(chosen), d), dtype=bool)
    for at, knockout in enumerate(chosen.tolist()):
        truth[at, screen.partners.get(knockout, [])] = True
        truth[at, own[at]] = False
    return truth


def found_by(orders: dict[str, np.ndarray], truth: np.ndarray, kinds: np.ndarray) -> dict[str, Any]:
    """AUPR over all knockouts and features together, and the mean of each knockout's own, by kind of partner."""
    out: dict[str, Any] = {}
    for name, strength in orders.items():
        own = np.array([aupr(s, t) if t.any() else np.nan for s, t in zip(strength, truth, strict=True)])
        by_kind = {k: round(float(np.nanmean(own[kinds == k])), 4) for k in KINDS if (kinds == k).any()}
        out[name] = {
            "pooled": round(aupr(strength.ravel(), truth.ravel()), 4),
            "each": round(float(np.nanmean(own)), 4),
        }
        out[name] |= by_kind
    return out


def false_discoveries(found: Partners, truth: np.ndarray, X: np.ndarray, own: list[np.ndarray]) -> dict[str, float]:
    """At q < 0.05: how many are called; which share is not planted, and which is not even like a planted one.

    The null is a shuffled knockout, so a look-alike of a partner, or of the knocked-out gene, is rightly called.
    """
    called = found.q < 0.05
    if not called.any():
        return {"called": 0, "not planted": 0.0, "unlike any planted": 0.0}
    unlike = 0
    Z = (X - X.mean(axis=0)) / X.std(axis=0)
    for c in range(len(called)):
        at = np.flatnonzero(called[c])
        sources = np.union1d(np.flatnonzero(truth[c]), own[c])
        likeness = np.abs(Z[:, at].T @ Z[:, sources]).max(axis=1, initial=0) / len(Z)
        unlike += int((likeness < 0.15).sum())
    n = int(called.sum())
    return {
        "called": n,
        "not planted": round(1 - float(truth[called].mean()), 4),
        "unlike any planted": round(unlike / n, 4),
    }


def main() -> bool:
    """The whole screen, timed in two parts."""
    small = 10 if "--small" in sys.argv else 1
    n_lines, n_best = (400, 60) if small > 1 else (1000, 500)
    screen = planted_screen(n_lines, expressed=18_000 // small, mutated=2_000 // small, knockouts=17_000 // small)
    raw = np.hstack([screen.expression, screen.mutations])
    start, cpu = time.perf_counter(), time.process_time()
    X, _ = standardised(raw, screen.lineage)
    squares = squared_distances(X)
    fold = line_folds(len(X), lineage=screen.lineage, by="line", folds=5)
    told = held_out(squares, screen.effects, lineage=screen.lineage, fold=fold, nulls=10)
    all_s, all_cpu = time.perf_counter() - start, time.process_time() - cpu

    chosen = np.argsort(-told.r2, kind="stable")[:n_best]
    own = [np.array([c % screen.expression.shape[1]]) for c in chosen]
    Y = residuals(screen.effects[:, chosen], screen.lineage, np.arange(len(X)))
    kind = np.repeat([0, 1], [screen.expression.shape[1], screen.mutations.shape[1]])
    start, cpu = time.perf_counter(), time.process_time()
    found = find_partners(
        X, Y, penalty=told.penalty[chosen], own=own, kind=kind, lineage=screen.lineage, threads=THREADS
    )
    best_s, best_cpu = time.perf_counter() - start, time.process_time() - cpu

    start = time.process_time()
    r = correlations(X, Y, own=own)
    net = elastic_nets(X, Y, correlation=r, threads=THREADS)
    net_cpu = time.process_time() - start
    truth = truth_of(screen, chosen, own)
    weight = np.maximum(found.r2, 0)[:, None]
    orders = {
        "agop": found.again * weight,
        "agop, not recursive": found.first * weight,
        "correlation": np.abs(r),
        "elastic net": np.abs(net),
    }
    kinds = np.array([screen.kinds.get(int(c), "none") for c in chosen])
    partners = found_by(orders, truth, kinds)
    planted = np.isin(np.arange(len(told.r2)), list(screen.partners))
    results = {
        "shape": {"lines": len(X), "features": X.shape[1], "knockouts": len(told.r2), "looked into": len(chosen)},
        "held-out R2 and null of all": {"seconds": round(all_s, 1), "cpu_seconds": round(all_cpu, 1)},
        "agop of the best": {"seconds": round(best_s, 1), "cpu_seconds": round(best_cpu, 1)},
        "correlation and elastic net": {"cpu_seconds": round(net_cpu, 1)},
        "median R2": {
            "with partners": round(float(np.median(told.r2[planted])), 4),
            "own expression only": round(float(np.median(told.r2[~planted])), 4),
            "shuffled": round(float(np.median(told.null)), 4),
        },
        "AUPR of planted partners": partners,
        "random order": round(float(truth.mean()), 6),
        "false discoveries at q < 0.05": false_discoveries(found, truth, X, own),
    }
    limits = {
        "held-out R2 and null of all knockouts, s": (all_s, "<=", TEN_MINUTES),
        "AGOP of the best, s": (best_s, "<=", TEN_MINUTES),
        "AUPR: AGOP less correlation": (partners["agop"]["pooled"] - partners["correlation"]["pooled"], ">=", 0.0),
        "AUPR: AGOP less elastic net": (partners["agop"]["pooled"] - partners["elastic net"]["pooled"], ">=", 0.0),
    }
    name = "knockouts" if small == 1 else "knockouts_small"
    return report(name, results, limits=limits)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
