"""The cells of a plan, read from where they lie and encoded as they land.

Pieces are read several at a time; each is decoded, encoded and written as a fragment before the next one of its thread
begins, so memory stays bounded. A fragment is named by what decides its bytes and is there whole or not at all: after a
kill, what is there is not read again. A file that cannot be read is listed, and the others go on.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from whycell.compute import Step, Talk
from whycell.corpus.far_files import FarFile, FarFiles, Traffic
from whycell.corpus.fragments import Piece
from whycell.corpus.sampling import CELLS, Sampled, thin
from whycell.corpus.store import has_fragment, write_fragment
from whycell.data.remote import Patience
from whycell.errors import FormatError, WhycellError

__all__ = ["Encode", "Gathered", "gather", "gathered_rows"]

Encode = Callable[[sparse.csr_matrix, pd.DataFrame], np.ndarray]

AT_ONCE = 4  # pieces under way: while one is inflated, the next ones travel
REQUESTS = 32
JUDGED = 256  # rows kept of the first piece of a file, so that an encoder meets the file the same way after a kill


@dataclass
class Gathered:
    """What a gathering did.

    Parameters
    ----------
    n_cells, n_fragments
        Of the fragments that are there now, those of earlier runs included.
    resumed
        Fragments that were there already.
    failures
        By address, why a file could not be read.
    notes
        By address, what to know of how a file was read.
    traffic
        What was asked of servers in this run.
    """

    n_cells: int = 0
    n_fragments: int = 0
    resumed: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    traffic: Traffic = field(default_factory=Traffic)


def gather(
    pieces: Sequence[Piece],
    out: Path,
    *,
    encode: Encode,
    encoder_digest: str,
    catalog: Path | None = None,
    requests: int = REQUESTS,
    patience: Patience | None = None,
    talk: Talk | None = None,
) -> Gathered:
    """Read pieces, encode them and keep them as fragments.

    Parameters
    ----------
    pieces
        From ``fragments.pieces_of``.
    out
        Folder of fragments; those that are there are not read again.
    encode
        Turns rows (n, n_columns) and the genes of the columns into (n, d) float32; called from several threads.
    encoder_digest
        What identifies ``encode``: part of the names of the fragments.
    catalog
        Folder of the catalogue.
    requests
        Requests at once.
    patience
        Tries and time limits of a request.
    talk
        Told of progress.

    Returns
    -------
    Gathered
    """
    out.mkdir(parents=True, exist_ok=True)
    names = [piece.name(encoder_digest) for piece in pieces]
    missing = [i for i, name in enumerate(names) if not has_fragment(out, name)]
    done = Gathered(resumed=len(pieces) - len(missing))
    talk = talk or Talk()
    wanted = [pieces[i] for i in missing]

    lead: dict[str, Piece] = {}
    for piece in wanted:
        lead.setdefault(piece.address, piece)

    def work(piece: Piece, file: FarFile, rows: Any) -> None:
        _meet(out, piece, file, rows, encode, leads=lead[piece.address] is piece)
        vectors = encode(rows, file.genes)
        write_fragment(out, piece.name(encoder_digest), vectors=vectors, cells=piece.cells())
        _kept_rows(out, piece).unlink(missing_ok=True)

    with talk.progress("gathering", sum(piece.n for piece in wanted)) as bar:
        _each(wanted, work, out=out, done=done, catalog=catalog, requests=requests, patience=patience, bar=bar)
    there = [piece for piece, name in zip(pieces, names, strict=True) if has_fragment(out, name)]
    done.n_fragments, done.n_cells = len(there), sum(piece.n for piece in there)
    return done


def gathered_rows(
    pieces: Sequence[Piece],
    out: Path,
    *,
    n_cells: int = CELLS,
    seed: int = 0,
    catalog: Path | None = None,
    requests: int = REQUESTS,
    patience: Patience | None = None,
    talk: Talk | None = None,
) -> tuple[list[Sampled], Gathered]:
    """Some rows of some pieces, before there is an encoder; what is read waits on disk until its fragment is written.

    Parameters
    ----------
    pieces
        Those wanted.
    out, catalog, requests, patience, talk
        As of `gather`.
    n_cells
        Rows kept in memory, of all pieces together.
    seed
        Of the choice of rows.

    Returns
    -------
    found : what was read, in the order of ``pieces``
    done : what was asked of servers, and what failed
    """
    out.mkdir(parents=True, exist_ok=True)
    done, talk = Gathered(), talk or Talk()
    found: dict[str, Sampled] = {}
    most = max(1, n_cells // max(1, len(pieces)))

    def work(piece: Piece, file: FarFile, rows: Any) -> None:
        path = _kept_rows(out, piece)
        if not path.exists():
            _save_rows(path, rows)
        found[piece.name()] = thin(piece, rows, file.genes, most=most, seed=seed)

    with talk.progress("sampling", sum(piece.n for piece in pieces)) as bar:
        _each(pieces, work, out=out, done=done, catalog=catalog, requests=requests, patience=patience, bar=bar)
    return [found[name] for piece in pieces if (name := piece.name()) in found], done


def _each(
    pieces: Sequence[Piece],
    work: Callable[[Piece, FarFile, Any], None],
    *,
    out: Path,
    done: Gathered,
    catalog: Path | None,
    requests: int,
    patience: Patience | None,
    bar: Step,
) -> None:
    files = FarFiles(pieces, catalog=catalog, threads=requests, patience=patience)

    def one(piece: Piece) -> None:
        try:
            file = files.of(piece)
            try:
                if file.failed:
                    raise FormatError(file.failed)
                kept = _kept_rows(out, piece)
                work(piece, file, _load_rows(kept) if kept.exists() else files.rows(piece))
            except WhycellError as error:  # its other pieces would be waited for in vain
                file.failed = str(error)
                file.met.set()
                raise
        finally:
            files.done(piece)

    try:
        for piece, promise in _under_way(pieces, one):
            try:
                promise.result()
            except WhycellError as error:
                done.failures.setdefault(piece.address, str(error))
            bar.advance(piece.n)
    finally:
        files.close()
        done.notes |= files.notes
        done.traffic = files.traffic


def _under_way(pieces: Sequence[Piece], work: Callable[[Piece], None]) -> Iterator[tuple[Piece, Future[None]]]:
    """Every piece with its promise, kept; a few run at once."""
    waiting: deque[tuple[Piece, Future[None]]] = deque()
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="whycell-piece") as pool:
        try:
            for piece in pieces:
                waiting.append((piece, pool.submit(work, piece)))
                if len(waiting) > AT_ONCE:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            for _, promise in waiting:
                promise.cancel()


def _meet(out: Path, piece: Piece, file: FarFile, rows: Any, encode: Encode, *, leads: bool) -> None:
    """Let the encoder meet a file by the first rows of its first piece, whichever piece comes first in this run.

    An encoder may judge by the first rows it sees how the values of a file were scaled. Those rows are kept, so that
    the answer is the same after a kill. The piece that leads was begun before the others: waiting for it ends.
    """
    path = out / "met" / f"{piece.key}.npz"
    if leads and not path.exists():
        _save_rows(path, rows[:JUDGED])
    if not path.exists():
        file.met.wait()
    if file.failed:
        raise FormatError(file.failed)
    with file.meeting:
        if file.encoder_met is not encode:
            encode(_load_rows(path), file.genes)
            file.encoder_met = encode
    file.met.set()


def _kept_rows(out: Path, piece: Piece) -> Path:
    return out / "rows" / f"{piece.name()}.npz"


def _save_rows(path: Path, rows: Any) -> None:
    """A temporary name, then rename: half a file is never met."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with scratch.open("wb") as stream:
        np.savez(stream, data=rows.data, indices=rows.indices, indptr=rows.indptr, shape=np.array(rows.shape))
    scratch.replace(path)


def _load_rows(path: Path) -> Any:
    with np.load(path, allow_pickle=False) as held:
        parts = (held["data"], held["indices"], held["indptr"])
        matrix = sparse.csr_matrix(parts, shape=tuple(held["shape"].tolist()))
    matrix.has_canonical_format = True
    return matrix
