"""Where the pieces of a stored matrix lie in its file: what a reader needs to know, and nothing that opens the file.

A layout comes from h5py, from the walker of `hdf5_index`, or from the two Parquet files that a scan wrote beside its
catalogue (``chunks/KEY.parquet`` and ``rows/KEY.parquet``): then rows are read without a look at the file's own index.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from whycell.data.whole import written_whole
from whycell.errors import FormatError

__all__ = ["ArrayLayout", "MatrixLayout", "read_layout", "write_layout"]

VERSION = 1
_KEY = b"whycell.layout"


@dataclass(frozen=True)
class ArrayLayout:
    """One stored array.

    Parameters
    ----------
    name
        Its path in the file, ``"X/data"``.
    shape
        One or two numbers.
    dtype
        As numpy writes it, with the order of bytes: ``"<f4"``.
    chunk
        Shape of a chunk; ``None`` where the array lies in one piece.
    filters
        Numbers of the HDF5 filters in the order they were applied.
    fill
        Value of chunks that were never written.
    offsets, sizes, masks
        (n_chunks,) int64 in the order of the grid, rows first: first byte, stored bytes (0: never written), and a bit
        for each filter that was left out. Of an array in one piece: one entry.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    chunk: tuple[int, ...] | None
    filters: tuple[int, ...]
    fill: float
    offsets: np.ndarray = field(repr=False)
    sizes: np.ndarray = field(repr=False)
    masks: np.ndarray = field(repr=False)

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of chunks along each axis."""
        if self.chunk is None:
            return (1,) * len(self.shape)
        return tuple(-(-s // c) for s, c in zip(self.shape, self.chunk, strict=True))

    @property
    def end(self) -> int:
        """The byte after the last one that belongs to the array."""
        return int((self.offsets + self.sizes).max(initial=0))

    def rows_of(self, start: int, stop: int) -> tuple[int, int]:
        """First and last chunk (exclusive) that hold the elements or rows ``start:stop``."""
        if self.chunk is None or stop <= start:
            return (0, int(stop > start))
        across = math.prod(self.grid[1:])
        return start // self.chunk[0] * across, -(-stop // self.chunk[0]) * across

    def ranges(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Offset and size of the stored pieces that hold the elements or rows ``start:stop``."""
        first, last = self.rows_of(start, stop)
        if self.chunk is None and first < last:
            step = math.prod(self.shape[1:]) * np.dtype(self.dtype).itemsize
            return [(int(self.offsets[0]) + start * step, (stop - start) * step)]
        pairs = zip(self.offsets[first:last].tolist(), self.sizes[first:last].tolist(), strict=True)
        return [(offset, size) for offset, size in pairs if size]

    def about(self) -> dict[str, Any]:
        """Everything but the chunks, as plain values."""
        return {
            "name": self.name,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "chunk": None if self.chunk is None else list(self.chunk),
            "filters": list(self.filters),
            "fill": self.fill,
        }


