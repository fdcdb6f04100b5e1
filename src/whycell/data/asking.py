"""How servers are asked: which ranges in one request, how many requests at once, and what is worth another try."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

from whycell.data.ranges import GAP, SPAN

__all__ = ["Patience", "coalesce", "reason_of", "requests_pool", "worth_another_try"]

IN_FLIGHT = 64  # requests at once in this process
_STATUS = re.compile(r"status code: (\d{3})")
_WORTH_WAITING = (408, 425, 429)


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for.

    Parameters
    ----------
    tries
        Requests made for one range before it is given up.
    first
        Seconds before the second try, on average; doubled at each further one, and drawn at random around that so that
        many readers do not come back together.
    longest
        The most seconds between two tries.
    timeout
        Seconds that one request may take, its body included.
    """

    tries: int = 6
    first: float = 0.2
    longest: float = 10.0
    timeout: float = 30.0

    def pause(self, failed: int) -> float:
        """Seconds to wait after ``failed`` tries."""
        wait = min(self.longest, self.first * 2.0 ** (failed - 1))
        return wait * random.uniform(0.5, 1.5)


def coalesce(
    ranges: Sequence[tuple[int, int]], *, gap: int = GAP, span: int = SPAN
) -> Iterator[tuple[int, int, list[int]]]:
    """Ranges joined where that saves a request.

    Parameters
    ----------
    ranges
        Pairs of offset and size, in any order; empty ones cost nothing.
    gap
        The most bytes read in vain between two of them.
    span
        The most bytes of one request, unless one range alone is longer.

    Yields
    ------
    begin, end and the positions in ``ranges`` of what lies there.
    """
    order = sorted((i for i in range(len(ranges)) if ranges[i][1] > 0), key=lambda i: ranges[i])
    begin = end = -1
    members: list[int] = []
    for i in order:
        offset, stop = ranges[i][0], ranges[i][0] + ranges[i][1]
        if members and offset - end <= gap and max(end, stop) - begin <= span:
            end = max(end, stop)
            members.append(i)
            continue
        if members:
            yield begin, end, members
        begin, end, members = offset, stop, [i]
    if members:
        yield begin, end, members


def requests_pool() -> ThreadPoolExecutor:
    """The threads that wait for answers, one set a process; what runs in them must never wait for them."""
    return _pool_of(os.getpid())


@lru_cache(maxsize=1)
def _pool_of(process: int) -> ThreadPoolExecutor:
    """Keyed by process: a fork does not inherit threads."""
    return ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix=f"whycell-get-{process}")


def reason_of(error: Exception) -> str:
    """The first line of what a store says of an error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(":")


def worth_another_try(error: Exception) -> bool:
    """Whether the same request may well succeed later: not where the server has understood it and says no."""
    from obstore.exceptions import BaseError, GenericError

    if not isinstance(error, BaseError):
        return isinstance(error, OSError)
    status = _STATUS.search(str(error))
    if status:
        return int(status[1]) >= 500 or int(status[1]) in _WORTH_WAITING
    return isinstance(error, GenericError) and "range was invalid" not in str(error)
