"""Rows of a stored matrix as tidy sparse blocks, decoded ahead of whoever consumes them.

A reader here promises the work for one range of rows to a pool; `run` keeps a few such promises open and hands the
results out in order, so that inflating the next rows overlaps with computing on these. What comes out is the same for
every layout: float32, int32 indices sorted within a row, each named once, no stored zeros.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from scipy import sparse

from whycell.compute import n_threads
from whycell.data.ranges import StoredArray
from whycell.errors import FormatError

__all__ = ["CsrRows", "DenseRows", "RowReader", "SlicedRows", "from_dense", "run", "spans_of", "tidy"]

PART = 1 << 19  # elements that one task of the pool inflates: about 2 ms
WINDOW = 1 << 20  # elements read together at least, however few rows are asked for at a time
AHEAD = 2  # ranges decoded before they are asked for


class RowReader(Protocol):
    """Something that can promise any range of rows."""

    shape: tuple[int, int]

    def weight(self, start: int, stop: int) -> int:
        """Elements that have to be read for these rows, about."""

    def submit(self, pool: Executor, start: int, stop: int) -> Future[Any]:
        """A promise of the rows ``start:stop`` as a tidy csr_matrix."""


def tidy(data: np.ndarray, indices: np.ndarray, indptr: np.ndarray, n_cols: int, name: str) -> Any:
    """A csr_matrix with float32 values and sorted int32 indices, duplicates summed and zeros dropped.

    Parameters
    ----------
    data, indices
        (nnz,) of any number type.
    indptr
        (n_rows + 1,), from 0 to nnz.
    n_cols
        Number of columns.
    name
        What a message calls the matrix.

    Raises
    ------
    FormatError
        Where an index is outside the matrix.
    """
    unsigned = indices.view(
        f"u{indices.dtype.itemsize}"
    )  # a negative index is then a very large one: one pass for both
    if indices.size and int(unsigned.max()) >= n_cols:
        msg = f"{name} names column {int(unsigned.max())} but has {n_cols} columns: it is damaged; write it again."
        raise FormatError(msg)
    values = data.astype(np.float32, copy=False)
    matrix = sparse.csr_matrix(
        (values, indices.astype(np.int32, copy=False), indptr.astype(np.int32 if values.size < 2**31 else np.int64)),
        shape=(indptr.size - 1, n_cols),
    )
    if not matrix.has_canonical_format:
        matrix.sum_duplicates()
    if not matrix.data.all():
        matrix.eliminate_zeros()
    matrix.has_canonical_format = True
    return matrix


class CsrRows:
    """Rows of a CSR matrix kept as three arrays.

    Parameters
    ----------
    data, indices
        The stored arrays.
    indptr
        (n_rows + 1,) in memory.
    shape
        (n_rows, n_cols).
    name
        What a message calls the matrix.

    Raises
    ------
    FormatError
        Where the three arrays contradict one another.
    """

    def __init__(
        self, data: StoredArray, indices: StoredArray, indptr: np.ndarray, shape: tuple[int, int], name: str
    ) -> None:
        self.shape = shape
        self.name = name
        self._data = data
        self._indices = indices
        self._indptr = indptr.astype(np.int64, copy=False)
        steps = np.diff(self._indptr)
        nnz = int(data.shape[0])
        if (
            self._indptr.size != shape[0] + 1
            or int(indices.shape[0]) != nnz
            or self._indptr[0] != 0
            or self._indptr[-1] != nnz
            or (steps.size and int(steps.min()) < 0)
        ):
            asked = int(self._indptr[-1]) if self._indptr.size else 0
            msg = f"{name} contradicts itself: {nnz} values, row pointers for {asked}; write it again."
            raise FormatError(msg)

    def weight(self, start: int, stop: int) -> int:
        """Stored elements of these rows."""
        return int(self._indptr[stop] - self._indptr[start])

    def submit(self, pool: Executor, start: int, stop: int) -> Future[Any]:
        """A promise of the rows ``start:stop``; the arrays are filled by many tasks, tidied by the last."""
        low, high = int(self._indptr[start]), int(self._indptr[stop])
        filling: list[Future[None]] = []
        arrays = []
        for stored in (self._data, self._indices):
            out = np.empty(high - low, dtype=stored.dtype)
            arrays.append(out)
            for a, b in stored.cuts(low, high, PART):
                filling.append(pool.submit(stored.read_into, out[a - low : b - low], a, b))
        indptr = self._indptr[start : stop + 1] - low
        # The pool takes tasks in order, so when this one starts every part has been started: waiting cannot deadlock.
        return pool.submit(self._finish, filling, arrays[0], arrays[1], indptr)

    def _finish(
        self, filling: Sequence[Future[None]], data: np.ndarray, indices: np.ndarray, indptr: np.ndarray
    ) -> Any:
        for part in filling:
            part.result()
        return tidy(data, indices, indptr, self.shape[1], self.name)


class DenseRows:
    """Rows of a dense matrix on disk.

    Parameters
    ----------
    values
        The stored array, (n_rows, n_cols).
    name
        What a message calls the matrix.
    """

    def __init__(self, values: StoredArray, name: str) -> None:
        self.shape = (int(values.shape[0]), int(values.shape[1]))
        self.name = name
        self._values = values

    def weight(self, start: int, stop: int) -> int:
        """Dense elements of these rows."""
        return (stop - start) * self.shape[1]

    def submit(self, pool: Executor, start: int, stop: int) -> Future[Any]:
        """A promise of the rows ``start:stop``; only a few rows are ever dense at once."""
        parts = [pool.submit(self._part, a, b) for a, b in self._values.cuts(start, stop, 4 * PART)]
        return pool.submit(self._finish, parts)

    def _part(self, start: int, stop: int) -> Any:
        dense = np.empty((stop - start, self.shape[1]), dtype=self._values.dtype)
        self._values.read_into(dense, start, stop)
        return from_dense(dense)

    def _finish(self, parts: Sequence[Future[Any]]) -> Any:
        done = [part.result() for part in parts]
        if not done:
            return sparse.csr_matrix((0, self.shape[1]), dtype=np.float32)
        return done[0] if len(done) == 1 else sparse.vstack(done, format="csr", dtype=np.float32)


def from_dense(dense: np.ndarray) -> Any:
    """A csr_matrix of float32 with the non-zeros of a dense array; NaN counts as a value."""
    mask = dense != 0
    indptr = np.concatenate([[0], np.cumsum(mask.sum(axis=1))]).astype(np.int32)
    flat = np.flatnonzero(mask)
    indices = (flat % dense.shape[1]).astype(np.int32) if dense.shape[1] else flat.astype(np.int32)
    return sparse.csr_matrix((dense.ravel()[flat].astype(np.float32), indices, indptr), shape=dense.shape)


class SlicedRows:
    """Rows of anything that can be sliced by rows: a matrix in memory, or one that its own library reads.

    Parameters
    ----------
    values
        A numpy array or matrix, scipy sparse matrix or array, or an on-disk array with ``shape`` and slicing.
    name
        What a message calls the matrix.
    """

    def __init__(self, values: Any, name: str) -> None:
        self.shape = (int(values.shape[0]), int(values.shape[1]))
        self.name = name
        self._values = values
        self._mean = max(1, int(values.nnz // max(1, self.shape[0]))) if sparse.issparse(values) else self.shape[1]

    def weight(self, start: int, stop: int) -> int:
        """Elements of these rows, by the mean of all rows."""
        return (stop - start) * self._mean

    def submit(self, pool: Executor, start: int, stop: int) -> Future[Any]:
        """A promise of the rows ``start:stop``."""
        return pool.submit(self._read, start, stop)

    def _read(self, start: int, stop: int) -> Any:
        rows = self._values[start:stop]
        if hasattr(rows, "compute"):
            rows = rows.compute()
        if not sparse.issparse(rows):
            return from_dense(np.asarray(rows))
        rows = rows.tocsr()
        # Copies: tidying must not sort or shrink arrays that are the caller's.
        return tidy(rows.data.copy(), rows.indices.copy(), rows.indptr, self.shape[1], self.name)


def spans_of(reader: RowReader, starts: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Neighbouring ranges of rows joined until reading them is worth a task.

    Parameters
    ----------
    reader
        Tells how much a range weighs.
    starts
        Ranges (start, stop) in order.
    """
    begin = end = -1
    for start, stop in starts:
        if end == start and reader.weight(begin, end) < WINDOW:
            end = stop
            continue
        if end > begin:
            yield begin, end
        begin, end = start, stop
    if end > begin:
        yield begin, end


def run(reader: RowReader, spans: Iterable[tuple[int, int]], *, threads: int = 0) -> Iterator[tuple[int, int, Any]]:
    """Read ranges of rows in order, a few ahead of the consumer.

    Parameters
    ----------
    reader
        The matrix.
    spans
        Ranges (start, stop) of rows.
    threads
        Threads that inflate; 0 means every core.

    Yields
    ------
    ``start, stop, csr_matrix (stop - start, n_cols)``.
    """
    pool = ThreadPoolExecutor(n_threads(threads), thread_name_prefix="whycell-read")
    waiting: deque[tuple[int, int, Future[Any]]] = deque()
    try:
        for start, stop in spans:
            waiting.append((start, stop, reader.submit(pool, start, stop)))
            if len(waiting) > AHEAD:
                first, last, promise = waiting.popleft()
                yield first, last, promise.result()
        while waiting:
            first, last, promise = waiting.popleft()
            yield first, last, promise.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
