"""``whycell lookup``: from words to types, genes and cells, and from a cell to what is known of it."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from whycell._keys import DEFAULT_KEY
from whycell.cli import options
from whycell.cli.manners import check_reach, print_json, print_table, working
from whycell.errors import UsageError

__all__ = ["lookup"]

_LETTERS, _TOKENS = 120, 50


def lookup(
    what: Annotated[str, typer.Argument(metavar="TEXT|TYPED", help="Words to look up; with --cell, the typed file.")],
    typed: Annotated[
        Path | None, typer.Argument(metavar="[TYPED]", help="A file whose cells are to be looked up too.")
    ] = None,
    cell: Annotated[
        str | None, typer.Option("--cell", metavar="NAME", help="Tell what is known of this cell of the file.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", metavar="FOLDER|NAME|URL", help="A model; its types are marked as known."),
    ] = None,
    gene_vectors: Annotated[
        str | None,
        typer.Option("--gene-vectors", metavar="FILE|URL", help="Vectors of genes embed; else those of the model."),
    ] = None,
    genes: Annotated[
        str | None, typer.Option("--genes", metavar="FILE|URL", help="The table of genes build, for their texts.")
    ] = None,
    facets: Annotated[
        str, typer.Option("--facets", metavar="NAME,NAME", help="Kinds of text to use; all unless given.")
    ] = "",
    encoder: Annotated[
        str, typer.Option("--encoder", metavar="FOLDER|URL", help="What made the vectors, if not the bundled encoder.")
    ] = "",
    language_model: Annotated[
        str, typer.Option("--language-model", metavar="NAME", help="The model to ask of a server's.")
    ] = "",
    key_from: Annotated[
        str, typer.Option("--key-from", metavar="VARIABLE", help="Environment variable that holds the server's key.")
    ] = "OPENAI_API_KEY",
    unseen: Annotated[
        Path | None, typer.Option("--unseen", metavar="FOLDER", help="With --cell: a map that genes unseen learned.")
    ] = None,
    even_so: Annotated[
        bool, typer.Option("--even-so", help="Show types of --unseen even where the map was found not to help.")
    ] = False,
    known: Annotated[bool, typer.Option("--known", help="Only types that the model can call.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Agree beforehand to what a server is sent.")] = False,
    top: Annotated[int, typer.Option("--top", min=1, help="Rows of each table.")] = 10,
    key: Annotated[str, typer.Option("--key", metavar="NAME", help="Under which annotate wrote.")] = DEFAULT_KEY,
    cache: Annotated[
        Path | None, typer.Option("--cache", metavar="FOLDER", help="Where vectors are kept; yours unless given.")
    ] = None,
    threads: options.Threads = 0,
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Finds cell types, genes and cells by words; or tells what is known of one cell.

    Words, definitions of cell types and texts on genes lie in one space. What is printed are tables under a line that
    names them; texts are cut short, and whole with --json. Cell types are those of the whole Cell Ontology, of which
    a model knows few: they are encoded once, which takes a minute, and then kept.

    \b
    Example:
      whycell lookup "produces insulin" --gene-vectors vectors.parquet
      whycell lookup "kills infected cells" typed.h5ad --model model/ --gene-vectors vectors.parquet
      whycell lookup --cell AAACATACAACCAC-1 typed.h5ad --gene-vectors vectors.parquet

    From Python: whycell.jobs.lookup.lookup and lookup_cell.
    """
    with working(quiet=quiet, debug=debug) as talk:
        check_reach(model, gene_vectors, genes)
        if cell is not None and typed is not None:
            msg = f"With --cell one file is needed, and there are two arguments: {what} and {typed}."
            raise UsageError(msg)
        if unseen is not None and cell is None:
            msg = "Types that training never saw are looked up for one cell; name it with --cell."
            raise UsageError(msg)
        from whycell.jobs import lookup as jobs
        from whycell.jobs.words import open_words

        file = Path(what) if cell is not None else typed
        kinds = [name.strip() for name in facets.split(",") if name.strip()]
        if unseen is not None and not kinds:
            kinds = jobs.facets_of(unseen)
        words = open_words(
            gene_vectors,
            model=model,
            typed=file,
            genes=genes,
            facets=kinds,
            encoder=encoder,
            service_model=language_model,
            key_from=key_from,
            key=key,
            cache=cache,
            threads=threads,
        )
        if (n := words.unsent([] if cell is not None else [what])) and not yes:
            print(f"{n:,} texts to send to {encoder}, about {n * _TOKENS:,} tokens.", file=sys.stderr)
            if not (sys.stdin.isatty() and typer.confirm("Send them?", err=True)):
                msg = "Nothing was sent, since it was not agreed to; --yes agrees beforehand."
                raise UsageError(msg)
        found: Any
        if cell is None:
            found = jobs.lookup(
                what, file, words=words, known_only=known, most=top, key=key, threads=threads, talk=talk
            )
            parts = {"types": found.types, "genes": found.genes, "cells": found.cells, "calls": found.calls}
        else:
            found = jobs.lookup_cell(
                cell,
                file,
                words=words,
                unseen=unseen,
                even_so=even_so,
                most=top,
                key=key,
                threads=threads,
                talk=talk,
            )
            if found.note and not json:
                talk.note(found.note)
            parts = {"types": found.types, "genes": found.genes}
        if json:
            print_json({k: v for k, v in vars(found).items() if v is not None})
            return
        for name, frame in parts.items():
            if frame is not None:
                print(f"# {name}")
                print_table(frame.map(_short))


def _short(value: Any) -> Any:
    if not isinstance(value, str) or len(value) <= _LETTERS:
        return value
    return value[: _LETTERS - 3].rsplit(" ", 1)[0] + "..."
