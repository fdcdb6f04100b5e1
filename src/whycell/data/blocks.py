"""What every kind of input looks like to the rest of whycell: `Cells`, its matrices and their blocks of rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
from scipy import sparse

from whycell.data.rows import RowReader, run, spans_of
from whycell.errors import UsageError

__all__ = ["Block", "Cells", "MatrixInfo"]

RUNS = 8  # a sample is this many runs of neighbouring rows: one run would be one donor in many files


@dataclass(frozen=True)
class MatrixInfo:
    """One matrix of a file, as it is stored.

    Parameters
    ----------
    where
        ``"X"``, ``"raw/X"`` or ``"layers/NAME"``.
    shape
        (n_cells, n_genes).
    encoding
        ``"csr"``, ``"csc"`` or ``"dense"``.
    dtype
        Name of the stored type of its values.
    nnz
        Stored elements; ``None`` for dense.
    """

    where: str
    shape: tuple[int, int]
    encoding: str
    dtype: str
    nnz: int | None


@dataclass(frozen=True)
class Block:
    """Rows ``start:stop`` of a matrix.

    Parameters
    ----------
    start, stop
        Positions of the cells in the file.
    values
        csr_matrix (stop - start, all genes of that matrix), float32; int32 indices sorted within a row, no duplicates,
        no stored zeros.
    """

    start: int
    stop: int
    values: Any


class Cells(ABC):
    """Cells by genes, from a file or from memory. Use as a context manager, or call `close`.

    Attributes
    ----------
    kind
        ``"h5ad"``, ``"zarr"``, ``"10x"``, ``"mtx"`` or ``"memory"``.
    path
        The file or folder, or ``None`` for data in memory.
    name
        What messages and reports call it.
    matrices
        ``{"X" | "raw/X" | "layers/NAME": MatrixInfo}``.
    obs_names
        (n_cells,) str.
    obs_columns
        Names of the obs columns, in the order stored.
    """

    kind: ClassVar[str]
    path: Path | None
    name: str
    matrices: dict[str, MatrixInfo]
    obs_names: np.ndarray
    obs_columns: list[str]

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return len(self.obs_names)

    @abstractmethod
    def obs(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Columns of obs, index = cell names; all of them where none is named. Unknown ones raise `UsageError`."""

    @abstractmethod
    def var(self, where: str = "X") -> pd.DataFrame:
        """The genes of one matrix, index = their names; ``raw/X`` has its own."""

    @abstractmethod
    def uns(self, key: str, *, default: Any = None) -> Any:
        """One entry of uns, decoded to plain values; ``default`` where it is absent."""

    @abstractmethod
    def fingerprint(self) -> str:
        """``"sha256:..."`` of the bytes of the input."""

    @abstractmethod
    def _reader(self, where: str) -> RowReader: ...

    @property
    def obsm_widths(self) -> dict[str, int]:
        """Numbers a cell of each embedding in obsm that is a plain matrix."""
        return {
            key: int(values.shape[1])
            for key, values in self._obsm().items()
            if len(values.shape) == 2 and values.dtype.kind in "fiu"
        }

    def obsm(self, key: str, *, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows of one embedding; only they are read.

        Parameters
        ----------
        key
            One of `obsm_widths`; others raise `UsageError`.
        start, stop
            First cell, and the one after the last; ``None`` is the end.

        Returns
        -------
        (stop - start, width) float32
        """
        if key not in self.obsm_widths:
            msg = f"{self.name} has no obsm[{key!r}] of numbers; it has {', '.join(self.obsm_widths) or 'none'}."
            raise UsageError(msg)
        return np.asarray(self._obsm()[key][start : self.n_cells if stop is None else stop], dtype=np.float32)

    def _obsm(self) -> Mapping[str, Any]:
        """What slices like a matrix, by key; inputs that cannot hold embeddings have none."""
        return {}

    def blocks(self, where: str = "X", *, rows: int = 4096, threads: int = 0) -> Iterator[Block]:
        """All rows of a matrix in order, decoded ahead on other threads; memory does not grow with the file.

        Parameters
        ----------
        where
            Key of `matrices`.
        rows
            Rows in a block; the last may have fewer.
        threads
            Threads that inflate; 0 means every core.

        Yields
        ------
        Block
        """
        if rows < 1:
            msg = f"A block cannot have {rows} rows; ask for at least 1."
            raise UsageError(msg)
        self._check(where)
        reader = self._reader(where)
        n = reader.shape[0]
        for start, stop, values in run(reader, spans_of(reader, _steps(n, rows)), threads=threads):
            if stop - start <= rows:
                yield Block(start, stop, values)
                continue
            for low, high in _steps(stop - start, rows):
                yield Block(start + low, start + high, _slice(values, low, high))

    def read_rows(self, where: str, rows: np.ndarray, *, threads: int = 0) -> Any:
        """Any rows of a matrix, in the order asked for; a row may be asked for twice.

        Parameters
        ----------
        where
            Key of `matrices`.
        rows
            (m,) positions of cells, or a boolean mask (n_cells,).
        threads
            Threads that inflate; 0 means every core.

        Returns
        -------
        csr_matrix (m, n_genes) float32, as in `Block`.

        Raises
        ------
        UsageError
            Where a position is outside the file.
        """
        self._check(where)
        rows = np.asarray(rows)
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        if rows.size and (rows.min() < 0 or rows.max() >= self.n_cells):
            msg = f"Row {rows.max() if rows.min() >= 0 else rows.min()} was asked for; {self.name} has {self.n_cells}."
            raise UsageError(msg)
        reader = self._reader(where)
        wanted, back = np.unique(rows, return_inverse=True)
        parts = [sparse.csr_matrix((0, reader.shape[1]), dtype=np.float32)]
        spans = spans_of(reader, [(int(r), int(r) + 1) for r in wanted])
        for start, stop, values in run(reader, spans, threads=threads):
            here = wanted[np.searchsorted(wanted, start) : np.searchsorted(wanted, stop)] - start
            parts.append(values if here.size == stop - start else values[here])
        found = sparse.vstack(parts, format="csr", dtype=np.float32)
        return found if np.array_equal(wanted, rows) else found[back]

    def sample_rows(self, n: int = 2000, *, seed: int = 0) -> np.ndarray:
        """Positions, ascending, of a few runs of neighbouring cells spread over the file; all where there are few."""
        if n >= self.n_cells:
            return np.arange(self.n_cells)
        edges = np.linspace(0, self.n_cells, RUNS + 1).astype(np.int64)
        sizes = np.diff(np.linspace(0, n, RUNS + 1).astype(np.int64))
        rng = np.random.default_rng(seed)
        room = np.maximum(np.diff(edges) - sizes, 0)
        starts = edges[:-1] + rng.integers(0, room + 1)
        return np.concatenate([np.arange(s, s + k) for s, k in zip(starts, sizes, strict=True)])

    def sample(self, where: str = "X", n: int = 2000, *, seed: int = 0) -> Any:
        """The rows `sample_rows` of a matrix, as csr_matrix (at most n, n_genes) float32."""
        return self.read_rows(where, self.sample_rows(n, seed=seed))

    def close(self) -> None:  # noqa: B027  most have nothing to give back
        """Give back open files."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        with suppress(Exception):
            self.close()

    def _check(self, where: str) -> None:
        if where not in self.matrices:
            msg = f"{self.name} has no matrix {where!r}; it has {', '.join(self.matrices) or 'none'}."
            raise UsageError(msg)

    def _named(self, columns: Sequence[str] | None) -> list[str]:
        """The obs columns asked for, or a sentence about the one that is not there."""
        if columns is None:
            return list(self.obs_columns)
        for column in columns:
            if column not in self.obs_columns:
                msg = f"{self.name} has no obs column {column!r}; it has {', '.join(self.obs_columns) or 'none'}."
                raise UsageError(msg)
        return list(columns)


def _steps(n: int, step: int) -> Iterator[tuple[int, int]]:
    for start in range(0, n, step):
        yield start, min(start + step, n)


def _slice(matrix: Any, low: int, high: int) -> Any:
    """Rows ``low:high`` that share the memory of ``matrix``; scipy would copy."""
    begin, end = int(matrix.indptr[low]), int(matrix.indptr[high])
    rows = sparse.csr_matrix(
        (matrix.data[begin:end], matrix.indices[begin:end], matrix.indptr[low : high + 1] - matrix.indptr[low]),
        shape=(high - low, matrix.shape[1]),
    )
    rows.has_canonical_format = True
    return rows
