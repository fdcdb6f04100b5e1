"""What has been written of a gene, facet by facet, keyed by gene id.

One row a gene, under NCBI's id ("NCBIGene:3630") or, where NCBI has none, HGNC's. The three sources are joined by
their identifiers, never by symbol: symbols change hands. A facet is one kind of text about a gene, kept apart from the
others so that any combination can be embedded and the worth of each be measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from whycell.errors import FormatError, GeneError

__all__ = ["FACETS", "Coverage", "build_gene_table", "coverage", "gene_texts", "read_gene_table", "write_gene_table"]

#: Facets that come with the table; others are asked of a language model and come as a file of their own.
FACETS = {"name": "symbol and full name", "summary": "RefSeq's summary of what is known"}

_COLUMNS = ["gene_id", "symbol", "name", "type", "hgnc_id", "ensembl_ids", "aliases", "previous", "summary", "source"]
_KIND = "whycell.genes"


def build_gene_table(gene_info: pd.DataFrame, hgnc: pd.DataFrame | None, *, summaries: pd.DataFrame) -> pd.DataFrame:
    """Join the sources by their identifiers.

    Parameters
    ----------
    gene_info
        As ``gene_sources.read_gene_info`` gives it.
    hgnc
        As ``gene_sources.read_hgnc`` gives it; its symbols, names and Ensembl ids win, since it is the newer word.
    summaries
        As ``gene_sources.read_summaries`` gives it.

    Returns
    -------
    DataFrame ``gene_id, symbol, name, type, hgnc_id, ensembl_ids, aliases, previous, summary, source``, sorted by
    ``gene_id``; one row a gene

    Raises
    ------
    GeneError
        No summary belongs to any gene of the table: two species, or two kinds of id.
    """
    rows = {str(row.gene_id): _from_ncbi(row) for row in gene_info.drop_duplicates("gene_id").itertuples()}
    by_hgnc = {row["hgnc_id"]: gene for gene, row in rows.items() if row["hgnc_id"]}
    for entry in () if hgnc is None else hgnc.itertuples():
        gene = str(entry.gene_id) if entry.gene_id in rows else by_hgnc.get(entry.hgnc_id) or entry.gene_id
        gene = str(gene or entry.hgnc_id)
        rows[gene] = _with_hgnc(rows.get(gene), gene, entry)
    texts = summaries.set_index("gene_id")
    table = pd.DataFrame(list(rows.values()), columns=_COLUMNS[:8]).sort_values("gene_id", ignore_index=True)
    table["summary"] = texts["summary"].reindex(table["gene_id"]).fillna("").to_numpy()
    table["source"] = texts["source"].reindex(table["gene_id"]).fillna("").to_numpy()
    if len(texts) and not (table["summary"] != "").any():
        msg = (
            f"None of the {len(texts):,} summaries belongs to one of the {len(table):,} genes: summaries are of ids "
            f"such as {texts.index[0]}, genes have ids such as {table['gene_id'].iloc[0]}. Are they of one species?"
        )
        raise GeneError(msg)
    return table


def gene_texts(table: pd.DataFrame, more: pd.DataFrame | None = None, *, facets: Sequence[str] = ()) -> pd.DataFrame:
    """One text a gene and facet.

    Parameters
    ----------
    table
        As ``build_gene_table`` gives it.
    more
        Further facets: ``gene_id``, ``facet``, ``text``.
    facets
        Which to give, in this order; all where empty.

    Returns
    -------
    DataFrame ``gene_id``, ``facet``, ``text``; genes without a text for a facet have no row for it

    Raises
    ------
    GeneError
        A facet that is not there.
    """
    named = table["symbol"].where(table["name"] == "", table["symbol"] + ": " + table["name"])
    parts = [
        pd.DataFrame({"gene_id": table["gene_id"], "facet": facet, "text": text})
        for facet, text in (("name", named), ("summary", table["summary"]))
    ]
    if more is not None:
        known = set(table["gene_id"])
        parts.append(more.loc[more["gene_id"].isin(known), ["gene_id", "facet", "text"]])
    texts = pd.concat(parts, ignore_index=True)
    texts = texts[texts["text"].str.strip() != ""].drop_duplicates(["gene_id", "facet"])
    present = list(dict.fromkeys(texts["facet"]))
    absent = [facet for facet in facets if facet not in present]
    if absent:
        msg = f"There is no facet {', '.join(absent)}; there are {', '.join(present)}. Others come by `genes describe`."
        raise GeneError(msg)
    chosen = list(facets) or present
    texts = texts[texts["facet"].isin(chosen)]
    order = texts["facet"].map({facet: i for i, facet in enumerate(chosen)})
    return texts.iloc[np.lexsort((texts["gene_id"].to_numpy(dtype=str), order.to_numpy()))].reset_index(drop=True)


def write_gene_table(table: pd.DataFrame, path: Path, *, sources: Mapping[str, str]) -> None:
    """Write the table as Parquet; ``sources`` (file name -> fingerprint) go into its metadata."""
    schema = pa.Table.from_pandas(table[_COLUMNS], preserve_index=False)
    metadata = {b"kind": _KIND.encode(), **{f"source:{k}".encode(): v.encode() for k, v in sources.items()}}
    pq.write_table(schema.replace_schema_metadata({**(schema.schema.metadata or {}), **metadata}), path)


def read_gene_table(path: str | Path) -> pd.DataFrame:
    """Read what ``write_gene_table`` wrote.

    Raises
    ------
    FormatError
        The file is not there, or is something else.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        msg = f"{path} cannot be read as a gene table ({error}); `whycell genes build` makes one."
        raise FormatError(msg) from None
    if (table.schema.metadata or {}).get(b"kind") != _KIND.encode():
        msg = f"{path} holds {', '.join(table.column_names[:4])}, not a gene table; `whycell genes build` makes one."
        raise FormatError(msg)
    return pd.DataFrame(table.to_pandas())


