"""``whycell motifs``: from base scores to motifs and their places."""

from pathlib import Path
from typing import Annotated

import typer

from whycell.cli import options
from whycell.cli.manners import print_json, working
from whycell.cli.sequences import Task

__all__ = ["motifs"]


def motifs(
    scores: Annotated[Path, typer.Argument(metavar="H5", help="Scores that sequences explain wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder for motifs and hits.")],
    known: Annotated[
        Path | None, typer.Option("--known", metavar="MEME", help="Known motifs to match with, such as JASPAR's.")
    ] = None,
    task: Task = None,
    fdr: Annotated[
        float, typer.Option("--fdr", metavar="SHARE", min=0.0, max=1.0, help="Share of false places allowed.")
    ] = 0.05,
    most_sites: Annotated[
        int, typer.Option("--most-sites", metavar="N", min=100, help="Sites compared at most; time grows as N squared.")
    ] = 5000,
    seed: options.Seed = 0,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Finds what the scores of many sequences have in common, and every place where it stands.

    \b
    Example:
      whycell motifs scores.h5 -o motifs/
      whycell motifs scores.h5 --known jaspar.meme -o motifs/

    From Python: whycell.patterns.motifs.find_motifs.
    """
    with working(quiet=quiet, debug=debug) as talk:
        from whycell.jobs.motifs import motifs_of_scores as job

        found = job(
            scores,
            output,
            known=known,
            tasks=tuple(task or ()),
            fdr=fdr,
            most_sites=most_sites,
            seed=seed,
            force=force,
            talk=talk,
        )
        if json:
            print_json({"output": str(output), "motifs": found.summary.to_dict(orient="records")})
            return
        for row in found.summary.itertuples():
            like = found.matches[(found.matches["task"] == row.task) & (found.matches["motif"] == row.motif)]
            known_as = f", like {like['name'].iloc[0]} (q = {like['q'].iloc[0]:.1g})" if len(like) else ""
            talk.note(f"{row.task} {row.motif}: {row.consensus}, {row.hits:,} places{known_as}")
        print(output)
