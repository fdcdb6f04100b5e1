"""Rows of a matrix that is stored by columns (CSC).

A row of a CSC matrix is scattered over the whole file, so the file is read once, in strips of columns; each strip is
turned to rows and put aside, in memory while it is small and in an unnamed temporary file beyond. A block of rows is
then one slice of every strip. Reading stays linear in the size of the file and memory stays bounded.
"""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import Executor, Future
from itertools import pairwise
from threading import Lock
from typing import Any

import numpy as np
from scipy import sparse

from whycell.data.ranges import StoredArray
from whycell.data.rows import CsrRows, tidy

__all__ = ["CscRows"]

STRIP = 1 << 23  # elements turned from columns to rows at a time: about 130 MB while it happens
IN_MEMORY = 1 << 28  # bytes of strips kept in memory; more goes to the temporary folder


class CscRows:
    """Rows of a CSC matrix on disk.

    Parameters
    ----------
    data, indices
        The stored arrays; ``indices`` are rows.
    indptr
        (n_cols + 1,) in memory.
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
        # A CSC matrix is the CSR matrix of its transpose: columns are read as that one's rows.
        self._columns = CsrRows(data, indices, indptr, (shape[1], shape[0]), name)
        self._indptr = indptr.astype(np.int64)
        self._lock = Lock()
        self._strips: list[_Strip] | None = None
        self._spill: Any = None

    def weight(self, start: int, stop: int) -> int:
        """Elements of these rows, by the mean of all rows."""
        return int((stop - start) * self._indptr[-1] // max(1, self.shape[0]))

    def submit(self, pool: Executor, start: int, stop: int) -> Future[Any]:
        """A promise of the rows ``start:stop``; the first one turns the whole matrix."""
        with self._lock:
            if self._strips is None:
                self._strips = self._turn(pool)
        return pool.submit(self._read, start, stop)

    def close(self) -> None:
        """Forget the strips and the temporary file."""
        self._strips = None
        if self._spill is not None:
            self._spill.close()
            self._spill = None

    def _turn(self, pool: Executor) -> list[_Strip]:
        keep = int(self._indptr[-1]) * 8 <= IN_MEMORY
        strips: list[_Strip] = []
        for start, stop in self._cuts():
            columns = self._columns.submit(pool, start, stop).result()
            turned = columns.T.tocsr()
            arrays = (turned.data, turned.indices) if keep else self._put(turned)
            strips.append(_Strip(stop - start, turned.indptr, *arrays))
        return strips

    def _cuts(self) -> list[tuple[int, int]]:
        edges = [0]
        while edges[-1] < self.shape[1]:
            reach = int(np.searchsorted(self._indptr, self._indptr[edges[-1]] + STRIP, side="right")) - 1
            edges.append(max(reach, edges[-1] + 1))
        return list(pairwise(edges))

    def _put(self, turned: Any) -> tuple[_OnDisk, _OnDisk]:
        if self._spill is None:
            self._spill = tempfile.TemporaryFile(prefix="whycell-")  # noqa: SIM115  closed by close()
        at = self._spill.seek(0, os.SEEK_END)
        self._spill.write(turned.data)
        self._spill.write(turned.indices)
        self._spill.flush()
        return _OnDisk(self._spill, at), _OnDisk(self._spill, at + turned.data.nbytes, np.int32)

    def _read(self, start: int, stop: int) -> Any:
        strips = self._strips or []
        pieces = [sparse.csr_matrix((stop - start, 0), dtype=np.float32)]
        for strip in strips:
            low, high = int(strip.indptr[start]), int(strip.indptr[stop])
            parts = (strip.data[low:high], strip.indices[low:high], strip.indptr[start : stop + 1] - low)
            pieces.append(sparse.csr_matrix(parts, shape=(stop - start, strip.width)))
        whole = sparse.hstack(pieces, format="csr", dtype=np.float32)
        return tidy(whole.data, whole.indices, whole.indptr, self.shape[1], self.name)


class _Strip:
    """Some neighbouring columns, turned to rows."""

    def __init__(self, width: int, indptr: np.ndarray, data: Any, indices: Any) -> None:
        self.width = width
        self.indptr = indptr
        self.data = data
        self.indices = indices


class _OnDisk:
    """An array in the temporary file, read by slices so that its pages never count as this process's memory."""

    def __init__(self, file: Any, offset: int, dtype: Any = np.float32) -> None:
        self._file = file
        self._offset = offset
        self._dtype = np.dtype(dtype)

    def __getitem__(self, part: slice) -> np.ndarray:
        size = (part.stop - part.start) * self._dtype.itemsize
        raw = os.pread(self._file.fileno(), size, self._offset + part.start * self._dtype.itemsize)
        return np.frombuffer(raw, self._dtype)
