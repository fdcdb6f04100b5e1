"""One small model for all the tests of the room: synthetic counts of five kinds of blood cell, six donors."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import scipy.sparse as sp

from whycell.models.typer import CellTyper

KINDS = ("CD4-positive, alpha-beta T cell", "CD8-positive, alpha-beta T cell", "B cell", "natural killer cell", "odd")


@dataclass(frozen=True)
class Blood:
    """Counts, genes, labels and donors."""

    X: sp.csr_matrix
    genes: list[str]
    labels: np.ndarray
    donors: np.ndarray


def drawn(n: int, *, seed: int, donors: int = 6, n_genes: int = 150) -> Blood:
    """Cells of five kinds; the first two differ by little, and donors shift every gene a little."""
    fixed = np.random.default_rng(12)
    profiles = fixed.gamma(0.4, 1.0, (len(KINDS), n_genes)) + 0.02
    profiles[1] = profiles[0] * np.exp(0.3 * fixed.standard_normal(n_genes))
    shifts = np.exp(0.2 * fixed.standard_normal((donors, n_genes)))
    rng = np.random.default_rng(seed)
    kind, donor = rng.integers(len(KINDS), size=n), rng.integers(donors, size=n)
    depth = rng.lognormal(5, 0.3, n)[:, None]
    rate = profiles[kind] * shifts[donor]
    counts = rng.poisson(depth * rate / rate.sum(axis=1, keepdims=True))
    return Blood(
        sp.csr_matrix(counts.astype(np.float32)),
        [f"ENSG{i:011d}" for i in range(n_genes)],
        np.array(KINDS, dtype=object)[kind],
        np.array([f"d{d}" for d in donor], dtype=object),
    )


@pytest.fixture(scope="session")
def draw() -> Callable[..., Blood]:
    """``draw(n, seed=...)``: as many cells as wanted."""
    return drawn


@pytest.fixture(scope="session")
def blood() -> Blood:
    return drawn(600, seed=1)


@pytest.fixture(scope="session")
def others() -> Blood:
    """Other cells of the same donors and kinds."""
    return drawn(400, seed=2)


@pytest.fixture(scope="session")
def typer(blood: Blood) -> CellTyper:
    return CellTyper(epochs=2, n_hidden=32).fit(blood.X, blood.labels, genes=blood.genes, groups=blood.donors)
