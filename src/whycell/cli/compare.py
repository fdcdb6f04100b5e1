"""``whycell compare``: two evaluations, donor by donor."""

from pathlib import Path
from typing import Annotated

import typer

from whycell.cli import options
from whycell.cli.manners import print_json, print_table, working

__all__ = ["compare"]


def compare(
    first: Annotated[Path, typer.Argument(metavar="RESULTS_A", help="A folder that evaluate wrote.")],
    second: Annotated[Path, typer.Argument(metavar="RESULTS_B", help="Another, made on the same split.")],
    seed: options.Seed = 0,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Compares two evaluations, paired donor by donor.

    Both must have been made on the same split: the hash that every result carries says so. Prints the difference of
    each score, first minus second, with its 95 % interval over donors.

    \b
    Example:
      whycell compare results-a/ results-b/

    From Python: whycell.jobs.evaluate.compare.
    """
    with working(quiet=quiet, debug=debug):
        from whycell.jobs.evaluate import compare as job

        table = job(first, second, seed=seed)
        if json:
            print_json(table)
        else:
            print_table(table)
