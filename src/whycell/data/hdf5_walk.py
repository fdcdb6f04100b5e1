"""Many small reads of a far file as few journeys: walks that say what they need next, and are served together.

A walk is a generator: it yields the ranges it needs, pairs of offset and size, and is sent their bytes. Walks are
joined by `together`, so that whatever all of them need next travels at once; a level of a tree costs one journey,
however wide it is.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Sequence
from typing import TypeVar

from whycell.data.ranges import ByteSource
from whycell.errors import FormatError

__all__ = ["Arrived", "Pages", "UnknownLayoutError", "Walk", "together"]

Found = TypeVar("Found")
Walk = Generator[list[tuple[int, int]], list[bytes], Found]

PAGE = 16 * 1024  # metadata of neighbours lie together: what one read brings often answers the next
LARGE = 2048  # longer reads go as they are: nodes of a chunk index lie far apart
KEPT = 1024  # pages


class UnknownLayoutError(Exception):
    """Something in a file that the walker does not know; h5py may."""


class Pages:
    """The bytes of a file for walks: small reads come in pages, which are kept.

    Parameters
    ----------
    source
        The bytes.
    base
        Where in the file HDF5 starts to count.
    """

    def __init__(self, source: ByteSource, *, base: int = 0) -> None:
        self.source = source
        self.base = base
        self._pages: OrderedDict[int, bytes] = OrderedDict()

    def run(self, walk: Walk[Found]) -> Found:
        """Serve a walk to its end.

        Raises
        ------
        UnknownLayoutError
            The walk met something it does not know, or an address outside the file.
        """
        try:
            wanted = next(walk)
            while True:
                wanted = walk.send(self._serve(wanted))
        except StopIteration as end:
            found: Found = end.value
            return found
        except FormatError:
            raise
        except (ValueError, LookupError, OverflowError, TypeError, MemoryError) as error:  # damage makes any of them
            msg = f"a structure contradicts itself ({type(error).__name__})"
            raise UnknownLayoutError(msg) from error

    def _serve(self, wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        size = self.source.size
        ranges = [(offset + self.base, n) for offset, n in wanted]
        if any(n < 0 or offset < 0 or offset > size or n > size for offset, n in ranges):
            msg = "it names bytes outside the file"
            raise UnknownLayoutError(msg)
        # A structure of unknown length is asked for generously, which may reach over the end.
        ranges = [(offset, min(n, size - offset)) for offset, n in ranges]
        missing: dict[int, None] = {}
        large = [i for i, (_, n) in enumerate(ranges) if n > LARGE]
        for offset, n in ranges:
            if 0 < n <= LARGE:
                for page in range(offset // PAGE, -(-(offset + n) // PAGE)):
                    if page not in self._pages:
                        missing[page] = None
        asked = [(page * PAGE, min(PAGE, size - page * PAGE)) for page in missing] + [ranges[i] for i in large]
        came = self._fetch(asked)
        for page, body in zip(missing, came, strict=False):
            self._pages[page] = body
        whole = dict(zip(large, came[len(missing) :], strict=True))
        answers = [whole[i] if i in whole else self._cut(*ranges[i]) for i in range(len(ranges))]
        while len(self._pages) > KEPT:
            self._pages.popitem(last=False)
        return answers

    def _cut(self, offset: int, n: int) -> bytes:
        first, last = offset // PAGE, -(-(offset + n) // PAGE)
        joined = b"".join(self._pages[page] for page in range(first, last)) if n else b""
        return joined[offset - first * PAGE :][:n]

    def _fetch(self, ranges: list[tuple[int, int]]) -> list[bytes]:
        if not ranges:
            return []
        read_many = getattr(self.source, "read_many", None)
        if read_many is None:
            return [self.source.read(*each) for each in ranges]
        return [bytes(each) for each in read_many(ranges, gap=PAGE)]


def together(walks: Sequence[Walk[Found]]) -> Walk[list[Found]]:
    """Walks side by side: in every round, what all of them need is asked for at once.

    Parameters
    ----------
    walks
        The walks; none of them started.

    Returns
    -------
    What each of them found.
    """
    found: dict[int, Found] = {}
    asking: dict[int, list[tuple[int, int]]] = {}

    def step(i: int, answers: list[bytes] | None) -> None:
        try:
            asking[i] = next(walks[i]) if answers is None else walks[i].send(answers)
        except StopIteration as end:
            asking.pop(i, None)
            found[i] = end.value

    for i in range(len(walks)):
        step(i, None)
    while asking:
        order = list(asking)
        answers = yield [each for i in order for each in asking[i]]
        at = 0
        for i in order:
            n = len(asking[i])
            step(i, answers[at : at + n])
            at += n
    return [found[i] for i in range(len(walks))]


class Arrived:
    """Ranges that have come, as a `ByteSource`.

    Parameters
    ----------
    source
        Where they came from.
    ranges, bodies
        Offset and size of each, and its bytes.
    """

    def __init__(self, source: ByteSource, ranges: list[tuple[int, int]], bodies: list[bytes]) -> None:
        self.name = source.name
        self.size = source.size
        self._held = {offset: body for (offset, _), body in zip(ranges, bodies, strict=True)}

    def read(self, offset: int, size: int) -> bytes:
        """The bytes of neighbouring ranges, what lies between them as zeros."""
        body = self._held[offset]
        if len(body) == size:
            return body
        out = bytearray(size)
        for at, part in self._held.items():
            if offset <= at < offset + size:
                out[at - offset : at - offset + len(part)] = part
        return bytes(out)

    def close(self) -> None:
        """Nothing is open."""
