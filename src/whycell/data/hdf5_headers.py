"""The header of an HDF5 object, read as the file format specification writes it (HDF Group, version 3).

Known: superblocks 0 to 3, object headers 1 and 2, and of their messages dataspace, datatype, fill value, links, layout,
filters, attributes and symbol table. Anything else that matters raises `UnknownLayoutError`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from whycell.data.hdf5_walk import UnknownLayoutError, Walk

__all__ = ["UNDEFINED", "Message", "Superblock", "find_superblock", "header_messages", "unpack"]

SIGNATURE = b"\x89HDF\r\n\x1a\n"
UNDEFINED = 0xFFFFFFFFFFFFFFFF
NIL, SUPER_K, CONTINUATION = 0x00, 0x13, 0x10
SHARED = 0x02
GUESS = 512  # bytes of a header asked for at first; pages make it more
MOST = 4096  # messages of one header


@dataclass(frozen=True)
class Superblock:
    """Where a file starts, and the sizes of its nodes.

    Parameters
    ----------
    root
        Address of the header of the root group.
    base
        Byte of the file at which addresses count from 0.
    leaf_k, group_k, chunk_k
        Half the entries of a symbol node, of a group's tree node and of a chunk tree's node.
    """

    root: int
    base: int
    leaf_k: int = 4
    group_k: int = 16
    chunk_k: int = 32


@dataclass(frozen=True)
class Message:
    """One message of an object header."""

    kind: int
    flags: int
    body: bytes = field(repr=False)


def unpack(pattern: str, raw: bytes, at: int = 0) -> tuple[int, ...]:
    """Little-endian numbers at a place; too few bytes are an unknown layout."""
    try:
        return struct.unpack_from("<" + pattern, raw, at)
    except struct.error:
        msg = "a structure is cut short"
        raise UnknownLayoutError(msg) from None


def find_superblock() -> Walk[Superblock]:
    """The superblock at byte 0, or behind a user block of 512 bytes, 1024, 2048 and so on to 64 KB."""
    place = 0
    while True:
        (raw,) = yield [(place, 128)]
        if raw.startswith(SIGNATURE):
            break
        place = max(512, place * 2)
        if place > 1 << 16:
            msg = "it is not an HDF5 file"
            raise UnknownLayoutError(msg)
    version = raw[8]
    if version in (0, 1):
        offsets, lengths = raw[13], raw[14]
        leaf_k, group_k = unpack("HH", raw, 16)
        chunk_k = unpack("H", raw, 24)[0] if version == 1 else 32
        at = 24 if version == 0 else 28
        base, root = unpack("Q", raw, at)[0], unpack("Q", raw, at + 32 + 8)[0]
    elif version in (2, 3):
        offsets, lengths = raw[9], raw[10]
        leaf_k, group_k, chunk_k = 4, 16, 32
        base, extension, _, root = unpack("QQQQ", raw, 12)
        if extension != UNDEFINED:
            for message in (yield from _messages_at(extension + base)):
                if message.kind == SUPER_K:
                    chunk_k, group_k, leaf_k = unpack("HHH", message.body, 1)
    else:
        msg = f"its superblock has version {version}"
        raise UnknownLayoutError(msg)
    if (offsets, lengths) != (8, 8):
        msg = f"its addresses have {offsets} bytes and its lengths {lengths}"
        raise UnknownLayoutError(msg)
    return Superblock(root, base, leaf_k, group_k, chunk_k)


def header_messages(address: int) -> Walk[list[Message]]:
    """All messages of the object header at an address, its continuations included."""
    return (yield from _messages_at(address))


def _messages_at(address: int) -> Walk[list[Message]]:
    (raw,) = yield [(address, GUESS)]
    if raw[:4] == b"OHDR":
        flags = raw[5]
        at = 6 + (16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        size = int.from_bytes(raw[at : at + width], "little")
        start, tracked = at + width, bool(flags & 0x04)
        blocks = [(address + start, size, 2)]
    elif raw[0] == 1:
        (size,) = unpack("I", raw, 8)
        blocks, start, tracked = [(address + 16, size, 1)], 16, False
    else:
        msg = "an object header is of another kind"
        raise UnknownLayoutError(msg)
    found: list[Message] = []
    first = raw[start : start + size] if start + size <= len(raw) else None
    while blocks:
        place, size, version = blocks.pop(0)
        if first is not None:
            body, first = first, None
        else:
            (body,) = yield [(place, size)]
        for message in _split(body, version=version, tracked=tracked):
            if message.kind == CONTINUATION:
                offset, length = unpack("QQ", message.body)
                # a continuation of version 2 stands between its signature and its checksum
                blocks.append((offset, length, 1) if version == 1 else (offset + 4, length - 8, 2))
            elif message.kind != NIL:
                found.append(message)
        if len(found) > MOST:
            msg = "an object header does not end"
            raise UnknownLayoutError(msg)
    return found


def _split(body: bytes, *, version: int, tracked: bool) -> Iterator[Message]:
    at, head = 0, 8 if version == 1 else 4 + 2 * tracked
    while at + head <= len(body):
        if version == 1:
            kind, size, flags = unpack("HHB", body, at)
        else:
            kind, size, flags = unpack("BHB", body, at)
        at += head
        yield Message(kind, flags, body[at : at + size])
        at += size
