"""``whycell explain``: say why cells were typed as they were."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whycell._keys import DEFAULT_KEY
from whycell.cli import options
from whycell.cli.manners import check_reach, print_json, print_table, working
from whycell.errors import UsageError

if TYPE_CHECKING:
    from whycell.results import Explanation

__all__ = ["LensName", "MethodName", "ReferenceName", "explain"]

File = Path | None


class LensName(StrEnum):
    """Where the reasons are looked for."""

    inputs = "inputs"
    examples = "examples"


class ReferenceName(StrEnum):
    """What a cell is compared with."""

    against = "against"
    others = "others"
    training = "training"
    zeros = "zeros"


class MethodName(StrEnum):
    """The rule of DeepLIFT at the network's nonlinearity."""

    rescale = "rescale"
    reveal_cancel = "reveal-cancel"


def explain(
    query: Annotated[Path, typer.Argument(metavar="TYPED", help="The file whose cells are to be explained.")],
    output: Annotated[File, typer.Option("--output", "-o", metavar="FILE", help="The explained copy to write.")] = None,
    inplace: Annotated[bool, typer.Option("--inplace", help="Write into TYPED itself instead of a copy.")] = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", metavar="FOLDER|NAME|URL", help="The model; without it the one recorded in the file."
        ),
    ] = None,
    lens: Annotated[
        LensName, typer.Option("--lens", help="inputs: which genes; examples: which training cells.")
    ] = LensName.inputs,
    cell: Annotated[str | None, typer.Option("--cell", metavar="NAME", help="Explain this cell alone.")] = None,
    of_type: Annotated[
        str | None, typer.Option("--type", metavar="TERM", help="Explain the cells called this, or something below it.")
    ] = None,
    against: Annotated[
        str,
        typer.Option(
            "--against",
            metavar="WHAT",
            help="What the call is weighed against: runner-up, sibling, rest, or a type by name or id.",
        ),
    ] = "runner-up",
    reference: Annotated[
        ReferenceName,
        typer.Option(
            "--reference",
            help="What a cell is compared with: the mean of sure cells of the alternative (against), of all other "
            "cells (others), of the training cells, or zeros.",
        ),
    ] = ReferenceName.against,
    method: Annotated[MethodName, typer.Option("--method", help="Rule of DeepLIFT.")] = MethodName.rescale,
    top: Annotated[int, typer.Option("--top", min=1, help="Genes kept a cell, for and against each.")] = 10,
    report: Annotated[File, typer.Option("--report", metavar="HTML", help="Also write a page to look at.")] = None,
    tsv: Annotated[File, typer.Option("--tsv", metavar="TSV", help="Also write the genes of every cell.")] = None,
    key: Annotated[
        str, typer.Option("--key", metavar="NAME", help="First part of the names of the columns, as given to annotate.")
    ] = DEFAULT_KEY,
    layer: Annotated[
        bool, typer.Option("--layer", help="Also write the contributions: a layer of the cells, a varm of the types.")
    ] = False,
    markers: Annotated[
        File, typer.Option("--markers", metavar="TSV", help="Known markers of your own: term, tab, gene; one a line.")
    ] = None,
    donor: options.Group = None,
    seed: options.Seed = 0,
    threads: options.Threads = 0,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Says why cells were typed as they were: the genes for and against.

    Contributions are in log-odds of the call against its runner-up (or what --against names) and add up to the
    difference between the cell and what it is compared with. For one cell it prints that cell's genes, else the genes
    of every type. The explanation is put to the test on some of the cells; the page says how it fared.

    \b
    Example:
      whycell explain typed.h5ad --cell AAACATACATTTCC-1
      whycell explain typed.h5ad --type "NK cell" --against "CD8 T cell" --report why.html
      whycell explain typed.h5ad --model model/ -o why.h5ad --tsv genes.tsv

    From Python: whycell.tl.explain(adata).
    """
    with working(quiet=quiet, debug=debug) as talk:
        check_reach(model)
        if output is not None and inplace:
            msg = "got both of -o FILE and --inplace; say one at most: where should the explained cells go?"
            raise UsageError(msg)
        if lens is LensName.examples:
            # The lens of training examples is a job of its own, with the same manners.
            from whycell.jobs.explain_examples import explain_examples

            found = explain_examples(
                query,
                output,
                model=model,
                cell=cell,
                of_type=of_type,
                inplace=inplace,
                report=report,
                tsv=tsv,
                key=key,
                top=top,
                seed=seed,
                threads=threads,
                force=force,
                talk=talk,
            )
            print_json(found.summary()) if json else print_table(found.frame())
            return
        from whycell.jobs.explain import explain as job

        result = job(
            query,
            output,
            model=model,
            cell=cell,
            of_type=of_type,
            against=against,
            reference=reference.value,
            method=method.value,
            top=top,
            inplace=inplace,
            report=report,
            tsv=tsv,
            key=key,
            layer=layer,
            markers=markers,
            donor=donor,
            seed=seed,
            threads=threads,
            force=force,
            talk=talk,
        )
        if cell is not None:
            talk.note(str(result.cells["rationale"].iloc[0]))
        if json:
            print_json(_summary(result, cell=cell, output=output or (query if inplace else None), report=report))
        else:
            print_table(result.frame().drop(columns="cell") if cell is not None else result.type_frame())


def _summary(result: "Explanation", *, cell: str | None, output: Path | None, report: Path | None) -> dict[str, Any]:
    return {
        "output": output,
        "report": report,
        "n_cells": len(result.cells),
        "cell": result.cells.iloc[0].to_dict() if cell is not None else None,
        "genes": result.frame() if cell is not None else result.type_frame(),
        "types": result.by_type.types,
        "checks": result.checks,
        "provenance": result.provenance,
    }
