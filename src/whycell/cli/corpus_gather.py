"""``whycell corpus gather``: read the cells that a plan chose, and mix them into a corpus."""

from pathlib import Path
from typing import Annotated

import typer

from whycell.cli import options
from whycell.cli.manners import COULD_NOT, print_json, working

__all__ = ["gather"]


def gather(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="What whycell corpus select wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="The corpus to write.")],
    representation: Annotated[
        str, typer.Option("--representation", metavar="NAME", help="expression or genept-w.")
    ] = "expression",
    gene_vectors: Annotated[
        str | None,
        typer.Option(
            "--gene-vectors", metavar="PARQUET", help="For genept-w: what genes embed wrote, a file or its address."
        ),
    ] = None,
    known_from: Annotated[
        Path | None,
        typer.Option("--catalog", metavar="FOLDER", help="The catalogue; without it the one the plan names."),
    ] = None,
    requests: Annotated[int, typer.Option("--requests", min=1, help="Requests at once.")] = 32,
    memory: Annotated[float, typer.Option("--memory", min=0.01, help="GB that mixing may hold at once.")] = 1.0,
    seed: options.Seed = 0,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Reads the cells that a plan chose, and mixes them into a corpus.

    Only the bytes of the chosen cells are asked for, from disk, https, s3, gs or az. Cells are encoded as they land,
    so that no copy of the files is kept. A run that was stopped goes on where it was, when the same command is given
    again. Files that could not be read are named at the end, the others are kept, and the exit code is 1; the same
    command with --force tries them again.

    \b
    Example:
      whycell corpus gather plan.parquet --representation expression -o corpus/
      whycell corpus gather plan.parquet --representation genept-w --gene-vectors vectors.parquet -o corpus/

    From Python: whycell.jobs.gather.gather_corpus("plan.parquet", "corpus/").
    """
    with working(quiet=quiet, debug=debug) as talk:
        from whycell.jobs.gather import gather_corpus

        done = gather_corpus(
            plan,
            output,
            representation=representation,
            gene_vectors=gene_vectors,
            catalog=known_from,
            requests=requests,
            memory=int(memory * 1e9),
            seed=seed,
            force=force,
            talk=talk,
        )
        summary = {
            "output": output,
            "n_cells": done.n_cells,
            "n_fragments": done.n_fragments,
            "resumed": done.resumed,
            **vars(done.traffic),
            "failures": done.failures,
            "notes": done.notes,
        }
        if json:
            print_json(summary)
        else:
            print(f"{output}\t{done.n_cells} cells\t{len(done.failures)} files left out")
        if done.failures:
            raise typer.Exit(COULD_NOT)
