"""The bytes of a file, handed out by ranges, and the arrays on disk that need no inflating.

What the bytes come from is behind `ByteSource`: a file on disk, or one behind an address (`whycell.data.remote`).
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from whycell.errors import FormatError

__all__ = ["GAP", "SPAN", "ByteSource", "LibraryArray", "LocalFile", "PlainArray", "StoredArray"]

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
        span = getattr(self._source, "span", 0) // self.dtype.itemsize
        return _even_cuts(start, stop, max(1, (span or target) // max(1, self._row)))


def _even_cuts(start: int, stop: int, step: int) -> list[tuple[int, int]]:
    return [(a, min(a + step, stop)) for a in range(start, stop, step)]
