"""What is known of genes, as a table, as texts, and as vectors; and how much of a file that covers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from whycell.compute import Talk
from whycell.data.fetch import local_copy
from whycell.data.whole import check_free, written_whole
from whycell.encode.batches import Estimate
from whycell.encode.gene_vectors import principal_directions, read_gene_vectors, unit_rows, write_gene_vectors
from whycell.encode.service import Service, ServiceEncoder
from whycell.encode.service_vectors import service_vectors
from whycell.encode.text import TextEncoder, embed_texts, load_encoder
from whycell.errors import FormatError, UsageError
from whycell.jobs.record import fingerprint_file, write_run
from whycell.knowledge.gene_sources import read_gene_info, read_hgnc, read_summaries
from whycell.knowledge.texts import Coverage, build_gene_table, gene_texts, read_gene_table, write_gene_table
from whycell.knowledge.texts import coverage as coverage_of

__all__ = ["build", "coverage", "embed", "read_facets"]


def build(
    gene_info: str | Path,
    output: Path,
    *,
    summaries: str | Path,
    hgnc: str | Path | None = None,
    force: bool = False,
    talk: Talk | None = None,
) -> pd.DataFrame:
    """Join NCBI's genes and summaries and HGNC's names into one table, and write it.

    Parameters
    ----------
    gene_info, summaries, hgnc
        Paths or addresses: NCBI's ``gene_info``; its ``gene_summary``, or a table with ``Gene_ID`` and
        ``Gene_summary``; HGNC's complete set.
    output
        Parquet file to write.
    force
        Replace one that is there.
    talk
        Told of progress.

    Returns
    -------
    The table, see ``knowledge.texts.build_gene_table``.
    """
    talk = talk or Talk()
    check_free(Path(output), force=force)
    given = {"gene_info": gene_info, "summaries": summaries, **({"hgnc": hgnc} if hgnc else {})}
    paths = {name: local_copy(source) for name, source in given.items()}
    inputs = {str(source): fingerprint_file(paths[name]) for name, source in given.items()}
    texts = read_summaries(paths["summaries"])
    names = read_hgnc(paths["hgnc"]) if hgnc else None
    table = build_gene_table(read_gene_info(paths["gene_info"]), names, summaries=texts)
    lost = int((~texts["gene_id"].isin(table["gene_id"])).sum())
    with written_whole(Path(output), force=force) as scratch:
        write_gene_table(table, scratch, sources=inputs)
    write_run(output, "genes build", inputs=inputs, seed=0)
    with_text = int((table["summary"] != "").sum())
    with_id = int((table["ensembl_ids"].str.len() > 0).sum())
    talk.note(f"{len(table):,} genes, {with_id:,} with an Ensembl id, {with_text:,} with a summary.")
    if lost:
        talk.warn(f"{lost:,} summaries belong to genes that the other tables no longer, or do not yet, hold.")
    return table


def embed(
    table: Path,
    output: Path,
    *,
    more: Path | None = None,
    encoder: str = "minilm",
    service_model: str = "",
    key_from: str = "OPENAI_API_KEY",
    facets: Sequence[str] = (),
    dims: int | None = None,
    cut: bool = False,
    batch: bool = False,
    prices: tuple[float, float] | None = None,
    agreed: Callable[[Estimate], bool] = lambda _: True,
    precision: str = "float32",
    cache: Path | None = None,
    device: str = "auto",
    threads: int = 0,
    force: bool = False,
    talk: Talk | None = None,
) -> dict[str, Any]:
    """Turn every gene's texts into vectors, one a facet, and write them.

    Parameters
    ----------
    table
        What ``build`` wrote.
    output
        Parquet file to write.
    more
        Further facets, as ``whycell genes describe`` writes them.
    encoder
        ``"minilm"``, a folder that sentence-transformers wrote, or the address of a service.
    service_model, key_from
        For a service: the model's name there, and the environment variable with the key.
    facets
        Which to encode; all where empty.
    dims
        Numbers a vector keeps: the principal directions of the vectors, since the bundled encoder was not trained to
        be cut short.
    cut
        Keep the first ``dims`` numbers instead (Matryoshka), for an encoder that was trained for it.
    batch, prices, agreed
        For a service: see ``encode.service_vectors.service_vectors``.
    precision
        ``"float32"`` or ``"bfloat16"``.
    cache
        Folder of the cache; ``None`` is the user's own.
    device, threads
        Where to compute.
    force
        Replace a file that is there.
    talk
        Told of progress.

    Returns
    -------
    What was made: ``texts``, ``genes``, ``dims``, ``encoder``, ``facets``
    """
    talk = talk or Talk()
    check_free(Path(output), force=force)
    genes = read_gene_table(table)
    genes = genes[genes["ensembl_ids"].str.len() > 0]  # a file of cells can hold no other
    texts = gene_texts(genes, read_facets(more) if more else None, facets=facets)
    model: TextEncoder
    if encoder.startswith(("https://", "http://")):
        if not service_model:
            msg = f"{encoder} may hold many models; say which with --language-model."
            raise UsageError(msg)
        model = ServiceEncoder(Service(encoder, key_from=key_from), service_model)
    else:
        model = load_encoder(encoder, precision=precision, device=device, threads=threads)
    if isinstance(model, ServiceEncoder):
        journal = Path(output).with_name(f"{Path(output).name}.journal.sqlite")
        found = service_vectors(
            texts["text"].tolist(),
            model,
            journal=journal,
            batch=batch,
            prices=prices,
            agreed=agreed,
            cache=cache,
            talk=talk,
        )
        _list_failures(texts[~found.answered], found.errors, Path(output), talk)
        texts, vectors = texts[found.answered].reset_index(drop=True), found.vectors
    else:
        vectors = embed_texts(texts["text"].tolist(), model, cache=cache, talk=talk)
    projection = None
    if dims is not None:
        projection = _cut(vectors, dims) if cut else principal_directions(vectors, dims)
        vectors = unit_rows(vectors @ projection)
    ensembl = genes.set_index("gene_id")["ensembl_ids"]
    digest = hashlib.sha256("\0".join(texts["text"]).encode()).hexdigest()
    about = {"encoder": model.name, "fingerprint": model.fingerprint, "texts": digest, "precision": precision}
    with written_whole(Path(output), force=force) as scratch:
        write_gene_vectors(
            scratch,
            gene_ids=texts["gene_id"].tolist(),
            ensembl_ids=[list(ids) for ids in ensembl.loc[texts["gene_id"]]],
            facets=texts["facet"].tolist(),
            vectors=vectors,
            about=about,
            projection=projection,
        )
    inputs = {str(path): fingerprint_file(path) for path in (table, more) if path}
    asked = {"encoder": encoder, "dims": dims, "cut": cut}
    write_run(output, "genes embed", inputs=inputs, seed=0, parameters={**asked, **about})
    return {
        "texts": len(texts),
        "genes": int(texts["gene_id"].nunique()),
        "dims": int(vectors.shape[1]),
        "encoder": model.name,
        "facets": list(dict.fromkeys(texts["facet"])),
    }


def _cut(vectors: np.ndarray, dims: int) -> np.ndarray:
    if not 1 <= dims <= vectors.shape[1]:
        msg = f"{dims} dimensions were asked for; the vectors have {vectors.shape[1]}."
        raise UsageError(msg)
    return np.eye(vectors.shape[1], dims, dtype=np.float32)


def _list_failures(texts: pd.DataFrame, errors: Mapping[str, str], output: Path, talk: Talk) -> None:
    listed = output.with_name(f"{output.name}.failed.tsv")
    if texts.empty:
        listed.unlink(missing_ok=True)
        return
    with written_whole(listed, force=True) as scratch:
        told = texts.assign(error=[errors.get(text, "not answered") for text in texts["text"]])
        told[["gene_id", "facet", "error"]].to_csv(scratch, sep="\t", index=False)
    talk.warn(
        f"{len(texts):,} texts have no vector; they are listed in {listed}. The same command asks for them again."
    )


def coverage(query: Path, genes: Path) -> Coverage:
    """How much of a file is spoken of, as a share of its genes and of its counts.

    Parameters
    ----------
    query
        A file of cells.
    genes
        A gene table (genes with a summary count), or gene vectors.
    """
    from whycell.data.cells import open_cells
    from whycell.data.doctor import examine

    try:
        described = read_gene_vectors(genes).genes
    except FormatError:
        table = read_gene_table(genes)
        described = np.array([i for ids in table.loc[table["summary"] != "", "ensembl_ids"] for i in ids], dtype=str)
    with open_cells(query) as cells:
        diagnosis = examine(cells)
        diagnosis.raise_if_unusable()
        where, mapping = diagnosis.where or "X", diagnosis.genes
        ids = mapping.ids if mapping is not None else np.array([], dtype=str)
        sums = np.zeros(len(ids))
        for block in cells.blocks(where):
            sums += np.asarray(block.values.sum(axis=0), dtype=np.float64).ravel()
    return coverage_of(ids, sums, described=described)


def read_facets(path: Path) -> pd.DataFrame:
    """Read facets: a Parquet file or TSV with ``gene_id``, ``facet``, ``text``.

    Raises
    ------
    FormatError
        It is not there, or lacks a column.
    """
    path = Path(path)
    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, sep="\t", dtype=str)
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read as a table of facets ({error})."
        raise FormatError(msg) from None
    absent = [column for column in ("gene_id", "facet", "text") if column not in frame]
    if absent:
        msg = f"{path} lacks {', '.join(absent)}; a table of facets has gene_id, facet and text."
        raise FormatError(msg)
    return frame.astype({"gene_id": str, "facet": str, "text": str})
