"""What a catalogue offers: runs of rows, cut into fragments that can be had for a price.

A run is a stretch of rows of one file with equal metadata, so a cut between two runs is a cut where the cell type or
the donor changes. A long run is cut into offers of its own; short ones that lie close together make one offer, since a
chunk holds several rows and a request costs as much as some hundreds of cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from whycell.corpus.catalog import Catalog
from whycell.corpus.cover_loops import compiled
from whycell.errors import UsageError

__all__ = ["Offers", "cut", "read_runs"]

_LONG = 500  # rows from which a run stands alone
_NEAR = 256  # rows between two runs that are still read in one go
_UNKNOWN = ("", "unknown", "na", "nan", "none", "unassigned", "not available")
_COLUMNS = (
    "key",
    "start",
    "stop",
    "cell_type",
    "cell_type_id",
    "donor",
    "study",
    "tissue",
    "tissue_id",
)


@dataclass(frozen=True)
class Offers:
    """Runs, the pieces that they are cut into, and what the offers cost.

    Parameters
    ----------
    runs
        One row a run that is wanted, in the order of files and rows, with the columns of the catalogue.
    files
        One row a file, index ``key``: ``address, etag, size, bytes_per_row, overshoot, arrays``.
    run
        (n_pieces,) int, row of ``runs``.
    start, stop
        (n_pieces,) rows of the file.
    offer
        (n_pieces,) int, the offer that a piece belongs to; pieces of one offer follow one another.
    file_of
        (n_offers,) int, row of ``files``.
    rows
        (n_offers,) rows from the first to the last of an offer, those between its pieces included.
    """

    runs: pd.DataFrame
    files: pd.DataFrame
    run: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    offer: np.ndarray
    file_of: np.ndarray
    rows: np.ndarray

    def cost(self, *, price_request: float) -> np.ndarray:
        """(n_offers,) MB: stored bytes, a chunk read over the edge, and the price of its requests."""
        of = self.files.iloc[self.file_of]
        stored = self.rows * of["bytes_per_row"].to_numpy() + of["overshoot"].to_numpy()
        return np.asarray(stored / 1e6 + of["arrays"].to_numpy() * price_request)


def read_runs(
    catalog: Path, *, where: str | None = None, duplicates: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs of a catalogue that are wanted, and the files they lie in.

    Parameters
    ----------
    catalog
        What ``whycell corpus scan`` wrote.
    where
        SQL over the columns of the view ``cells``; all runs where ``None``.
    duplicates
        Keep cells that are copies of cells of another file (``is_primary`` false).

    Returns
    -------
    runs, and files by key, as `Offers` holds them

    Raises
    ------
    FormatError
        Where the folder is not a catalogue.
    UsageError
        Where ``where`` is not SQL over its columns.
    """
    conditions = [
        f"lower(trim(coalesce(cell_type, ''))) not in {_UNKNOWN}",
        *([f"({where})"] if where else []),
    ]
    columns = ", ".join(f"coalesce({name}, '') as {name}" for name in _COLUMNS if name not in ("start", "stop"))
    question = f"select {columns}, start, stop from {'runs' if duplicates else 'cells'}"
    question += f" where {' and '.join(conditions)} order by key, start"
    with Catalog(catalog, threads=1) as opened:
        try:
            runs = opened.sql(question)
        except UsageError as error:
            msg = f'--where "{where}" cannot be asked of the catalogue: {error}'
            raise UsageError(msg) from error
        files = opened.sql("select * from files where status = 'ok' order by key").set_index("key")
        stored = _stored(opened)
    files = files.join(stored, how="left")
    cells = files["n_cells"].clip(lower=1)
    files["bytes_per_row"] = (files["stored"].fillna(files["size"]) / cells).astype(float)
    files["overshoot"] = files["overshoot"].fillna(0.0)
    files["arrays"] = np.where(files["encoding"].astype(str) == "csr", 2, 1)
    return runs, files[["address", "etag", "size", "bytes_per_row", "overshoot", "arrays"]]


def cut(runs: pd.DataFrame, files: pd.DataFrame, *, most_rows: int, most_asked: float) -> Offers:
    """Cut runs into offers.

    Parameters
    ----------
    runs, files
        From `read_runs`.
    most_rows
        Rows of an offer at most.
    most_asked
        The largest demand for cells: of one long run no more than this is offered, since one piece is as good as the
        next.
    """
    used = files.loc[np.unique(runs["key"])] if len(runs) else files.iloc[:0]
    file = (
        np.searchsorted(used.index.to_numpy(dtype=str), runs["key"].to_numpy(dtype=str)) if len(runs) else np.zeros(0)
    )
    pieces = _cut(
        file.astype(np.int64),
        runs["start"].to_numpy(dtype=np.int64),
        runs["stop"].to_numpy(dtype=np.int64),
        int(most_rows),
        int(min(most_asked, 2**62)),
    )
    run, start, stop, offer = pieces
    n = int(offer[-1]) + 1 if len(offer) else 0
    first, last = np.searchsorted(offer, np.arange(n)), np.searchsorted(offer, np.arange(n), side="right") - 1
    return Offers(
        runs=runs,
        files=used,
        run=run,
        start=start,
        stop=stop,
        offer=offer,
        file_of=file.astype(np.int64)[run[first]],
        rows=stop[last] - start[first],
    )


@compiled
def _cut(file, start, stop, most, asked):
    """Pieces (run, start, stop, offer), in the order of files and rows."""
    n = 0
    for i in range(len(file)):
        n += 1 + (stop[i] - start[i]) // most
    run = np.empty(n, dtype=np.int64)
    low = np.empty(n, dtype=np.int64)
    high = np.empty(n, dtype=np.int64)
    offer = np.empty(n, dtype=np.int64)
    n = 0
    current = -1
    first = 0  # row at which the open offer begins
    end = -1  # row after its last; -1 where no offer is open
    for i in range(len(file)):
        size = stop[i] - start[i]
        if size >= _LONG:
            parts = (size + most - 1) // most
            step = (size + parts - 1) // parts
            at = start[i]
            while at < stop[i] and at - start[i] < asked + step:
                current += 1
                run[n], low[n], high[n], offer[n] = i, at, min(at + step, stop[i]), current
                at = high[n]
                n += 1
            end = -1
            continue
        joins = end >= 0 and file[i] == file[i - 1] and start[i] - end <= _NEAR and stop[i] - first <= most
        if not joins:
            current += 1
            first = start[i]
        end = stop[i]
        run[n], low[n], high[n], offer[n] = i, start[i], stop[i], current
        n += 1
    return run[:n], low[:n], high[:n], offer[:n]


def _stored(catalog: Catalog) -> pd.DataFrame:
    """By file, stored bytes of the matrix and of one chunk of each of its arrays."""
    if not any(catalog.folder.glob("chunks/*.parquet")):
        return pd.DataFrame({"stored": [], "overshoot": []}, index=pd.Index([], name="key"))
    where = str(catalog.folder / "chunks" / "*.parquet").replace("'", "''")
    answer = catalog.sql(f"""
        select key, sum(bytes) as stored, sum(mean) as overshoot from (
            select parse_filename(filename, true) as key, sum(nbytes) as bytes, avg(nbytes) as mean
            from read_parquet('{where}', filename = true) group by key, "array"
        ) group by key
    """)
    return answer.astype({"stored": float}).set_index("key")
