"""The two chunk indexes that newer HDF5 files use for arrays with at most one unlimited axis.

A fixed array is one table. An extensible array is a first block with some entries, data blocks that double in size,
and super blocks that name the later ones. Large tables are cut into pages, and a bit tells which were ever written.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whycell.data.hdf5_headers import UNDEFINED, unpack
from whycell.data.hdf5_walk import UnknownLayoutError, Walk, together

__all__ = ["extensible_array", "fixed_array"]

CHECKSUM = 4


@dataclass(frozen=True)
class _Entry:
    """How an entry of a table is stored."""

    width: int
    raw_size: int
    filtered: bool

    def table(self, raw: bytes, n: int, at: int = 0) -> np.ndarray:
        """(n, 3) offset, size and filter mask; size 0 where no chunk was written."""
        kind: list[tuple[str, str] | tuple[str, str, tuple[int]]] = [("address", "<u8")]
        if self.filtered:
            kind += [("size", "u1", (self.width - 12,)), ("mask", "<u4")]
        if len(raw) < at + n * self.width:
            msg = "a table of chunks is cut short"
            raise UnknownLayoutError(msg)
        found = np.frombuffer(raw, np.dtype(kind), count=n, offset=at)
        there = found["address"] != UNDEFINED
        told = np.zeros((n, 3), dtype=np.int64)
        told[:, 0] = np.where(there, found["address"], 0)
        told[:, 1] = there * self.raw_size
        if self.filtered:
            weights = 256 ** np.arange(self.width - 12, dtype=np.int64)
            told[:, 1] = there * (found["size"].astype(np.int64) @ weights)
            told[:, 2] = np.where(there, found["mask"], 0)
        return told


def _entry(raw: bytes, signature: bytes, raw_size: int, *, filtered: bool) -> _Entry:
    if raw[:4] != signature or raw[5] != filtered or raw[6] != (raw[6] if filtered else 8):
        msg = "its chunk index is of another kind"
        raise UnknownLayoutError(msg)
    return _Entry(raw[6], raw_size, filtered)


def fixed_array(address: int, n: int, raw_size: int, *, filtered: bool) -> Walk[np.ndarray]:
    """(n, 3) offset, size and filter mask of the chunks of a fixed array.

    Parameters
    ----------
    address
        Of the header of the index.
    n
        Number of chunks.
    raw_size
        Bytes of a chunk that no filter has changed.
    filtered
        Whether the dataset has filters.
    """
    (raw,) = yield [(address, 28)]
    entry = _entry(raw, b"FAHD", raw_size, filtered=filtered)
    page = 1 << raw[7]
    held, block = unpack("QQ", raw, 8)
    if block == UNDEFINED:
        return np.zeros((n, 3), dtype=np.int64)
    n_pages = -(-held // page) if held > page else 0
    head = 14 + (-(-n_pages // 8) + CHECKSUM if n_pages else 0)
    width = head + held * entry.width + n_pages * CHECKSUM
    (raw,) = yield [(block, width)]
    if not n_pages:
        return entry.table(raw, held, head)[:n]
    return _paged(entry, raw[head:], held, page, raw[14:])[:n]


def _paged(entry: _Entry, raw: bytes, held: int, page: int, bits: bytes) -> np.ndarray:
    """The pages of a table, those never written left empty."""
    told = np.zeros((held, 3), dtype=np.int64)
    step = page * entry.width + CHECKSUM
    for i, start in enumerate(range(0, held, page)):
        n = min(page, held - start)
        if bits[i // 8] & (0x80 >> i % 8):
            told[start : start + n] = entry.table(raw, n, i * step)
    return told


@dataclass(frozen=True)
class _Growth:
    """How an extensible array grows: block sizes follow from these numbers of its header."""

    entry: _Entry
    bits: int
    in_first: int
    smallest: int
    pointers: int
    page: int

    @property
    def offset_width(self) -> int:
        return -(-self.bits // 8)

    def blocks(self, level: int) -> tuple[int, int]:
        """Number of data blocks of a super block, and entries of each."""
        return 1 << level // 2, (1 << (level + 1) // 2) * self.smallest

    @property
    def levels(self) -> int:
        return 1 + self.bits - (self.smallest.bit_length() - 1)

    @property
    def direct(self) -> int:
        """Super blocks that do not exist on disk: the first block names their data blocks itself."""
        return 2 * (self.pointers.bit_length() - 1)


def extensible_array(address: int, n: int, raw_size: int, *, filtered: bool) -> Walk[np.ndarray]:
    """(n, 3) offset, size and filter mask of the chunks of an extensible array; the parameters are as of `fixed_array`.

    Parameters
    ----------
    address, n, raw_size, filtered
        Where it is, how many chunks it has, their size before filters, and whether it has any.
    """
    (raw,) = yield [(address, 72)]
    entry = _entry(raw, b"EAHD", raw_size, filtered=filtered)
    growth = _Growth(entry, raw[7], raw[8], raw[9], raw[10], 1 << raw[11])
    (block,) = unpack("Q", raw, 60)
    if block == UNDEFINED:
        return np.zeros((n, 3), dtype=np.int64)
    n_direct = 2 * (growth.pointers - 1)
    n_super = growth.levels - growth.direct
    width = 14 + growth.in_first * entry.width + 8 * (n_direct + n_super)
    (raw,) = yield [(block, width)]
    if raw[:4] != b"EAIB":
        msg = "its chunk index is of another kind"
        raise UnknownLayoutError(msg)
    parts = [entry.table(raw, growth.in_first, 14)]
    at = 14 + growth.in_first * entry.width
    names = unpack(f"{n_direct + n_super}Q", raw, at)
    walks, reach, used = [], growth.in_first, 0
    for level in range(growth.levels):
        count, size = growth.blocks(level)
        if reach >= n:
            break
        if level < growth.direct:
            walks += [_data_block(each, size, growth, None) for each in names[used : used + count]]
            used += count
        else:
            walks.append(_super_block(names[n_direct + level - growth.direct], level, growth))
        reach += count * size
    parts += yield from together(walks)
    return np.concatenate(parts)[:n]


def _super_block(address: int, level: int, growth: _Growth) -> Walk[np.ndarray]:
    count, size = growth.blocks(level)
    if address == UNDEFINED:
        return np.zeros((count * size, 3), dtype=np.int64)
    n_bits = -(-(size // growth.page) // 8) if size > growth.page else 0
    at = 14 + growth.offset_width
    (raw,) = yield [(address, at + count * (n_bits + 8))]
    names = unpack(f"{count}Q", raw, at + count * n_bits)
    bits = [raw[at + i * n_bits : at + (i + 1) * n_bits] if n_bits else None for i in range(count)]
    found = yield from together([_data_block(names[i], size, growth, bits[i]) for i in range(count)])
    return np.concatenate(found)


def _data_block(address: int, size: int, growth: _Growth, bits: bytes | None) -> Walk[np.ndarray]:
    if address == UNDEFINED:
        return np.zeros((size, 3), dtype=np.int64)
    head = 14 + growth.offset_width
    if size <= growth.page or bits is None:
        (raw,) = yield [(address, head + size * growth.entry.width)]
        return growth.entry.table(raw, size, head)
    head += CHECKSUM
    pages = size // growth.page
    (raw,) = yield [(address, head + size * growth.entry.width + pages * CHECKSUM)]
    return _paged(growth.entry, raw[head:], size, growth.page, bits)
