"""The rows of a matrix in a far h5ad file: its layout found in a few journeys, its rows read by their bytes alone.

Three ways, the fastest that the file allows: the walker of `hdf5_tree`; h5py over a cache of blocks where the walker
meets something it does not know, asked only where the chunks lie; and h5py for the rows themselves where chunks are
packed in a way that only the library undoes. `MatrixLayout.reason` says why it was not the first.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from whycell.data.block_cache import open_h5
from whycell.data.chunks import FILTERS, array_of, layout_of
from whycell.data.columns import CscRows
from whycell.data.frames import is_group
from whycell.data.h5ad import reading, sparse_reader
from whycell.data.hdf5_tree import Hdf5
from whycell.data.hdf5_walk import UnknownLayoutError
from whycell.data.layouts import MatrixLayout
from whycell.data.ranges import ByteSource, LibraryArray
from whycell.data.rows import CsrRows, DenseRows, RowReader
from whycell.errors import FormatError

__all__ = ["matrix_layout", "open_rows", "read_rows"]

THREADS = 16  # most of them wait for the network


def matrix_layout(source: ByteSource, where: str = "X", *, tree: Hdf5 | None = None) -> MatrixLayout:
    """Where the pieces of a matrix lie.

    Parameters
    ----------
    source
        The bytes of the file.
    where
        ``"X"``, ``"raw/X"`` or ``"layers/..."``.
    tree
        The file where it is open in the walker already.

    Raises
    ------
    FormatError
        The matrix is not there, or is no matrix of numbers.
    """
    try:
        tree = tree or Hdf5(source)
        return _walked(tree, where, source.name)
    except UnknownLayoutError as unknown:
        with reading(source.name), open_h5(source) as file:
            return _by_library(file, where, source.name, str(unknown))


def open_rows(source: ByteSource, layout: MatrixLayout) -> RowReader:
    """The reader of the rows of a matrix whose layout is known.

    Parameters
    ----------
    source
        The bytes of the file.
    layout
        From `matrix_layout`, or from a catalogue.

    Raises
    ------
    FormatError
        The layout contradicts itself, or the file is shorter than it says.
    """
    name = f"{source.name}:{layout.where}"
    if layout.encoding == "library":
        with reading(source.name):
            return _library_rows(open_h5(source), layout, name)
    arrays = {part: array_of(source, each) for part, each in layout.arrays.items()}
    if layout.encoding == "dense":
        return DenseRows(arrays["values"], name)
    if layout.indptr is None:
        msg = f"{name} has no row pointers in its layout; scan it again."
        raise FormatError(msg)
    rows = CsrRows if layout.encoding == "csr" else CscRows
    return rows(arrays["data"], arrays["indices"], layout.indptr, layout.shape, name)


def read_rows(source: ByteSource, layout: MatrixLayout, *, start: int, stop: int, threads: int = THREADS) -> Any:
    """The rows ``start:stop`` as a tidy csr_matrix of float32.

    Parameters
    ----------
    source
        The bytes of the file.
    layout
        Of the matrix.
    start, stop
        Rows.
    threads
        Requests at once; each thread inflates what it fetched.
    """
    reader = open_rows(source, layout)
    with ThreadPoolExecutor(threads, thread_name_prefix="whycell-rows") as pool:
        return reader.submit(pool, start, stop).result()


def _walked(tree: Hdf5, where: str, name: str) -> MatrixLayout:
    element = _element(tree, where, name)
    encoding, shape = _encoding(element, where, name)
    at = element.name.strip("/")
    if encoding == "dense":
        return MatrixLayout(where, encoding, shape, {"values": tree.layout(at)})
    data, indices = tree.layouts([f"{at}/data", f"{at}/indices"])
    return MatrixLayout(where, encoding, shape, {"data": data, "indices": indices}, _pointers(element["indptr"][:]))


def _by_library(file: Any, where: str, name: str, reason: str) -> MatrixLayout:
    element = _element(file, where, name)
    encoding, shape = _encoding(element, where, name)
    parts = {"values": element} if encoding == "dense" else {part: element[part] for part in ("data", "indices")}
    arrays = {part: None if each.external or each.is_virtual else layout_of(each) for part, each in parts.items()}
    known = {part: each for part, each in arrays.items() if each is not None and set(FILTERS).issuperset(each.filters)}
    pointers = None if encoding == "dense" else _pointers(element["indptr"][:])
    if len(known) < len(parts) or file.userblock_size:
        why = f"read by h5py through a cache of blocks: {reason}"
        return MatrixLayout(where, "library", shape, {}, pointers, why)
    return MatrixLayout(where, encoding, shape, known, pointers, f"index read by h5py: {reason}")


def _pointers(values: Any) -> np.ndarray:
    return np.asarray(values).astype(np.int64, copy=False)


def _element(file: Any, where: str, name: str) -> Any:
    for path in (where, where.replace("raw/", "raw.")):  # before 2019, raw was spelled with a dot
        element = file.get(path)
        if element is not None:
            return element
    msg = f"{name} has no matrix {where}; look at what it holds with `whycell doctor`."
    raise FormatError(msg)


def _encoding(element: Any, where: str, name: str) -> tuple[str, tuple[int, int]]:
    kind, shape = "dense", element.shape if not is_group(element) else None
    values = element
    if is_group(element):
        told = element.attrs.get("encoding-type", element.attrs.get("h5sparse_format", ""))
        kind = (told.decode() if isinstance(told, bytes) else str(told))[:3]
        shape = element.attrs.get("shape", element.attrs.get("h5sparse_shape"))
        missing = [part for part in ("data", "indices", "indptr") if part not in element]
        if kind not in ("csr", "csc") or shape is None or missing:
            msg = f"{name}:{where} is stored as {told or 'something unknown'!r}, wanted a csr, csc or dense matrix."
            raise FormatError(msg)
        values = element["data"]
    if shape is None or len(shape) != 2 or values.dtype.kind not in "fiub":
        msg = f"{name}:{where} holds {values.dtype} of shape {shape}, wanted a matrix of numbers."
        raise FormatError(msg)
    return kind, (int(shape[0]), int(shape[1]))


def _library_rows(file: Any, layout: MatrixLayout, name: str) -> RowReader:
    element = _element(file, layout.where, name)
    encoding, shape = _encoding(element, layout.where, name)
    if encoding == "dense":
        return DenseRows(LibraryArray(element, name), name)
    return sparse_reader(element, shape, None, name, encoding=encoding)
