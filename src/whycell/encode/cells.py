"""From counts to coordinates: the genes a model knows, normalised, seen through gaps, and projected.

One kernel does the whole way for one block of cells, because the dense cells x genes matrix is what costs memory:

    x_cg = log(1 + target · v_cg · share / sum_g v_cg),   t_c = sum_{g measured} (x_cg - mean_g) · W_g

``share`` is the part of a typical cell's counts that falls on the measured genes, so that a small panel is brought to
the same scale as the whole transcriptome, and a gene that was not measured adds nothing: it is never taken for zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import scipy.sparse as sp

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

        Returns
        -------
        coordinates : (n_cells, n_directions) float32
        facts : (n_cells, 3) float64: sum of the values on the model's genes, number of genes detected among them, and
            squared distance from the mean over the genes seen
        """
        n = values.shape[0]
        seen = np.ascontiguousarray(gaps.seen)
        if pattern is None:
            pattern = np.zeros(n, dtype=np.int32)
        counted = seen if counted is None else np.ascontiguousarray(counted)
        offset = (seen * self.mean).astype(np.float32) @ self.directions
        coordinates = np.empty((n, self.directions.shape[1]), dtype=np.float32)
        facts = np.empty((n, 3), dtype=np.float64)
        _encode(
            values.indptr.astype(np.int64, copy=False),
            values.indices,
            values.data.astype(np.float32, copy=False),
            columns.astype(np.int32, copy=False),
            seen,
            counted,
            np.zeros((0, 0), dtype=np.float32) if gaps.scale is None else gaps.scale,
            pattern.astype(np.int32, copy=False),
            counted @ self.share,
            self.mean,
            seen @ (self.mean.astype(np.float64) ** 2),
            self.directions,
            offset,
            float(self.target),
            coordinates,
            facts,
        )
        return coordinates, facts


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _encode(
    indptr: Any,
    indices: Any,
    data: Any,
    columns: Any,
    seen: Any,
    counted: Any,
    scale: Any,
    pattern: Any,
    shares: Any,
    mean: Any,
    mean_squares: Any,
    directions: Any,
    offset: Any,
    target: float,
    coordinates: Any,
    facts: Any,
) -> None:
    n_genes, n_directions = directions.shape
    scaled = len(scale) > 0
    held = np.zeros(n_genes, dtype=np.float32)
    touched = np.empty(n_genes, dtype=np.int32)
    x_of = np.empty(n_genes, dtype=np.float32)
    bits_of = x_of.view(np.int32)
    for c in range(len(indptr) - 1):
        p = pattern[c]
        total = 0.0
        n_touched = 0
        for k in range(indptr[c], indptr[c + 1]):
            g = columns[indices[k]]
            if g < 0 or not counted[p, g] or data[k] == 0:
                continue
            value = data[k] * scale[p, g] if scaled else data[k]
            total += value
            if not seen[p, g]:
                continue
            if held[g] == 0:
                touched[n_touched] = g
                n_touched += 1
            held[g] += value
        factor = np.float32(target * shares[p] / total) if target > 0 and total > 0 else np.float32(1.0)
        for t in range(n_touched):
            x_of[t] = held[touched[t]] * factor
            held[touched[t]] = 0
        if target > 0:
            _log1p(x_of, bits_of, n_touched)
        square = mean_squares[p]
        row = coordinates[c]
        for d in range(n_directions):
            row[d] = -offset[p, d]
        for t in range(n_touched):
            g = touched[t]
            x = x_of[t]
            square += x * (x - 2.0 * mean[g])
            for d in range(n_directions):
                row[d] += x * directions[g, d]
        facts[c, 0] = total
        facts[c, 1] = n_touched
        facts[c, 2] = square


@numba.njit(nogil=True, cache=True, inline="always")  # type: ignore[untyped-decorator]
def _log1p(x: Any, bits: Any, n: int) -> None:
    """log(1 + x) in place for x >= 0, to 3e-7: straight-line code that the compiler turns into vectors.

    ``bits`` is ``x`` seen as int32. With 1 + x = m 2^e and m in [2/3, 4/3): log = e log 2 + 2 atanh((m - 1) / (m + 1)).
    """
    for i in range(n):
        x[i] += np.float32(1.0)
    for i in range(n):
        raw = bits[i]
        exponent = (raw - np.int32(0x3F2AAAAB)) >> np.int32(23)
        bits[i] = raw - (exponent << np.int32(23))
        s = (x[i] - np.float32(1.0)) / (x[i] + np.float32(1.0))
        z = s * s
        tail = np.float32(0.2) + z * (np.float32(0.14285715) + z * np.float32(0.11111111))
        series = np.float32(1.0) + z * (np.float32(0.33333334) + z * tail)
        x[i] = np.float32(exponent) * np.float32(0.6931472) + np.float32(2.0) * s * series


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
