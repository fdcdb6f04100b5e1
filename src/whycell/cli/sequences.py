"""``whycell sequences``: learn from DNA, and predict."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from whycell.cli import options
from whycell.cli.manners import print_json, working

__all__ = ["Genome", "Model", "NetworkName", "Task", "predict", "sequences", "train"]

sequences = typer.Typer(
    name="sequences",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Learns from DNA what is bound, predicts it, and scores every base.",
)

Genome = Annotated[Path | None, typer.Option("--genome", metavar="FASTA", help="The genome that regions lie in.")]
Model = Annotated[Path, typer.Option("--model", "-m", metavar="FOLDER", help="A model that sequences train wrote.")]
Task = Annotated[list[str] | None, typer.Option("--task", metavar="NAME", help="A task; repeat for several.")]


class NetworkName(StrEnum):
    """Networks that read DNA."""

    dilated = "dilated"
    basset = "basset"


@sequences.command(no_args_is_help=True)
def train(
    positives: Annotated[
        list[Path], typer.Option("--positives", metavar="FILE", help="FASTA, BED or a table; repeat for several tasks.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder for the model.")],
    genome: Genome = None,
    negatives: Annotated[
        str,
        typer.Option("--negatives", metavar="shuffle|gc|FILE", help="Where sequences that are not bound come from."),
    ] = "shuffle",
    task: Task = None,
    signal: Annotated[
        list[Path] | None, typer.Option("--signal", metavar="BIGWIG", help="Learn counts of reads in place of classes.")
    ] = None,
    width: Annotated[
        int | None, typer.Option("--width", metavar="N", min=8, help="Letters about the middle or summit.")
    ] = None,
    network: Annotated[NetworkName, typer.Option("--network", help="Which network.")] = NetworkName.dilated,
    seed: options.Seed = 0,
    threads: options.Threads = 0,
    device: options.Device = options.DeviceName.auto,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Learns from sequences that are bound, and from others that are not.

    Where places are known whole chromosomes are held out for the scores on the card, else whole groups of near copies.
    A table with a column of 0 and 1 (label, bound) needs no --negatives.

    \b
    Example:
      whycell sequences train --positives peaks.fa -o model/
      whycell sequences train --positives peaks.narrowPeak --genome hg38.fa --width 200 --negatives gc -o model/
      whycell sequences train --positives a.fa --task A --positives b.fa --task B -o model/

    From Python: whycell.models.sequence.SequenceModel.
    """
    with working(quiet=quiet, debug=debug) as talk:
        from whycell.jobs.sequences import train_sequences as job

        card = job(
            positives,
            output,
            genome=genome,
            negatives=negatives,
            tasks=tuple(task or ()),
            signal=tuple(signal or ()),
            width=width,
            network=network.value,
            seed=seed,
            threads=threads,
            device=device.value,
            force=force,
            talk=talk,
        )
        if json:
            print_json(card)
            return
        for name, score in card["scores"].items():
            if "auroc" in score:
                beside = card.get("baseline", {}).get(name)
                told = "" if beside is None else f", gapped k-mers {beside:.3f}"
                low, high = score["auroc_low"], score["auroc_high"]
                talk.note(
                    f"{name}: AUROC {score['auroc']:.3f} ({low:.3f} to {high:.3f}) on {score['n']:,} held out{told}"
                )
        print(output)


@sequences.command(no_args_is_help=True)
def predict(
    query: Annotated[Path, typer.Argument(metavar="FILE", help="FASTA, BED or a table of sequences.")],
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="TSV", help="Where the table goes.")],
    genome: Genome = None,
    threads: options.Threads = 0,
    device: options.Device = options.DeviceName.auto,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Gives each sequence a probability for each task.

    \b
    Example:
      whycell sequences predict peaks.fa --model model/ -o calls.tsv

    From Python: whycell.models.sequence.SequenceModel.predict_proba.
    """
    with working(quiet=quiet, debug=debug) as talk:
        from whycell.jobs.sequences import predict_sequences as job

        frame = job(
            query,
            output,
            model=model,
            genome=genome,
            threads=threads,
            device=device.value,
            force=force,
            talk=talk,
        )
        if json:
            print_json({"output": str(output), "sequences": len(frame)})
        else:
            print(output)
