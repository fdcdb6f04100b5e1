"""Where work runs, and how it speaks while it works."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["Step", "Talk", "in_order", "n_threads"]

Item = TypeVar("Item")
Done = TypeVar("Done")


def n_threads(threads: int = 0) -> int:
    """Number of threads to use; 0 means every core this process may run on."""
    if threads > 0:
        return threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def in_order(work: Callable[[Item], Done], items: Iterable[Item], *, threads: int = 0) -> Iterator[Done]:
    """``work`` of every item, in their order; several at once, few waiting: memory does not grow with the items.

    One core a matrix product: the items are the parallel part, and sums are rounded the same way everywhere.
    """
    from threadpoolctl import threadpool_limits

    workers = n_threads(threads)
    waiting: deque[Future[Done]] = deque()
    with threadpool_limits(limits=1), ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class Talk:
    """What a job says while it works. This one is silent; the command line hands in one that prints to stderr."""

    def note(self, text: str) -> None:
        """Say one sentence."""

    def warn(self, text: str) -> None:
        """Say one sentence that the reader should not miss."""

    @contextmanager
    def progress(self, what: str, total: int | None = None) -> Iterator["Step"]:
        """Show a bar while the block runs; ``total`` in the unit that ``Step.advance`` counts."""
        yield Step()


class Step:
    """A bar that goes nowhere; ``Talk.progress`` of the command line yields one that draws."""

    def advance(self, n: int = 1) -> None:
        """``n`` more units are done."""
