"""``whycell motifs compare``: one motif, two contexts."""

from pathlib import Path
from typing import Annotated

import typer

from whycell.cli import options
from whycell.cli.manners import print_json, working

__all__ = ["compare"]


def compare(
    first: Annotated[Path, typer.Argument(metavar="MOTIFS", help="A folder that whycell motifs wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder for the comparison.")],
    second: Annotated[
        Path | None,
        typer.Argument(metavar="[OTHER]", help="Another, of the same sequences; without it, two tasks of the first."),
    ] = None,
    task: Annotated[str | None, typer.Option("--task", metavar="NAME", help="Task of the first folder.")] = None,
    other_task: Annotated[
        str | None, typer.Option("--other-task", metavar="NAME", help="Task of the second, or the other of the first.")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option("--scores", metavar="H5", help="Scores of the first, where they were moved.")
    ] = None,
    other_scores: Annotated[
        Path | None, typer.Option("--other-scores", metavar="H5", help="Scores of the second, where they were moved.")
    ] = None,
    least: Annotated[
        float,
        typer.Option(
            "--least", metavar="SHARE", min=0.0, max=1.9, help="By how much one must exceed the other; 0, by anything."
        ),
    ] = 0.2,
    unscaled: Annotated[
        bool, typer.Option("--unscaled", help="Take contributions as they are, of outputs that have one unit.")
    ] = False,
    fdr: Annotated[
        float, typer.Option("--fdr", metavar="SHARE", min=0.0, max=1.0, help="Share of false differences allowed.")
    ] = 0.05,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Asks of every motif whether it counts more in one of two contexts: two models, or two tasks.

    The same places are asked in both, wherever either has a hit. Sequences must be the same, by place or by letters.

    \b
    Example:
      whycell motifs compare motifs_A/ motifs_B/ -o contexts/
      whycell motifs compare motifs/ --task K562 --other-task GM12878 -o contexts/

    From Python: whycell.patterns.contexts.compare_uses.
    """
    with working(quiet=quiet, debug=debug) as talk:
        from whycell.jobs.motifs_compare import compare_motifs as job

        found = job(
            first,
            second,
            output,
            task=task,
            other_task=other_task,
            scores=scores,
            other_scores=other_scores,
            least=least,
            scaled=not unscaled,
            fdr=fdr,
            force=force,
            talk=talk,
        )
        if json:
            print_json({"output": str(output), "motifs": found.motifs, "notes": found.notes})
            return
        for row in found.motifs.itertuples():
            told = "counts more in one" if row.differs else "no difference shown"
            talk.note(
                f"{row.called}: {row.mean_a:.2f} and {row.mean_b:.2f} at {row.n:,} places, {told} (q = {row.q:.1g})"
            )
        print(output)
