"""``whycell corpus``: many files as one: looked at, asked, chosen from and fetched without a download."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from whycell.cli import options
from whycell.cli.corpus_gather import gather
from whycell.cli.corpus_select import select
from whycell.cli.manners import print_json, working

__all__ = ["corpus", "query", "report", "scan"]

corpus = typer.Typer(
    name="corpus",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Many files as one: looked at, asked, chosen from and fetched without a download.",
)


@corpus.command(no_args_is_help=True)
def scan(
    source: Annotated[
        str, typer.Argument(metavar="WHERE", help="A folder, s3://bucket/prefix/, the address of a list, or one file.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="CATALOG", help="Folder of the catalogue.")],
    executor: options.Executor = "here",
    shard: options.Shard = "",
    at_once: Annotated[
        int, typer.Option("--at-once", min=1, help="Files that each worker has in hand; most of the time is waiting.")
    ] = 16,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Looks at every h5ad file of a place by a few ranges of its bytes, and keeps what it holds.

    The catalogue says of each file which cells, donors, tissues and genes it has, how deeply it was read, and where the
    chunks of its counts lie. Public buckets need no credentials. Run it again to go on where it stopped, or to add what
    is new; a file that cannot be read becomes a row with the reason.

    \b
    Example:
      whycell corpus scan atlas/ -o catalog/
      whycell corpus scan s3://bucket/prefix/ -o catalog/ --executor local:2
      whycell corpus scan https://host/list.txt -o catalog/ --shard $SLURM_ARRAY_TASK_ID/64

    From Python: whycell.jobs.scan.scan.
    """
    with working(quiet=quiet, debug=debug) as talk:
        from whycell.jobs.scan import scan as job

        told = job(source, output, executor=executor, shard=shard, at_once=at_once, talk=talk)
        if json:
            print_json({"output": str(output), **told})
        else:
            talk.note(
                f"{told['files']:,} files, {told['new']:,} of them new, {told['cells']:,} cells; "
                f"{told['unreadable']:,} could not be read."
            )
            print(output)


@corpus.command(no_args_is_help=True)
def query(
    catalog: Annotated[Path, typer.Argument(metavar="CATALOG", help="What whycell corpus scan wrote.")],
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One SELECT.")],
    tsv: Annotated[bool, typer.Option("--tsv", help="Print tabs between columns, whole and unrounded.")] = False,
    json: options.Json = False,
    debug: options.Debug = False,
) -> None:
    """Asks a catalogue a question in SQL.

    Views: files (one row a file), cells (runs of neighbouring cells, with n of them; those that are in another file too
    are left out), runs (with those), var (genes), dist (depth), labels (words, their terms and rules), columns (what
    each file calls its fields). Nothing can be written, and no other file read.

    \b
    Example:
      whycell corpus query catalog/ "select cell_type, sum(n) from cells group by 1 order by 2 desc limit 20"
      whycell corpus query catalog/ "select address, reason from files where status <> 'ok'" --tsv

    From Python: whycell.jobs.corpus_report.query.
    """
    with working(quiet=True, debug=debug):
        from whycell.jobs.corpus_report import query as job

        frame = job(catalog, sql)
        if json:
            print_json(frame)
        elif tsv:
            frame.to_csv(sys.stdout, sep="\t", index=False)
        else:
            print(frame.to_string(index=False, max_colwidth=60, na_rep="") if len(frame) else "no rows")


@corpus.command(no_args_is_help=True)
def report(
    catalog: Annotated[Path, typer.Argument(metavar="CATALOG", help="What whycell corpus scan wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="HTML", help="The page.")],
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Draws what a catalogue holds: the depth of every file, outliers first, cell types, and how words were understood.

    \b
    Example:
      whycell corpus report catalog/ -o catalog.html

    From Python: whycell.jobs.corpus_report.report.
    """
    with working(quiet=quiet, debug=debug):
        from whycell.jobs.corpus_report import report as job

        summary = job(catalog, output, force=force)
        if json:
            print_json({"output": str(output), **summary.summary})
        else:
            print(output)


corpus.command(no_args_is_help=True)(select)
corpus.command(no_args_is_help=True)(gather)
