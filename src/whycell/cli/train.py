"""``whycell train``: learn cell types from typed reference files."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from whycell.cli import options
from whycell.cli.manners import check_reach, print_json, working

__all__ = ["RepresentationName", "train"]


class RepresentationName(StrEnum):
    """What a model sees of a cell."""

    expression = "expression"
    genept_w = "genept-w"
    genept_s = "genept-s"
    ensemble = "ensemble"


def train(
    references: Annotated[list[Path], typer.Argument(metavar="REF...", help="Typed reference files, or one corpus.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder for the model.")],
    label: Annotated[
        str | None,
        typer.Option("--label", metavar="COLUMN", help="Column of obs that holds the cell types; none for a corpus."),
    ] = None,
    donor: options.Group = None,
    study: options.Study = None,
    label_map: options.LabelMapFile = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="TEXT", help="Name on the model's card; else that of the folder.")
    ] = None,
    description: Annotated[
        str, typer.Option("--description", metavar="TEXT", help="A sentence on the card: what it is for.")
    ] = "",
    tested: Annotated[
        list[Path] | None,
        typer.Option("--tested", metavar="RESULTS", help="A folder that evaluate wrote: its scores on the card."),
    ] = None,
    drop: Annotated[
        Path | None,
        typer.Option("--drop", metavar="TSV", help="Table that audit wrote: cells marked drop are left out."),
    ] = None,
    representation: Annotated[
        RepresentationName,
        typer.Option("--representation", help="What the model sees of a cell: its genes, texts on them, or both."),
    ] = RepresentationName.expression,
    gene_vectors: Annotated[
        str | None,
        typer.Option("--gene-vectors", metavar="PARQUET", help="Vectors that genes embed wrote: file or address."),
    ] = None,
    view: Annotated[
        list[str] | None,
        typer.Option("--view", metavar="NAME", help="A further view to pool: genept-s, or obsm:KEY."),
    ] = None,
    text_encoder: Annotated[
        str, typer.Option("--text-encoder", metavar="minilm|FOLDER", help="What reads the sentences of genept-s.")
    ] = "minilm",
    examples: Annotated[
        bool,
        typer.Option("--examples/--no-examples", help="Keep training cells in the model, for explain --lens examples."),
    ] = True,
    seed: options.Seed = 0,
    threads: options.Threads = 0,
    device: options.Device = options.DeviceName.auto,
    json: options.Json = False,
    quiet: options.Quiet = False,
    force: options.Force = False,
    debug: options.Debug = False,
) -> None:
    """Learns cell types from files whose cells are already typed.

    Labels may be of mixed detail ("T cell" beside "naive CD8 T cell") and are matched to the Cell Ontology by id,
    name, synonym or your --label-map; a label that matches nothing is kept as a class of its own and listed. Name
    the donor column where there is one: the confidences are then checked on donors that training did not see.

    \b
    Example:
      whycell train ref.h5ad --label cell_type --donor donor_id -o model/
      whycell train a.h5ad b.h5ad --label cell_type --label-map map.tsv -o model/
      whycell train ref.h5ad --label cell_type --donor donor_id --tested results/ -o model/
      whycell train ref.h5ad --label cell_type --donor donor_id --drop audit.tsv -o model/
      whycell train corpus/ -o model/
      whycell train ref.h5ad --label cell_type --representation ensemble --gene-vectors vectors.parquet -o model/
      whycell train ref.h5ad --label cell_type --representation ensemble --view obsm:X_scGPT -o model/

    From Python: whycell.CellTyper.
    """
    corpus = _corpus(references)
    if label is None and corpus is None:
        msg = "--label is needed: the column of obs that holds the cell types."
        raise typer.BadParameter(msg)
    if corpus is not None and any((label, donor, study, label_map, tested, drop, gene_vectors, view)):
        msg = f"{corpus} is a corpus: labels, donors, studies and vectors travel in it; give --output alone."
        raise typer.BadParameter(msg)
    with working(quiet=quiet, debug=debug) as talk:
        check_reach(gene_vectors)
        if corpus is not None:
            from whycell.jobs.train_corpus import train_corpus

            card = train_corpus(
                corpus,
                output,
                name=name,
                description=description,
                seed=seed,
                device=device.value,
                force=force,
                talk=talk,
            )
            if json:
                print_json(card)
            else:
                print(output)
            return
        from whycell.jobs.train import train as job

        card = job(
            references,
            output,
            label=label,
            donor=donor,
            study=study,
            label_map=label_map,
            name=name,
            description=description,
            tested=tuple(tested or ()),
            drop=drop,
            representation=representation.value,
            gene_vectors=gene_vectors,
            views=tuple(view or ()),
            text_encoder=text_encoder,
            **({} if examples else {"examples": 0}),
            seed=seed,
            threads=threads,
            device=device.value,
            force=force,
            talk=talk,
        )
        if json:
            print_json(card)
        else:
            print(output)


def _corpus(references: list[Path]) -> Path | None:
    """The corpus that was named in the place of files, if it is one."""
    if len(references) != 1 or not references[0].is_dir():
        return None
    from whycell.jobs.train_corpus import is_corpus

    return references[0] if is_corpus(references[0]) else None
