"""Cells as vectors on disk: the fragments that a gathering leaves, and the shuffled store that training reads.

A fragment is three files of one name: ``NAME.f16`` (n x d float16, little-endian, row after row), ``NAME.parquet``
(one row a cell: ``label, label_id, donor, study, address, row``) and, last, ``NAME.json`` with the digests of the other
two. A fragment without its json is not there.

A store is a folder: ``vectors.f16`` and ``cells.parquet`` in one shuffled order, ``encoder/`` (what turned counts into
these vectors), and ``about.json``, which is written last and carries a digest of every file and of itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from whycell.data.whole import card_digest, write_whole, written_whole
from whycell.errors import DataError, FormatError

__all__ = [
    "COLUMNS",
    "DTYPE",
    "ENCODER",
    "Fragment",
    "Store",
    "file_digest",
    "fragment_name",
    "fragment_names",
    "has_fragment",
    "is_store",
    "open_store",
    "read_fragment",
    "write_about",
    "write_cells",
    "write_fragment",
]

#: What is kept of a cell beside its vector.
COLUMNS = ("label", "label_id", "donor", "study", "address", "row")
DTYPE = np.dtype("<f2")
#: Folder of the encoder, in a folder of fragments and in a store.
ENCODER = "encoder"
_FRAGMENT, _STORE = "whycell.fragment", "whycell.corpus"
_VECTORS, _CELLS, _ABOUT = "vectors.f16", "cells.parquet", "about.json"
_TEXT = COLUMNS[:-1]
_FORMAT = 1


@dataclass(frozen=True)
class Fragment:
    """Cells that were gathered together.

    Parameters
    ----------
    vectors
        (n_cells, n_dimensions) float16, read from disk as it is used.
    cells
        One row a cell, the columns of `COLUMNS`.
    """

    vectors: np.ndarray
    cells: pd.DataFrame


@dataclass(frozen=True)
class Store:
    """A shuffled corpus, opened.

    Parameters
    ----------
    folder
        Where it is.
    about
        Its card: ``n, d, block, seed, representation, counts`` and the digests.
    vectors
        (n_cells, n_dimensions) float16, read from disk as it is used.
    """

    folder: Path
    about: dict[str, Any]
    vectors: np.ndarray

    @property
    def digest(self) -> str:
        """What identifies the corpus: the digest over its card, which covers every file."""
        return f"sha256:{self.about['sha256']}"

    @property
    def n_blocks(self) -> int:
        """Blocks of ``about["block"]`` cells, the last one shorter: what is read at once."""
        return max(1, -(-len(self.vectors) // int(self.about["block"])))

    def rows_of(self, block: int) -> slice:
        """The rows of one block."""
        size = int(self.about["block"])
        return slice(block * size, min((block + 1) * size, len(self.vectors)))

    def cells(self, block: int, *, columns: tuple[str, ...] = COLUMNS) -> pd.DataFrame:
        """The cells of one block; texts are categories."""
        with pq.ParquetFile(self.folder / _CELLS) as file:
            table = file.read_row_group(block, columns=list(columns))
        frame: pd.DataFrame = table.to_pandas()
        return frame


def fragment_name(*facts: object) -> str:
    """A name that stands for what a fragment holds: 24 hex digits of a digest of the facts given.

    Parameters
    ----------
    facts
        Plain values that decide its bytes: address, etag, rows, the encoder's digest.
    """
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:24]


def write_fragment(folder: Path, name: str, *, vectors: np.ndarray, cells: pd.DataFrame) -> Path:
    """Write a fragment, whole or not at all; one of that name that is there is replaced.

    Parameters
    ----------
    folder
        Folder of fragments.
    name
        See `fragment_name`.
    vectors
        (n_cells, n_dimensions) finite numbers; kept as float16.
    cells
        One row a cell, the columns of `COLUMNS`.

    Returns
    -------
    Path of its json.

    Raises
    ------
    DataError
        Where lengths or columns disagree, or a number does not fit into float16.
    """
    missing = [column for column in COLUMNS if column not in cells]
    if missing or vectors.ndim != 2 or len(vectors) != len(cells):
        msg = (
            f"Fragment {name} has vectors of shape {vectors.shape} for {len(cells)} cells without "
            f"{missing or 'nothing'}; one vector a cell and the columns {', '.join(COLUMNS)} are needed."
        )
        raise DataError(msg)
    with np.errstate(over="ignore"):
        halves = np.ascontiguousarray(vectors, dtype=DTYPE)
    if not np.isfinite(halves).all():
        msg = f"Fragment {name} has vectors that are not finite in float16; scale the encoder so that |x| < 65,504."
        raise DataError(msg)
    table = cells.loc[:, list(COLUMNS)].reset_index(drop=True)
    for column in _TEXT:
        table[column] = table[column].astype(object).where(table[column].notna(), "").astype(str)
    table["row"] = table["row"].astype(np.int64)
    write_whole(folder / f"{name}.f16", halves.tobytes())
    with written_whole(folder / f"{name}.parquet", force=True) as scratch:
        pq.write_table(_coded(table), scratch, compression="zstd")
    about = {
        "kind": _FRAGMENT,
        "format": _FORMAT,
        "n": int(halves.shape[0]),
        "d": int(halves.shape[1]),
        "vectors_sha256": file_digest(folder / f"{name}.f16"),
        "cells_sha256": file_digest(folder / f"{name}.parquet"),
    }
    write_whole(folder / f"{name}.json", json.dumps(about, sort_keys=True) + "\n")
    return folder / f"{name}.json"


def has_fragment(folder: Path, name: str) -> bool:
    """Whether a fragment of this name was written to its end."""
    return (folder / f"{name}.json").is_file()


def fragment_names(folder: Path) -> list[str]:
    """Names of the fragments of a folder that were written to their end, sorted."""
    return sorted(path.stem for path in Path(folder).glob("*.json") if len(path.stem) == 24)


def read_fragment(folder: Path, name: str, *, verify: bool = True) -> Fragment:
    """Read a fragment back.

    Parameters
    ----------
    folder, name
        Which.
    verify
        Compare the digests with what is on disk.

    Raises
    ------
    FormatError
        Where it is missing, foreign, truncated or edited.
    """
    about = _card(folder / f"{name}.json", _FRAGMENT, "whycell corpus gather")
    vectors, cells = folder / f"{name}.f16", folder / f"{name}.parquet"
    _sized(vectors, about["n"] * about["d"] * DTYPE.itemsize, "gather it again")
    if verify:
        _same(vectors, about["vectors_sha256"], "gather it again")
        _same(cells, about["cells_sha256"], "gather it again")
    return Fragment(_mapped(vectors, about["n"], about["d"]), pq.read_table(cells).to_pandas())


def is_store(folder: Path) -> bool:
    """Whether a folder is a shuffled store, judged by its card alone."""
    try:
        return bool(json.loads((Path(folder) / _ABOUT).read_text(encoding="utf-8")).get("kind") == _STORE)
    except (OSError, ValueError, AttributeError):
        return False


def open_store(folder: Path, *, verify: bool = True) -> Store:
    """Open a shuffled store.

    Parameters
    ----------
    folder
        Where it is.
    verify
        Compare the digest of every file with what is on disk: reads everything once.

    Raises
    ------
    FormatError
        Where it is missing, foreign, truncated or edited.
    """
    folder = Path(folder)
    about = _card(folder / _ABOUT, _STORE, "whycell corpus gather")
    if about.get("sha256") != card_digest(about):
        msg = f"{folder / _ABOUT} was edited after it was written; gather the corpus again."
        raise FormatError(msg)
    _sized(folder / _VECTORS, about["n"] * about["d"] * DTYPE.itemsize, "copy the corpus again")
    for name, digest in about["files"].items():
        if not (folder / name).is_file():
            msg = f"{folder} has no {name}, which its {_ABOUT} names; copy the corpus again."
            raise FormatError(msg)
        if verify:
            _same(folder / name, digest, "copy the corpus again")
    return Store(folder, about, _mapped(folder / _VECTORS, about["n"], about["d"]))


def write_about(folder: Path, about: Mapping[str, Any]) -> None:
    """Write the card of a store whose other files are all there, with their digests and its own.

    Parameters
    ----------
    folder
        The store.
    about
        Plain values; ``n`` and ``d`` among them.
    """
    files = {
        str(path.relative_to(folder)): file_digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != _ABOUT
    }
    card = {**about, "kind": _STORE, "format": _FORMAT, "dtype": "float16", "files": files}
    card["sha256"] = card_digest(card)
    write_whole(folder / _ABOUT, json.dumps(card, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def write_cells(path: Path, blocks: Any) -> None:
    """Write ``cells.parquet``.

    Parameters
    ----------
    path
        Where to.
    blocks
        Tables (``pyarrow.Table``) of a block of cells each; each becomes a row group.
    """
    with written_whole(path, force=True) as scratch:
        writer = None
        for table in blocks:
            writer = writer or pq.ParquetWriter(scratch, table.schema, compression="zstd")
            writer.write_table(table, row_group_size=len(table))
        if writer is not None:
            writer.close()


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _coded(table: pd.DataFrame) -> pa.Table:
    plain = pa.Table.from_pandas(table, preserve_index=False)
    columns = [plain[name].dictionary_encode() if name in _TEXT else plain[name] for name in COLUMNS]
    return pa.table(dict(zip(COLUMNS, columns, strict=True)))


def _card(path: Path, kind: str, maker: str) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        ours = about["kind"] == kind and about["format"] == _FORMAT
    except (OSError, ValueError, KeyError, TypeError):
        about, ours = {}, False
    if not ours:
        msg = f"{path} is missing, cut short, or was not written by this whycell; give what `{maker}` wrote."
        raise FormatError(msg)
    return dict(about)


def _sized(path: Path, size: int, cure: str) -> None:
    found = path.stat().st_size if path.is_file() else 0
    if found != size:
        msg = f"{path} has {found} bytes where {size} are due: it is missing or cut short; {cure}."
        raise FormatError(msg)


def _same(path: Path, digest: str, cure: str) -> None:
    if not path.is_file() or file_digest(path) != digest:
        msg = f"{path} is not the file that was written: missing, truncated or replaced; {cure}."
        raise FormatError(msg)


def _mapped(path: Path, n: int, d: int) -> np.ndarray:
    return np.memmap(path, dtype=DTYPE, mode="r", shape=(n, d)) if n else np.zeros((0, d), dtype=DTYPE)
