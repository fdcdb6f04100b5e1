"""Links and attributes that newer HDF5 groups keep in a fractal heap, found through a version 2 B-tree.

Known: managed objects in direct blocks, the root's or one indirect block's, and trees of one level below the root:
thousands of links. Anything larger is left to h5py.
"""

from __future__ import annotations

from dataclasses import dataclass

from whycell.data.hdf5_headers import UNDEFINED, unpack
from whycell.data.hdf5_walk import UnknownLayoutError, Walk

__all__ = ["heap_objects"]

LINKS, ATTRIBUTES = 5, 8  # kinds of records: where in them the id of an object stands
LARGEST = 1 << 20  # bytes of a node; more is damage, and would be fetched in vain
_ID_AT = {LINKS: 4, ATTRIBUTES: 0}


@dataclass(frozen=True)
class _Heap:
    """A fractal heap: its numbers, and where its direct blocks lie in the space of its offsets."""

    offset_width: int
    length_width: int
    blocks: list[tuple[int, int, int]]  # first offset, size, address

    def place(self, raw_id: bytes) -> tuple[int, int]:
        """Address and size of an object."""
        if raw_id[0] >> 4:
            msg = "an object of a heap is not a managed one"
            raise UnknownLayoutError(msg)
        offset = int.from_bytes(raw_id[1 : 1 + self.offset_width], "little")
        at = 1 + self.offset_width
        size = int.from_bytes(raw_id[at : at + self.length_width], "little")
        for start, n, address in self.blocks:
            if start <= offset < start + n and address != UNDEFINED:
                return address + offset - start, size
        msg = "an object of a heap lies in no block of it"
        raise UnknownLayoutError(msg)


def heap_objects(heap: int, tree: int) -> Walk[list[bytes]]:
    """The bytes of every object of a heap that a tree names.

    Parameters
    ----------
    heap, tree
        Addresses of the fractal heap and of the version 2 B-tree over names.
    """
    found = yield from _heap(heap)
    places = [found.place(raw_id) for raw_id in (yield from _ids(tree))]
    return (yield places)


def _heap(address: int) -> Walk[_Heap]:
    (raw,) = yield [(address, 146)]
    (filters,) = unpack("H", raw, 7)
    if raw[:4] != b"FRHP" or filters:
        msg = "a heap of links is packed or of another kind"
        raise UnknownLayoutError(msg)
    (largest,) = unpack("I", raw, 10)
    width, start, most, bits, _, root, rows = unpack("HQQHHQH", raw, 110)
    offset_width = -(-bits // 8)
    length_width = -(-min(most, largest).bit_length() // 8)
    if not rows:
        return _Heap(offset_width, length_width, [(0, start, root)])
    if rows > (most // start).bit_length() + 1:
        msg = "a heap of links has more than one level"
        raise UnknownLayoutError(msg)
    head = 13 + offset_width
    (raw,) = yield [(root, head + 8 * rows * width)]
    if raw[:4] != b"FHIB":
        msg = "a heap of links is of another kind"
        raise UnknownLayoutError(msg)
    blocks, reach = [], 0
    for i, at in enumerate(unpack(f"{rows * width}Q", raw, head)):
        size = start << max(0, i // width - 1)  # the first two rows are alike, then each doubles
        blocks.append((reach, size, at))
        reach += size
    return _Heap(offset_width, length_width, blocks)


def _ids(tree: int) -> Walk[list[bytes]]:
    (raw,) = yield [(tree, 38)]
    kind, node, width, depth = unpack("BIHH", raw, 5)
    root, n_root = unpack("QH", raw, 16)
    if raw[:4] != b"BTHD" or kind not in _ID_AT or depth > 1 or node > LARGEST:
        msg = "an index of links is deeper or of another kind"
        raise UnknownLayoutError(msg)
    if root == UNDEFINED or not n_root:
        return []
    (raw,) = yield [(root, node)]
    records = _records(raw, n_root, width, b"BTIN" if depth else b"BTLF")
    if depth:
        counted = -(-((node - 10) // width).bit_length() // 8)  # bytes of a count of records of a leaf
        at, children = 6 + n_root * width, []
        for _ in range(n_root + 1):
            address = unpack("Q", raw, at)[0]
            children.append((address, int.from_bytes(raw[at + 8 : at + 8 + counted], "little")))
            at += 8 + counted
        bodies = yield [(address, node) for address, _ in children]
        for body, (_, n) in zip(bodies, children, strict=True):
            records += _records(body, n, width, b"BTLF")
    return [record[_ID_AT[kind] :] for record in records]


def _records(raw: bytes, n: int, width: int, signature: bytes) -> list[bytes]:
    if raw[:4] != signature or len(raw) < 6 + n * width:
        msg = "a node of an index of links is of another kind"
        raise UnknownLayoutError(msg)
    return [raw[6 + i * width : 6 + (i + 1) * width] for i in range(n)]
