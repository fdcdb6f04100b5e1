"""Many fragments into one store whose order is a fair draw, with bounded memory, and safe to kill.

Every cell has a 64-bit key, a seeded hash of the address it came from and its row there; the store is the cells in the
order of their keys. That is a uniform permutation which depends on the cells and the seed alone: not on how they were
cut into fragments, nor on the order in which these came, nor on the memory at hand.

Two passes, as an external sort: the first *scatters* the fragments into sorted spills, in which the cells of every
shard (a range of keys) lie together; the second reads a shard from all spills, *permutes* it in memory and writes it to
its place. Spills and shards that are done are marked, and a run that was killed goes on from the marks.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from whycell.compute import Talk
from whycell.corpus.store import (
    COLUMNS,
    DTYPE,
    ENCODER,
    file_digest,
    fragment_names,
    read_fragment,
    write_about,
    write_cells,
)
from whycell.data.whole import check_free, exchange, write_whole
from whycell.errors import DataError

__all__ = ["keys_of", "shuffle"]

_TEXT = COLUMNS[:-1]
_RECORD = np.dtype([("key", "<u8"), *((name, "<i4") for name in _TEXT), ("row", "<i8")])
_SHARE = 4  # a batch, its sorted copy and their records together keep to the memory allowed
_FEWEST = 256
_BLOCK = 65_536


@dataclass(frozen=True)
class _Work:
    """What is to be done: decided by the fragments, the seed and the memory, and the same after a kill."""

    folder: Path
    scratch: Path
    batches: list[list[tuple[str, int, int]]]
    texts: dict[str, np.ndarray]
    n: int
    d: int
    seed: int
    n_shards: int

    def shard_of(self, keys: np.ndarray) -> np.ndarray:
        """(n,) ranges of keys, in their order."""
        return np.asarray((keys >> np.uint64(32)) * np.uint64(self.n_shards) >> np.uint64(32), dtype=np.int64)

    def spilled(self) -> np.ndarray:
        """(n_batches, n_shards) cells of each shard in each spill."""
        marks = [self.scratch / f"spill-{i:05d}.json" for i in range(len(self.batches))]
        return np.array([json.loads(mark.read_text(encoding="utf-8")) for mark in marks], dtype=np.int64)


def shuffle(
    folder: Path,
    out: Path,
    *,
    seed: int = 0,
    memory: int = 1 << 30,
    block: int = _BLOCK,
    force: bool = False,
    talk: Talk | None = None,
) -> Path:
    """Mix the fragments of a folder into a store.

    Parameters
    ----------
    folder
        Fragments, and ``encoder/`` where there is one.
    out
        The store to write; what was begun there and killed goes on.
    seed
        Decides the order, with the cells themselves.
    memory
        Bytes that may be held at once; it does not change the bytes written.
    block
        Cells that training reads at once.
    force
        Replace a store that is there.
    talk
        Told of progress.

    Returns
    -------
    ``out``

    Raises
    ------
    DataError
        Where there are no fragments, they disagree about the encoder, or a cell comes twice.
    """
    talk = talk or Talk()
    folder, out = Path(folder), Path(out)
    check_free(out, force=force)
    work = _plan(folder, out, seed, memory)
    with talk.progress("scattering", len(work.batches)) as bar:
        for i in range(len(work.batches)):
            if not (work.scratch / f"spill-{i:05d}.json").exists():
                _scatter(work, i)
            bar.advance()
    store = work.scratch / "store"
    store.mkdir(exist_ok=True)
    spilled = work.spilled()
    _allocate(store / "vectors.f16", work.n * work.d * DTYPE.itemsize)
    _allocate(work.scratch / "records", work.n * _RECORD.itemsize)
    with talk.progress("permuting", work.n_shards) as bar:
        for s in range(work.n_shards):
            if not (work.scratch / f"shard-{s:05d}.done").exists():
                _permute(work, s, spilled)
            bar.advance()
    _finish(work, store, block)
    if out.exists():
        exchange(out, store)
    else:
        os.replace(store, out)
    shutil.rmtree(work.scratch, ignore_errors=True)
    return out


def keys_of(address: str, rows: np.ndarray, *, seed: int) -> np.ndarray:
    """(n,) uint64: the place of each cell in the order, a seeded hash of where it came from.

    Parameters
    ----------
    address
        Of the file.
    rows
        (n,) rows in that file.
    seed
        Of the order.
    """
    start = hashlib.sha256(f"{seed}\n{address}".encode()).digest()
    return _mixed(_mixed(rows.astype(np.uint64) ^ _word(start[:8])) ^ _word(start[8:16]))


def _word(raw: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(raw, "little"))


def _mixed(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014): every bit in decides every bit out."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(x ^ (x >> np.uint64(31)))


def _plan(folder: Path, out: Path, seed: int, memory: int) -> _Work:
    names = fragment_names(folder)
    cards = [json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in names]
    widths = sorted({card["d"] for card in cards if card["n"]})
    n = sum(card["n"] for card in cards)
    if not n or len(widths) > 1:
        msg = (
            f"{folder} has {len(names)} fragments with {n} cells in {widths or 'no'} dimensions; at least one cell, "
            "and one number of dimensions, are needed: gather with one encoder."
        )
        raise DataError(msg)
    d = widths[0]
    fit = max(_FEWEST, memory // (_SHARE * (d * DTYPE.itemsize + _RECORD.itemsize)))
    scratch = out.with_name(f".{out.name}.shuffling")
    encoder = {path.name: file_digest(path) for path in sorted((folder / ENCODER).glob("*"))}
    plan = {"fragments": dict(zip(names, cards, strict=True)), "encoder": encoder, "seed": seed, "fit": fit}
    mark = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
    if not (scratch / "plan").is_file() or (scratch / "plan").read_text(encoding="utf-8") != mark:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        write_whole(scratch / "plan", mark)
    # Hashed shards differ in size by chance: a fifth more room than their mean.
    n_shards = max(1, -(-n * 6 // (fit * 5)))
    batches = _batches([(name, card["n"]) for name, card in zip(names, cards, strict=True)], fit)
    return _Work(folder, scratch, batches, _texts(folder, names), n, d, seed, n_shards)


def _batches(sizes: Sequence[tuple[str, int]], fit: int) -> list[list[tuple[str, int, int]]]:
    """Pieces (fragment, start, stop) in batches of at most ``fit`` cells."""
    batches: list[list[tuple[str, int, int]]] = [[]]
    room = fit
    for name, n in sizes:
        start = 0
        while start < n:
            if not room:
                batches.append([])
                room = fit
            stop = min(n, start + room)
            batches[-1].append((name, start, stop))
            room -= stop - start
            start = stop
    return batches


def _texts(folder: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """By column, every text that occurs, sorted: codes then do not depend on the order of fragments."""
    found: dict[str, set[str]] = {column: set() for column in _TEXT}
    for name in names:
        table = pq.read_table(folder / f"{name}.parquet", columns=list(_TEXT))
        for column in _TEXT:
            found[column].update(table[column].unique().to_pylist())
    return {column: np.array(sorted(values), dtype=object) for column, values in found.items()}


def _records(work: _Work, cells: pd.DataFrame) -> np.ndarray:
    records = np.empty(len(cells), dtype=_RECORD)
    records["row"] = cells["row"]
    for column in _TEXT:
        codes, values = pd.factorize(cells[column])
        records[column] = np.searchsorted(work.texts[column], np.asarray(values, dtype=object))[codes]
    for code in np.unique(records["address"]):
        mine = records["address"] == code
        records["key"][mine] = keys_of(work.texts["address"][code], records["row"][mine], seed=work.seed)
    return records


def _scatter(work: _Work, i: int) -> None:
    vectors, records = [], []
    for name, start, stop in work.batches[i]:
        fragment = read_fragment(work.folder, name)
        vectors.append(np.asarray(fragment.vectors[start:stop]))
        records.append(_records(work, fragment.cells.iloc[start:stop]))
    together = np.concatenate(records)
    order = np.argsort(together["key"], kind="stable")
    together = together[order]
    together.tofile(work.scratch / f"spill-{i:05d}.records")
    np.concatenate(vectors)[order].tofile(work.scratch / f"spill-{i:05d}.f16")
    counts = np.bincount(work.shard_of(together["key"]), minlength=work.n_shards)
    write_whole(work.scratch / f"spill-{i:05d}.json", json.dumps(counts.tolist()))


def _permute(work: _Work, s: int, spilled: np.ndarray) -> None:
    records, vectors = [], []
    width = work.d * DTYPE.itemsize
    for i, counts in enumerate(spilled):
        start, n = int(counts[:s].sum()), int(counts[s])
        path = work.scratch / f"spill-{i:05d}"
        records.append(np.fromfile(f"{path}.records", dtype=_RECORD, count=n, offset=start * _RECORD.itemsize))
        halves = np.fromfile(f"{path}.f16", dtype=DTYPE, count=n * work.d, offset=start * width)
        vectors.append(halves.reshape(n, work.d))
    together = np.concatenate(records)
    order = np.argsort(together["key"], kind="stable")
    if (np.diff(together["key"][order]) == 0).any():
        order = np.lexsort((together["row"], together["address"], together["key"]))
        _refuse_twins(work, together[order])
    at = int(spilled[:, :s].sum())
    for path, array in (
        (work.scratch / "records", together[order]),
        (work.scratch / "store" / "vectors.f16", np.concatenate(vectors)[order]),
    ):
        with path.open("r+b") as stream:
            stream.seek(at * (_RECORD.itemsize if array.ndim == 1 else width))
            stream.write(array.tobytes())
            stream.flush()
            os.fsync(stream.fileno())
    write_whole(work.scratch / f"shard-{s:05d}.done", "")


def _refuse_twins(work: _Work, records: np.ndarray) -> None:
    """A cell that was gathered twice would weigh twice."""
    twins = np.flatnonzero(records[1:][["address", "row"]] == records[:-1][["address", "row"]])
    if len(twins):
        one = records[twins[0]]
        msg = (
            f"{len(twins)} cells come twice, first row {one['row']} of {work.texts['address'][one['address']]}; "
            "fragments of several plans are mixed in one folder: gather into a fresh one."
        )
        raise DataError(msg)


def _allocate(path: Path, size: int) -> None:
    with path.open("ab") as stream:
        stream.truncate(size)


def _finish(work: _Work, store: Path, block: int) -> None:
    records = np.memmap(work.scratch / "records", dtype=_RECORD, mode="r", shape=(work.n,))
    write_cells(store / "cells.parquet", _tables(work, records, block))
    about: dict[str, Any] = {"n": work.n, "d": work.d, "block": block, "seed": work.seed}
    about["counts"] = _counts(work, records)
    encoder = work.folder / ENCODER
    if encoder.is_dir():
        shutil.rmtree(store / ENCODER, ignore_errors=True)
        shutil.copytree(encoder, store / ENCODER)
        about["encoder"] = ENCODER
        card = encoder / "encoder.json"
        if card.is_file():
            about["representation"] = json.loads(card.read_text(encoding="utf-8")).get("representation", "")
    write_about(store, about)


def _tables(work: _Work, records: np.ndarray, size: int) -> Iterator[pa.Table]:
    for start in range(0, work.n, size):
        block = records[start : start + size]
        columns = {
            name: pa.DictionaryArray.from_arrays(pa.array(block[name]), pa.array(work.texts[name], pa.string()))
            for name in _TEXT
        }
        yield pa.table({**columns, "row": pa.array(block["row"])})


def _counts(work: _Work, records: np.ndarray) -> dict[str, dict[str, int]]:
    """Cells by label, by study, and by donor of a study."""
    out = {}
    for name in ("label", "study"):
        times = np.zeros(len(work.texts[name]), dtype=np.int64)
        for at in range(0, work.n, _BLOCK):
            times += np.bincount(records[name][at : at + _BLOCK], minlength=len(times))
        out[name] = {str(text): int(k) for text, k in zip(work.texts[name], times, strict=True)}
    donors: dict[str, int] = {}
    for at in range(0, work.n, _BLOCK):
        block = records[at : at + _BLOCK]
        pairs, times = np.unique(np.stack([block["study"], block["donor"]]), axis=1, return_counts=True)
        for study, donor, k in zip(*pairs, times, strict=True):
            name = f"{work.texts['study'][study]} / {work.texts['donor'][donor]}"
            donors[name] = donors.get(name, 0) + int(k)
    return {**out, "donor": dict(sorted(donors.items()))}
