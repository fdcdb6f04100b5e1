"""``whycell models``: the models at hand, their cards, and where they are shared."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from whycell.cli import options
from whycell.cli.manners import as_plain, print_json, working

__all__ = ["models", "push", "show"]

models = typer.Typer(name="models", rich_markup_mode=None, help="The models at hand, with what each one knows.")

#: Entries of a list that a card shows; a model holds thousands of genes.
MOST = 40
#: What the list shows of a card, in this order; a key that a card lacks is shown as empty.
SHOWN = ("name", "n_classes", "n_genes", "species", "ontology_release", "description")


@models.callback(invoke_without_command=True)
def show(
    context: typer.Context,
    card: Annotated[
        str | None, typer.Option("--card", metavar="FOLDER|NAME|URL", help="Print everything known of one model.")
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Lists the models at hand, with what each one knows.

    A card says which cell types and genes a model holds, what it was trained on, and how right it was on donors and
    studies that training did not see.

    \b
    Example:
      whycell models
      whycell models --card model/
      whycell models --card hf://owner/name

    From Python: whycell.jobs.models.available.
    """
    if context.invoked_subcommand is not None:
        return
    with working(quiet=quiet, debug=debug):
        from whycell.jobs import models as job

        found = job.available() if card is None else job.card(card)
        if json:
            print_json(found)
        elif card is not None:
            print("\n".join(_lines(as_plain(found))))
        else:
            print("\t".join(SHOWN))
            for each in found:
                print("\t".join(_cell(each.get(name)) for name in SHOWN))


@models.command(no_args_is_help=True)
def push(
    source: Annotated[Path, typer.Argument(metavar="MODEL", help="A model's folder, or vectors of genes embed.")],
    address: Annotated[
        str, typer.Argument(metavar="hf://OWNER/NAME", help="The repository; made where there is none.")
    ],
    private: Annotated[bool, typer.Option("--private", help="Make a new repository for yourself alone.")] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Puts a model, or gene vectors, on the Hugging Face Hub, from where --model hf://owner/name fetches it.

    The token is read from HF_TOKEN, by the hub's own client, and is printed nowhere.

    \b
    Example:
      whycell models push model/ hf://owner/name
      whycell models push vectors.parquet hf://owner/gene-vectors --private

    From Python: whycell.jobs.models.push.
    """
    with working(quiet=quiet, debug=debug):
        from whycell.jobs.models import push as job

        commit = job(source, address, private=private)
        if json:
            print_json({"commit": commit})
        else:
            print(commit)


def _cell(value: Any) -> str:
    return "" if value is None else " ".join(str(value).split())


def _score(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" + (f" ({low:.3f} to {high:.3f})" if low is not None and high is not None else "")


def _lines(value: Any, indent: str = "") -> Iterator[str]:
    """A card as a person reads it: nested by indentation, and long lists cut short (--json has them whole)."""
    entries = value.items() if isinstance(value, dict) else enumerate(value, start=1)
    for name, each in entries:
        if isinstance(each, dict) and set(each) == {"value", "low", "high"}:
            yield f"{indent}{name}: {_score(**each)}"
        elif isinstance(each, dict) or (isinstance(each, list) and any(isinstance(e, (dict, list)) for e in each)):
            yield f"{indent}{name}:"
            yield from _lines(each, indent + "  ")
        elif isinstance(each, list):
            more = f" ... ({len(each):,} in all)" if len(each) > MOST else ""
            yield f"{indent}{name}: {', '.join(_cell(e) for e in each[:MOST])}{more}"
        else:
            yield f"{indent}{name}: {_cell(each)}"