@dataclass(frozen=True)
class MatrixLayout:
    """A stored matrix of cells x genes.

    Parameters
    ----------
    where
        Its path in the file: ``"X"``, ``"raw/X"``, ``"layers/counts"``.
    encoding
        ``"csr"``, ``"csc"``, ``"dense"``, or ``"library"`` where only h5py can read it.
    shape
        (cells, genes).
    arrays
        ``data`` and ``indices``, or ``values`` of a dense matrix; empty of what only the library reads.
    indptr
        (n + 1,) int64 row pointers of CSR, column pointers of CSC; ``None`` of the others.
    reason
        Why only the library can read it.
    """

    where: str
    encoding: str
    shape: tuple[int, int]
    arrays: dict[str, ArrayLayout]
    indptr: np.ndarray | None = field(default=None, repr=False)
    reason: str = ""

    @property
    def nnz(self) -> int | None:
        """Stored elements; ``None`` of a dense matrix."""
        return None if self.indptr is None else int(self.indptr[-1])

    def ranges(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Offset and size of every stored piece that reading the rows ``start:stop`` needs: their price."""
        if self.encoding == "csr" and self.indptr is not None:
            start, stop = int(self.indptr[start]), int(self.indptr[stop])
        elif self.encoding == "csc":  # a row of it lies everywhere
            start, stop = 0, self.nnz or 0
        return [each for array in self.arrays.values() for each in array.ranges(start, stop)]


def write_layout(layout: MatrixLayout, folder: Path, *, key: str, force: bool = False) -> None:
    """Keep a layout as ``chunks/KEY.parquet`` and ``rows/KEY.parquet`` of a catalogue.

    Parameters
    ----------
    layout
        The layout.
    folder
        The catalogue.
    key
        Name of the two files.
    force
        Replace them.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = list(layout.arrays)
    steps = {name: (array.chunk or (max(array.shape[0], 1),))[0] for name, array in layout.arrays.items()}
    starts, stops = [], []
    for name, array in layout.arrays.items():
        across = math.prod(array.grid[1:])
        top = np.arange(len(array.offsets), dtype=np.int64) // max(across, 1) * steps[name]
        starts.append(top)
        stops.append(np.minimum(top + steps[name], array.shape[0]))
    counts = [len(array.offsets) for array in layout.arrays.values()]
    chunks = {
        "array": pa.DictionaryArray.from_arrays(pa.array(np.repeat(np.arange(len(names)), counts), pa.int32()), names),
        "element_start": _joined(starts),
        "element_stop": _joined(stops),
        "offset": _joined([a.offsets for a in layout.arrays.values()]),
        "nbytes": _joined([a.sizes for a in layout.arrays.values()]),
        "filter_mask": _joined([a.masks for a in layout.arrays.values()]),
    }
    about = {
        "version": VERSION,
        "where": layout.where,
        "encoding": layout.encoding,
        "shape": list(layout.shape),
        "reason": layout.reason,
        "arrays": {name: array.about() for name, array in layout.arrays.items()},
    }
    plain = {name: "DELTA_BINARY_PACKED" for name in chunks if name != "array"}
    table = pa.table(chunks).replace_schema_metadata({_KEY: json.dumps(about).encode()})
    with written_whole(folder / "chunks" / f"{key}.parquet", force=force) as path:
        pq.write_table(table, path, compression="zstd", use_dictionary=["array"], column_encoding=plain)
    pointers = np.zeros(0, np.int64) if layout.indptr is None else layout.indptr.astype(np.int64)
    rows = pa.table({"indptr": pointers}).replace_schema_metadata({_KEY: str(VERSION).encode()})
    with written_whole(folder / "rows" / f"{key}.parquet", force=force) as path:
        pq.write_table(
            rows,
            path,
            compression="zstd",
            use_dictionary=False,
            column_encoding={"indptr": "DELTA_BINARY_PACKED"},
        )


def read_layout(folder: Path, *, key: str) -> MatrixLayout:
    """The layout that a scan kept.

    Parameters
    ----------
    folder
        The catalogue.
    key
        Name of the two files.

    Raises
    ------
    FormatError
        It is not there or of another version.
    """
    import pyarrow.parquet as pq

    try:
        chunks = pq.read_table(folder / "chunks" / f"{key}.parquet")
        rows = pq.read_table(folder / "rows" / f"{key}.parquet")
        about = json.loads((chunks.schema.metadata or {})[_KEY])
        if about["version"] != VERSION:
            msg = f"{folder} keeps layouts of version {about['version']}, wanted {VERSION}; scan again."
            raise FormatError(msg)
        array_of = np.asarray(chunks["array"].to_pandas().astype(str))
        columns = {name: chunks[name].to_numpy() for name in ("offset", "nbytes", "filter_mask")}
        arrays = {}
        for name, told in about["arrays"].items():
            here = array_of == name
            arrays[name] = ArrayLayout(
                name=told["name"],
                shape=tuple(told["shape"]),
                dtype=told["dtype"],
                chunk=None if told["chunk"] is None else tuple(told["chunk"]),
                filters=tuple(told["filters"]),
                fill=told["fill"],
                offsets=columns["offset"][here],
                sizes=columns["nbytes"][here],
                masks=columns["filter_mask"][here],
            )
        indptr = rows["indptr"].to_numpy() if rows.num_rows else None
        n_cells, n_genes = about["shape"]
        return MatrixLayout(about["where"], about["encoding"], (n_cells, n_genes), arrays, indptr, about["reason"])
    except (OSError, KeyError, ValueError) as error:
        if isinstance(error, FormatError):
            raise
        msg = f"{folder} holds no layout of {key} that can be read ({error}); scan that file again."
        raise FormatError(msg) from error


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)
