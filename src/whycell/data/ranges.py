"""The bytes of a file, and the chunks of an HDF5 dataset read without HDF5.

HDF5 reads under one global lock, so a second core cannot help it. Here h5py is asked once where the compressed chunks
lie; the bytes are then read and inflated by any number of threads, straight into the caller's array. What the bytes
come from is behind `ByteSource`, so that the same reader can later stand on a remote file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from isal import isal_zlib

from whycell.errors import FormatError

__all__ = ["ByteSource", "ChunkedArray", "LibraryArray", "LocalFile", "PlainArray", "StoredArray", "open_array"]

GZIP, SHUFFLE, ZSTD = 1, 2, 32015  # numbers of the filters in the HDF5 registry
GAP = 8 * 1024  # B-tree nodes lie between chunks; reading over them is cheaper than a second request
SPAN = 4 * 1024 * 1024  # the most that one request asks for


class ByteSource(Protocol):
    """Something that hands out ranges of bytes, from any thread."""

    @property
    def name(self) -> str:
        """What a message calls it."""

    @property
    def size(self) -> int:
        """Number of bytes."""

    def read(self, offset: int, size: int) -> bytes:
        """The ``size`` bytes from ``offset`` on; `FormatError` where there are fewer."""

    def close(self) -> None:
        """Give back what is held open."""


class LocalFile:
    """A file on disk as a `ByteSource`.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._fd = os.open(path, os.O_RDONLY)
        self.size = os.fstat(self._fd).st_size

    def read(self, offset: int, size: int) -> bytes:
        """The ``size`` bytes from ``offset`` on; `FormatError` where there are fewer."""
        got = os.pread(self._fd, size, offset)
        while len(got) < size:
            more = os.pread(self._fd, size - len(got), offset + len(got))
            if not more:
                msg = f"{self.name} ends at byte {self.size}, {offset + size} are needed: it is cut off; copy it again."
                raise FormatError(msg)
            got += more
        return got

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class StoredArray(Protocol):
    """A one- or two-dimensional array on disk, read by ranges of its first axis, from any thread."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read_into(self, out: np.ndarray, start: int, stop: int) -> None:
        """Fill ``out``, of shape (stop - start, ...), with the elements or rows ``start:stop``."""

    def cuts(self, start: int, stop: int, target: int) -> list[tuple[int, int]]:
        """Ranges that cover ``start:stop``, each of about ``target`` elements, cut where reading is cheapest."""


class LibraryArray:
    """An h5py or zarr array read by its own library: the fallback for layouts that only the library knows.

    Parameters
    ----------
    array
        Anything with ``shape``, ``dtype`` and slicing.
    name
        What a message calls it.
    """

    def __init__(self, array: Any, name: str) -> None:
        self._array = array
        self.name = name
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.dtype: np.dtype[Any] = np.dtype(array.dtype)

    def read_into(self, out: np.ndarray, start: int, stop: int) -> None:
        """Fill ``out`` with the elements or rows ``start:stop``."""
        if stop <= start:
            return
        try:
            out[...] = self._array[start:stop]
        except (OSError, RuntimeError, ValueError) as error:
            plugin = "filter" in str(error) or "plugin" in str(error)
            cure = (
                "its compression needs a plugin: pip install hdf5plugin."
                if plugin
                else "it is damaged or cut off; copy it again."
            )
            msg = f"{self.name} cannot be read at {start}:{stop}: {cure}"
            raise FormatError(msg) from error

    def cuts(self, start: int, stop: int, target: int) -> list[tuple[int, int]]:
        """One range for one-dimensional arrays: the library reads under a lock, more would not help."""
        if len(self.shape) == 1:
            return [(start, stop)]
        return _even_cuts(start, stop, max(1, target // max(1, math.prod(self.shape[1:]))))


class PlainArray:
    """An uncompressed HDF5 dataset in one piece.

    Parameters
    ----------
    source, offset
        Where its first byte lies.
    shape, dtype
        As stored.
    """

    def __init__(self, source: ByteSource, offset: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._source = source
        self._offset = offset
        self.shape = shape
        self.dtype = dtype
        self._row = math.prod(shape[1:])

    def read_into(self, out: np.ndarray, start: int, stop: int) -> None:
        """Fill ``out`` with the elements or rows ``start:stop``."""
        step = self._row * self.dtype.itemsize
        raw = self._source.read(self._offset + start * step, (stop - start) * step)
        out[...] = np.frombuffer(raw, self.dtype).reshape(out.shape)

    def cuts(self, start: int, stop: int, target: int) -> list[tuple[int, int]]:
        """Ranges of about ``target`` elements."""
        return _even_cuts(start, stop, max(1, target // max(1, self._row)))


class ChunkedArray:
    """A chunked HDF5 dataset whose chunks are found by h5py and inflated here.

    Parameters
    ----------
    source
        The bytes of the file.
    dataset
        The open h5py dataset; it is not kept.
    filters
        Numbers of the filters in the order they were applied; from `GZIP`, `SHUFFLE` and `ZSTD`.
    """

    def __init__(self, source: ByteSource, dataset: Any, filters: tuple[int, ...]) -> None:
        self._source = source
        self._filters = filters
        self.name = f"{source.name}:{dataset.name.lstrip('/')}"
        self.shape: tuple[int, ...] = tuple(dataset.shape)
        self.dtype: np.dtype[Any] = dataset.dtype
        self._chunk: tuple[int, ...] = tuple(dataset.chunks)
        self._fill = dataset.fillvalue
        self._grid = tuple(-(-s // c) for s, c in zip(self.shape, self._chunk, strict=True))
        self._nbytes = math.prod(self._chunk) * self.dtype.itemsize
        self._offsets, self._sizes, self._skips = self._find(dataset)

    def _find(self, dataset: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Offset, compressed size and skipped filters of every chunk; size 0 where none was ever written."""
        n = math.prod(self._grid)
        found: list[Any] = []
        dataset.id.chunk_iter(found.append)
        where = np.array([c.chunk_offset for c in found], dtype=np.int64).reshape(len(found), len(self.shape))
        ids = np.zeros(len(found), dtype=np.int64)
        for axis, step in enumerate(self._chunk):
            ids = ids * self._grid[axis] + where[:, axis] // step
        offsets, sizes, skips = (np.zeros(n, dtype=np.int64) for _ in range(3))
        offsets[ids] = [c.byte_offset for c in found]
        sizes[ids] = [c.size for c in found]
        skips[ids] = [c.filter_mask for c in found]
        end = int((offsets + sizes).max(initial=0))
        if end > self._source.size:
            msg = (
                f"{self._source.name} has {self._source.size} bytes and {end} are needed: it is cut off; copy it again."
            )
            raise FormatError(msg)
        return offsets, sizes, skips

    def cuts(self, start: int, stop: int, target: int) -> list[tuple[int, int]]:
        """Ranges of about ``target`` elements that end where a chunk ends, so that none is inflated twice."""
        rows = max(1, target // max(1, math.prod(self.shape[1:])))
        step = max(1, rows // self._chunk[0]) * self._chunk[0]
        edges = [start, *range((start // step + 1) * step, stop, step), stop]
        return [(a, b) for a, b in pairwise(edges) if b > a]

    def read_into(self, out: np.ndarray, start: int, stop: int) -> None:
        """Fill ``out`` with the elements or rows ``start:stop``."""
        if stop <= start:
            return
        across = math.prod(self._grid[1:])
        first, last = start // self._chunk[0] * across, -(-stop // self._chunk[0]) * across
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
            return np.full(math.prod(self._chunk), self._fill, dtype=self.dtype)
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


def _even_cuts(start: int, stop: int, step: int) -> list[tuple[int, int]]:
    return [(a, min(a + step, stop)) for a in range(start, stop, step)]


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
    if dataset.chunks is None:
        offset = dataset.id.get_offset()
        if offset is None or dataset.size == 0:
            return LibraryArray(dataset, name)
        return PlainArray(source, offset, tuple(dataset.shape), dataset.dtype)
    plan = dataset.id.get_create_plist()
    filters = tuple(plan.get_filter(i)[0] for i in range(plan.get_nfilters()))
    if not {GZIP, SHUFFLE, ZSTD}.issuperset(filters) or not hasattr(dataset.id, "chunk_iter"):
        return LibraryArray(dataset, name)
    return ChunkedArray(source, dataset, filters)
