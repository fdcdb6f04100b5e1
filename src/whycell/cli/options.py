"""The options that mean the same in every command, spelled once."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "Debug",
    "Device",
    "DeviceName",
    "Executor",
    "Force",
    "Group",
    "Json",
    "Label",
    "LabelMapFile",
    "Quiet",
    "Seed",
    "Shard",
    "Study",
    "Threads",
]


class DeviceName(StrEnum):
    """Where a network computes."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


Seed = Annotated[
    int,
    typer.Option("--seed", min=0, help="Start of every random choice; the same seed and files give the same answer."),
]
Threads = Annotated[int, typer.Option("--threads", "-j", min=0, help="Processor cores to use; 0 means all.")]
Device = Annotated[DeviceName, typer.Option("--device", help="Where to compute; auto takes a GPU where there is one.")]
Executor = Annotated[
    str,
    typer.Option(
        "--executor",
        metavar="WHERE",
        help="here, local:N (processes), dask:ADDRESS (a cluster), or slurm:KEY=VALUE,... (jobs).",
    ),
]
Shard = Annotated[
    str, typer.Option("--shard", metavar="I/N", help="Do the I-th of N parts only, from 1: for array jobs.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on the way; errors are still told.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Overwrite what is already there.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show where in the program an error arose.")]

Label = Annotated[str, typer.Option("--label", metavar="COLUMN", help="Column of obs that holds the cell types.")]
Group = Annotated[
    str | None,
    typer.Option("--group", "--donor", metavar="COLUMN", help="Column of obs that says which donor a cell came from."),
]
Study = Annotated[
    str | None,
    typer.Option(
        "--study",
        metavar="COLUMN",
        help="Column of obs that says which study a cell came from; without it every file is one study.",
    ),
]
LabelMapFile = Annotated[
    Path | None,
    typer.Option(
        "--label-map", metavar="TSV", help="Your labels and their Cell Ontology ids: label, tab, id; one a line."
    ),
]
