"""How deeply the cells of a file were read: total counts and detected genes, exact or from a sample, and marked so.

A sample is a few runs of neighbouring cells spread evenly over the file. Of a sparse matrix only the values are read,
not the column of each: a fifth of the bytes, and enough for sums and for telling counts from logarithms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from whycell.data.chunks import array_of
from whycell.data.hdf5_walk import Arrived
from whycell.data.layouts import ArrayLayout, MatrixLayout
from whycell.data.remote import RemoteFile

__all__ = ["LEVELS", "N_BINS", "Depth", "histogram", "histogram_edges", "sample_rows"]

#: The quantiles that the catalogue keeps.
LEVELS = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
N_BINS = 64
_PER_DECADE = 8

BUDGET = 1_250_000  # stored bytes of one sample
TOO_MUCH = 4_000_000  # a sample that would need more is not taken
MOST, FEW = 64, 4  # runs of cells: for a distribution, and to tell what the values are


@dataclass(frozen=True)
class Depth:
    """One number of every cell, or of some.

    Parameters
    ----------
    what
        ``"counts"`` or ``"genes"``.
    source
        ``"obs:COLUMN"``, ``"indptr"``, ``"values"`` (all of them) or ``"chunks"`` (a sample).
    values
        (n,) the numbers.
    sampled
        Whether they are of some cells only.
    """

    what: str
    source: str
    values: np.ndarray
    sampled: bool = False

    def row(self) -> dict[str, Any]:
        """What the catalogue keeps of it."""
        known = self.values[np.isfinite(self.values)].astype(np.float64)
        return {
            "what": self.what,
            "source": self.source,
            "sampled": self.sampled,
            "n": len(self.values),
            "mean": float(known.mean()) if known.size else None,
            "quantiles": np.quantile(known, LEVELS).tolist() if known.size else [],
            "histogram": histogram(self.values).tolist(),
        }


def histogram_edges() -> np.ndarray:
    """(65,) edges of the bins: eighths of a decade from 1 to 10^8; the first bin also holds less, the last more."""
    return 10.0 ** (np.arange(N_BINS + 1) / _PER_DECADE)


def histogram(values: np.ndarray) -> np.ndarray:
    """(64,) cells in each bin of `histogram_edges`; they sum to the number of ``values``, NaN standing with zero."""
    inside = np.clip(np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=1e300), 1.0, None)
    bins = np.minimum(np.floor(_PER_DECADE * np.log10(inside) + 1e-9), N_BINS - 1).astype(np.int64)
    return np.bincount(bins, minlength=N_BINS)


def sample_rows(source: RemoteFile, layout: MatrixLayout, *, runs: int) -> tuple[sp.csr_matrix, bool] | None:
    """Some cells of a matrix; the column of a value is true of dense matrices only.

    Parameters
    ----------
    source
        The bytes of the file.
    layout
        Of the matrix.
    runs
        Runs of neighbouring cells, at most.

    Returns
    -------
    csr_matrix (n_sampled, n_genes) and whether these are all cells; ``None`` where a sample would cost too much: a
    matrix by columns that is not small, or one in very large chunks.
    """
    values = layout.arrays.get("data", layout.arrays.get("values"))
    if values is None or not layout.shape[0]:
        return None
    if layout.encoding == "csc":
        return _all_by_columns(source, layout)
    spans = _spans(layout, values, runs)
    ranges = [values.ranges(*_elements(layout, span)) for span in spans]
    if sum(size for each in ranges for _, size in each) > TOO_MUCH:
        return None
    parts = _read(source, values, [_elements(layout, span) for span in spans])
    whole = spans == [(0, layout.shape[0])]
    if layout.indptr is None:
        return sp.csr_matrix(np.concatenate(parts).astype(np.float32)), whole
    lengths = np.concatenate([np.diff(layout.indptr[a : b + 1]) for a, b in spans])
    data = np.concatenate(parts).astype(np.float32)
    pointers = np.concatenate([[0], np.cumsum(lengths)])
    inside = np.arange(data.size) - np.repeat(pointers[:-1], lengths)
    return sp.csr_matrix((data, inside, pointers), shape=(lengths.size, max(layout.shape[1], 1))), whole


def _spans(layout: MatrixLayout, values: ArrayLayout, runs: int) -> list[tuple[int, int]]:
    """Runs of cells, each of about a chunk, evenly over cells: evenly over chunks, deep cells would come too often."""
    n = layout.shape[0]
    if int(values.sizes.sum()) <= BUDGET and runs > FEW:
        return [(0, n)]
    per_row = max(1.0, (layout.nnz if layout.nnz is not None else n * layout.shape[1]) / n)
    elements = values.chunk[0] if values.chunk is not None else 1 << 14
    length = elements if layout.indptr is None and values.chunk is not None else max(1, int(elements / per_row))
    length = min(length, n)
    cost = int(values.sizes.sum()) / n * length
    runs = int(np.clip(BUDGET // max(1, 2 * int(cost)), FEW, runs))
    if runs * length >= n:
        return [(0, n)]
    starts = np.linspace(0, n - length, runs).astype(np.int64)
    if layout.indptr is None and values.chunk is not None:
        starts = np.unique(starts // length * length)
    return [(int(s), min(int(s) + length, n)) for s in starts]


def _elements(layout: MatrixLayout, span: tuple[int, int]) -> tuple[int, int]:
    if layout.indptr is None:
        return span
    return int(layout.indptr[span[0]]), int(layout.indptr[span[1]])


def _read(source: RemoteFile, array: ArrayLayout, spans: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """Several stretches of an array, fetched at once."""
    ranges = [array.ranges(*span) for span in spans]
    bodies = iter(source.read_many([each for part in ranges for each in part]))
    found = []
    for (start, stop), part in zip(spans, ranges, strict=True):
        out = np.empty((stop - start, *array.shape[1:]), np.dtype(array.dtype))
        came = Arrived(source, part, [bytes(next(bodies)) for _ in part])
        if stop > start:
            array_of(came, array).read_into(out, start, stop)
        found.append(out)
    return found


def _all_by_columns(source: RemoteFile, layout: MatrixLayout) -> tuple[sp.csr_matrix, bool] | None:
    """A small matrix by columns, read whole: no part of it tells of whole cells."""
    arrays = [layout.arrays["data"], layout.arrays["indices"]]
    if layout.indptr is None or sum(int(each.sizes.sum()) for each in arrays) > TOO_MUCH:
        return None
    n = int(layout.indptr[-1])
    data, indices = (_read(source, each, [(0, n)])[0] for each in arrays)
    matrix = sp.csc_matrix((data.astype(np.float32), indices, layout.indptr), shape=layout.shape)
    return sp.csr_matrix(matrix), True
