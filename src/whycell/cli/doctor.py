"""``whycell doctor``: what is wrong with a file, and what mends it."""

from pathlib import Path
from typing import Annotated

import typer

from whycell.cli import options
from whycell.cli.manners import COULD_NOT, print_json, print_table, working

__all__ = ["doctor"]


def doctor(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="h5ad, zarr, 10x h5 or mtx folder.")],
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", metavar="FOLDER|NAME|URL", help="Also say whether this model can type it."),
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Says what is wrong with a file, and what mends it.

    Looks at the values (raw counts, logarithms, scaled), the gene names (symbols, Ensembl ids, species) and the
    cells. Prints what it found; nothing is written. Exit code 1 means the file cannot be typed as it is.

    \b
    Example:
      whycell doctor blood.h5ad
      whycell doctor blood.h5ad --model model/ --json

    From Python: whycell.jobs.doctor.doctor.
    """
    with working(quiet=quiet, debug=debug) as talk:
        from whycell.jobs.doctor import doctor as job

        diagnosis = job(path, model=model)
        if json:
            print_json(diagnosis.to_dict())
        else:
            print_table(diagnosis.frame())
            talk.note("This file can be typed." if diagnosis.usable else "This file cannot be typed as it is.")
        if not diagnosis.usable:
            raise typer.Exit(COULD_NOT)
