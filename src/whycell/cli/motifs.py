"""``whycell motifs``: from base scores to motifs and their places; and one motif in two contexts."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from whycell.cli import options
from whycell.cli.manners import print_json, working
from whycell.cli.motifs_compare import compare
from whycell.cli.sequences import Task

__all__ = ["FileOrCommand", "find", "motifs"]

_SURE = 0.05  # q of a match, above which it is not told


class FileOrCommand(TyperGroup):
    """A group that may be given a file where a command would stand: the command ``find`` is then meant."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Set ``find`` before ``args`` that begin with no command and ask for no help; ``ctx`` is click's context."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["find", *args]
        return super().parse_args(ctx, args)


motifs = typer.Typer(
    name="motifs",
    cls=FileOrCommand,
    no_args_is_help=True,
    rich_markup_mode=None,
    subcommand_metavar="H5 -o FOLDER | COMMAND ...",
)


@motifs.callback()
def _motifs() -> None:
    """Finds motifs in scores and every place where they stand; or asks how one is used in two contexts.

    \b
    Example:
      whycell motifs scores.h5 -o motifs/
      whycell motifs scores.h5 --known jaspar.meme -o motifs/
      whycell motifs compare motifs_A/ motifs_B/ -o contexts/

    Where a file is given, find is meant: whycell motifs find --help tells its options.
    """


@motifs.command(no_args_is_help=True)
def find(
    scored: Annotated[Path, typer.Argument(metavar="H5", help="Scores that sequences explain wrote.")],
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
    kinds: Annotated[
        str,
        typer.Option(
            "--kinds", metavar="auto|N", help="Kinds of sequence told apart: as many as hold in fresh ones, N, or 0."
        ),
    ] = "auto",
    seed: options.Seed = 0,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Finds what the scores of many sequences have in common, and every place where it stands.

    Sequences are also told apart by what each motif contributes to them: kinds.tsv and kind_of.tsv.

    \b
    Example:
      whycell motifs find scores.h5 -o motifs/
      whycell motifs scores.h5 --known jaspar.meme -o motifs/

    From Python: whycell.patterns.motifs.find_motifs.
    """
    with working(quiet=quiet, debug=debug) as talk:
        from whycell.jobs.motif_kinds import kinds_asked, read_kinds
        from whycell.jobs.motifs import motifs_of_scores as job

        n_kinds = kinds_asked(kinds)
        found = job(
            scored,
            output,
            known=known,
            tasks=tuple(task or ()),
            fdr=fdr,
            most_sites=most_sites,
            n_kinds=n_kinds,
            seed=seed,
            force=force,
            talk=talk,
        )
        if json:
            print_json({"output": str(output), "motifs": found.summary, "kinds": read_kinds(output)})
            return
        for row in found.summary.itertuples():
            like = found.matches[(found.matches["task"] == row.task) & (found.matches["motif"] == row.motif)]
            sure = len(like) and like["q"].iloc[0] < _SURE
            known_as = f", like {like['name'].iloc[0]} (q = {like['q'].iloc[0]:.1g})" if sure else ""
            places = f"{row.hits:,} places"
            if row.held == row.held:  # not NaN
                places = f"no place is sure, but {row.held:,.0f} sequences hold it, {row.held_by_chance:,.0f} by chance"
            talk.note(f"{row.task} {row.motif}: {row.consensus}, {places}{known_as}")
        told = read_kinds(output)
        if len(told):
            each = ", ".join(f"{row.motifs} ({row.share:.0%})" for row in told.itertuples())
            talk.note(f"{len(told)} kind{'' if len(told) == 1 else 's'} of sequence: {each}")
        print(output)


motifs.command(no_args_is_help=True)(compare)
