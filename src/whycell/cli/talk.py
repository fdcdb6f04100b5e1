"""What a command says on stderr while it works: sentences, and a bar where a person is watching."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from whycell.compute import Step, Talk

__all__ = ["ScreenTalk"]


class ScreenTalk(Talk):
    """Talk on stderr, so that stdout holds the answer and nothing else.

    Parameters
    ----------
    quiet
        Say nothing at all.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._bar_is_drawn = False

    def note(self, text: str) -> None:
        self._say(text)

    def warn(self, text: str) -> None:
        self._say(f"warning: {text}")

    def _say(self, text: str) -> None:
        # While a bar is drawn rich owns stderr and puts the sentence above the bar by itself.
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    @contextmanager
    def progress(self, what: str, total: int | None = None) -> Iterator[Step]:
        """Draw a bar while the block runs, if stderr is a terminal and no other bar is there already."""
        if self.quiet or self._bar_is_drawn or not sys.stderr.isatty():
            yield Step()
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._bar_is_drawn = True
        try:
            with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
                yield _BarStep(bar.advance, bar.add_task(what, total=total))
        finally:
            self._bar_is_drawn = False


class _BarStep(Step):
    def __init__(self, advance, task) -> None:
        self._advance, self._task = advance, task

    def advance(self, n: int = 1) -> None:
        self._advance(self._task, n)
