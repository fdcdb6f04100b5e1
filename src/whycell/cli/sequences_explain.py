"""``whycell sequences explain``: score every base."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from whycell.cli import options
from whycell.cli.manners import print_json, working
from whycell.cli.sequences import Genome, Model, Task

__all__ = ["RuleName", "explain"]


class RuleName(StrEnum):
    """Rules of DeepLIFT."""

    genomics = "genomics"
    rescale = "rescale"
    reveal_cancel = "reveal-cancel"


def explain(
    query: Annotated[Path, typer.Argument(metavar="FILE", help="FASTA, BED or a table of sequences.")],
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="H5", help="Where the scores go.")],
    genome: Genome = None,
    task: Task = None,
    rule: Annotated[RuleName, typer.Option("--rule", help="DeepLIFT's rule.")] = RuleName.genomics,
    shuffles: Annotated[
        int, typer.Option("--references", metavar="N", min=1, help="Dinucleotide shuffles each is compared with.")
    ] = 20,
    seed: options.Seed = 0,
    threads: options.Threads = 0,
    device: options.Device = options.DeviceName.auto,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Scores every base of every sequence: what it adds, and what each other letter would.

    \b
    Example:
      whycell sequences explain peaks.fa --model model/ -o scores.h5
      whycell sequences explain peaks.fa --model model/ --task USF1 --rule reveal-cancel -o scores.h5

    From Python: whycell.lenses.hypothetical.
    """
    with working(quiet=quiet, debug=debug) as talk:
        from whycell.jobs.sequences_explain import explain_sequences as job

        found = job(
            query,
            output,
            model=model,
            genome=genome,
            tasks=tuple(task or ()),
            rule=rule.value,
            references=shuffles,
            seed=seed,
            threads=threads,
            device=device.value,
            force=force,
            talk=talk,
        )
        if json:
            print_json({"output": str(output), **found})
        else:
            print(output)
