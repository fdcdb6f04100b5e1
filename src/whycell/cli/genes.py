"""``whycell genes``: what is known of each gene, as a table, as texts and as vectors."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from whycell.cli import options
from whycell.cli.manners import check_reach, print_json, print_table, working
from whycell.errors import UsageError

__all__ = ["PrecisionName", "build", "cells", "coverage", "describe", "embed", "genes", "sweep", "unseen", "views"]

genes = typer.Typer(
    name="genes",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="What is known of each gene, as a table, as texts and as vectors.",
)


class PrecisionName(StrEnum):
    """In which numbers an encoder computes."""

    float32 = "float32"
    bfloat16 = "bfloat16"


@genes.command(no_args_is_help=True)
def build(
    gene_info: Annotated[
        str, typer.Option("--gene-info", metavar="FILE|URL", help="NCBI's gene_info of one species, plain or gzipped.")
    ],
    summaries: Annotated[
        str,
        typer.Option("--summaries", metavar="FILE|URL", help="NCBI's gene_summary, or a TSV of Gene_ID, Gene_summary."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="PARQUET", help="Where the table goes.")],
    hgnc: Annotated[
        str | None, typer.Option("--hgnc", metavar="FILE|URL", help="HGNC's complete set: newer names and Ensembl ids.")
    ] = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Joins the public tables on genes into one, by their identifiers.

    Every gene keeps NCBI's id, its symbols of today and before, its Ensembl ids, its full name and its summary.

    \b
    Example:
      whycell genes build --gene-info Homo_sapiens.gene_info.gz --summaries gene_summary.gz -o genes.parquet
      whycell genes build --gene-info info.gz --summaries s.gz --hgnc hgnc_complete_set.txt -o genes.parquet

    From Python: whycell.jobs.genes.build.
    """
    with working(quiet=quiet, debug=debug) as talk:
        check_reach(gene_info, summaries, hgnc)
        from whycell.jobs.genes import build as job

        table = job(gene_info, output, summaries=summaries, hgnc=hgnc, force=force, talk=talk)
        if json:
            print_json({"output": str(output), "genes": len(table), "summaries": int((table["summary"] != "").sum())})
        else:
            print(output)


