"""``whycell sequences``: learn from DNA, and predict."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from whycell.cli import options
from whycell.cli.manners import print_json, working

__all__ = ["Genome", "KindName", "LogName", "Model", "NetworkName", "Task", "predict", "sequences", "train"]

sequences = typer.Typer(
    name="sequences",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Learns from DNA what is bound, predicts it, and scores every base.",
)

Genome = Annotated[Path | None, typer.Option("--genome", metavar="FASTA", help="The genome that regions lie in.")]
Model = Annotated[Path, typer.Option("--model", "-m", metavar="FOLDER", help="A model that sequences train wrote.")]
Task = Annotated[list[str] | None, typer.Option("--task", metavar="NAME", help="A task; repeat for several.")]


class KindName(StrEnum):
    """What a network on DNA may learn."""

    classes = "class"
    counts = "counts"
    profile = "profile"


class LogName(StrEnum):
    """Where losses and trials go."""

    csv = "csv"
    tensorboard = "tensorboard"
    wandb = "wandb"


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
        list[Path] | None,
        typer.Option("--signal", metavar="BIGWIG", help="Reads to learn in place of classes; repeatable."),
    ] = None,
    kind: Annotated[
        KindName | None,
        typer.Option("--kind", help="Learn classes, counts, or reads at every base; with --signal counts, else class."),
    ] = None,
    width: Annotated[
        int | None, typer.Option("--width", metavar="N", min=8, help="Letters about the middle or summit.")
    ] = None,
    profile_width: Annotated[
        int | None,
        typer.Option("--profile-width", metavar="N", min=1, help="Bases of a profile, in the middle; else all."),
    ] = None,
    network: Annotated[NetworkName, typer.Option("--network", help="Which network.")] = NetworkName.dilated,
    epochs: Annotated[
        int | None, typer.Option("--epochs", metavar="N", min=1, help="Passes of training; else as the data want.")
    ] = None,
    tune: Annotated[
        int, typer.Option("--tune", metavar="N", min=0, help="Trials of a search for the network's numbers; 0: none.")
    ] = 0,
    logger: Annotated[
        LogName | None,
        typer.Option("--logger", help="Where losses and trials are logged, into FOLDER-log; wandb is offline."),
    ] = None,
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
    A table with a column of 0 and 1 (label, bound) needs no --negatives; several such columns are tasks. Reads of a
    bigWig are learned as their count, or with --kind profile as where they fall. The same command goes on after a kill.

    \b
    Example:
      whycell sequences train --positives peaks.fa -o model/
      whycell sequences train --positives peaks.narrowPeak --genome hg38.fa --width 200 --negatives gc -o model/
      whycell sequences train --positives a.fa --task A --positives b.fa --task B -o model/
      whycell sequences train --positives peaks.bed --genome hg38.fa --width 2114 --signal reads.bw --kind profile \\
        --profile-width 1000 -o model/
      whycell sequences train --positives peaks.fa --tune 20 --logger csv -o model/

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
            kind=kind.value if kind else None,
            width=width,
            profile_width=profile_width,
            network=network.value,
            epochs=epochs,
            tune=tune,
            logger=logger.value if logger else None,
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
            talk.note(f"{name}: {_told(score, card.get('baseline', {}).get(name))}")
        print(output)


@sequences.command(no_args_is_help=True)
def predict(
    query: Annotated[Path, typer.Argument(metavar="FILE", help="FASTA, BED or a table of sequences.")],
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="TSV", help="Where the table goes.")],
    genome: Genome = None,
    profiles: Annotated[
        Path | None,
        typer.Option(
            "--profiles", metavar="H5|BW", help="Where expected reads at every base go: .h5, or .bw to browse."
        ),
    ] = None,
    threads: options.Threads = 0,
    device: options.Device = options.DeviceName.auto,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Gives each sequence a probability for each task, or of a model of reads how many are expected.

    \b
    Example:
      whycell sequences predict peaks.fa --model model/ -o calls.tsv
      whycell sequences predict peaks.bed --genome hg38.fa --model model/ --profiles reads.bw -o counts.tsv

    From Python: whycell.models.sequence.SequenceModel.predict_proba.
    """
    with working(quiet=quiet, debug=debug) as talk:
        from whycell.jobs.sequences import predict_sequences as job

        frame = job(
            query,
            output,
            model=model,
            genome=genome,
            profiles=profiles,
            threads=threads,
            device=device.value,
            force=force,
            talk=talk,
        )
        if json:
            print_json({"output": str(output), "sequences": len(frame)})
        else:
            print(output)


def _told(score: dict[str, Any], beside: float | None) -> str:
    """The scores of one task in a line."""
    if "auroc" in score:
        low, high = score["auroc_low"], score["auroc_high"]
        told = f"AUROC {score['auroc']:.3f} ({low:.3f} to {high:.3f})"
        told += f", AUPRC {score['auprc']:.3f} (at random {score['auprc_random']:.3f})"
        rest = "" if beside is None else f"; gapped k-mers AUROC {beside:.3f}"
    elif "spearman" in score:
        told = f"Spearman {score['spearman']:.3f} ({score['spearman_low']:.3f} to {score['spearman_high']:.3f})"
        rest = ""
        if "jsd" in score:
            rest = f"; divergence of profiles {score['jsd']:.3f}, of their mean {score['jsd_mean_profile']:.3f}"
            if "jsd_if_right" in score:
                rest += f", of a right one {score['jsd_if_right']:.3f}"
    else:
        return f"too few of {score['n']:,} held out are known, or all are alike: no score"
    return f"{told} on {score['n']:,} held out{rest}"
