"""``whycell rfm``: a kernel machine that learns which features of a table matter."""

from pathlib import Path
from typing import Annotated

import typer

from whycell.cli import options
from whycell.cli.manners import print_json, print_table, working

__all__ = ["fit", "predict", "rfm"]

rfm = typer.Typer(
    name="rfm",
    rich_markup_mode=None,
    no_args_is_help=True,
    help="A kernel machine of a table of samples: it learns which features matter, and says so.",
)

Table = Annotated[Path, typer.Argument(metavar="TABLE", help="Samples in rows: .csv, .tsv, .parquet or .arff.")]


@rfm.command(no_args_is_help=True)
def fit(
    table: Table,
    column: Annotated[str, typer.Option("--target", metavar="COLUMN", help="What to predict: classes or numbers.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the machine goes.")],
    together: Annotated[
        str | None,
        typer.Option("--group", metavar="COLUMN", help="Whose rows are held out together, such as patient."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="HTML", help="Also write a page to look at.")
    ] = None,
    task: Annotated[str, typer.Option("--task", help="classification, regression, or auto: by the target.")] = "auto",
    kernel: Annotated[str, typer.Option("--kernel", help="laplace, gaussian, product, or auto.")] = "auto",
    metric: Annotated[str, typer.Option("--metric", help="full, diagonal, none, or auto.")] = "auto",
    permutations: Annotated[
        int, typer.Option("--permutations", min=0, metavar="N", help="Fits on permuted targets, for the p-values.")
    ] = 50,
    seed: options.Seed = 0,
    device: options.Device = options.DeviceName.cpu,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Fits a recursive feature machine, tests it on rows it did not see, and says which features it reads.

    Categories and missing values are read as they are; constant columns and columns that name the rows are left out and
    told. Everything is chosen by leave-one-out, or by leaving out whole groups. Prints the scores beside a linear and a
    trivial model on the same rows.

    \b
    Example:
      whycell rfm fit patients.csv --target outcome --group patient -o machine/ --report machine.html

    From Python: whycell.RecursiveFeatureMachine().fit(X, y).
    """
    with working(quiet=quiet, debug=debug) as talk:
        from whycell.jobs.rfm import fit as job

        result = job(
            table,
            output,
            target=column,
            group=together,
            task=task,
            kernel=kernel,
            metric=metric,
            report=report,
            permutations=permutations,
            seed=seed,
            device=device.value,
            force=force,
            talk=talk,
        )
        if json:
            print_json(
                {
                    "output": output,
                    "report": report,
                    "scores": result.scores,
                    "features": result.features,
                    "left_out": result.left_out,
                    "provenance": result.provenance,
                }
            )
        else:
            print_table(result.scores)


@rfm.command(no_args_is_help=True)
def predict(
    table: Table,
    model: Annotated[Path, typer.Option("--model", "-m", metavar="FOLDER", help="A machine written by rfm fit.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="TSV", help="Table of predictions to write.")],
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Predicts the rows of a table by a machine that rfm fit wrote.

    The table needs the columns that the machine was fitted on. Writes a row a sample: the prediction, and of classes
    their calibrated probabilities.

    \b
    Example:
      whycell rfm predict new_patients.csv --model machine/ -o predictions.tsv

    From Python: whycell.jobs.rfm.predict.
    """
    with working(quiet=quiet, debug=debug) as talk:
        from whycell.jobs.rfm import predict as job

        result = job(table, output, model=model, force=force, talk=talk)
        if json:
            print_json({"output": output, "rows": len(result)})
        else:
            print(output)