@genes.command(no_args_is_help=True)
def describe(
    table: Annotated[Path, typer.Argument(metavar="GENES", help="The table that genes build wrote.")],
    service: Annotated[str, typer.Option("--service", metavar="URL", help="A server that speaks OpenAI's protocol.")],
    language_model: Annotated[
        str, typer.Option("--language-model", metavar="NAME", help="The language model to ask there.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="PARQUET", help="Where the texts go.")],
    facets: Annotated[
        str, typer.Option("--facets", metavar="NAME,NAME", help="associated,tissues,cell-types,drugs,pathways,ageing")
    ] = "associated,pathways",
    of: Annotated[
        str, typer.Option("--of", metavar="GENE,GENE", help="Ask of these genes only, by id or symbol.")
    ] = "",
    plain: Annotated[
        bool, typer.Option("--plain", help="Plain calls instead of batches: at once, at full price")
    ] = False,
    key_from: Annotated[
        str, typer.Option("--key-from", metavar="VARIABLE", help="Environment variable that holds the key.")
    ] = "OPENAI_API_KEY",
    price_in: Annotated[float | None, typer.Option("--price-in", min=0, help="Price of a million tokens sent.")] = None,
    price_out: Annotated[
        float | None, typer.Option("--price-out", min=0, help="Price of a million tokens that come back.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Agree to the cost beforehand.")] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Asks a language model about each gene, one question for each kind of text.

    The number of requests and their cost are shown first, and nothing is sent before you agree. Each request is paid
    once: a run that was stopped finds what was answered and what is on its way.

    \b
    Example:
      whycell genes describe genes.parquet --service https://host/v1 --language-model NAME -o facets.parquet
      whycell genes describe genes.parquet --service http://localhost:8000 --language-model NAME --of INS -o f.parquet

    From Python: whycell.jobs.describe.describe.
    """
    with working(quiet=quiet, debug=debug) as talk:
        from whycell.encode.service import Service
        from whycell.jobs.describe import describe as job

        prices = (price_in, price_out) if price_in is not None and price_out is not None else None
        frame = job(
            table,
            output,
            facets=_split(facets),
            service=Service(service, key_from=key_from),
            model=language_model,
            batch=not plain,
            genes=_split(of),
            prices=prices,
            agreed=lambda found: _agreed(found, yes=yes),
            force=force,
            talk=talk,
        )
        if json:
            print_json({"output": str(output), "texts": len(frame)})
        else:
            print(output)


@genes.command(no_args_is_help=True)
def embed(
    table: Annotated[Path, typer.Argument(metavar="GENES", help="The table that genes build wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="PARQUET", help="Where the vectors go.")],
    more: Annotated[
        Path | None, typer.Argument(metavar="[FACETS]", help="Further texts: a table of gene_id, facet and text.")
    ] = None,
    encoder: Annotated[
        str, typer.Option("--encoder", metavar="minilm|FOLDER|URL", help="What turns texts into vectors.")
    ] = "minilm",
    language_model: Annotated[
        str, typer.Option("--language-model", metavar="NAME", help="The model to ask of a server's.")
    ] = "",
    key_from: Annotated[
        str, typer.Option("--key-from", metavar="VARIABLE", help="Environment variable that holds the key.")
    ] = "OPENAI_API_KEY",
    facets: Annotated[
        str, typer.Option("--facets", metavar="NAME,NAME", help="Kinds of text to encode; all unless given.")
    ] = "",
    dims: Annotated[int | None, typer.Option("--dims", min=1, help="Numbers that each vector keeps.")] = None,
    cut: Annotated[
        bool, typer.Option("--cut", help="Keep the first of them: for encoders trained to be cut short (Matryoshka).")
    ] = False,
    batch: Annotated[
        bool, typer.Option("--batch", help="Ask a server in batches: half the price, within a day.")
    ] = False,
    price: Annotated[float | None, typer.Option("--price-in", min=0, help="Price of a million tokens sent.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Agree to the cost beforehand.")] = False,
    precision: Annotated[
        PrecisionName, typer.Option("--precision", help="bfloat16 takes under half the time.")
    ] = PrecisionName.float32,
    cache: Annotated[
        Path | None, typer.Option("--cache", metavar="FOLDER", help="Where vectors are kept; yours unless given.")
    ] = None,
    threads: options.Threads = 0,
    device: options.Device = options.DeviceName.auto,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Turns every gene's texts into vectors, one for each kind of text.

    The bundled encoder needs no network. No text is encoded twice: vectors are kept under the hash of the text and of
    the encoder, and a run that was stopped goes on where it was. Before anything is sent to a server the number of
    requests and their cost are shown, and you are asked.

    \b
    Example:
      whycell genes embed genes.parquet -o vectors.parquet
      whycell genes embed genes.parquet facets.parquet --facets summary,pathways --dims 128 -o vectors.parquet
      whycell genes embed genes.parquet --encoder https://host/v1 --language-model NAME --batch -o vectors.parquet

    From Python: whycell.jobs.genes.embed.
    """
    with working(quiet=quiet, debug=debug) as talk:
        from whycell.jobs.genes import embed as job

        made = job(
            table,
            output,
            cut=cut,
            batch=batch,
            prices=None if price is None else (price, 0.0),
            agreed=lambda found: _agreed(found, yes=yes),
            more=more,
            encoder=encoder,
            service_model=language_model,
            key_from=key_from,
            facets=_split(facets),
            dims=dims,
            precision=precision.value,
            cache=cache,
            device=device.value,
            threads=threads,
            force=force,
            talk=talk,
        )
        if json:
            print_json({"output": str(output), **made})
        else:
            talk.note(f"{made['texts']:,} texts on {made['genes']:,} genes, {made['dims']} dimensions.")
            print(output)


@genes.command(no_args_is_help=True)
def coverage(
    query: Annotated[Path, typer.Argument(metavar="QUERY", help="A file of cells.")],
    described: Annotated[Path, typer.Option("--genes", metavar="PARQUET", help="A gene table, or gene vectors.")],
    json: options.Json = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Says how much of a file's genes, and of its counts, is spoken of.

    \b
    Example:
      whycell genes coverage blood.h5ad --genes vectors.parquet

    From Python: whycell.jobs.genes.coverage.
    """
    with working(quiet=quiet, debug=debug):
        import pandas as pd

        from whycell.jobs.genes import coverage as job

        found = job(query, described)
        if json:
            print_json(found.__dict__)
        else:
            print_table(
                pd.DataFrame(
                    [
                        ("genes", f"{found.genes:,}"),
                        ("with text", f"{found.with_text:,}"),
                        ("share of genes", f"{found.share_of_genes:.3f}"),
                        ("share of counts", f"{found.share_of_counts:.3f}"),
                        ("most counted without", ", ".join(found.without)),
                    ],
                    columns=["what", "value"],
                )
            )


@genes.command(no_args_is_help=True)
def cells(
    query: Annotated[Path, typer.Argument(metavar="QUERY", help="A file of cells.")],
    gene_vectors: Annotated[
        str, typer.Option("--gene-vectors", metavar="FILE|URL", help="Vectors that genes embed wrote.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="ZARR", help="Where the embedding goes.")],
    facets: Annotated[
        str, typer.Option("--facets", metavar="NAME,NAME", help="Kinds of text to use; all unless given.")
    ] = "",
    dims: Annotated[int | None, typer.Option("--dims", min=1, help="Numbers that each vector keeps.")] = None,
    normalise: Annotated[
        str, typer.Option("--normalise", metavar="NAME", help="none, cp10k, log1p-cp10k, sqrt or rank.")
    ] = "log1p-cp10k",
    centre: Annotated[
        str, typer.Option("--centre", metavar="NAME", help="keep, mean or first: what is common to all genes.")
    ] = "keep",
    threads: options.Threads = 0,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Embeds cells as the sum of their genes' vectors, weighted by expression (GenePT-w).

    Each cell becomes a vector of length one, and the share of its counts that has a text is kept beside it. Memory does
    not grow with the file.

    \b
    Example:
      whycell genes cells blood.h5ad --gene-vectors vectors.parquet -o cells.zarr

    From Python: whycell.jobs.embed_cells.embed_cells.
    """
    with working(quiet=quiet, debug=debug) as talk:
        check_reach(gene_vectors)
        from whycell.jobs.embed_cells import embed_cells as job

        made = job(
            query,
            output,
            vectors=gene_vectors,
            facets=tuple(_split(facets)),
            dims=dims,
            normalise=normalise,
            centre=centre,
            threads=threads,
            force=force,
            talk=talk,
        )
        if json:
            print_json({"output": str(output), **made})
        else:
            talk.note(f"{made['cells']:,} cells, {made['dims']} dimensions, {made['coverage']:.3f} of their counts.")
            print(output)


@genes.command(no_args_is_help=True)
def sweep(
    references: Annotated[list[Path], typer.Argument(metavar="REF...", help="Labelled cells.")],
    label: options.Label,
    gene_vectors: Annotated[
        str, typer.Option("--gene-vectors", metavar="FILE|URL", help="Vectors that genes embed wrote.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where tables and page go.")],
    group: options.Group = None,
    study: options.Study = None,
    label_map: options.LabelMapFile = None,
    facets: Annotated[
        str, typer.Option("--facets", metavar="NAME,NAME", help="Kinds of text to use; all unless given.")
    ] = "",
    dims: Annotated[
        str, typer.Option("--dims", metavar="N,N", help="Dimensions to try; doublings from 16 unless given.")
    ] = "",
    draws: Annotated[int, typer.Option("--draws", min=1, help="Draws of each control.")] = 2,
    most_cells: Annotated[int, typer.Option("--most-cells", min=10, help="Cells to take, at random.")] = 20_000,
    seed: options.Seed = 0,
    threads: options.Threads = 0,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Scores typing by texts against the number of dimensions, on your own cells, with donors held out.

    Beside it: vectors cut short and projected, the same texts dealt out to other genes, random vectors of the same
    spectrum, and expression itself. The gap to the controls is what the texts contribute. Where a kind of text names
    cell types, scores with and without it stand side by side.

    \b
    Example:
      whycell genes sweep ref.h5ad --label cell_type --donor donor --gene-vectors vectors.parquet -o sweep/

    From Python: whycell.jobs.sweep.sweep.
    """
    with working(quiet=quiet, debug=debug) as talk:
        check_reach(gene_vectors)
        from whycell.jobs.sweep import sweep as job

        found = job(
            references,
            output,
            label=label,
            gene_vectors=gene_vectors,
            donor=group,
            study=study,
            facets=_split(facets),
            dims=_numbers(dims),
            draws=draws,
            label_map=label_map,
            most_cells=most_cells,
            seed=seed,
            threads=threads,
            force=force,
            talk=talk,
        )
        if json:
            print_json(vars(found))
            return
        for sentence in (found.split, *found.warnings):
            talk.note(sentence)
        print_table(found.scores)
        print("# what texts contribute")
        print_table(found.gaps)
        if len(found.facets):
            print("# facets that name cell types")
            print_table(found.facets)


@genes.command(no_args_is_help=True)
def views(
    references: Annotated[list[Path], typer.Argument(metavar="REF...", help="Labelled cells.")],
    label: options.Label,
    gene_vectors: Annotated[
        str, typer.Option("--gene-vectors", metavar="FILE|URL", help="Vectors that genes embed wrote.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where tables and page go.")],
    group: options.Group = None,
    label_map: options.LabelMapFile = None,
    facets: Annotated[
        str, typer.Option("--facets", metavar="NAME,NAME", help="Kinds of text to use; all unless given.")
    ] = "",
    obsm: Annotated[
        str, typer.Option("--obsm", metavar="KEY,KEY", help="Embeddings in the file to draw too: X_scVI,X_scGPT.")
    ] = "",
    sentences: Annotated[
        bool, typer.Option("--sentences", help="Also every cell as a sentence of its genes (GenePT-s).")
    ] = False,
    most_cells: Annotated[int, typer.Option("--most-cells", min=10, help="Cells to take, at random.")] = 10_000,
    seed: options.Seed = 0,
    threads: options.Threads = 0,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Draws the same cells by several representations, with numbers beside the maps.

    Expression, sums of text vectors, both controls, and embeddings that the file holds: how well each groups the types
    (ARI, AMI, silhouette), and how well it mixes the donors.

    \b
    Example:
      whycell genes views ref.h5ad --label cell_type --donor donor --gene-vectors vectors.parquet -o views/
      whycell genes views ref.h5ad --label cell_type --gene-vectors vectors.parquet --obsm X_scVI -o views/

    From Python: whycell.jobs.views.views.
    """
    with working(quiet=quiet, debug=debug) as talk:
        check_reach(gene_vectors)
        from whycell.jobs.views import views as job

        found = job(
            references,
            output,
            label=label,
            gene_vectors=gene_vectors,
            donor=group,
            facets=_split(facets),
            obsm=_split(obsm),
            sentences=sentences,
            label_map=label_map,
            most_cells=most_cells,
            seed=seed,
            threads=threads,
            force=force,
            talk=talk,
        )
        if json:
            print_json({"output": str(output), "numbers": found.numbers})
        else:
            print_table(found.numbers)


@genes.command(no_args_is_help=True)
def unseen(
    references: Annotated[list[Path], typer.Argument(metavar="REF...", help="Labelled cells.")],
    label: options.Label,
    gene_vectors: Annotated[
        str, typer.Option("--gene-vectors", metavar="FILE|URL", help="Vectors that genes embed wrote.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the map goes.")],
    group: options.Group = None,
    study: options.Study = None,
    label_map: options.LabelMapFile = None,
    facets: Annotated[
        str, typer.Option("--facets", metavar="NAME,NAME", help="Kinds of text to use; all unless given.")
    ] = "",
    root: Annotated[
        str, typer.Option("--below", metavar="TERM", help="Answer only terms below this one: CL:0000988.")
    ] = "",
    most_cells: Annotated[int, typer.Option("--most-cells", min=10, help="Cells to take, at random.")] = 20_000,
    seed: options.Seed = 0,
    threads: options.Threads = 0,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Learns to name types that no training cell had, by what the ontology says of them, and says if that helps.

    Each type is left out in turn, donors held out as well: what the map answers stands beside what the typer backs off
    to. Where the map is no better it stays off in whycell lookup.

    \b
    Example:
      whycell genes unseen ref.h5ad --label cell_type --donor donor --gene-vectors vectors.parquet -o map/
      whycell lookup --cell BARCODE typed.h5ad --gene-vectors vectors.parquet --unseen map/

    From Python: whycell.jobs.unseen.learn_unseen.
    """
    with working(quiet=quiet, debug=debug) as talk:
        check_reach(gene_vectors)
        from whycell.jobs.unseen import learn_unseen as job
        from whycell.jobs.words import open_words

        found = job(
            references,
            output,
            label=label,
            words=open_words(gene_vectors, facets=_split(facets), threads=threads),
            donor=group,
            study=study,
            root=root,
            label_map=label_map,
            most_cells=most_cells,
            seed=seed,
            threads=threads,
            force=force,
            talk=talk,
        )
        if json:
            print_json(vars(found))
            return
        print_table(found.summary)
        talk.note(f"Kept: {found.helps}." if found.helps else "The map is no better than the call, and stays off.")


def _agreed(found: Any, *, yes: bool) -> bool:
    print(found.sentence(), file=sys.stderr)
    if found.requests == found.answered or yes:
        return True
    return sys.stdin.isatty() and typer.confirm("Send them?", err=True)


def _numbers(names: str) -> list[int]:
    try:
        return [int(name) for name in _split(names)]
    except ValueError:
        msg = f"{names!r} are not numbers of dimensions; write them as 16,64,256."
        raise UsageError(msg) from None


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]
