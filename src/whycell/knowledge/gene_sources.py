"""The public files that say what a gene is: NCBI's ``gene_info`` and summaries, and HGNC's complete set.

Each is recognised by its header, plain or gzipped, and every row is kept under the identifier that its own file gives:
nothing is joined here, and nothing by position or symbol.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from whycell.errors import FormatError

__all__ = ["read_gene_info", "read_hgnc", "read_summaries"]

_WHERE = {
    "gene_info": "https://ftp.ncbi.nlm.nih.gov/gene/DATA/GENE_INFO/Mammalia/Homo_sapiens.gene_info.gz",
    "gene_summary": "https://ftp.ncbi.nlm.nih.gov/gene/DATA/gene_summary.gz",
    "hgnc": "https://www.genenames.org/download/",
}
_NONE = ("-", "")
#: What the summaries of RefSeq end with, and what is no statement about the gene.
_CREDIT = re.compile(r"\s*\[(?:provided|supplied) by [^\]]*\]\.?\s*$", re.IGNORECASE)


def read_gene_info(path: str | Path) -> pd.DataFrame:
    """NCBI's ``gene_info``.

    Parameters
    ----------
    path
        The file, plain or gzipped.

    Returns
    -------
    DataFrame ``gene_id`` ("NCBIGene:1"), ``tax_id``, ``symbol``, ``name``, ``type``, ``hgnc_id``, and lists
    ``ensembl_ids``, ``aliases``

    Raises
    ------
    FormatError
        The file is not there, or has another header.
    """
    wanted = ["#tax_id", "GeneID", "Symbol", "Synonyms", "dbXrefs", "description", "type_of_gene"]
    authority = ["Symbol_from_nomenclature_authority", "Full_name_from_nomenclature_authority"]
    table = _read(Path(path), wanted, kind="gene_info", optional=authority)
    references = table["dbXrefs"].str.split("|")
    official, full = (table[column] if column in table else table["GeneID"] * 0 for column in authority)
    return pd.DataFrame(
        {
            "gene_id": "NCBIGene:" + table["GeneID"],
            "tax_id": table["#tax_id"],
            "symbol": official.where(~official.isin(_NONE), table["Symbol"]),
            "name": full.where(~full.isin(_NONE), table["description"]).replace("-", ""),
            "type": table["type_of_gene"],
            "hgnc_id": [_first_with(r, "HGNC:HGNC:", "HGNC:") for r in references],
            "ensembl_ids": [[x.removeprefix("Ensembl:") for x in r if x.startswith("Ensembl:ENS")] for r in references],
            "aliases": [[] if s in _NONE else s.split("|") for s in table["Synonyms"]],
        }
    )


def read_hgnc(path: str | Path) -> pd.DataFrame:
    """HGNC's complete set.

    Parameters
    ----------
    path
        The file, plain or gzipped.

    Returns
    -------
    DataFrame ``hgnc_id``, ``gene_id`` ("NCBIGene:1" or ""), ``symbol``, ``name``, ``type``, ``ensembl_id``, and lists
    ``aliases``, ``previous``, ``uniprot``; approved entries only

    Raises
    ------
    FormatError
        The file is not there, or has another header.
    """
    wanted = ["hgnc_id", "symbol", "name", "locus_type", "alias_symbol", "prev_symbol", "entrez_id", "ensembl_gene_id"]
    table = _read(Path(path), wanted, kind="hgnc", optional=["status", "uniprot_ids"])
    if "status" in table:
        table = table[table["status"] == "Approved"]
    entrez = table["entrez_id"].str.removesuffix(".0")
    return pd.DataFrame(
        {
            "hgnc_id": table["hgnc_id"],
            "gene_id": ("NCBIGene:" + entrez).where(entrez != "", ""),
            "symbol": table["symbol"],
            "name": table["name"],
            "type": table["locus_type"],
            "ensembl_id": table["ensembl_gene_id"],
            "aliases": _lists(table["alias_symbol"]),
            "previous": _lists(table["prev_symbol"]),
            "uniprot": _lists(table["uniprot_ids"]) if "uniprot_ids" in table else [[] for _ in entrez],
        }
    ).reset_index(drop=True)


def read_summaries(path: str | Path) -> pd.DataFrame:
    """What is written of each gene: NCBI's ``gene_summary``, or a table with a gene id and a summary.

    Parameters
    ----------
    path
        The file, plain or gzipped: columns ``#tax_id GeneID Source Summary``, or ``Gene_ID`` and ``Gene_summary``.

    Returns
    -------
    DataFrame ``gene_id`` ("NCBIGene:1"), ``summary``, ``source``; one row a gene, the longest of several

    Raises
    ------
    FormatError
        The file is not there, or has another header.
    """
    path = Path(path)
    header = _header(path, "gene_summary")
    id_column, text_column = ("GeneID", "Summary") if "GeneID" in header else ("Gene_ID", "Gene_summary")
    table = _read(path, [id_column, text_column], kind="gene_summary", optional=["Source", "Review_status"])
    summary = table[text_column].str.replace(_CREDIT, "", regex=True).str.strip()
    source = next((table[column] for column in ("Source", "Review_status") if column in table), table[id_column] * 0)
    out = pd.DataFrame(
        {
            "gene_id": "NCBIGene:" + table[id_column].str.removesuffix(".0"),
            "summary": summary,
            "source": source,
        }
    )
    out = out[(out["gene_id"] != "NCBIGene:") & (out["summary"] != "")]
    order = out["summary"].str.len().sort_values(ascending=False, kind="stable").index
    return out.loc[order].drop_duplicates("gene_id").sort_index().reset_index(drop=True)


def _header(path: Path, kind: str) -> list[str]:
    try:
        return list(pd.read_csv(path, sep="\t", nrows=0).columns)
    except FileNotFoundError:
        msg = f"{path} is not there; {kind} is to be had from {_WHERE[kind]}."
        raise FormatError(msg) from None
    except (OSError, EOFError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        msg = f"{path} cannot be read as a table ({error}); fetch it again from {_WHERE[kind]}."
        raise FormatError(msg) from None


def _read(path: Path, wanted: Sequence[str], *, kind: str, optional: Sequence[str]) -> pd.DataFrame:
    header = _header(path, kind)
    absent = [column for column in wanted if column not in header]
    if absent:
        msg = (
            f"{path} has no column {', '.join(absent)}; {kind} has {', '.join(wanted)}. It starts with "
            f"{', '.join(header[:4])}. The file is to be had from {_WHERE[kind]}."
        )
        raise FormatError(msg)
    columns = [*wanted, *(column for column in optional if column in header)]
    try:
        return pd.read_csv(path, sep="\t", usecols=columns, dtype=str, keep_default_na=False, na_filter=False)
    except (OSError, EOFError, UnicodeDecodeError, pd.errors.ParserError) as error:
        msg = f"{path} is damaged ({error}); fetch it again from {_WHERE[kind]}."
        raise FormatError(msg) from None


def _lists(column: pd.Series[str]) -> list[list[str]]:
    return [[part for part in text.strip('"').split("|") if part] for text in column]


def _first_with(references: list[str], prefix: str, keep: str) -> str:
    return next((keep + r.removeprefix(prefix) for r in references if r.startswith(prefix)), "")
