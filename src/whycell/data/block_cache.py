"""A file behind an address for libraries that want to seek and read: kept in blocks, fetched ahead, bounded.

h5py asks for a few bytes here and there. Blocks of a file are fetched whole and kept, the one used longest ago leaves
first; a known part of the file can be fetched ahead, its blocks all at once.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import h5py

from whycell.data.ranges import ByteSource
from whycell.errors import FormatError

__all__ = ["BlockCache", "open_h5"]

BLOCK = 256 * 1024
KEPT = 96 * 1024 * 1024  # bytes of blocks kept of one file


class BlockCache(io.RawIOBase):
    """A `ByteSource` as a seekable file of blocks.

    Parameters
    ----------
    source
        The bytes.
    block
        Size of a block in bytes.
    kept
        Bytes of blocks kept at most.
    """

    def __init__(self, source: ByteSource, *, block: int = BLOCK, kept: int = KEPT) -> None:
        self._source = source
        self._block = block
        self._most = max(2, kept // block)
        self._blocks: OrderedDict[int, memoryview] = OrderedDict()
        self._at = 0
        self._last = -2
        self._lock = threading.RLock()

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Fill ``buffer`` from the blocks; those missing are fetched together."""
        out = memoryview(buffer).cast("B")
        with self._lock:
            stop = min(self._at + len(out), self._source.size)
            if stop <= self._at:
                return 0
            first, last = self._at // self._block, (stop - 1) // self._block
            sequential = first in (self._last, self._last + 1) and last > self._last
            self._fetch(range(first, last + (2 if sequential else 1)))  # who walks on will want the next block too
            self._last = last
            done = 0
            for number in range(first, last + 1):
                low = self._at + done - number * self._block
                piece = self._blocks[number][low : low + len(out) - done]
                out[done : done + len(piece)] = piece
                done += len(piece)
            self._at += done
            self._trim()
        return done

    def prefetch(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Fetch the blocks that hold these ranges (pairs of offset and size), all at once."""
        wanted = {
            b for offset, size in ranges for b in range(offset // self._block, -(-(offset + size) // self._block))
        }
        with self._lock:
            self._fetch(sorted(wanted))

    def _fetch(self, numbers: Sequence[int]) -> None:
        end = -(-self._source.size // self._block)
        missing = [n for n in numbers if n not in self._blocks and 0 <= n < end]
        ranges = [(n * self._block, min(self._block, self._source.size - n * self._block)) for n in missing]
        read_many = getattr(self._source, "read_many", None)
        if read_many is not None:
            bodies = read_many(ranges)
        else:
            bodies = [memoryview(self._source.read(*each)) for each in ranges]
        for number, body in zip(missing, bodies, strict=True):
            self._blocks[number] = body
        for number in numbers:
            if number in self._blocks:
                self._blocks.move_to_end(number)

    def _trim(self) -> None:
        while len(self._blocks) > self._most:
            self._blocks.popitem(last=False)


def open_h5(source: ByteSource, *, block: int = BLOCK) -> h5py.File:
    """An HDF5 file behind an address, open in h5py over a `BlockCache`.

    Parameters
    ----------
    source
        The bytes.
    block
        Size of a block in bytes.

    Raises
    ------
    FormatError
        It is no HDF5 file, or is cut off.
    """
    try:
        return h5py.File(BlockCache(source, block=block), "r")
    except OSError as error:
        cut = "truncated" in str(error) or "eof" in str(error).lower()
        what = "is cut off" if cut else "is not an HDF5 file, or a damaged one"
        msg = f"{source.name} {what} ({source.size:,} bytes); copy it again or leave it out."
        raise FormatError(msg) from error
