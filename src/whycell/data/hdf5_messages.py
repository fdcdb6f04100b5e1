"""What the messages of an HDF5 header say: shape, type, filters, fill value, layout, attributes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from whycell.data.hdf5_headers import SHARED, UNDEFINED, Message, unpack
from whycell.data.hdf5_walk import UnknownLayoutError

__all__ = ["Attribute", "Stored", "TypeOf", "attribute_of", "stored_of", "type_of"]

DATASPACE, DATATYPE, OLD_FILL, FILL, LAYOUT, EXTERNAL, FILTERS, ATTRIBUTE = 1, 3, 4, 5, 8, 7, 11, 12
COMPACT, CONTIGUOUS, CHUNKED = 0, 1, 2


@dataclass(frozen=True)
class TypeOf:
    """A datatype: of numbers, of texts of one length (numpy ``S``), or of texts of any length kept in a heap.

    Parameters
    ----------
    dtype
        As numpy reads the stored bytes; of texts of any length the 16 bytes of a reference into the heap.
    in_heap
        Whether they are such references.
    truth
        Whether a stored 1 means true.
    """

    dtype: np.dtype[Any]
    in_heap: bool = False
    truth: bool = False


@dataclass(frozen=True)
class Attribute:
    """One attribute as stored."""

    name: str
    kind: TypeOf
    shape: tuple[int, ...]
    raw: bytes


@dataclass(frozen=True)
class Stored:
    """A dataset: what it holds and where.

    Parameters
    ----------
    kind, shape
        Of its elements.
    layout
        `COMPACT`, `CONTIGUOUS` or `CHUNKED`.
    chunk
        Shape of a chunk.
    address
        Of the piece or of the index of the chunks; `UNDEFINED` where nothing was ever written.
    index
        0 is a B-tree of version 1; others as the format numbers them: 1 single chunk, 2 implicit, 3 fixed array, 4
        extensible array, 5 B-tree of version 2.
    told
        What the layout says of its index beyond the address.
    raw
        The bytes of a compact one.
    filters, fill, limits
        As stored; ``limits`` are the largest shape it may grow to.
    """

    kind: TypeOf
    shape: tuple[int, ...]
    layout: int
    chunk: tuple[int, ...]
    address: int
    index: int
    told: tuple[int, ...]
    raw: bytes
    filters: tuple[int, ...]
    fill: float
    limits: tuple[int, ...]


def stored_of(messages: list[Message]) -> Stored | None:
    """The dataset that these messages describe; ``None`` of a group."""
    by_kind = {message.kind: message for message in messages if message.kind != ATTRIBUTE}
    if LAYOUT not in by_kind:
        return None
    if EXTERNAL in by_kind:
        msg = "its bytes lie in another file"
        raise UnknownLayoutError(msg)
    for number in (DATASPACE, DATATYPE, FILTERS):
        if number in by_kind and by_kind[number].flags & SHARED:
            msg = "a message is shared with another object"
            raise UnknownLayoutError(msg)
    kind = type_of(by_kind[DATATYPE].body)
    shape, limits = _space(by_kind[DATASPACE].body)
    filters = _filters(by_kind[FILTERS].body) if FILTERS in by_kind else ()
    layout, chunk, address, index, told, raw = _layout(by_kind[LAYOUT].body, len(shape))
    return Stored(kind, shape, layout, chunk, address, index, told, raw, filters, _fill(by_kind, kind), limits)


def type_of(raw: bytes) -> TypeOf:
    """A datatype message as a numpy type."""
    kind, bits = raw[0] & 15, int.from_bytes(raw[1:4], "little")
    (size,) = unpack("I", raw, 4)
    order = ">" if bits & 1 else "<"
    if kind == 0 and size in (1, 2, 4, 8):
        return TypeOf(np.dtype(f"{order}{'i' if bits & 8 else 'u'}{size}"))
    if kind == 1 and size in (2, 4, 8) and not bits & 0x40:
        return TypeOf(np.dtype(f"{order}f{size}"))
    if kind == 3 and size:
        return TypeOf(np.dtype(f"S{size}"))
    if kind == 8 and size == 1 and b"TRUE\0" in raw and b"FALSE\0" in raw:
        return TypeOf(np.dtype("u1"), truth=True)
    if kind == 9 and bits & 15 == 1 and size == 16:
        return TypeOf(np.dtype("V16"), in_heap=True)
    msg = f"a datatype of class {kind} and {size} bytes"
    raise UnknownLayoutError(msg)


def attribute_of(message: Message) -> Attribute:
    """An attribute message."""
    raw = message.body
    version = raw[0]
    name_size, type_size, space_size = unpack("HHH", raw, 2)
    at = 9 if version == 3 else 8
    if version not in (1, 2, 3) or (version > 1 and raw[1]):
        msg = f"an attribute of version {version}, or one whose type is shared"
        raise UnknownLayoutError(msg)
    step = 8 if version == 1 else 1
    name = raw[at : at + name_size].split(b"\0")[0].decode("utf-8", "replace")
    at += -(-name_size // step) * step
    kind = type_of(raw[at : at + type_size])
    at += -(-type_size // step) * step
    shape, _ = _space(raw[at : at + space_size])
    at += -(-space_size // step) * step
    return Attribute(name, kind, shape, raw[at : at + math.prod(shape) * kind.dtype.itemsize])


def _space(raw: bytes) -> tuple[tuple[int, ...], tuple[int, ...]]:
    version, n, flags = raw[0], raw[1], raw[2]
    if version not in (1, 2):
        msg = f"a dataspace of version {version}"
        raise UnknownLayoutError(msg)
    if version == 2 and raw[3] == 2:
        return (0,), (0,)  # null: no element at all
    at = 8 if version == 1 else 4
    shape = unpack(f"{n}Q", raw, at)
    return shape, unpack(f"{n}Q", raw, at + 8 * n) if flags & 1 else shape


def _filters(raw: bytes) -> tuple[int, ...]:
    version, n = raw[0], raw[1]
    at = 8 if version == 1 else 2
    found = []
    for _ in range(n):
        (number,) = unpack("H", raw, at)
        named = version == 1 or number >= 256
        (length,) = unpack("H", raw, at + 2) if named else (0,)
        at += 4 if named else 2
        _, values = unpack("HH", raw, at)
        at += 4 + (-(-length // 8) * 8 if version == 1 else length) + 4 * values
        at += 4 * (values % 2) if version == 1 else 0
        found.append(number)
    return tuple(found)


def _fill(by_kind: dict[int, Message], kind: TypeOf) -> float:
    value = b""
    if FILL in by_kind:
        raw = by_kind[FILL].body
        at = 2 if raw[0] == 3 else 4
        if (raw[0] == 3 and raw[1] & 0x20) or (raw[0] == 1) or (raw[0] == 2 and raw[3]):
            (size,) = unpack("I", raw, at)
            value = raw[at + 4 : at + 4 + size]
    elif OLD_FILL in by_kind:
        raw = by_kind[OLD_FILL].body
        value = raw[4 : 4 + unpack("I", raw)[0]]
    if kind.dtype.kind not in "iuf" or len(value) != kind.dtype.itemsize:
        return 0
    number: float = np.frombuffer(value, kind.dtype)[0].item()
    return number


def _layout(raw: bytes, n_axes: int) -> tuple[int, tuple[int, ...], int, int, tuple[int, ...], bytes]:
    version, layout = raw[0], raw[1]
    if version not in (3, 4, 5) or layout > CHUNKED:
        msg = f"a layout of version {version} and class {layout}"
        raise UnknownLayoutError(msg)
    if layout == COMPACT:
        (size,) = unpack("H", raw, 2)
        return layout, (), UNDEFINED, 0, (), raw[4 : 4 + size]
    if layout == CONTIGUOUS:
        return layout, (), unpack("Q", raw, 2)[0], 0, (), b""
    if version == 3:
        n = raw[2]
        return layout, unpack(f"{n}I", raw, 11)[:n_axes], unpack("Q", raw, 3)[0], 0, (), b""
    flags, n, width = raw[2], raw[3], raw[4]
    sizes = tuple(int.from_bytes(raw[5 + i * width : 5 + (i + 1) * width], "little") for i in range(n))
    at = 5 + n * width
    index = raw[at]
    at += 1
    told: tuple[int, ...] = (flags,)
    if index == 1 and flags & 2:
        told, at = (flags, *unpack("QI", raw, at)), at + 12
    elif index in (3, 4, 5):
        n_told = {3: 1, 4: 5, 5: 6}[index]
        told, at = (flags, *raw[at : at + n_told]), at + n_told
    return layout, sizes[:n_axes], unpack("Q", raw, at)[0], index, told, b""
