"""``whycell subgroups``: groups of samples that share causes."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from whycell.cli import options
from whycell.cli.manners import print_json, print_table, working

__all__ = ["ClusteringName", "HeadName", "subgroups"]


class HeadName(StrEnum):
    """The small model that is trained thousands of times."""

    linear = "linear"
    mlp = "mlp"
    ridge = "ridge"
    kernel = "kernel"


class ClusteringName(StrEnum):
    """How rows of weights are grouped."""

    ward = "ward"
    spectral = "spectral"
    leiden = "leiden"


def subgroups(
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="Cells (h5ad, ...), a table (.tsv, .csv), or pictures (.npz, folder)."),
    ],
    target: Annotated[
        str, typer.Option("--target", "-y", metavar="COLUMN", help="Column of the classes to look for groups in.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder for the results.")],
    group: options.Group = None,
    representation: Annotated[
        str | None,
        typer.Option(
            "--representation", metavar="KEY", help="obsm of an h5ad to use; without it, principal components."
        ),
    ] = None,
    models: Annotated[int, typer.Option("--models", min=200, metavar="N", help="Models to train.")] = 5000,
    small_model: Annotated[HeadName, typer.Option("--model", help="The small model that is trained many times.")] = (
        HeadName.linear
    ),
    share: Annotated[
        float | None, typer.Option("--share", metavar="SHARE", help="Share of the samples that a model sees; 0.1.")
    ] = None,
    mask_by_group: Annotated[
        bool, typer.Option("--mask-by-group", help="Whole donors go in or out of a model's training.")
    ] = False,
    groups: Annotated[
        int | None, typer.Option("--groups", min=2, metavar="N", help="N groups in every class, instead of choosing.")
    ] = None,
    clustering: Annotated[ClusteringName, typer.Option("--clustering", help="How groups are made.")] = (
        ClusteringName.ward
    ),
    samples: Annotated[
        int,
        typer.Option("--samples", min=100, metavar="N", help="Samples to find groups among; others join the nearest."),
    ] = 2000,
    show: Annotated[
        list[str] | None,
        typer.Option("--show", metavar="NAME", help="A sample whose supporters and opponents are told; repeatable."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="HTML", help="Also write a page to look at.")
    ] = None,
    executor: options.Executor = "here",
    seed: options.Seed = 0,
    device: options.Device = options.DeviceName.cpu,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Finds groups within a class that share causes: the same training samples taught their predictions.

    Trains thousands of small models on random subsets, works out which training samples each prediction rests on, and
    groups samples by that. The number of groups is chosen by stability, and may be none. Groups are checked on fresh
    subsets and on held-out donors, and described by features, donors, typical members and teachers. Prints a line a
    class. An interrupted run goes on where it was when started again.

    \b
    Example:
      whycell subgroups patients.tsv --target diagnosis -o groups/ --report groups.html
      whycell subgroups typed.h5ad --target cell_type --group donor_id -o groups/ --report groups.html
      whycell subgroups pictures.npz --target labels --models 8000 --executor local:4 -o groups/

    From Python: whycell.jobs.subgroups.subgroups.
    """
    with working(quiet=quiet, debug=debug) as talk:
        from whycell.jobs.subgroups import subgroups as job

        result = job(
            data,
            output,
            target=target,
            group=group,
            representation=representation,
            n_models=models,
            kind=small_model.value,
            share=share,
            mask_by_group=mask_by_group,
            n_groups=groups,
            clustering=clustering.value,
            most_samples=samples,
            show=tuple(show or ()),
            report=report,
            executor=executor,
            seed=seed,
            device=device.value,
            force=force,
            talk=talk,
        )
        if json:
            print_json({"classes": result.classes, "groups": result.described, "plan": result.plan})
        else:
            print_table(result.classes)
