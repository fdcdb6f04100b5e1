"""The chunks of an HDF5 dataset, read without HDF5.

HDF5 reads under one global lock, so a second core cannot help it. Here it is known from a layout where the compressed
chunks lie; the bytes are then read and inflated by any number of threads, straight into the caller's array.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from isal import isal_zlib

from whycell.data.layouts import ArrayLayout
from whycell.data.ranges import GAP, SPAN, ByteSource, LibraryArray, PlainArray, StoredArray
from whycell.errors import FormatError

__all__ = ["FILTERS", "ChunkedArray", "array_of", "layout_of", "on_grid", "open_array"]

FILTERS = GZIP, SHUFFLE, ZSTD = 1, 2, 32015  # numbers of the filters in the HDF5 registry


class ChunkedArray:
    """A chunked HDF5 dataset whose chunks are read by their places and inflated here.

    Parameters
    ----------
    source
        The bytes of the file.
    layout
        Where the chunks lie; its filters are from `FILTERS`.

    Raises
    ------
    FormatError
        Where the file is shorter than its chunks need.
    """

    def __init__(self, source: ByteSource, layout: ArrayLayout) -> None:
        self._source = source
        self._layout = layout
        self._filters = layout.filters
        self.name = f"{source.name}:{layout.name}"
        self.shape: tuple[int, ...] = layout.shape
        self.dtype: np.dtype[Any] = np.dtype(layout.dtype)
        self._chunk: tuple[int, ...] = layout.chunk or layout.shape
        self._grid = layout.grid
        self._nbytes = math.prod(self._chunk) * self.dtype.itemsize
        self._offsets, self._sizes, self._skips = layout.offsets, layout.sizes, layout.masks
        if layout.end > source.size:
            msg = f"{source.name} has {source.size} bytes and {layout.end} are needed: it is cut off; copy it again."
            raise FormatError(msg)

    def cuts(self, start: int, stop: int, target: int) -> list[tuple[int, int]]:
        """Ranges of about ``target`` elements that end where a chunk ends, so that none is inflated twice."""
        span = getattr(self._source, "span", 0)
        if span:
            return self._cuts_by_bytes(start, stop, span, target)
        rows = max(1, target // max(1, math.prod(self.shape[1:])))
        step = max(1, rows // self._chunk[0]) * self._chunk[0]
        edges = [start, *range((start // step + 1) * step, stop, step), stop]
        return [(a, b) for a, b in pairwise(edges) if b > a]

    def _cuts_by_bytes(self, start: int, stop: int, span: int, target: int) -> list[tuple[int, int]]:
        """Ranges that are one request each: where every request costs a journey, they are few and of one size."""
        if stop <= start:
            return []
        first, last = self._layout.rows_of(start, stop)
        across = math.prod(self._grid[1:])
        begin = self._offsets[first:last:across]
        end = self._offsets[first + across - 1 : last : across] + self._sizes[first + across - 1 : last : across]
        total = int(self._sizes[first:last].sum())
        parts = max(1, -(-total // span))
        if across > 1 or len(self.shape) > 1:  # many zeros pack into few bytes: dense rows must not fill the memory
            parts = max(parts, (stop - start) * math.prod(self.shape[1:]) // (2 * target))
        far = np.flatnonzero((begin[1:] - end[:-1] > GAP) | (begin[1:] < end[:-1])) + 1
        steps = np.cumsum(np.add.reduceat(self._sizes[first:last], np.arange(0, last - first, across)))
        full = np.searchsorted(steps, np.arange(1, parts) * (total / parts)) + 1
        tops = np.unique(np.concatenate([far, full])) + first // across
        edges = [start, *(e for e in (tops * self._chunk[0]).tolist() if start < e < stop), stop]
        return list(pairwise(edges))

    def read_into(self, out: np.ndarray, start: int, stop: int) -> None:
        """Fill ``out`` with the elements or rows ``start:stop``."""
        if stop <= start:
            return
        first, last = self._layout.rows_of(start, stop)
        for chunk_id, raw in self._raw(first, last):
            self._place(out, start, stop, chunk_id, self._decode(chunk_id, raw))

    def _raw(self, first: int, last: int) -> Iterator[tuple[int, memoryview | None]]:
        """The compressed bytes of the chunks ``first:last``, neighbours fetched together."""
        at = first
        while at < last:
            begin = int(self._offsets[at])
            end = begin + int(self._sizes[at])
            until = at + 1
            while until < last and self._sizes[at]:
                offset, size = int(self._offsets[until]), int(self._sizes[until])
                if not size or not 0 <= offset - end <= GAP or offset + size - begin > SPAN:
                    break
                end = offset + size
                until += 1
            span = memoryview(self._source.read(begin, end - begin)) if end > begin else None
            for chunk_id in range(at, until):
                offset = int(self._offsets[chunk_id]) - begin
                yield chunk_id, None if span is None else span[offset : offset + int(self._sizes[chunk_id])]
            at = until

    def _decode(self, chunk_id: int, raw: memoryview | None) -> np.ndarray:
        """The elements of one chunk, flat; edge chunks are stored whole."""
        if raw is None:
            return np.full(math.prod(self._chunk), self._layout.fill, dtype=self.dtype)
        data: Any = raw
        skip = int(self._skips[chunk_id])
        try:
            for position in reversed(range(len(self._filters))):
                if not skip >> position & 1:
                    data = _undo(self._filters[position], data, self._nbytes, self.dtype.itemsize)
            return np.frombuffer(data, self.dtype, count=self._nbytes // self.dtype.itemsize)
        except Exception as error:  # each inflater has an error class of its own
            at = int(self._offsets[chunk_id])
            msg = f"{self.name} is damaged at byte {at}: a chunk does not inflate; copy the file again."
            raise FormatError(msg) from error

    def _place(self, out: np.ndarray, start: int, stop: int, chunk_id: int, values: np.ndarray) -> None:
        across = math.prod(self._grid[1:])
        top = chunk_id // across * self._chunk[0]
        low, high = max(start, top), min(stop, top + self._chunk[0], self.shape[0])
        if len(self.shape) == 1:
            out[low - start : high - start] = values[low - top : high - top]
            return
        left = chunk_id % across * self._chunk[1]
        right = min(left + self._chunk[1], self.shape[1])
        tile = values.reshape(self._chunk)[low - top : high - top, : right - left]
        out[low - start : high - start, left:right] = tile


def _undo(number: int, data: Any, nbytes: int, itemsize: int) -> Any:
    if number == GZIP:
        return isal_zlib.decompress(data, 15, nbytes)
    if number == ZSTD:
        import zstandard  # comes with the ontology guide; few files need it

        return zstandard.ZstdDecompressor().decompress(data, max_output_size=nbytes)
    planes = np.frombuffer(data, np.uint8).reshape(itemsize, -1)
    together = np.empty((planes.shape[1], itemsize), dtype=np.uint8)
    for place, plane in enumerate(planes):  # three times as fast as transposing in one go
        together[:, place] = plane
    return together


def open_array(dataset: Any, source: ByteSource | None) -> StoredArray:
    """The fastest reader that a dataset's layout allows.

    Parameters
    ----------
    dataset
        An open h5py dataset (or zarr array) of numbers with one or two dimensions.
    source
        The bytes of the same file; ``None`` leaves the reading to the library.

    Returns
    -------
    A `ChunkedArray` for gzip and zstd chunks with or without shuffle, a `PlainArray` for one uncompressed piece, and
    a `LibraryArray` for everything else (lzf, blosc, external storage).
    """
    name = f"{source.name if source is not None else ''}:{str(dataset.name).lstrip('/')}"
    if source is None or not hasattr(dataset, "id") or dataset.external or getattr(dataset, "is_virtual", False):
        return LibraryArray(dataset, name)
    layout = layout_of(dataset)
    if layout is None:
        return LibraryArray(dataset, name)
    return array_of(source, layout)


def layout_of(dataset: Any) -> ArrayLayout | None:
    """Where h5py says that the pieces of a dataset lie; ``None`` where only the library can read them.

    Parameters
    ----------
    dataset
        An open h5py dataset of numbers with one or two dimensions; it is not kept.
    """
    name = str(dataset.name).lstrip("/")
    common = (name, tuple(dataset.shape), dataset.dtype.str)
    if dataset.chunks is None:
        offset = dataset.id.get_offset()
        if offset is None or dataset.size == 0:
            return None
        place = np.array([offset], dtype=np.int64)
        return ArrayLayout(*common, None, (), 0, place, np.array([dataset.nbytes]), np.zeros(1, np.int64))
    plan = dataset.id.get_create_plist()
    filters = tuple(plan.get_filter(i)[0] for i in range(plan.get_nfilters()))
    if not set(FILTERS).issuperset(filters) or not hasattr(dataset.id, "chunk_iter"):
        return None
    found: list[Any] = []
    dataset.id.chunk_iter(found.append)
    where = np.array([c.chunk_offset for c in found], dtype=np.int64).reshape(len(found), dataset.ndim)
    told = np.array([(c.byte_offset, c.size, c.filter_mask) for c in found], dtype=np.int64).reshape(-1, 3)
    fill = dataset.fillvalue.item()
    return ArrayLayout(*common, dataset.chunks, filters, fill, *on_grid(dataset.shape, dataset.chunks, where, told))


def on_grid(
    shape: tuple[int, ...], chunk: tuple[int, ...], where: np.ndarray, told: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Chunks found in any order, in the order of the grid.

    Parameters
    ----------
    shape, chunk
        Of the array and of a chunk.
    where
        (n, n_axes) first element of each chunk found.
    told
        (n, 3) offset, size and filter mask of each.

    Returns
    -------
    Offsets, sizes and masks of every place of the grid; size 0 where no chunk was found.
    """
    grid = [-(-s // c) for s, c in zip(shape, chunk, strict=True)]
    ids = np.zeros(len(where), dtype=np.int64)
    for axis, step in enumerate(chunk):
        ids = ids * grid[axis] + where[:, axis] // step
    columns = np.zeros((3, math.prod(grid)), dtype=np.int64)
    columns[:, ids] = told.T
    return columns[0], columns[1], columns[2]


def array_of(source: ByteSource, layout: ArrayLayout) -> ChunkedArray | PlainArray:
    """The reader of an array whose pieces are known.

    Parameters
    ----------
    source
        The bytes of the file.
    layout
        Where they lie.
    """
    if layout.chunk is not None:
        return ChunkedArray(source, layout)
    return PlainArray(source, int(layout.offsets[0]), layout.shape, np.dtype(layout.dtype))
