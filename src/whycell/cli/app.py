"""The ``whycell`` command: its name, its version and the list of what it can do."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from whycell.cli.annotate import annotate
from whycell.cli.audit import audit
from whycell.cli.compare import compare
from whycell.cli.corpus import corpus
from whycell.cli.doctor import doctor
from whycell.cli.evaluate import evaluate
from whycell.cli.explain import explain
from whycell.cli.features import features
from whycell.cli.genes import genes
from whycell.cli.grammar import grammar
from whycell.cli.lookup import lookup
from whycell.cli.manners import INTERRUPTED
from whycell.cli.models import models
from whycell.cli.motifs import motifs
from whycell.cli.project import project
from whycell.cli.rfm import rfm
from whycell.cli.screen import screen
from whycell.cli.sequences import sequences
from whycell.cli.sequences_explain import explain as explain_bases
from whycell.cli.sequences_explain import layers
from whycell.cli.sequences_locate import locate
from whycell.cli.sequences_variants import variants
from whycell.cli.subgroups import subgroups
from whycell.cli.train import train

__all__ = ["app", "main"]

# Plain help and plain tracebacks: the rich ones cost a quarter of a second at every start.
app = typer.Typer(
    name="whycell",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(asked: bool) -> None:
    if asked:
        from whycell import __version__

        print(f"whycell {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _whycell(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and stop.")
    ] = False,
) -> None:
    """Types the cells of single-cell RNA data, and says how sure it is.

    Reads h5ad, zarr, 10x h5 and mtx folders. Answers are terms of the Cell Ontology with calibrated confidences.

    \b
    Example:
      whycell annotate blood.h5ad -o typed.h5ad --report report.html
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


for _command in (
    annotate,
    explain,
    features,
    subgroups,
    audit,
    train,
    evaluate,
    compare,
    project,
    lookup,
    screen,
    doctor,
    grammar,
):
    app.command(no_args_is_help=True)(_command)

for _command in (explain_bases, layers, locate, variants):
    sequences.command(no_args_is_help=True)(_command)

for _group in (models, genes, sequences, corpus, rfm, motifs):
    app.add_typer(_group)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code.

    Parameters
    ----------
    arguments
        What stands behind ``whycell`` on the command line; ``None`` reads it from there.
    """
    try:
        app(args=None if arguments is None else list(arguments), prog_name="whycell")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