@dataclass(frozen=True)
class Coverage:
    """How much of a file is spoken of.

    Parameters
    ----------
    genes, with_text
        Genes of the file, and how many of them have a text.
    share_of_genes, share_of_counts
        The same as shares.
    without
        The ids without a text that hold most counts, the largest first.
    """

    genes: int
    with_text: int
    share_of_genes: float
    share_of_counts: float
    without: tuple[str, ...]


def coverage(gene_ids: Iterable[str], counts: np.ndarray, *, described: Iterable[str]) -> Coverage:
    """Coverage of a file's genes by those that are described.

    Parameters
    ----------
    gene_ids
        (n_genes,) Ensembl id of each column, "" where unresolved.
    counts
        (n_genes,) sum of each column.
    described
        Ensembl ids with a text or a vector.
    """
    ids = np.asarray(list(gene_ids), dtype=str)
    known = np.isin(ids, np.asarray(list(described), dtype=str)) & (ids != "")
    order = np.argsort(-counts, kind="stable")
    without = [str(ids[i]) for i in order if not known[i] and ids[i]][:10]
    total = float(counts.sum())
    share = float(counts[known].sum() / total) if total else 0.0
    return Coverage(len(ids), int(known.sum()), float(known.mean()) if len(ids) else 0.0, share, tuple(without))


def _from_ncbi(row: object) -> dict[str, object]:
    fields = {name: getattr(row, name) for name in ("gene_id", "symbol", "name", "type", "hgnc_id")}
    return {**fields, "ensembl_ids": sorted(row.ensembl_ids), "aliases": list(row.aliases), "previous": []}  # type: ignore[attr-defined]


def _with_hgnc(row: dict[str, object] | None, gene: str, entry: object) -> dict[str, object]:
    old = row or {"type": entry.type, "ensembl_ids": [], "aliases": [], "previous": []}  # type: ignore[attr-defined]
    ensembl = {*old["ensembl_ids"], *([entry.ensembl_id] if entry.ensembl_id else [])}  # type: ignore[attr-defined,misc]
    aliases = [*dict.fromkeys([*old["aliases"], *entry.aliases])]  # type: ignore[attr-defined,misc]
    return {
        "gene_id": gene,
        "symbol": entry.symbol,  # type: ignore[attr-defined]
        "name": entry.name,  # type: ignore[attr-defined]
        "type": old["type"],
        "hgnc_id": entry.hgnc_id,  # type: ignore[attr-defined]
        "ensembl_ids": sorted(ensembl),
        "aliases": [a for a in aliases if a != entry.symbol],  # type: ignore[attr-defined]
        "previous": list(entry.previous),  # type: ignore[attr-defined]
    }
