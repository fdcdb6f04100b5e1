"""``whycell corpus select``: the cheapest rows of a catalogue that hold what is asked."""

from pathlib import Path
from typing import Annotated

import typer

from whycell.cli import options
from whycell.cli.manners import print_json, working

__all__ = ["select"]


def select(
    catalog: Annotated[Path, typer.Argument(metavar="CATALOG", help="What whycell corpus scan wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="PLAN", help="The plan to write, Parquet.")],
    per_type: Annotated[int, typer.Option("--per-type", min=0, help="Cells of every cell type.")] = 5000,
    min_donors: Annotated[int, typer.Option("--min-donors", min=0, help="Donors of every cell type.")] = 0,
    per_donor: Annotated[
        int, typer.Option("--per-donor", min=1, help="Cells of a type by which a donor counts in full.")
    ] = 10,
    per_tissue: Annotated[int, typer.Option("--per-tissue", min=0, help="Cells of every tissue.")] = 0,
    cap: Annotated[int, typer.Option("--cap", min=0, help="Cells of a type at most; 0 for no limit.")] = 0,
    where: Annotated[
        str | None,
        typer.Option("--where", metavar="SQL", help="Which cells: a condition on cell_type, donor, tissue, assay, ..."),
    ] = None,
    budget: Annotated[
        str, typer.Option("--budget", metavar="SIZE", help="Spend no more than this, such as 50GB, and get the most.")
    ] = "",
    price_request: Annotated[
        float, typer.Option("--price-request", min=0, help="MB that a request is worth: its time on your line.")
    ] = 1.5,
    price_file: Annotated[float, typer.Option("--price-file", min=0, help="MB that opening a file is worth.")] = 5.0,
    duplicates: Annotated[
        bool, typer.Option("--duplicates/--no-duplicates", help="Keep cells that are copies of cells of other files.")
    ] = False,
    exact: Annotated[
        bool | None,
        typer.Option("--exact/--no-exact", help="Prove the choice; without either, where the problem is small."),
    ] = None,
    seed: options.Seed = 0,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Chooses the cheapest rows of a catalogue that hold what is asked.

    Files are cut where the cell type or the donor changes, and paid for by their bytes, by the request and by the
    file. What the catalogue does not hold is listed as a shortfall, never an error. The answer is told with a bound:
    no choice costs less than that.

    \b
    Example:
      whycell corpus select catalog/ --per-type 5000 --min-donors 5 --where "tissue = 'blood'" -o plan.parquet
      whycell corpus select catalog/ --per-type 20000 --cap 50000 --budget 50GB -o plan.parquet

    From Python: whycell.jobs.select.select_corpus("catalog/", "plan.parquet").
    """
    with working(quiet=quiet, debug=debug) as talk:
        from whycell.jobs.select import select_corpus

        found = select_corpus(
            catalog,
            output,
            per_type=per_type,
            min_donors=min_donors,
            per_donor=per_donor,
            per_tissue=per_tissue,
            cap=cap,
            where=where,
            budget=budget,
            price_request=price_request,
            price_file=price_file,
            duplicates=duplicates,
            exact=exact,
            seed=seed,
            force=force,
            talk=talk,
        )
        if json:
            print_json(
                {
                    "output": str(output),
                    "n_cells": found.n_cells,
                    "files": int(found.plan["key"].nunique()),
                    "bytes": int(found.plan["nbytes"].sum()),
                    "cost_mb": found.cost_mb,
                    "objective": found.objective,
                    "bound": found.bound,
                    "gap": found.gap,
                    "proven": found.proven,
                    "types": found.types.to_dict("records"),
                    "shortfalls": found.shortfalls.to_dict("records"),
                }
            )
        else:
            print(output)
