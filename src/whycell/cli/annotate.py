"""``whycell annotate``: type the cells of a file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whycell._keys import DEFAULT_KEY
from whycell.cli import options
from whycell.cli.manners import check_reach, print_json, print_table, working
from whycell.errors import UsageError

if TYPE_CHECKING:
    from pandas import DataFrame

    from whycell.results import Annotation

__all__ = ["annotate"]

File = Path | None


def annotate(
    query: Annotated[Path, typer.Argument(metavar="QUERY", help="The file whose cells are to be typed.")],
    output: Annotated[File, typer.Option("--output", "-o", metavar="FILE", help="The typed copy to write.")] = None,
    inplace: Annotated[bool, typer.Option("--inplace", help="Write into QUERY itself instead of a copy.")] = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", metavar="FOLDER|NAME|URL", help="The model; without it the built-in one (human blood)."
        ),
    ] = None,
    report: Annotated[File, typer.Option("--report", metavar="HTML", help="Also write a page to look at.")] = None,
    tsv: Annotated[File, typer.Option("--tsv", metavar="TSV", help="Also write the calls as a table.")] = None,
    key: Annotated[
        str, typer.Option("--key", metavar="NAME", help="First part of the names of the new columns.")
    ] = DEFAULT_KEY,
    probabilities: Annotated[
        File, typer.Option("--probabilities", metavar="ZARR", help="Also write every class's probability.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", metavar="COLUMN", help="Column of clusters: adds one agreed call a cluster."),
    ] = None,
    donor: options.Group = None,
    seed: options.Seed = 0,
    threads: options.Threads = 0,
    device: options.Device = options.DeviceName.auto,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Types the cells of a file.

    Each cell gets the most detailed Cell Ontology term that the evidence supports at the model's stated error rate,
    with a confidence, a runner-up and a novelty score; a cell that supports none is "unknown". The typed file is the
    input plus new columns in obs: what was there is not touched. Prints the calls and how many cells have each.

    \b
    Example:
      whycell annotate blood.h5ad -o typed.h5ad --report report.html
      whycell annotate lung.h5ad --model model/ --cluster leiden -o typed.h5ad

    From Python: whycell.tl.annotate(adata).
    """
    with working(quiet=quiet, debug=debug) as talk:
        check_reach(model)
        if (output is None) != inplace:
            got = "both" if inplace else "neither"
            msg = f"got {got} of -o FILE and --inplace; say exactly one: where should the typed cells go?"
            raise UsageError(msg)
        from whycell.jobs.annotate import annotate as job

        result = job(
            query,
            output,
            model=model,
            inplace=inplace,
            report=report,
            tsv=tsv,
            key=key,
            probabilities=probabilities,
            cluster=cluster,
            donor=donor,
            seed=seed,
            threads=threads,
            device=device.value,
            force=force,
            talk=talk,
        )
        table = _counts(result)
        if json:
            print_json(_summary(result, table, output=output or query, report=report))
        else:
            print_table(table)


def _counts(result: "Annotation") -> "DataFrame":
    """One row a call, most frequent first."""
    grouped = result.calls.groupby(["call", "call_term_id"], observed=True, sort=True)
    table = grouped["confidence"].agg(cells="size", mean_confidence="mean").reset_index()
    table.insert(3, "share", table["cells"] / max(len(result.calls), 1))
    return table.sort_values(["cells", "call"], ascending=[False, True], kind="stable")


def _summary(result: "Annotation", table: "DataFrame", *, output: Path, report: Path | None) -> dict[str, Any]:
    flags = result.calls["flag"].astype(str).str.split(";").explode()
    return {
        "output": output,
        "report": report,
        "n_cells": len(result.calls),
        "calls": table,
        "flags": flags[flags != ""].value_counts().sort_index().to_dict(),
        "findings": [vars(finding) for finding in result.findings],
        "provenance": result.provenance,
    }
