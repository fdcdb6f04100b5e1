"""Nulls of a whole-knockout screen: shuffled lines, p-values from many knockouts' nulls together, and q-values."""

from __future__ import annotations

import numpy as np

from whycell.lenses import significance

__all__ = ["pooled_p_values", "q_values", "shuffles"]

_ORDERS = 64
_STRATA = 10


def shuffles(n: int, lineage: np.ndarray | None, *, seed: int, orders: int = _ORDERS) -> np.ndarray:
    """(orders, n) permutations of the lines that stay inside a lineage, where lineages (n,) are given."""
    rng = np.random.default_rng(seed)
    group = np.zeros(n, dtype=np.int64) if lineage is None else lineage
    at = np.argsort(group, kind="stable")
    out = np.empty((orders, n), dtype=np.int64)
    for k in range(orders):
        out[k, at] = np.lexsort((rng.random(n), group))
    return out


def pooled_p_values(value: np.ndarray, null: np.ndarray, alike: np.ndarray) -> np.ndarray:
    """(c,) chance that a shuffled knockout does as well: (1 + how many do) / (1 + how many there are).

    Parameters
    ----------
    value
        (c,) of the knockouts.
    null
        (m, c) of their shuffled copies.
    alike
        (c,) by which knockouts are sorted into up to ten strata that share their nulls: each alone has only m.
    """
    n_strata = int(np.clip(len(value) // 200, 1, _STRATA))
    stratum = np.empty(len(value), dtype=np.int64)
    stratum[np.argsort(alike, kind="stable")] = np.arange(len(value)) * n_strata // max(len(value), 1)
    out = np.empty(len(value))
    for k in range(n_strata):
        own = stratum == k
        pool = np.sort(null[:, own].ravel())
        out[own] = (1 + len(pool) - np.searchsorted(pool, value[own], side="left")) / (1 + len(pool))
    return out


def q_values(p: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg 1995, of any shape: the least false discovery rate at which each is called; NaN stays."""
    return significance.q_values(np.ravel(p)).reshape(np.shape(p))
