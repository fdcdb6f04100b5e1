"""From counts to coordinates: the genes a model knows, normalised, seen through gaps, and projected.

One kernel does the whole way for one block of cells, because the dense cells x genes matrix is what costs memory:

    x_cg = log(1 + target · v_cg · share / sum_g v_cg),   t_c = sum_{g measured} (x_cg - mean_g) · W_g

``share`` is the part of a typical cell's counts that falls on the measured genes, so that a small panel is brought to
the same scale as the whole transcriptome, and a gene that was not measured adds nothing: it is never taken for zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from whycell.encode.kernels import LANES, ONCE, PLAIN, SUMMED, encode_cells

__all__ = ["Encoder", "Gaps", "align_genes", "gene_shares", "log_normalise"]


@dataclass(frozen=True)
class Gaps:
    """Which genes are seen: one row a pattern.

    Parameters
    ----------
    seen
        (n_patterns, n_genes) bool.
    scale
        (n_patterns, n_genes) float32 factors on the counts, or ``None``; a simulated laboratory measures every gene
        a little better or worse.
    """

    seen: np.ndarray
    scale: np.ndarray | None = None

    @classmethod
    def none(cls, n_genes: int) -> Gaps:
        """Every gene is seen."""
        return cls(np.ones((1, n_genes), dtype=bool))


@dataclass(frozen=True)
class Encoder:
    """The fixed first part of a model: normalisation, centring, projection.

    Parameters
    ----------
    mean
        (n_genes,) float32, mean normalised value of each gene.
    share
        (n_genes,) float64, part of a typical cell's counts on each gene; sums to one.
    directions
        (n_genes, n_directions) float32.
    target
        Size to which a cell is scaled before the logarithm; 0 leaves the values as they are (already normalised).
    """

    mean: np.ndarray
    share: np.ndarray
    directions: np.ndarray
    target: float

    def encode(
        self,
        values: sp.csr_matrix,
        columns: np.ndarray,
        *,
        gaps: Gaps,
        pattern: np.ndarray | None = None,
        counted: np.ndarray | None = None,
        rows: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates of cells.

        Parameters
        ----------
        values
            (n_cells, n_columns) linear values proportional to counts.
        columns
            (n_columns,) int32, the model's gene of each column, -1 where there is none; two columns of one gene are
            summed.
        gaps
            The patterns of seen genes.
        pattern
            (n_cells,) int32, row of ``gaps`` for each cell; ``None`` is the first for all.
        counted
            (n_patterns, n_genes) bool, the genes whose sum a cell is normalised by; ``None`` is those seen. With more
            counted than seen, a part of a cell is encoded as it lies in the whole.
        rows
            (n_cells,) int, which rows of ``values`` to encode, any of them any number of times; ``None`` is all.

        Returns
        -------
        coordinates : (n_cells, n_directions) float32
        facts : (n_cells, 3) float64: sum of the values on the model's genes, number of genes detected among them, and
            squared distance from the mean over the genes seen
        """
        if not values.has_canonical_format:  # an element given twice would be taken for two genes
            values = values.copy()
            values.sum_duplicates()
        indptr = values.indptr.astype(np.int64, copy=False)
        starts, stops = (indptr[:-1], indptr[1:]) if rows is None else (indptr[rows], indptr[rows + 1])
        n, n_directions = len(starts), self.directions.shape[1]
        seen = np.ascontiguousarray(gaps.seen)
        columns = columns.astype(np.int32, copy=False)
        known = columns[columns >= 0]
        way = ONCE if len(np.unique(known)) == len(known) else SUMMED
        if way == ONCE and len(seen) == 1 and gaps.scale is None and counted is None:
            way = PLAIN
            columns = np.where((columns >= 0) & seen[0][np.maximum(columns, 0)], columns, -1).astype(np.int32)
        if pattern is None:
            pattern = np.zeros(n, dtype=np.int32)
        counted = seen if counted is None else np.ascontiguousarray(counted)
        offset = (seen * self.mean).astype(np.float32) @ self.directions
        coordinates = np.empty((n, n_directions), dtype=np.float32)
        facts = np.empty((n, 3), dtype=np.float64)
        encode_cells(
            starts,
            stops,
            values.indices.astype(np.int32, copy=False),
            values.data.astype(np.float32, copy=False),
            columns,
            way,
            seen,
            counted,
            np.zeros((len(seen), 0), dtype=np.float32) if gaps.scale is None else gaps.scale,
            pattern.astype(np.int32, copy=False),
            counted @ self.share,
            self.mean,
            seen @ (self.mean.astype(np.float64) ** 2),
            np.pad(self.directions, ((0, 0), (0, -n_directions % LANES))),
            offset,
            float(self.target),
            coordinates,
            facts,
        )
        return coordinates, facts


def align_genes(names: Sequence[str] | np.ndarray, model_genes: Sequence[str] | np.ndarray) -> np.ndarray:
    """The model's gene of each column of a file.

    Parameters
    ----------
    names
        Gene id of each column, "" where unresolved.
    model_genes
        The model's genes, unique.

    Returns
    -------
    (n_columns,) int32, -1 where the model does not know the gene.
    """
    position = {str(gene): i for i, gene in enumerate(model_genes)}
    position.pop("", None)
    return np.fromiter((position.get(str(name), -1) for name in names), dtype=np.int32, count=len(names))


def gene_shares(values: sp.csr_matrix, study: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Part of a typical cell's counts on each gene, from studies that measured different genes.

    Within one study only shares among its own genes are known; each study is brought to the scale of the others by
    the total share of its genes, found by iterating to a fixed point.

    Parameters
    ----------
    values
        (n_cells, n_genes) counts.
    study
        (n_cells,) int, row of ``measured``.
    measured
        (n_studies, n_genes) bool.

    Returns
    -------
    (n_genes,) float64, sums to one.
    """
    within = np.zeros(measured.shape)
    for s in range(len(measured)):
        rows = values[study == s]
        totals = np.asarray(rows.sum(axis=1), dtype=np.float64).ravel()
        weights = np.divide(1.0, totals, out=np.zeros_like(totals), where=totals > 0)
        sums = np.asarray(rows.T @ weights).ravel() * measured[s]
        within[s] = sums / max(sums.sum(), 1e-12)
    times = np.maximum(measured.sum(axis=0), 1)
    share = within.sum(axis=0) / times
    for _ in range(20):
        share = share / max(share.sum(), 1e-12)
        covered = measured @ share
        share = (within * covered[:, None]).sum(axis=0) / times
    return share / max(share.sum(), 1e-12)


def log_normalise(values: sp.csr_matrix, *, target: float, share: np.ndarray | float = 1.0) -> sp.csr_matrix:
    """log(1 + target · share · v / sum(v)) cell by cell; zeros stay zero.

    Parameters
    ----------
    values
        (n_cells, n_genes) linear values.
    target
        Size to which cells are scaled; 0 returns the values unchanged.
    share
        (n_cells,) or one number: part of the counts that the measured genes hold.

    Returns
    -------
    (n_cells, n_genes) float32.
    """
    out = sp.csr_matrix(values, dtype=np.float32, copy=True)
    if target <= 0:
        return out
    totals = np.asarray(out.sum(axis=1), dtype=np.float64).ravel()
    factor = np.divide(target * share, totals, out=np.zeros_like(totals), where=totals > 0)
    out.data = np.log1p(out.data * np.repeat(factor, np.diff(out.indptr)).astype(np.float32))
    return out
