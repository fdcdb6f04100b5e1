"""A screen of DepMap's shape with planted partners: expression and mutations of cell lines, effects of knockouts.

Expression is programs and lineages, modules of twenty genes that go together (so that a partner has look-alikes), and
noise; mutations are rare. Three knockouts in ten have one to three partners, of four kinds: a mutation that makes
vulnerable, a line of expression, a threshold (vulnerable only where the partner is low), and a product of two genes.
Every knockout follows its lineage, a common axis of the screen, its own gene's expression, and noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

KINDS = ("mutation", "linear", "threshold", "product")


@dataclass(frozen=True)
class PlantedScreen:
    """Features (n, d) of which the first ``n_expressed`` are expression; effects (n, c); what was planted."""

    expression: np.ndarray
    mutations: np.ndarray
    effects: np.ndarray
    lineage: np.ndarray
    partners: dict[int, list[int]]
    kinds: dict[int, str]


def planted_screen(
    n: int = 1000, *, expressed: int = 18_000, mutated: int = 2_000, knockouts: int = 17_000, seed: int = 0
) -> PlantedScreen:
    """Make one. Knockout c is of the gene of expression column c; mutations come after expression in the columns."""
    rng = np.random.default_rng(seed)
    lineage = np.sort(rng.choice(25, n, p=rng.dirichlet(np.full(25, 2.0))))
    factors = rng.standard_normal((n, 60)).astype(np.float32)
    factors[:, :20] += 1.5 * rng.standard_normal((25, 20))[lineage].astype(np.float32)
    loadings = rng.standard_normal((60, expressed)).astype(np.float32) / np.sqrt(60)
    modules = rng.standard_normal((n, -(-expressed // 20)), dtype=np.float32)
    expression = 0.6 * factors @ loadings + rng.standard_normal((n, expressed), dtype=np.float32)
    expression += rng.uniform(0.3, 1.5, expressed).astype(np.float32) * modules[:, rng.permutation(expressed) // 20]
    rate = rng.uniform(0.01, 0.12, mutated)
    mutations = (rng.random((n, mutated), dtype=np.float32) < rate).astype(np.float32)
    lineage_effect = rng.standard_normal((25, knockouts)).astype(np.float32)[lineage]
    common = rng.standard_normal((n, 1)).astype(np.float32) @ rng.standard_normal((1, knockouts)).astype(np.float32)
    effects = 0.5 * lineage_effect + 0.3 * common + rng.standard_normal((n, knockouts), dtype=np.float32)
    effects += 0.3 * expression[:, np.arange(knockouts) % expressed]
    partners: dict[int, list[int]] = {}
    kinds: dict[int, str] = {}
    for c in np.sort(rng.choice(knockouts, int(0.3 * knockouts), replace=False)).tolist():
        kind = KINDS[rng.integers(4)]
        strength = rng.uniform(0.2, 0.8)
        if kind == "mutation":
            at = rng.choice(mutated, rng.integers(1, 3), replace=False)
            effects[:, c] -= 2.5 * strength * mutations[:, at].sum(axis=1)
            columns = (expressed + at).tolist()
        else:
            size = 2 if kind == "product" else int(rng.integers(1, 4))
            columns = rng.choice(expressed, size, replace=False).tolist()
            effects[:, c] += strength * _shape(kind, expression[:, columns])
        partners[c], kinds[c] = columns, kind
    return PlantedScreen(expression, mutations, effects, lineage, partners, kinds)


def _shape(kind: str, x: np.ndarray) -> np.ndarray:
    if kind == "linear":
        return x.sum(axis=1) / np.sqrt(x.shape[1])
    if kind == "threshold":
        return -2 * np.maximum(-x - 0.5, 0).sum(axis=1)
    return 1.5 * x[:, 0] * x[:, 1]
