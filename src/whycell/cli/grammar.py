"""``whycell grammar``: what motifs do together."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from whycell.cli import options
from whycell.cli.manners import print_json, working
from whycell.cli.sequences import Model, Task

__all__ = ["Letters", "grammar"]


class Letters(StrEnum):
    """How a motif is written."""

    drawn = "drawn"
    likeliest = "likeliest"


def grammar(
    found_motifs: Annotated[Path, typer.Argument(metavar="MOTIFS", help="The folder that motifs wrote.")],
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder for tables and the page.")],
    motif: Annotated[
        list[str] | None,
        typer.Option("--motif", metavar="[TASK/]NAME", help="A motif to ask about; repeat. Else those that add most."),
    ] = None,
    task: Task = None,
    most_motifs: Annotated[
        int, typer.Option("--most-motifs", metavar="N", min=1, help="Motifs taken where none is named.")
    ] = 5,
    widest: Annotated[int, typer.Option("--gap", metavar="N", min=1, help="Widest gap, in letters.")] = 30,
    closest: Annotated[
        int,
        typer.Option("--closest", metavar="N", min=0, help="Least gap that is tested: nearer, flanks are overwritten."),
    ] = 3,
    backgrounds: Annotated[
        int, typer.Option("--backgrounds", metavar="N", min=10, help="Shuffles that motifs are written into.")
    ] = 50,
    letters: Annotated[
        Letters, typer.Option("--letters", help="Write a motif by letters drawn from its shares, or by the likeliest.")
    ] = Letters.drawn,
    scores: Annotated[
        Path | None, typer.Option("--scores", metavar="H5", help="The motifs' scores, where they have been moved.")
    ] = None,
    fdr: Annotated[
        float, typer.Option("--fdr", metavar="SHARE", min=0.0001, max=1.0, help="Largest q-value that is reported.")
    ] = 0.01,
    seed: options.Seed = 0,
    threads: options.Threads = 0,
    device: options.Device = options.DeviceName.auto,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Asks whether motifs work together, and at which distance, in which order and on which strands.

    Motifs are written into shuffled sequences, alone and in pairs, and the network is asked; the same distances are
    counted between their places in the sequences that the motifs were found in.

    \b
    Example:
      whycell grammar motifs/ --model model/ -o grammar/
      whycell grammar motifs/ --model model/ --motif positive_1 --motif positive_2 --gap 50 -o grammar/

    From Python: whycell.patterns.grammar.grammar_of_pair.
    """
    with working(quiet=quiet, debug=debug) as talk:
        from whycell.jobs.grammar import grammar_of_motifs as job
        from whycell.reports.grammar import sentences

        found = job(
            found_motifs,
            output,
            model=model,
            scores=scores,
            tasks=tuple(task or ()),
            chosen=tuple(motif or ()),
            most_motifs=most_motifs,
            widest=widest,
            closest=closest,
            backgrounds=backgrounds,
            letters=letters.value,
            fdr=fdr,
            seed=seed,
            threads=threads,
            device=device.value,
            force=force,
            talk=talk,
        )
        if json:
            print_json({"output": str(output), "reported": found.tests[found.tests["reported"]]})
            return
        told = sentences(found)
        for line in [*(told["rules"] or ["No rule of grammar is reported."]), *told["sums"], *told["counted"]]:
            talk.note(line)
        if told["guessed"]:
            talk.note(
                f"{len(told['guessed'])} more are of arrangements that real sequences hardly hold; see report.html."
            )
        print(output)
