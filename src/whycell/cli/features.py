"""``whycell features``: along which genes a model decides every type."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whycell._keys import DEFAULT_KEY
from whycell.cli import options
from whycell.cli.manners import print_json, print_table, working
from whycell.errors import UsageError

if TYPE_CHECKING:
    from whycell.results import TypeFeatures

__all__ = ["features"]

File = Path | None


def features(
    query: Annotated[Path, typer.Argument(metavar="TYPED", help="The file whose types are to be looked into.")],
    output: Annotated[
        File, typer.Option("--output", "-o", metavar="FILE", help="The copy with the matrices to write.")
    ] = None,
    inplace: Annotated[bool, typer.Option("--inplace", help="Write into TYPED itself instead of a copy.")] = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", metavar="FOLDER|NAME|URL", help="The model; without it the one recorded in the file."
        ),
    ] = None,
    of_type: Annotated[
        str | None, typer.Option("--type", metavar="TERM", help="Only this type and those below it.")
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Genes kept of every type; matrices hold no others.")] = 50,
    gene_vectors: Annotated[
        File,
        typer.Option(
            "--gene-vectors", metavar="PARQUET", help="From `whycell genes embed`: names programs by nearest texts too."
        ),
    ] = None,
    report: Annotated[File, typer.Option("--report", metavar="HTML", help="Also write a page to look at.")] = None,
    tsv: Annotated[File, typer.Option("--tsv", metavar="TSV", help="Also write the genes of every type.")] = None,
    key: Annotated[
        str, typer.Option("--key", metavar="NAME", help="First part of the names written, as given to annotate.")
    ] = DEFAULT_KEY,
    donor: options.Group = None,
    seed: options.Seed = 0,
    threads: options.Threads = 0,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Says along which genes, and combinations of them, the model decides every type.

    For each type the average gradient outer product of its log-odds over its cells: a matrix of genes by genes, exact,
    per standard deviation of each gene. Scores have errors over donors; programs are its first eigenvectors. Prints the
    first genes of every type.

    \b
    Example:
      whycell features typed.h5ad --report features.html
      whycell features typed.h5ad --model model/ -o features.h5ad --type "T cell"

    From Python: whycell.tl.features(adata).
    """
    with working(quiet=quiet, debug=debug) as talk:
        if output is not None and inplace:
            msg = "got both of -o FILE and --inplace; say one at most: where should the matrices go?"
            raise UsageError(msg)
        from whycell.jobs.features import features as job

        result = job(
            query,
            output,
            model=model,
            of_type=of_type,
            inplace=inplace,
            report=report,
            tsv=tsv,
            key=key,
            top=top,
            donor=donor,
            gene_vectors=gene_vectors,
            seed=seed,
            threads=threads,
            force=force,
            talk=talk,
        )
        if json:
            print_json(_summary(result, output=output or (query if inplace else None), report=report))
        else:
            print_table(result.frame(top=10))


def _summary(result: "TypeFeatures", *, output: Path | None, report: Path | None) -> dict[str, Any]:
    return {
        "output": output,
        "report": report,
        "types": result.types,
        "genes": result.frame(top=10),
        "programs": result.programs,
        "stability": result.stability,
        "provenance": result.provenance,
    }
