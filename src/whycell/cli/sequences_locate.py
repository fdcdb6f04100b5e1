"""``whycell sequences locate``: where in each sequence the event lies."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from whycell.cli import options
from whycell.cli.manners import print_json, working
from whycell.cli.sequences import Genome, Model, Task
from whycell.cli.sequences_explain import References

__all__ = ["LocatedBy", "locate"]


class LocatedBy(StrEnum):
    """What an event is located by."""

    bases = "bases"
    neurons = "neurons"
    mutagenesis = "mutagenesis"
    centre = "centre"


def locate(
    query: Annotated[Path, typer.Argument(metavar="FILE", help="FASTA, BED or a table of sequences.")],
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="TSV", help="Where the table goes.")],
    genome: Genome = None,
    task: Task = None,
    by: Annotated[
        LocatedBy, typer.Option("--by", help="Contributions of bases, of a layer's neurons, or a comparator.")
    ] = LocatedBy.bases,
    layer: Annotated[
        str | None, typer.Option("--layer", metavar="NAME", help="For neurons; without it the last with positions.")
    ] = None,
    events: Annotated[int, typer.Option("--events", metavar="N", min=1, help="Events told a sequence, at most.")] = 1,
    shuffles: References = 20,
    seed: options.Seed = 0,
    threads: options.Threads = 0,
    device: options.Device = options.DeviceName.auto,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Says where in each sequence the event lies, and how far what speaks for it is spread.

    \b
    Example:
      whycell sequences locate peaks.fa --model model/ -o positions.tsv
      whycell sequences locate peaks.bed --genome hg38.fa --model model/ --events 3 -o positions.tsv

    From Python: whycell.patterns.positions.strongest_events.
    """
    with working(quiet=quiet, debug=debug) as talk:
        from whycell.jobs.sequences_locate import locate_sequences as job

        frame = job(
            query,
            output,
            model=model,
            genome=genome,
            tasks=tuple(task or ()),
            by=by.value,
            layer=layer,
            events=events,
            references=shuffles,
            seed=seed,
            threads=threads,
            device=device.value,
            force=force,
            talk=talk,
        )
        if json:
            print_json({"output": str(output), "events": len(frame), "method": by.value})
        else:
            print(output)
