"""What a plan says to read, cut into pieces that are read, encoded and kept whole.

Runs of a plan that lie close together in one file are read as one stretch of rows, since a chunk holds several rows and
reading over a small gap is cheaper than a second request. A piece is some stretches of one file: few enough bytes that
a kill loses little, enough that a million short runs do not become a million files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from whycell.corpus.store import fragment_name
from whycell.errors import FormatError

__all__ = ["BYTES", "Piece", "Plan", "pieces_of", "read_plan"]

BYTES = 16 * 1024 * 1024  # stored bytes of a piece, about
NEAR = 64 * 1024  # stored bytes between two runs that are still read together: a chunk or so
CELLS = 16_384  # rows of a piece at most
FEWEST = 32  # and at least: a chunk holds some rows anyway
_NAMES = {"label": "cell_type", "label_id": "cell_type_id", "donor": "donor", "study": "study"}
_COLUMNS = ("key", "address", "etag", "size", "start", "stop", "cell_type", "cell_type_id", "donor", "study", "nbytes")


@dataclass(frozen=True)
class Plan:
    """A plan, read.

    Parameters
    ----------
    runs
        One row a run of rows, in the order of files and rows.
    catalog
        Folder of the catalogue it was made from; ``None`` where the plan does not say.
    digest
        SHA-256 of the file.
    """

    runs: pd.DataFrame
    catalog: Path | None
    digest: str

    @property
    def n_cells(self) -> int:
        """Cells that it names."""
        return int((self.runs["stop"] - self.runs["start"]).sum())


@dataclass(frozen=True)
class Piece:
    """Some runs of one file that are read, encoded and kept together.

    Parameters
    ----------
    key, address, etag, size
        The file as it was scanned.
    runs
        (n_runs, 2) first and last row (exclusive) of each.
    of
        (n_runs,) the row of the plan that each run is from.
    names
        By ``label, label_id, donor, study``, (n_rows of the plan,) texts; shared by all pieces.
    nbytes
        Stored bytes of its rows, about.
    near
        Rows between two runs that are read over.
    """

    key: str
    address: str
    etag: str
    size: int
    runs: np.ndarray
    of: np.ndarray = field(repr=False)
    names: dict[str, np.ndarray] = field(repr=False)
    nbytes: int
    near: int

    @property
    def start(self) -> int:
        """First row read."""
        return int(self.runs[0, 0])

    @property
    def stop(self) -> int:
        """The row after the last one read."""
        return int(self.runs[-1, 1])

    @property
    def stretches(self) -> list[tuple[int, int]]:
        """First and last row (exclusive) of what is read in one go."""
        apart = np.flatnonzero(self.runs[1:, 0] - self.runs[:-1, 1] > self.near) + 1
        edges = [0, *apart.tolist(), len(self.runs)]
        return [(int(self.runs[a, 0]), int(self.runs[b - 1, 1])) for a, b in pairwise(edges)]

    @property
    def n(self) -> int:
        """Rows kept."""
        return int((self.runs[:, 1] - self.runs[:, 0]).sum())

    @property
    def rows(self) -> np.ndarray:
        """(n,) int64, the rows kept, in the file."""
        return np.concatenate([np.arange(start, stop, dtype=np.int64) for start, stop in self.runs])

    def name(self, *facts: object) -> str:
        """Its name: a digest of the file as it was scanned, the rows, and what else decides the result."""
        return fragment_name(self.address, self.etag, self.size, self.runs.tolist(), *facts)

    def cells(self) -> pd.DataFrame:
        """One row a cell kept: ``label, label_id, donor, study, address, row``."""
        at = np.repeat(self.of, self.runs[:, 1] - self.runs[:, 0])
        names = {name: values[at] for name, values in self.names.items()}
        return pd.DataFrame({**names, "address": self.address, "row": self.rows})


def read_plan(path: Path) -> Plan:
    """Read what ``whycell corpus select`` wrote.

    Parameters
    ----------
    path
        The plan.

    Raises
    ------
    FormatError
        It is not there, is no plan, or names no rows.
    """
    try:
        raw = Path(path).read_bytes()
        table = pq.read_table(path)
    except (OSError, ValueError) as error:
        msg = f"{path} is not a plan that can be read ({error}); make one with `whycell corpus select`."
        raise FormatError(msg) from error
    missing = [name for name in _COLUMNS if name not in table.column_names]
    if missing or not table.num_rows:
        msg = f"{path} has {table.num_rows} rows and no column {', '.join(missing) or '(all are there)'}; select again."
        raise FormatError(msg)
    runs = table.to_pandas().sort_values(["address", "start"], kind="stable").reset_index(drop=True)
    overlap = (runs["address"].shift() == runs["address"]) & (runs["start"] < runs["stop"].shift())
    if overlap.any() or (runs["stop"] <= runs["start"]).any():
        row = runs[overlap | (runs["stop"] <= runs["start"])].iloc[0]
        msg = f"{path} names rows {row['start']}:{row['stop']} of {row['address']} twice or backwards; select again."
        raise FormatError(msg)
    told = (table.schema.metadata or {}).get(b"catalog")
    return Plan(runs, Path(told.decode()) if told else None, hashlib.sha256(raw).hexdigest())


def pieces_of(plan: Plan, *, piece_bytes: int = BYTES) -> list[Piece]:
    """Every piece of a plan, in the order of files and rows.

    Parameters
    ----------
    plan
        The plan.
    piece_bytes
        Stored bytes of a piece, about.
    """
    runs = plan.runs
    spans = runs[["start", "stop"]].to_numpy(np.int64)
    names = {name: _texts(runs[column]) for name, column in _NAMES.items()}
    facts = {name: _texts(runs[name]) for name in ("key", "address", "etag")}
    edges = [*np.flatnonzero(facts["address"][1:] != facts["address"][:-1]) + 1, len(runs)]
    found: list[Piece] = []
    for low, high in pairwise([0, *edges]):
        here = spans[low:high]
        weight = float(runs["nbytes"].iloc[low:high].sum()) / int((here[:, 1] - here[:, 0]).sum())
        most = int(min(CELLS, max(FEWEST, piece_bytes // max(weight, 1.0))))
        for group in _grouped(here, most):
            told = np.array(group, dtype=np.int64)
            found.append(
                Piece(
                    key=facts["key"][low],
                    address=facts["address"][low],
                    etag=facts["etag"][low],
                    size=int(runs["size"].iloc[low]),
                    runs=told[:, 1:],
                    of=told[:, 0] + low,
                    names=names,
                    nbytes=int((told[:, 2] - told[:, 1]).sum() * weight),
                    near=int(NEAR / max(weight, 1.0)),
                )
            )
    return found


def _texts(column: pd.Series) -> np.ndarray:
    """Texts as objects; what is missing is empty."""
    return np.asarray(column.astype(object).where(column.notna(), "").astype(str), dtype=object)


def _grouped(runs: np.ndarray, most: int) -> Iterator[list[tuple[int, int, int]]]:
    """Triples of run, start and stop, of at most so many rows together; a longer run is cut into even parts."""
    group: list[tuple[int, int, int]] = []
    held = 0
    for i, (start, stop) in enumerate(runs.tolist()):
        parts = -(-(stop - start) // most)
        edges = np.linspace(start, stop, parts + 1).round().astype(int).tolist() if parts > 1 else [start, stop]
        for low, high in pairwise(edges):
            if group and held + high - low > most:
                yield group
                group, held = [], 0
            group.append((i, low, high))
            held += high - low
    if group:
        yield group
