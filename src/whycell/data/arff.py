"""Weka's ARFF: a header of typed attributes, then rows of commas. Read, never written."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from whycell.errors import FormatError

__all__ = ["read_arff"]

_ATTRIBUTE = re.compile(r"""@attribute\s+('(?:[^'\\]|\\.)*'|"[^"]*"|\S+)\s+(.*)$""", re.IGNORECASE)
_NUMBERS = ("numeric", "real", "integer")


def read_arff(path: Path | str) -> pd.DataFrame:
    """One column an attribute: numbers as float64, nominal values as categories in their declared order, else text.

    ``?`` is a missing value. Rows written as sparse ``{index value, ...}`` are read too: what they leave out is 0, or
    the first declared value.

    Raises
    ------
    FormatError
        No ``@data``, or a row whose length is not the number of attributes.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror}); give the path of an ARFF file."
        raise FormatError(msg) from error
    names, kinds, start = _header(lines, path)
    rows = [line for line in (each.strip() for each in lines[start:]) if line and not line.startswith("%")]
    if rows and rows[0].startswith("{"):
        values = [_sparse(row, kinds) for row in rows]
    else:
        values = [[v.strip().strip("\"'") for v in row] for row in _split(rows)]
    for at, row in enumerate(values):
        if len(row) != len(names):
            msg = f"{path}, data row {at + 1} has {len(row)} values; the header declares {len(names)} attributes."
            raise FormatError(msg)
    columns = zip(*values, strict=True) if values else [()] * len(names)
    frame = {name: _typed(column, kind) for name, kind, column in zip(names, kinds, columns, strict=True)}
    return pd.DataFrame(frame)


def _header(lines: list[str], path: Path) -> tuple[list[str], list[str], int]:
    names: list[str] = []
    kinds: list[str] = []
    for at, line in enumerate(lines):
        text = line.strip()
        if text.lower().startswith("@data"):
            return names, kinds, at + 1
        found = _ATTRIBUTE.match(text)
        if found:
            names.append(found.group(1).strip("\"'"))
            kinds.append(found.group(2).strip())
    msg = f"{path} is no ARFF file: it has no line @data. Give a csv, tsv, parquet or arff table."
    raise FormatError(msg)


def _split(rows: list[str]) -> Iterable[list[str]]:
    quote = "'" if any("'" in row for row in rows) else '"'
    return csv.reader(rows, quotechar=quote, skipinitialspace=True, escapechar="\\")


def _declared(kind: str) -> list[str]:
    inside = kind[kind.index("{") + 1 : kind.rindex("}")]
    return [value.strip().strip("\"'") for value in next(iter(_split([inside])))]


def _sparse(row: str, kinds: list[str]) -> list[str]:
    values = [_declared(kind)[0] if kind.startswith("{") else "0" for kind in kinds]
    for part in next(iter(_split([row.strip("{} ")]))):
        place, _, value = part.strip().partition(" ")
        values[int(place)] = value.strip().strip("\"'")
    return values


def _typed(column: Iterable[str], kind: str) -> pd.Series:
    raw = pd.Series(list(column), dtype=object)
    raw = raw.where(raw != "?", None)
    if kind.lower().split()[0].rstrip(",") in _NUMBERS:
        return pd.to_numeric(raw, errors="coerce").astype("float64")
    if kind.startswith("{"):
        return pd.Series(pd.Categorical(raw, categories=list(dict.fromkeys(_declared(kind)))))
    return raw
