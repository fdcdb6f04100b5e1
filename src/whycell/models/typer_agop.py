"""The gene x gene matrix that a typer decides each type along: its AGOP, exact, kept in the model's few directions.

For a type with leaves S the model's log-odds are ``f = logsumexp of z over S - logsumexp of z over the rest``, and the
coordinates are linear in the normalised expression v: ``x = (v - mean) D``. So for the cells of the type

    mean over cells of  ∇_v f ∇_v f'  =  D (mean of ∇_x f ∇_x f') D'  =  D A D'

and A has as many rows as there are directions (about 55): nothing is left out, and no matrix of all genes is ever made.
Only the cells called the type (or something below it) count: there the type is weighed against its nearest rivals.

Genes differ in how much they vary; what is shown is per standard deviation of each gene among the cells of the file.
"""

# n - cell, g - gene of the model, d - direction, t - type

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from whycell.lenses.importance import jackknife, resampled_sums, stability
from whycell.lenses.outer_products import OuterProducts
from whycell.models.explaining import Pipeline
from whycell.models.multipliers import gradient

__all__ = ["Tally", "eigen_in_genes", "errors_by_donor", "spaces_by_donor", "total"]

_MOST_GROUPS = 40  # donors beyond are put together, so that what is kept stays small


@dataclass
class Tally:
    """Outer products of slopes by type and donor, and the spread of every gene, gathered block by block.

    Parameters
    ----------
    pipeline
        The model for the file at hand.
    below
        (n_nodes, n_leaves) bool.
    """

    pipeline: Pipeline
    below: np.ndarray
    sums: dict[tuple[int, int], OuterProducts] = field(default_factory=dict)
    n: int = 0
    total: np.ndarray = field(default_factory=lambda: np.zeros(0))
    squares: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def of(self, expression: np.ndarray, node: np.ndarray, donor: np.ndarray) -> Tally:
        """What one block of cells says.

        Parameters
        ----------
        expression
            (n, g) normalised values.
        node
            (n,) row of ``below`` of each call, below 0 for unknown: such cells count for the spread alone.
        donor
            (n,) int.
        """
        out = Tally(self.pipeline, self.below, n=len(expression))
        wide = expression.astype(np.float64)
        out.total, out.squares = wide.sum(axis=0), (wide**2).sum(axis=0)
        # A type that holds every leaf is weighed against nothing.
        called = np.flatnonzero((node >= 0) & ~self.below.all(axis=1)[node])
        if not len(called):
            return out
        leaves = self.below[node[called]]
        x = self.pipeline.coordinates(expression[called]).astype(np.float64)
        slopes = gradient(x, self.pipeline.heads, leaves, ~leaves)
        places = np.column_stack([node[called], donor[called] % _MOST_GROUPS])
        for which in np.unique(places, axis=0):
            mine = (places == which).all(axis=1)
            out.sums[(int(which[0]), int(which[1]))] = OuterProducts.of(slopes[mine][:, None])
        return out

    def add(self, other: Tally) -> None:
        """Take in what another block said."""
        for key, sums in other.sums.items():
            self.sums[key] = self.sums[key] + sums if key in self.sums else sums
        self.total = self.total + other.total if self.n else other.total
        self.squares = self.squares + other.squares if self.n else other.squares
        self.n += other.n

    def deviation(self) -> np.ndarray:
        """(g,) standard deviation of every gene's normalised values; 0 where not measured."""
        mean = self.total / max(self.n, 1)
        return np.asarray(np.sqrt(np.maximum(self.squares / max(self.n, 1) - mean**2, 0)))

    def by_type(self) -> Mapping[int, list[OuterProducts]]:
        """For each type (row of ``below``) the sums of its donors."""
        found: dict[int, list[OuterProducts]] = {}
        for (node, _), sums in sorted(self.sums.items()):
            found.setdefault(node, []).append(sums)
        return found


def total(by_donor: list[OuterProducts]) -> OuterProducts:
    """All donors of a type together."""
    together = by_donor[0]
    for each in by_donor[1:]:
        together = together + each
    return together


def errors_by_donor(by_donor: list[OuterProducts], wide: np.ndarray) -> np.ndarray:
    """(g,) standard errors of the genes' scores: jackknife over donors, the model held fixed.

    Parameters
    ----------
    by_donor
        Sums of each donor of a type.
    wide
        (g, d) directions times the spread of each gene.
    """
    sizes = np.array([each.weight for each in by_donor])
    left = []
    for g in range(len(by_donor)):
        rest = [each for other, each in enumerate(by_donor) if other != g]
        if rest:
            left.append(_score(total(rest).matrix(), wide))
    everything = _score(total(by_donor).matrix(), wide)
    if len(left) < 2:
        return np.full(len(wide), np.nan)
    return jackknife(everything, np.stack(left), sizes=sizes)[0]


def spaces_by_donor(by_donor: list[OuterProducts], wide: np.ndarray, *, k: int, seed: int) -> list[tuple[float, ...]]:
    """How far the first directions turn between halves of the donors: rows of ``importance.stability``.

    Parameters
    ----------
    by_donor, wide
        As in :func:`errors_by_donor`.
    k
        Directions.
    seed
        Of the halves.
    """
    if len(by_donor) < 4:
        return []
    # Angles in gene space are those in an orthonormal basis of its part that the directions span.
    basis = np.linalg.qr(wide)[1]
    matrix = basis @ total(by_donor).matrix() @ basis.T
    halves = [basis @ inner @ basis.T for inner in resampled_sums(by_donor, draws=20, seed=seed)]
    found = stability(matrix, halves, k=min(k, len(matrix)), seed=seed)
    return [tuple(row) for row in found.itertuples(index=False)]


def eigen_in_genes(inner: np.ndarray, wide: np.ndarray, *, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvectors of ``wide inner wide'`` without making it.

    Parameters
    ----------
    inner
        (d, d)
    wide
        (g, d)
    k
        How many.

    Returns
    -------
    (k, g) unit eigenvectors, the entry of most weight positive, and all d eigenvalues, largest first
    """
    basis, upper = np.linalg.qr(wide)
    values, vectors = np.linalg.eigh(upper @ inner @ upper.T)
    rows = (basis @ vectors[:, ::-1][:, :k]).T
    strongest = rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)]
    return rows * np.where(strongest < 0, -1.0, 1.0)[:, None], np.maximum(values[::-1], 0)


def _score(inner: np.ndarray, wide: np.ndarray) -> np.ndarray:
    diagonal = np.maximum(((wide @ inner) * wide).sum(axis=1), 0)
    return np.asarray(diagonal / max(float(diagonal.sum()), 1e-300))
