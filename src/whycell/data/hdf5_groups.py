"""What an HDF5 group holds: names and the addresses of their headers.

Older groups keep a B-tree of symbol nodes and a heap of names. Newer ones keep links in their header, and where there
are more than eight in a fractal heap.
"""

from __future__ import annotations

from whycell.data.hdf5_headers import UNDEFINED, Message, Superblock, unpack
from whycell.data.hdf5_heap import heap_objects
from whycell.data.hdf5_walk import UnknownLayoutError, Walk

__all__ = ["links_of"]

LINK_INFO, LINK, SYMBOL_TABLE = 2, 6, 17
MOST = 1 << 20  # nodes of one group


def links_of(messages: list[Message], block: Superblock) -> Walk[dict[str, int]]:
    """Names in a group and the addresses of their headers; soft and external links are left out.

    Parameters
    ----------
    messages
        Of the header of the group.
    block
        Of the file.

    Raises
    ------
    UnknownLayoutError
        A structure that is damaged or not known.
    """
    found: dict[str, int] = {}
    for message in messages:
        if message.kind == SYMBOL_TABLE:
            tree, heap = unpack("QQ", message.body)
            found |= yield from _symbols(tree, heap, block)
        elif message.kind == LINK:
            found |= _link(message.body)
        elif message.kind == LINK_INFO:
            heap, tree = unpack("QQ", message.body, 2 + (8 if message.body[1] & 1 else 0))
            if heap != UNDEFINED:
                for raw in (yield from heap_objects(heap, tree)):
                    found |= _link(raw)
    return found


def _link(raw: bytes) -> dict[str, int]:
    flags, at = raw[1], 2
    kind = raw[at] if flags & 0x08 else 0
    at += (1 if flags & 0x08 else 0) + (8 if flags & 0x04 else 0) + (1 if flags & 0x10 else 0)
    width = 1 << (flags & 3)
    length = int.from_bytes(raw[at : at + width], "little")
    name = raw[at + width : at + width + length].decode("utf-8", "replace")
    return {name: unpack("Q", raw, at + width + length)[0]} if kind == 0 else {}


def _symbols(tree: int, heap: int, block: Superblock) -> Walk[dict[str, int]]:
    names = yield from _names(heap)
    leaves = yield from _leaves(tree, block)
    width = 8 + 2 * block.leaf_k * 40
    bodies = yield [(leaf, width) for leaf in leaves]
    found: dict[str, int] = {}
    for raw in bodies:
        if raw[:4] != b"SNOD":
            msg = "a node of a group is of another kind"
            raise UnknownLayoutError(msg)
        (used,) = unpack("H", raw, 6)
        for at in range(8, 8 + 40 * used, 40):
            name, address, cached = unpack("QQI", raw, at)
            if cached != 2:  # 2 is a soft link
                end = names.find(b"\0", name)
                found[names[name:end].decode("utf-8", "replace")] = address
    return found


def _names(heap: int) -> Walk[bytes]:
    (raw,) = yield [(heap, 32)]
    if raw[:4] != b"HEAP":
        msg = "a heap of names is of another kind"
        raise UnknownLayoutError(msg)
    size, _, data = unpack("QQQ", raw, 8)
    (names,) = yield [(data, size)]
    return names


def _leaves(tree: int, block: Superblock) -> Walk[list[int]]:
    width = 24 + (2 * block.group_k + 1) * 8 + 2 * block.group_k * 8
    nodes, seen = [tree], 0
    while True:
        bodies = yield [(node, width) for node in nodes]
        children: list[int] = []
        level = 0
        for raw in bodies:
            if len(raw) < width or raw[:4] != b"TREE" or raw[4] != 0:
                msg = "a node of a group is of another kind"
                raise UnknownLayoutError(msg)
            level, (used,) = raw[5], unpack("H", raw, 6)
            children += [unpack("Q", raw, 24 + 8 + 16 * i)[0] for i in range(used)]
        if level == 0 or not children:
            return children
        nodes, seen = children, seen + len(children)
        if seen > MOST:
            msg = "the tree of a group does not end"
            raise UnknownLayoutError(msg)
