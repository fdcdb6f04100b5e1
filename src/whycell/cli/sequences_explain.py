"""``whycell sequences explain``: score every base."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from whycell.cli import options
from whycell.cli.manners import print_json, print_table, working
from whycell.cli.sequences import Genome, Model, Task

__all__ = ["BaseMethodName", "HeadName", "References", "explain", "layers"]

References = Annotated[
    int, typer.Option("--references", metavar="N", min=1, help="Dinucleotide shuffles each is compared with.")
]


class BaseMethodName(StrEnum):
    """How bases are scored: DeepLIFT by one of three rules, or what it is compared with."""

    genomics = "genomics"
    rescale = "rescale"
    reveal_cancel = "reveal-cancel"
    mutagenesis = "mutagenesis"
    gradient = "gradient-times-input"
    integrated = "integrated-gradients"
    expected = "expected-gradients"


class HeadName(StrEnum):
    """What of a model's answer is explained."""

    counts = "counts"
    profile = "profile"


def explain(
    query: Annotated[Path, typer.Argument(metavar="FILE", help="FASTA, BED or a table of sequences.")],
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="H5", help="Where the scores go.")],
    genome: Genome = None,
    task: Task = None,
    method: Annotated[
        BaseMethodName,
        typer.Option("--method", help="Rule of DeepLIFT (genomics, rescale, reveal-cancel), or another way."),
    ] = BaseMethodName.genomics,
    shuffles: References = 20,
    head: Annotated[
        HeadName, typer.Option("--head", help="Of a model of profiles: how many reads, or where they fall.")
    ] = HeadName.counts,
    layer: Annotated[
        list[str] | None,
        typer.Option(
            "--layer", metavar="NAME", help="Also score the units of this layer; @last: the last with positions."
        ),
    ] = None,
    filters: Annotated[
        Path | None, typer.Option("--filters", metavar="MEME", help="Also write the letters that drive each channel.")
    ] = None,
    neuron: Annotated[
        list[str] | None,
        typer.Option("--neuron", metavar="LAYER:CHANNEL", help="Explain this unit instead of the tasks."),
    ] = None,
    compare: Annotated[
        BaseMethodName | None,
        typer.Option("--compare", help="Another way, tried on up to 200 sequences: how alike, and at what cost."),
    ] = None,
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
      whycell sequences explain peaks.fa --model model/ --task USF1 --compare mutagenesis -o scores.h5
      whycell sequences explain peaks.fa --model model/ --layer first --filters filters.meme -o scores.h5
      whycell sequences explain peaks.fa --model model/ --neuron first:12 -o unit.h5

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
            method=method.value,
            references=shuffles,
            head=head.value,
            layers=tuple(layer or ()),
            filters=filters,
            neurons=tuple(neuron or ()),
            compare=compare.value if compare is not None else None,
            seed=seed,
            threads=threads,
            device=device.value,
            force=force,
            talk=talk,
        )
        if json:
            print_json({"output": str(output), **found})
            return
        for name, beside in found.get("compared", {}).items():
            seconds = ", ".join(f"{which} {each:.3g}" for which, each in beside["cpu_s_each"].items())
            low, high = beside["quartiles"]
            talk.note(
                f"{name}: correlation with {beside['with']} {beside['median']:.2f} (half of {beside['n']} sequences "
                f"between {low:.2f} and {high:.2f}); CPU seconds a sequence: {seconds}"
            )
        print(output)


def layers(
    trained: Annotated[Path, typer.Argument(metavar="FOLDER", help="A model that sequences train wrote.")],
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Lists the layers of a model, as --layer and --neuron take them.

    \b
    Example:
      whycell sequences layers model/

    From Python: whycell.lenses.layers_of.
    """
    with working(quiet=quiet, debug=debug):
        from whycell.jobs.sequences_layers import layers_of_model

        frame = layers_of_model(trained)
        print_json(frame.to_dict("records")) if json else print_table(frame)
