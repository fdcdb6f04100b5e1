"""DepMap's files: cell lines in rows (``ACH-...``), columns ``SYMBOL (ENTREZ)``; what they say of the same lines.

Releases differ in what stands before the numbers. Columns that are no number are left out, a column ``ModelID`` or
``DepMap_ID`` names the line where there is one, and where ``IsDefaultEntryForModel`` is given only default entries are
read; second entries of a line are dropped and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from whycell.data.pairs import read_table
from whycell.errors import DataError, FormatError

__all__ = ["LineTable", "read_line_table", "read_lineages", "read_positions", "shared_lines", "symbols_of"]

_LINE = ("ModelID", "DepMap_ID", "model_id", "depmap_id", "")
_DEFAULT = "IsDefaultEntryForModel"
_LINEAGE = ("OncotreeLineage", "lineage", "lineage_1", "Lineage")


@dataclass(frozen=True)
class LineTable:
    """Numbers of cell lines.

    Parameters
    ----------
    lines
        (n,) ids, unique.
    symbols
        (m,) symbol of the gene of each column.
    values
        (n, m) float32, NaN where not measured.
    dropped
        What was left out, by reason.
    """

    lines: np.ndarray
    symbols: np.ndarray
    values: np.ndarray
    dropped: dict[str, int]

    def rows(self, lines: np.ndarray) -> np.ndarray:
        """(k, m) the rows of ``lines``, which must all be held."""
        order = np.argsort(self.lines)
        return self.values[order[np.searchsorted(self.lines, lines, sorter=order)]]


def symbols_of(columns: Sequence[str]) -> np.ndarray:
    """Symbol of each column: ``A1BG (1)`` and ``A1BG..1.`` both are ``A1BG``."""
    return np.array([str(c).split(" (")[0].split("..")[0].strip() for c in columns], dtype=str)


def read_line_table(path: Path | str) -> LineTable:
    """Read a table of lines x genes as DepMap publishes it (CSV, tabs, or parquet; gzip as well).

    Raises
    ------
    FormatError
        It is no such table: no line ids, or no columns of numbers.
    """
    table = _read(path)
    names = [n for n in _LINE if n in table.column_names] or [table.column_names[0]]
    dropped: dict[str, int] = {}
    if _DEFAULT in table.column_names:
        default = [str(v).lower() in {"yes", "true", "1"} for v in table[_DEFAULT].to_pylist()]
        dropped["entries that are not the default"] = len(default) - sum(default)
        table = table.filter(pa.array(default))
    lines = np.array([str(v) for v in table[names[0]].to_pylist()], dtype=str)
    meta = {*names, _DEFAULT, "SequencingID", "ModelConditionID", "IsDefaultEntryForMC"}
    numbers = [c for c in table.column_names if c not in meta and pa.types.is_primitive(table.schema.field(c).type)]
    if not numbers or not len(lines):
        msg = f"{path} holds {len(lines)} lines and {len(numbers)} columns of numbers; wanted lines x genes."
        raise FormatError(msg)
    values = np.empty((len(lines), len(numbers)), dtype=np.float32)
    for at, name in enumerate(numbers):
        values[:, at] = pc.cast(table[name], pa.float32()).to_numpy()
    first = np.sort(np.unique(lines, return_index=True)[1])
    dropped["second entries of a line"] = len(lines) - len(first)
    symbols, columns = np.unique(symbols_of(numbers), return_index=True)
    dropped["second columns of a gene"] = len(numbers) - len(columns)
    return LineTable(lines[first], symbols, values[first][:, columns], dropped)


def _read(path: Path | str) -> pa.Table:
    try:
        if str(path).endswith(".parquet"):
            import pyarrow.parquet as pq

            return pq.read_table(path)
        tab = not str(path).removesuffix(".gz").endswith(".csv")
        # Releases have 18,000 columns: a block must hold at least the header and a row.
        return pa_csv.read_csv(
            path,
            read_options=pa_csv.ReadOptions(block_size=64 << 20),
            parse_options=pa_csv.ParseOptions(delimiter="\t" if tab else ","),
            convert_options=pa_csv.ConvertOptions(null_values=["", "NA", "NaN", "nan", "null"]),
        )
    except (OSError, pa.ArrowInvalid) as error:
        msg = f"{path} cannot be read as a table ({str(error)[:120]}); wanted lines x genes, .csv, tabs or .parquet."
        raise FormatError(msg) from None


def shared_lines(tables: dict[str, LineTable], *, fewest: int = 40) -> np.ndarray:
    """Sorted ids of the lines that all ``tables`` hold.

    Raises
    ------
    DataError
        Fewer than ``fewest``.
    """
    lines = next(iter(tables.values())).lines
    for table in tables.values():
        lines = np.intersect1d(lines, table.lines)
    if len(lines) < fewest:
        held = ", ".join(f"{name} {len(t.lines)} (such as {t.lines[0]})" for name, t in tables.items())
        msg = f"{len(lines)} cell lines are in all tables, {fewest} are needed; held: {held}. Are the ids of one kind?"
        raise DataError(msg)
    return lines


def read_lineages(path: Path | str, lines: np.ndarray) -> np.ndarray:
    """(n,) lineage of each of ``lines``, ``"unknown"`` where the table has none: DepMap's ``Model.csv`` or the like."""
    frame = read_table(path)
    names = [c for c in _LINE if c in frame] or [str(frame.columns[0])]
    column = next((c for c in _LINEAGE if c in frame), None)
    if column is None:
        msg = f"{path} has columns {', '.join(map(str, frame.columns[:8]))}; wanted one of {', '.join(_LINEAGE)}."
        raise FormatError(msg)
    known = dict(zip(frame[names[0]].astype(str), frame[column].astype(str), strict=True))
    found = np.array([known.get(str(line), "") or "unknown" for line in lines], dtype=str)
    if (found == "unknown").all():
        msg = f"{path} names none of the {len(lines)} lines (such as {lines[0]}); are the ids of one kind?"
        raise DataError(msg)
    return found


def read_positions(path: Path | str) -> dict[str, tuple[str, float]]:
    """Chromosome and start of each gene, by symbol: columns ``gene`` (or ``symbol``), ``chromosome``, ``start``."""
    frame = read_table(path)
    gene = next((c for c in ("gene", "symbol") if c in frame), None)
    if gene is None or "chromosome" not in frame or "start" not in frame:
        msg = f"{path} has columns {', '.join(map(str, frame.columns[:8]))}; wanted gene, chromosome and start."
        raise FormatError(msg)
    chromosomes = frame["chromosome"].astype(str).str.removeprefix("chr")
    starts = [float(s) if str(s) else float("nan") for s in frame["start"]]
    return dict(zip(frame[gene].astype(str), zip(chromosomes, starts, strict=True), strict=True))
