"""The catalogue on disk: Parquet, one file of each part for every scanned file, the row in ``files`` last.

``files/KEY.parquet`` is the mark that a file is done: whoever finds it finds the other parts too. A scan that was
stopped goes on with the files that have no mark.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from whycell.data.whole import written_whole
from whycell.errors import FormatError, OutputError

__all__ = [
    "ABOUT",
    "PARTS",
    "SCHEMAS",
    "VERSION",
    "check_catalog",
    "file_row",
    "key_of",
    "start_catalog",
    "tidy",
    "write_part",
]

VERSION = 1
ABOUT = "catalog.json"
_KIND = "whycell.catalog"
_META = b"whycell.catalog"

_word = pa.dictionary(pa.int32(), pa.string())

#: Columns of each part; ``chunks`` and ``rows`` are written by `data.layouts`.
SCHEMAS: dict[str, pa.Schema] = {
    "runs": pa.schema(
        [
            ("key", _word),
            ("start", pa.int64()),
            ("stop", pa.int64()),
            ("n", pa.int64()),
            ("cell_type", _word),
            ("cell_type_id", _word),
            ("donor", _word),
            ("study", _word),
            ("tissue", _word),
            ("tissue_id", _word),
            ("assay", _word),
            ("disease", _word),
            ("sex", _word),
            ("organism", _word),
            ("is_primary", pa.bool_()),
        ]
    ),
    "var": pa.schema([("key", _word), ("position", pa.int32()), ("gene_id", pa.string()), ("symbol", pa.string())]),
    "dist": pa.schema(
        [
            ("key", _word),
            ("what", pa.string()),
            ("source", pa.string()),
            ("sampled", pa.bool_()),
            ("n", pa.int64()),
            ("mean", pa.float64()),
            ("quantiles", pa.list_(pa.float64())),
            ("histogram", pa.list_(pa.int64())),
        ]
    ),
    "labels": pa.schema(
        [
            ("key", _word),
            ("column", pa.string()),
            ("value", pa.string()),
            ("id", pa.string()),
            ("name", pa.string()),
            ("rule", pa.string()),
            ("n", pa.int64()),
        ]
    ),
    "files": pa.schema(
        [
            ("key", pa.string()),
            ("address", pa.string()),
            ("etag", pa.string()),
            ("size", pa.int64()),
            ("status", pa.string()),
            ("reason", pa.string()),
            ("again", pa.bool_()),
            ("matrix", pa.string()),
            ("values", pa.string()),
            ("encoding", pa.string()),
            ("n_cells", pa.int64()),
            ("n_genes", pa.int64()),
            ("nnz", pa.int64()),
            ("dtype", pa.string()),
            ("organism", pa.string()),
            ("title", pa.string()),
            ("schema_version", pa.string()),
            ("columns", pa.string()),
            ("n_sampled", pa.int64()),
            ("bytes_read", pa.int64()),
            ("requests", pa.int64()),
            ("version", pa.string()),
        ]
    ),
}

#: Every folder of a catalogue.
PARTS = (*SCHEMAS, "chunks", "rows")


def key_of(address: str) -> str:
    """The name of a file's parts: 16 hex digits of the SHA-256 of its ``address``."""
    return hashlib.sha256(address.encode()).hexdigest()[:16]


def start_catalog(catalog: Path) -> None:
    """Make the folders of a catalogue, or find that it is one of this version.

    Raises
    ------
    OutputError
        Something else lies there, or the folder cannot be made.
    """
    if (catalog / ABOUT).exists():
        check_catalog(catalog)
        return
    if catalog.exists() and (not catalog.is_dir() or any(catalog.iterdir())):
        msg = f"{catalog} exists already and is no catalogue; choose another name."
        raise OutputError(msg)
    try:
        for part in PARTS:
            (catalog / part).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"{catalog} cannot be made ({error.strerror}); choose another folder."
        raise OutputError(msg) from error
    # Shards start at the same moment; each writes the same bytes.
    with written_whole(catalog / ABOUT, force=True) as path:
        path.write_text(json.dumps({"kind": _KIND, "version": VERSION}) + "\n", encoding="utf-8")


def check_catalog(catalog: Path) -> None:
    """Refuse a folder that is no catalogue, or one of another version.

    Raises
    ------
    FormatError
        With the reason.
    """
    try:
        about = json.loads((catalog / ABOUT).read_text(encoding="utf-8"))
        kind, version = about["kind"], about["version"]
    except (OSError, ValueError, KeyError, TypeError):
        kind, version = "", 0
    if kind != _KIND:
        msg = f"{catalog} is not a catalogue; make one with: whycell corpus scan DIR -o {catalog}"
        raise FormatError(msg)
    if version != VERSION:
        msg = f"{catalog} is a catalogue of version {version}, wanted {VERSION}; scan again into a new folder."
        raise FormatError(msg)


def write_part(catalog: Path, part: str, *, key: str, columns: Mapping[str, Any]) -> None:
    """Write one part of one file; the same values give the same bytes.

    Parameters
    ----------
    catalog
        The folder.
    part
        A name of `SCHEMAS`.
    key
        Of the file.
    columns
        Arrays or lists of equal length; ``key`` is added.
    """
    schema = SCHEMAS[part]
    n = len(next(iter(columns.values())))
    filled = {"key": _repeated(key, n, schema.field("key").type), **columns}
    arrays = [_as(filled[field.name], field.type) for field in schema]
    table = pa.Table.from_arrays(arrays, schema=schema.with_metadata({_META: str(VERSION).encode()}))
    with written_whole(catalog / part / f"{key}.parquet", force=True) as path:
        pq.write_table(table, path, compression="zstd")


def file_row(catalog: Path, key: str) -> dict[str, Any] | None:
    """What ``files/KEY.parquet`` says, or ``None`` where the file was not scanned."""
    path = catalog / "files" / f"{key}.parquet"
    if not path.exists():
        return None
    rows: list[dict[str, Any]] = pq.ParquetFile(path).read().to_pylist()
    return rows[0]


def tidy(catalog: Path, keys: Collection[str]) -> None:
    """Take away what a killed run had begun to write of files that are done by now.

    Parameters
    ----------
    catalog
        The folder.
    keys
        Of the files; nobody may be writing them.
    """
    for part in PARTS:
        for path in (catalog / part).glob(".*"):
            if path.name[1:].partition(".")[0] in keys:
                path.unlink(missing_ok=True)


def _repeated(key: str, n: int, kind: pa.DataType) -> Any:
    if pa.types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(pa.array([0] * n, pa.int32()), pa.array([key]))
    return [key] * n


def _as(values: Any, kind: pa.DataType) -> Any:
    return values if isinstance(values, pa.Array) else pa.array(values, kind)
