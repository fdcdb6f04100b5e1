"""What a plan says to read, cut into pieces that are read, encoded and kept whole.

Runs of a plan that lie close together in one file are read as one stretch of rows, since a chunk holds several rows and
reading over a small gap is cheaper than a second request; a long run is cut, so that a kill loses little.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

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
    """Some runs of one file that are read together.

    Parameters
    ----------
    key, address, etag, size
        The file as it was scanned.
    runs
        (n_runs, 2) first and last row (exclusive) of each.
    labels
        One row a run: ``label, label_id, donor, study``.
    nbytes
        Stored bytes of its rows, about.
    """

    key: str
    address: str
    etag: str
    size: int
    runs: np.ndarray
    labels: pd.DataFrame
    nbytes: int

    @property
    def start(self) -> int:
        """First row read."""
        return int(self.runs[0, 0])

    @property
    def stop(self) -> int:
        """The row after the last one read."""
        return int(self.runs[-1, 1])

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
        times = self.runs[:, 1] - self.runs[:, 0]
        table = self.labels.loc[self.labels.index.repeat(times)].reset_index(drop=True)
        return table.assign(address=self.address, row=self.rows)


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
    found = []
    for _, runs in plan.runs.groupby("address", sort=True):
        weight = float(runs["nbytes"].sum()) / max(1, int((runs["stop"] - runs["start"]).sum()))
        most = int(min(CELLS, max(FEWEST, piece_bytes // max(weight, 1.0))))
        groups = _grouped(runs[["start", "stop"]].to_numpy(np.int64), weight, most)
        found += [_piece(runs, group, weight) for group in groups]
    return found


def _grouped(runs: np.ndarray, weight: float, most: int) -> Iterator[list[tuple[int, int, int]]]:
    """Triples of run, start and stop; a run longer than a piece is cut into even parts."""
    group: list[tuple[int, int, int]] = []
    for i, (start, stop) in enumerate(runs.tolist()):
        parts = -(-(stop - start) // most)
        edges = np.linspace(start, stop, parts + 1).round().astype(int).tolist()
        for low, high in pairwise(edges):
            apart = group and ((low - group[-1][2]) * weight > NEAR or high - group[0][1] > most)
            if apart:
                yield group
                group = []
            group.append((i, low, high))
    if group:
        yield group


def _piece(runs: pd.DataFrame, group: list[tuple[int, int, int]], weight: float) -> Piece:
    of: Any = runs.iloc[[i for i, _, _ in group]].reset_index(drop=True)
    names = {"cell_type": "label", "cell_type_id": "label_id", "donor": "donor", "study": "study"}
    labels = of[list(names)].rename(columns=names)
    one = of.iloc[0]
    etag = "" if pd.isna(one["etag"]) else str(one["etag"])
    rows = np.array([(low, high) for _, low, high in group], dtype=np.int64)
    nbytes = int((rows[-1, 1] - rows[0, 0]) * weight)
    return Piece(str(one["key"]), str(one["address"]), etag, int(one["size"]), rows, labels, nbytes)
