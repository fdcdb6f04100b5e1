"""Where work runs, and how it speaks while it works."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Step", "Talk", "n_threads"]


def n_threads(threads: int = 0) -> int:
    """Number of threads to use; 0 means every core this process may run on."""
    if threads > 0:
        return threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


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
