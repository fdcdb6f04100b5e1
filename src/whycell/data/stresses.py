"""Ways in which a file is worse than the one learned from: counts in, counts out.

Each takes linear counts (n, g) with their gene ids and gives the same cells as another file would show them. None of
them changes what the cells are, so accuracy may fall and confidence must fall with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import sparse

__all__ = [
    "STRESSES",
    "Stressed",
    "ambient",
    "columns_mislabelled",
    "columns_reordered",
    "depth",
    "doublets",
    "each_stress",
    "gene_dropout",
    "log_normalised",
    "normalised_twice",
    "panel",
]

PER_CELL = 1e4


@dataclass(frozen=True)
class Stressed:
    """Cells under stress.

    Parameters
    ----------
    X, genes
        (n, g') counts and their (g',) genes.
    also
        (n,) row of a second cell that was mixed in, whose type is as right an answer as the cell's own; -1 for none.
    """

    X: sparse.csr_matrix
    genes: np.ndarray
    also: np.ndarray


Stress = Callable[[sparse.csr_matrix, np.ndarray, float, np.random.Generator], Stressed]


def log_normalised(X: sparse.csr_matrix) -> sparse.csr_matrix:
    """log1p of counts per 10,000."""
    totals = np.asarray(X.sum(axis=1), dtype=np.float64).ravel()
    scale = np.divide(PER_CELL, totals, out=np.zeros_like(totals), where=totals > 0)
    scaled = (sparse.diags(scale) @ X).tocsr().astype(np.float32)
    scaled.data = np.log1p(scaled.data)
    return scaled


def gene_dropout(X: sparse.csr_matrix, genes: np.ndarray, level: float, rng: np.random.Generator) -> Stressed:
    """A random share ``level`` of the genes is absent from the file."""
    kept = np.sort(rng.permutation(len(genes))[: max(1, round(len(genes) * (1 - level)))])
    return _plain(X[:, kept], genes[kept])


def panel(X: sparse.csr_matrix, genes: np.ndarray, level: float, rng: np.random.Generator) -> Stressed:
    """Only ``level`` genes, those that vary most: what a targeted panel measures."""
    values = log_normalised(X)
    variance = np.asarray(values.multiply(values).mean(axis=0) - np.square(values.mean(axis=0))).ravel()
    kept = np.sort(np.argsort(-variance, kind="stable")[: int(level)])
    return _plain(X[:, kept], genes[kept])


def depth(X: sparse.csr_matrix, genes: np.ndarray, level: float, rng: np.random.Generator) -> Stressed:
    """Every molecule is seen with chance ``level``: binomial thinning of the rounded counts."""
    thinned = X.copy()
    thinned.data = rng.binomial(np.rint(X.data).astype(np.int64), level).astype(np.float32)
    thinned.eliminate_zeros()
    return _plain(thinned, genes)


def doublets(X: sparse.csr_matrix, genes: np.ndarray, level: float, rng: np.random.Generator) -> Stressed:
    """A share ``level`` of the cells holds a second, random cell of the same file."""
    n = X.shape[0]
    also = np.full(n, -1, dtype=np.int64)
    chosen = rng.permutation(n)[: round(n * level)]
    also[chosen] = (chosen + 1 + rng.integers(0, max(n - 1, 1), len(chosen))) % n
    mixed = sparse.csr_matrix((np.ones(len(chosen), dtype=np.float32), (chosen, also[chosen])), shape=(n, n))
    return Stressed((X + mixed @ X).tocsr(), genes, also)


def ambient(X: sparse.csr_matrix, genes: np.ndarray, level: float, rng: np.random.Generator) -> Stressed:
    """A share ``level`` of every cell's molecules is replaced by a draw from the mean of the file."""
    kept = depth(X, genes, 1 - level, rng).X
    soup = np.asarray(X.sum(axis=0), dtype=np.float64).ravel()
    soup = soup / max(soup.sum(), 1.0)
    lost = np.rint(np.asarray((X - kept).sum(axis=1)).ravel()).astype(np.int64)
    draws = rng.choice(len(genes), int(lost.sum()), p=soup) if lost.sum() else np.empty(0, dtype=np.int64)
    rows = np.repeat(np.arange(X.shape[0]), lost)
    added = sparse.csr_matrix((np.ones(len(draws), dtype=np.float32), (rows, draws)), shape=X.shape)
    return _plain((kept + added).tocsr(), genes)


def columns_reordered(X: sparse.csr_matrix, genes: np.ndarray, level: float, rng: np.random.Generator) -> Stressed:
    """Columns in another order, names with them: nothing may change."""
    order = rng.permutation(len(genes))
    return _plain(X[:, order], genes[order])


def columns_mislabelled(X: sparse.csr_matrix, genes: np.ndarray, level: float, rng: np.random.Generator) -> Stressed:
    """A share ``level`` of the names is shuffled among the columns, as after a careless sort."""
    names = genes.copy()
    chosen = np.sort(rng.permutation(len(genes))[: round(len(genes) * level)])
    names[chosen] = names[rng.permutation(chosen)]
    return _plain(X, names)


def normalised_twice(X: sparse.csr_matrix, genes: np.ndarray, level: float, rng: np.random.Generator) -> Stressed:
    """log1p of counts per 10,000 handed over as if they were counts, ``level`` times."""
    for _ in range(int(level)):
        X = log_normalised(X)
    return _plain(X, genes)


#: Every stress with the levels at which it is tried; level 0 of "none" is the file as it is.
STRESSES: dict[str, tuple[Stress, tuple[float, ...]]] = {
    "none": (lambda X, genes, level, rng: _plain(X, genes), (0.0,)),
    "gene_dropout": (gene_dropout, (0.1, 0.3, 0.5, 0.7, 0.9)),
    "panel": (panel, (400, 100)),
    "depth": (depth, (0.5, 0.2, 0.1, 0.05)),
    "doublets": (doublets, (0.1, 0.3, 1.0)),
    "ambient": (ambient, (0.05, 0.1, 0.2, 0.4)),
    "columns_reordered": (columns_reordered, (1.0,)),
    "columns_mislabelled": (columns_mislabelled, (0.1, 0.5, 1.0)),
    "normalised_twice": (normalised_twice, (1, 2)),
}


def each_stress(X: sparse.csr_matrix, genes: np.ndarray, *, seed: int = 0) -> Iterator[tuple[str, float, Stressed]]:
    """Name, level and the stressed cells, for every stress and level that this many genes allow.

    Draws depend on the seed, the stress and the level alone.
    """
    for i, (name, (stress, levels)) in enumerate(STRESSES.items()):
        for level in levels:
            if name == "panel" and level >= len(genes):
                continue
            yield name, level, stress(X, genes, level, np.random.default_rng([seed, i, int(level * 1000)]))


def _plain(X: sparse.csr_matrix, genes: np.ndarray) -> Stressed:
    return Stressed(sparse.csr_matrix(X), genes, np.full(X.shape[0], -1, dtype=np.int64))
