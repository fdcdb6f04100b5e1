"""The cells of a file that a text speaks of: those that express, above the others, the genes nearest to it.

A cell's own vector is a sum over all its genes, and what a text names drowns in it. So the text chooses genes, and the
standardised expression of these, weighted by how near each is, ranks the cells:

    s_c = sum over the nearest genes of (cos_g - median cos) (x_cg - mean_g) / sd_g,   x = log(1 + counts per 10,000)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from whycell.compute import Talk, in_order
from whycell.data.cells import Block, Cells
from whycell.data.doctor import examine
from whycell.data.values import ValueKind, to_linear
from whycell.encode.cells import log_normalise
from whycell.errors import GeneError

__all__ = ["Expression", "gene_weights", "measure", "score_cells"]

_PER_CELL = 1e4
_LEAST_SPREAD = 0.1


@dataclass(frozen=True)
class Expression:
    """What a file's genes do over all its cells.

    Parameters
    ----------
    cells
        The open file.
    where, kind
        The matrix, and what its numbers are.
    ids
        (n_genes,) Ensembl ids, "" where unresolved.
    mean, spread
        (n_genes,) mean and standard deviation of log(1 + counts per ten thousand).
    detected
        (n_genes,) in how many cells it is above zero.
    """

    cells: Cells
    where: str
    kind: ValueKind
    ids: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    detected: np.ndarray

    def rows(self, rows: np.ndarray) -> sp.csr_matrix:
        """(m, n_genes) log(1 + counts per ten thousand) of some cells."""
        return _logged(self.cells.read_rows(self.where, rows), self.kind, 0)


def measure(cells: Cells, *, threads: int = 0, talk: Talk | None = None) -> Expression:
    """Read a file once for the mean and the spread of its genes; memory does not grow with the cells.

    Parameters
    ----------
    cells
        The open file.
    threads, talk
        Cores, and who is told.
    """
    diagnosis = examine(cells)
    diagnosis.raise_if_unusable()
    where, kind = diagnosis.where or "X", diagnosis.kind or ValueKind("counts")
    ids = diagnosis.genes.ids if diagnosis.genes is not None else np.array([], dtype=str)
    n = max(cells.n_cells, 1)
    sums, squares, detected = np.zeros(len(ids)), np.zeros(len(ids)), np.zeros(len(ids), dtype=np.int64)
    for _, x in _blocks(cells, where, kind, "reading", threads, talk or Talk()):
        sums += np.bincount(x.indices, weights=x.data, minlength=len(ids))
        squares += np.bincount(x.indices, weights=x.data.astype(np.float64) ** 2, minlength=len(ids))
        detected += np.bincount(x.indices[x.data > 0], minlength=len(ids))
    mean = sums / n
    return Expression(cells, where, kind, ids, mean, np.sqrt(np.maximum(squares / n - mean**2, 0)), detected)


def gene_weights(
    expression: Expression, near: np.ndarray, *, most: int = 50, least_cells: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """The genes that a text chooses, and the weight of each.

    Parameters
    ----------
    expression
        Of the file.
    near
        (n_genes,) cosine between the text and each gene's text; NaN for a gene without one.
    most
        How many genes.
    least_cells
        Cells in which a gene must be detected: the spread of one seen twice says nothing.

    Returns
    -------
    columns, weights : (k,) each, the nearest first

    Raises
    ------
    GeneError
        No gene of the file has a text.
    """
    usable = np.isfinite(near) & (expression.detected >= min(least_cells, max(expression.cells.n_cells // 20, 1)))
    if not usable.any():
        msg = f"None of the {len(near):,} genes of {expression.cells.name} has a vector; are they of its species?"
        raise GeneError(msg)
    ranked = np.argsort(np.where(usable, -near, np.inf), kind="stable")[: min(most, int(usable.sum()))]
    over = np.maximum(near[ranked] - np.median(near[usable]), 1e-6)
    return ranked, over / np.maximum(expression.spread[ranked], _LEAST_SPREAD)


def score_cells(
    expression: Expression, columns: np.ndarray, weights: np.ndarray, *, threads: int = 0, talk: Talk | None = None
) -> np.ndarray:
    """(n_cells,) float64, in standard deviations over the mean of the file.

    Parameters
    ----------
    expression
        Of the file.
    columns, weights
        As ``gene_weights`` gives them.
    threads, talk
        Cores, and who is told.
    """
    full = np.zeros(len(expression.ids))
    np.add.at(full, columns, weights)
    scores = np.zeros(expression.cells.n_cells)
    found = _blocks(expression.cells, expression.where, expression.kind, "scoring", threads, talk or Talk())
    for start, x in found:
        scores[start : start + x.shape[0]] = x @ full
    scores -= expression.mean @ full
    return scores / (scores.std() or 1.0)


def _blocks(
    cells: Cells, where: str, kind: ValueKind, what: str, threads: int, talk: Talk
) -> Iterator[tuple[int, sp.csr_matrix]]:
    def work(block: Block) -> tuple[int, sp.csr_matrix]:
        return block.start, _logged(block.values, kind, block.start)

    with talk.progress(what, cells.n_cells) as bar:
        for start, x in in_order(work, cells.blocks(where, threads=threads), threads=threads):
            bar.advance(x.shape[0])
            yield start, x


def _logged(values: sp.csr_matrix, kind: ValueKind, first_row: int) -> sp.csr_matrix:
    return log_normalise(to_linear(values, kind, first_row=first_row), target=_PER_CELL)
