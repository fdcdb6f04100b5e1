"""How every command ends: the answer on stdout, one sentence for an error, and the exit code.

Exit codes: 0 done, 1 could not, 2 asked wrongly, 130 interrupted.
"""

import json
import math
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import typer

from whycell.cli.talk import ScreenTalk
from whycell.errors import UsageError, WhycellError

__all__ = [
    "COULD_NOT",
    "INTERRUPTED",
    "WRONGLY_ASKED",
    "as_plain",
    "check_reach",
    "print_json",
    "print_table",
    "working",
]

COULD_NOT = 1
WRONGLY_ASKED = 2
INTERRUPTED = 130


@contextmanager
def working(*, quiet: bool, debug: bool) -> Iterator[ScreenTalk]:
    """Run a command's body: errors become one sentence on stderr and an exit code.

    Parameters
    ----------
    quiet
        Keep the job silent.
    debug
        Show the traceback of an error, and the warnings of the libraries.

    Yields
    ------
    The talk to hand to the job.
    """
    if not debug:
        # This process is ours alone; a biologist can do nothing about another package's deprecation.
        warnings.simplefilter("ignore")
    try:
        yield ScreenTalk(quiet=quiet)
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise
    except KeyboardInterrupt:
        print("whycell: interrupted", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    except Exception as error:
        if debug:
            traceback.print_exc()
        print(f"whycell: {_sentence(error)}", file=sys.stderr)
        raise typer.Exit(WRONGLY_ASKED if isinstance(error, UsageError) else COULD_NOT) from None


def _sentence(error: Exception) -> str:
    if isinstance(error, WhycellError):
        return str(error)
    if isinstance(error, MemoryError):
        return "out of memory; close other programs, or use a machine with more"
    if isinstance(error, OSError):
        return str(error)
    return f"an error that was not foreseen, {type(error).__name__}: {error} (run again with --debug to see where)"


def check_reach(*sources: object) -> None:
    """Refuse, before anything is loaded, addresses among ``sources`` whose server cannot be reached."""
    if any(str(source).startswith(("hf://", "https://", "http://")) for source in sources):
        from whycell.data.fetch import check_reach as check

        check(*(str(source) for source in sources if source is not None))


def print_json(value: Any) -> None:
    """Print ``value`` to stdout as JSON that any parser reads: NaN becomes null."""
    print(json.dumps(as_plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def as_plain(value: Any) -> Any:
    """``value`` with numpy scalars, arrays, tables and paths turned into what JSON holds."""
    if isinstance(value, Mapping):
        return {str(k): as_plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [as_plain(v) for v in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return as_plain(value.to_dict(orient="records"))
    if hasattr(value, "tolist"):  # numpy scalars and arrays, without importing numpy to ask
        return as_plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def print_table(frame: Any) -> None:
    """Print a pandas table to stdout: tabs and a header, for people and for ``cut``."""
    frame.to_csv(sys.stdout, sep="\t", index=False, float_format="%.4g")
