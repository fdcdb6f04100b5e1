"""The files of a plan, opened when their first piece is read and forgotten after their last.

Where chunks lie comes from the catalogue; a file that it does not know is walked, and one that only h5py can read is
read by it: both are told.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from scipy import sparse

from whycell.corpus.fragments import Piece
from whycell.data.columns import CscRows
from whycell.data.layouts import MatrixLayout, read_layout
from whycell.data.remote import Patience, RemoteFile
from whycell.data.remote_matrix import matrix_layout, open_rows
from whycell.data.rows import RowReader
from whycell.errors import FormatError

__all__ = ["FarFile", "FarFiles", "Traffic"]


@dataclass
class Traffic:
    """What was asked of servers.

    Parameters
    ----------
    requests, bytes_read, retries
        Requests made, bytes that came, and requests that had to be made again.
    """

    requests: int = 0
    bytes_read: int = 0
    retries: int = 0

    def add(self, source: RemoteFile) -> None:
        """Count what one file took."""
        self.requests += source.requests
        self.bytes_read += source.bytes_read
        self.retries += source.retries


@dataclass
class FarFile:
    """One file, open.

    Parameters
    ----------
    source, reader
        Its bytes, and the rows of its matrix.
    genes
        One row a column of the matrix: ``gene_id``, ``symbol``; always the same object.
    note
        What a person should know of how it is read; empty where there is nothing to tell.
    met, meeting, encoder_met
        Whether an encoder has met it, and which.
    failed
        Why its pieces are not read any more.
    """

    source: RemoteFile
    reader: RowReader
    genes: pd.DataFrame
    note: str
    met: threading.Event = field(default_factory=threading.Event)
    meeting: threading.Lock = field(default_factory=threading.Lock)
    encoder_met: Any = None
    failed: str = ""

    def close(self) -> None:
        """Forget what was kept of it."""
        if isinstance(self.reader, CscRows):
            self.reader.close()
        self.source.close()


class FarFiles:
    """The files of some pieces, each opened once.

    Parameters
    ----------
    pieces
        All that will be read: a file is closed after its last one.
    catalog
        Folder of the catalogue, or ``None``.
    threads
        Requests at once.
    patience
        Tries and time limits.
    """

    def __init__(
        self, pieces: Sequence[Piece], *, catalog: Path | None, threads: int, patience: Patience | None = None
    ) -> None:
        self.traffic = Traffic()
        self.notes: dict[str, str] = {}
        self._catalog = catalog
        self._patience = patience
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="whycell-gather")
        self._lock = threading.Lock()
        self._left: dict[str, int] = {}
        for piece in pieces:
            self._left[piece.address] = self._left.get(piece.address, 0) + 1
        self._opening: dict[str, threading.Lock] = {address: threading.Lock() for address in self._left}
        self._open: dict[str, FarFile | Exception] = {}

    def of(self, piece: Piece) -> FarFile:
        """The file of a piece.

        Raises
        ------
        FormatError
            It cannot be had: told the same for each of its pieces.
        """
        with self._opening[piece.address]:
            if piece.address not in self._open:
                try:
                    self._open[piece.address] = self._opened(piece)
                except FormatError as error:
                    self._open[piece.address] = error
        found = self._open[piece.address]
        if isinstance(found, Exception):
            raise found
        return found

    def rows(self, piece: Piece) -> Any:
        """The rows of a piece as a csr_matrix, those between its runs left out."""
        file = self.of(piece)
        if piece.stop > file.reader.shape[0]:
            msg = f"{piece.address} has {file.reader.shape[0]} rows, the plan names row {piece.stop}; select again."
            raise FormatError(msg)
        coming = [file.reader.submit(self._pool, *stretch) for stretch in piece.stretches]
        blocks = [each.result() for each in coming]
        block = blocks[0] if len(blocks) == 1 else sparse.vstack(blocks, format="csr", dtype=np.float32)
        if block.shape[0] == piece.n:
            return block
        read = np.concatenate([np.arange(start, stop, dtype=np.int64) for start, stop in piece.stretches])
        return block[np.searchsorted(read, piece.rows)]

    def done(self, piece: Piece) -> None:
        """A piece is finished with, well or not; after the last one its file is closed."""
        with self._lock:
            self._left[piece.address] -= 1
            file = self._open.pop(piece.address, None) if not self._left[piece.address] else None
            if isinstance(file, FarFile):
                self.traffic.add(file.source)
                file.close()

    def close(self) -> None:
        """Close what is open still."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            for file in self._open.values():
                if isinstance(file, FarFile):
                    self.traffic.add(file.source)
                    file.close()
            self._open.clear()

    def _opened(self, piece: Piece) -> FarFile:
        source = RemoteFile(piece.address, etag=piece.etag or None, size=piece.size, patience=self._patience)
        layout, note = self._layout(piece, source)
        if note:
            self.notes[piece.address] = note
        reader = open_rows(source, layout)
        return FarFile(source, reader, self._genes(piece, reader.shape[1]), note)

    def _layout(self, piece: Piece, source: RemoteFile) -> tuple[MatrixLayout, str]:
        known = self._catalog is not None and (self._catalog / "chunks" / f"{piece.key}.parquet").is_file()
        if known and self._catalog is not None:
            layout = read_layout(self._catalog, key=piece.key)
        else:
            layout = matrix_layout(source, self._where(piece))
        if layout.encoding == "csc":
            return layout, "stored by columns (CSC): read whole once, to turn it"
        return layout, layout.reason

    def _where(self, piece: Piece) -> str:
        path = None if self._catalog is None else self._catalog / "files" / f"{piece.key}.parquet"
        if path is None or not path.is_file():
            return "X"
        return str(pq.read_table(path, columns=["matrix"])["matrix"][0].as_py() or "X")

    def _genes(self, piece: Piece, n: int) -> pd.DataFrame:
        path = None if self._catalog is None else self._catalog / "var" / f"{piece.key}.parquet"
        if path is None or not path.is_file():
            msg = f"the catalogue has no genes of {piece.address} (var/{piece.key}.parquet); scan it again."
            raise FormatError(msg)
        table: pd.DataFrame = pq.read_table(path, columns=["position", "gene_id", "symbol"]).to_pandas()
        table = table.sort_values("position")
        if len(table) != n:
            msg = f"{piece.address} has {n} columns, the catalogue {len(table)} genes; scan it again."
            raise FormatError(msg)
        return table[["gene_id", "symbol"]].fillna("").astype(str).reset_index(drop=True)
