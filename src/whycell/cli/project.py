"""``whycell project``: labels of one file carried over to another, in Open Problems' layout."""

from pathlib import Path
from typing import Annotated

import typer

from whycell.cli import options
from whycell.cli.manners import print_json, print_table, working

__all__ = ["project"]


def project(
    train: Annotated[Path, typer.Argument(metavar="TRAIN", help="train.h5ad, with the labels.")],
    test: Annotated[Path, typer.Argument(metavar="TEST", help="test.h5ad, whose labels are wanted.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The prediction.h5ad to write.")],
    model_spec: Annotated[
        Path | None, typer.Option("--model-spec", metavar="TOML", help="Another model, or other parameters.")
    ] = None,
    solution: Annotated[
        Path | None, typer.Option("--solution", metavar="FILE", help="solution.h5ad: also score the answer with it.")
    ] = None,
    seed: options.Seed = 0,
    threads: options.Threads = 0,
    device: options.Device = options.DeviceName.auto,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Carries labels over to another file, as Open Problems asks.

    Reads the files of its label-projection task: layers["counts"] and obs["batch"] in both, obs["label"] in TRAIN.
    Writes obs["label_pred"], always a label of TRAIN: here a call never backs off. Prints how many cells have each
    label or, with --solution, the task's four scores.

    \b
    Example:
      whycell project train.h5ad test.h5ad -o prediction.h5ad
      whycell project train.h5ad test.h5ad -o prediction.h5ad --solution solution.h5ad

    From Python: whycell.jobs.openproblems.project_labels.
    """
    with working(quiet=quiet, debug=debug) as talk:
        from pandas import DataFrame

        from whycell.jobs.openproblems import project_labels, score_prediction
        from whycell.jobs.specs import read_spec

        found = project_labels(
            train,
            test,
            output,
            model=read_spec(model_spec) if model_spec else "whycell",
            seed=seed,
            threads=threads,
            device=device.value,
            force=force,
        )
        talk.note(f"wrote {output}")
        if solution is not None:
            columns, answer = ["metric", "value"], score_prediction(output, solution)
        else:
            columns, answer = ["label", "cells"], {str(name): int(n) for name, n in found.value_counts().items()}
        if json:
            print_json(answer)
        else:
            print_table(DataFrame(list(answer.items()), columns=columns))
