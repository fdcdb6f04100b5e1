"""A far HDF5 file, read without HDF5, in the words of h5py.

Its groups and datasets (`hdf5_nodes`) are read by the same code as h5py's. `Hdf5.load` fetches all headers below some
groups, and `Hdf5.fetch` the values of many datasets, each in a few journeys whatever their number; what was not fetched
ahead is read when it is asked for.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from whycell.data.chunks import FILTERS, array_of
from whycell.data.hdf5_groups import links_of
from whycell.data.hdf5_headers import UNDEFINED, Message, Superblock, find_superblock, header_messages, unpack
from whycell.data.hdf5_heap import heap_objects
from whycell.data.hdf5_index import array_layout
from whycell.data.hdf5_messages import ATTRIBUTE, COMPACT, Attribute, Stored, attribute_of, stored_of
from whycell.data.hdf5_nodes import Hdf5Group
from whycell.data.hdf5_walk import Arrived, Pages, UnknownLayoutError, Walk, together
from whycell.data.layouts import ArrayLayout
from whycell.data.ranges import ByteSource

__all__ = ["Hdf5"]

ATTRIBUTE_INFO = 21
_OBJECT = struct.Struct("<H6xQ")  # number and length of an object of a heap
EAGER = 1 << 20  # chunks of a dataset are fetched together up to so many bytes a journey


@dataclass
class _Node:
    """What is known of one object."""

    messages: list[Message]
    links: dict[str, int] | None
    stored: Stored | None
    attributes: dict[str, Attribute]
    values: dict[str, Any] = field(default_factory=dict)
    layout: ArrayLayout | None = None
    array: Any = None


class Hdf5:
    """A HDF5 file behind a `ByteSource`.

    Parameters
    ----------
    source
        The bytes.

    Raises
    ------
    UnknownLayoutError
        It is no HDF5 file or of a kind that is not known here; h5py may read it.
    """

    def __init__(self, source: ByteSource) -> None:
        self.source = source
        self.block: Superblock = Pages(source).run(find_superblock())
        self._pages = Pages(source, base=self.block.base)
        self._nodes: dict[int, _Node] = {}
        self._heaps: dict[int, tuple[dict[int, int], str]] = {}  # where objects begin, and the bytes as letters
        self.run(self._visit([self.block.root]))

    @property
    def root(self) -> Hdf5Group:
        """The root group."""
        return Hdf5Group(self, self.block.root, "/")

    def __getitem__(self, path: str) -> Any:
        return self.root[path]

    def __contains__(self, path: str) -> bool:
        return path in self.root

    def __iter__(self) -> Iterator[str]:
        return iter(self.root)

    def keys(self) -> list[str]:
        """Names in the root group."""
        return self.root.keys()

    def get(self, path: str, default: Any = None) -> Any:
        """What lies at a path, or ``default``."""
        return self.root.get(path, default)

    def run(self, walk: Walk[Any]) -> Any:
        """Serve a walk over this file."""
        return self._pages.run(walk)

    def load(self, paths: Sequence[str], *, deep: int = 3) -> None:
        """Fetch the headers and attributes of groups and of all that lies below them.

        Parameters
        ----------
        paths
            Groups; those that are not there are passed over.
        deep
            Levels below.
        """
        at = [address for path in paths if (address := self._address(path)) is not None]
        for _ in range(deep + 1):
            self.run(self._visit(at))
            at = [child for each in at for child in (self._nodes[each].links or {}).values()]
        self.run(self._read_attributes())

    def fetch(self, paths: Sequence[str], *, indexes: Sequence[str] = ()) -> None:
        """Fetch the values of datasets: all their indexes, then all their bytes, then all their texts, together.

        Parameters
        ----------
        paths
            Datasets; those that are not there are passed over.
        indexes
            Datasets of which only the index of the chunks is wanted, on the same journeys.
        """
        named = {path.strip("/"): at for path in (*paths, *indexes) if (at := self._address(path)) is not None}
        self.run(self._visit(list(named.values())))
        self.run(together([self._index(address, path) for path, address in named.items()]))
        wanted = {path.strip("/") for path in paths}
        whole = [at for path, at in named.items() if path in wanted and self._nodes[at].array is None]
        self.run(together([self._values(address) for address in whole]))

    def node(self, address: int) -> _Node:
        """What is known of the object at an address; read now where it was not before."""
        if address not in self._nodes:
            self.run(self._visit([address]))
        return self._nodes[address]

    def layout(self, path: str) -> ArrayLayout:
        """Where the chunks of a dataset lie."""
        return self.layouts([path])[0]

    def layouts(self, paths: Sequence[str]) -> list[ArrayLayout]:
        """Where the chunks of several datasets lie, their indexes walked side by side.

        Raises
        ------
        UnknownLayoutError
            An index, filter or type that is not known.
        """
        addresses = []
        for path in paths:
            address = self._address(path)
            if address is None:
                msg = f"{path} is not in it"
                raise UnknownLayoutError(msg)
            addresses.append(address)
        self.run(self._visit(addresses))
        self.run(together([self._index(a, path.strip("/")) for a, path in zip(addresses, paths, strict=True)]))
        found = [self._nodes[address].layout for address in addresses]
        for each in found:
            if each is None or not set(FILTERS).issuperset(each.filters):
                msg = f"filters {each.filters if each else ''} of a dataset"
                raise UnknownLayoutError(msg)
        return [each for each in found if each is not None]

    def attributes(self, node: _Node) -> dict[str, Any]:
        """The attributes of an object, decoded."""
        if len(node.values) < len(node.attributes):
            self.run(self._decode_attributes(node))
        return node.values

    def values(self, address: int, path: str) -> Any:
        """The elements of a dataset."""
        node = self.node(address)
        if node.array is None:
            self.run(self._index(address, path))
            self.run(self._values(address))
        return node.array

    def _address(self, path: str) -> int | None:
        at = self.block.root
        for part in path.strip("/").split("/"):
            if part:
                links = self.node(at).links
                if links is None or part not in links:
                    return None
                at = links[part]
        return at

    def _visit(self, addresses: Sequence[int]) -> Walk[None]:
        new = [each for each in dict.fromkeys(addresses) if each not in self._nodes]
        found = yield from together([self._header(each) for each in new])
        self._nodes |= dict(zip(new, found, strict=True))

    def _header(self, address: int) -> Walk[_Node]:
        messages = yield from header_messages(address)
        stored = stored_of(messages)
        links = None if stored is not None else (yield from links_of(messages, self.block))
        told = [message for message in messages if message.kind == ATTRIBUTE]
        for message in messages:
            if message.kind == ATTRIBUTE_INFO:
                heap, names = unpack("QQ", message.body, 2 + 2 * (message.body[1] & 1))
                if heap != UNDEFINED:
                    told += [Message(ATTRIBUTE, 0, raw) for raw in (yield from heap_objects(heap, names))]
        attributes = {}
        for message in told:
            try:
                attribute = attribute_of(message)
            except UnknownLayoutError:
                continue  # references and the like, which no reader here asks for
            attributes[attribute.name] = attribute
        return _Node(messages, links, stored, attributes)

    def _read_attributes(self) -> Walk[None]:
        yield from together([self._decode_attributes(node) for node in self._nodes.values()])

    def _decode_attributes(self, node: _Node) -> Walk[None]:
        for name, each in node.attributes.items():
            if name not in node.values:
                raw = np.frombuffer(each.raw, each.kind.dtype).reshape(each.shape)
                values = (yield from self._texts(raw)) if each.kind.in_heap else raw
                if each.kind.truth:
                    values = values.astype(bool)
                node.values[name] = values[()] if each.shape == () else values

    def _index(self, address: int, path: str) -> Walk[None]:
        node = self._nodes[address]
        if node.stored is None:
            msg = f"{path} is a group"
            raise UnknownLayoutError(msg)
        if node.layout is None and node.stored.layout != COMPACT and 0 not in node.stored.shape:
            node.layout = yield from array_layout(node.stored, name=path, block=self.block)

    def _values(self, address: int) -> Walk[None]:
        node = self._nodes[address]
        stored = node.stored
        if stored is None or node.array is not None:
            return
        size = math.prod(stored.shape)
        if stored.layout == COMPACT:
            flat = np.frombuffer(stored.raw, stored.kind.dtype, count=size).reshape(stored.shape)
        elif node.layout is None or not set(FILTERS).issuperset(node.layout.filters):
            if size:
                msg = f"filters {stored.filters} of a dataset"
                raise UnknownLayoutError(msg)
            flat = np.zeros(stored.shape, stored.kind.dtype)
        else:
            flat = yield from self._elements(node.layout)
        if stored.kind.in_heap:
            flat = yield from self._texts(flat)
        node.array = flat.astype(bool) if stored.kind.truth else flat

    def _elements(self, layout: ArrayLayout) -> Walk[np.ndarray]:
        """All elements of a small dataset, through the same reader as the large ones."""
        rows = layout.shape[0] if layout.shape else 1
        ranges = layout.ranges(0, rows) if layout.shape else [(int(layout.offsets[0]), int(layout.sizes[0]))]
        base = self.block.base
        bodies = yield [(offset - base, size) for offset, size in ranges]
        out = np.empty(layout.shape or (1,), np.dtype(layout.dtype))
        if layout.shape:
            array_of(Arrived(self.source, ranges, bodies), layout).read_into(out, 0, rows)
        else:
            out[0] = np.frombuffer(bodies[0], out.dtype)[0]
        return out.reshape(layout.shape)

    def _texts(self, raw: np.ndarray) -> Walk[np.ndarray]:
        """Texts behind references into global heaps; the heaps are fetched together."""
        fields = np.dtype([("length", "<u4"), ("heap", "<u8"), ("object", "<u4")])
        flat = np.frombuffer(np.ascontiguousarray(raw).tobytes(), fields)
        used = flat[(flat["length"] > 0) & (flat["heap"] > 0)]
        yield from together([self._heap(int(each)) for each in np.unique(used["heap"])])
        out = np.full(flat.size, "", dtype=object)
        last = -1
        for i, (length, heap, number) in enumerate(flat.tolist()):  # the dearest loop of a scan: it holds no more
            if length and heap:
                if heap != last:
                    places, letters = self._heaps[heap]
                    last = heap
                at = places.get(number, len(letters))
                word = letters[at : at + length]
                out[i] = word if word.isascii() else word.encode("latin-1").decode("utf-8", "replace")
        return out.reshape(raw.shape)

    def _heap(self, address: int) -> Walk[None]:
        if address in self._heaps:
            return
        (raw,) = yield [(address, 4096)]  # the smallest a heap can be, and the usual size
        if raw[:4] != b"GCOL":
            msg = "a heap of texts is of another kind"
            raise UnknownLayoutError(msg)
        (size,) = unpack("Q", raw, 8)
        if size > len(raw):
            (raw,) = yield [(address, size)]
        places: dict[int, int] = {}
        read, at, last = _OBJECT.unpack_from, 16, min(size, len(raw)) - 16
        while at <= last:
            number, length = read(raw, at)
            if number == 0:
                break
            places[number] = at + 16
            at += 16 + (length + 7 & ~7)
        self._heaps[address] = places, raw.decode("latin-1")
