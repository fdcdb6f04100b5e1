"""Answers of many models, block by block: every finished block is on disk, and a killed run goes on from there.

A folder holds ``manifest.json`` (what was asked, with hashes of the inputs) and ``block_00000.npy``, ... Each file is
written under another name and renamed, so that a block is there whole or not at all; a kill loses the blocks in work.
A block's random numbers come from (seed, block) alone, so that a resumed run gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from whycell.compute import Talk
from whycell.data.whole import write_whole, written_whole
from whycell.errors import OutputError, UsageError

__all__ = ["block_ranges", "block_seed", "fingerprint", "open_folder", "run_blocks"]

MANIFEST = "manifest.json"


def fingerprint(array: Any) -> str:
    """``"sha256:..."`` of an array's values, shape and type."""
    array = np.ascontiguousarray(array)
    told = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    told.update(array.tobytes())
    return "sha256:" + told.hexdigest()


def block_ranges(n_models: int, block: int) -> list[tuple[int, int]]:
    """First and last-but-one model of each block."""
    return [(start, min(start + block, n_models)) for start in range(0, n_models, block)]


def block_seed(seed: int, block: int) -> int:
    """The seed of one block: a 63-bit number that depends on ``seed`` and the ``block``'s number alone."""
    return int(np.random.SeedSequence((seed, block)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def open_folder(folder: Path | str, asked: Mapping[str, Any]) -> Path:
    """Make the folder, or find it made by the same request.

    Parameters
    ----------
    folder
        Where blocks are kept.
    asked
        Everything that the answer depends on, as plain values.

    Raises
    ------
    UsageError
        The folder holds blocks of another request; the sentence names what differs.
    OutputError
        The folder cannot be made.
    """
    folder = Path(folder)
    text = json.dumps(dict(asked), indent=1, sort_keys=True)
    manifest = folder / MANIFEST
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if manifest.exists():
            held = json.loads(manifest.read_text("utf-8"))
            other = sorted(k for k in {*held, *asked} if held.get(k) != json.loads(text).get(k))
            if other:
                msg = f"{folder} holds blocks of another request (differs in: {', '.join(other)}): choose a new folder"
                raise UsageError(msg)
        else:
            write_whole(manifest, text.encode())
    except OSError as error:
        msg = f"{folder} cannot be written: {error.strerror or error}"
        raise OutputError(msg) from error
    return folder


def run_blocks(
    work: Callable[[int], np.ndarray],
    n_blocks: int,
    *,
    folder: Path | None = None,
    threads: int = 1,
    talk: Talk | None = None,
    what: str = "models",
) -> list[np.ndarray]:
    """The answer of every block, those on disk read instead of made.

    Parameters
    ----------
    work
        Takes the number of a block and gives its answer; must not depend on which blocks ran before.
    n_blocks
        Blocks in all.
    folder
        From :func:`open_folder`; None keeps nothing.
    threads
        Blocks made at a time.
    what
        The word on the bar.
    """
    talk = talk or Talk()
    with talk.progress(what, n_blocks) as step:
        if threads <= 1 or n_blocks == 1:
            return [_told(_made_or_read(work, k, folder), step) for k in range(n_blocks)]
        with ThreadPoolExecutor(threads) as pool:
            answers = pool.map(lambda k: _made_or_read(work, k, folder), range(n_blocks))
            return [_told(answer, step) for answer in _until_interrupted(answers, pool)]


def _until_interrupted(answers: Iterator[np.ndarray], pool: ThreadPoolExecutor) -> Iterator[np.ndarray]:
    try:
        yield from answers
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def _told(answer: np.ndarray, step: Any) -> np.ndarray:
    step.advance(1)
    return answer


def _made_or_read(work: Callable[[int], np.ndarray], block: int, folder: Path | None) -> np.ndarray:
    if folder is None:
        return work(block)
    path = folder / f"block_{block:05d}.npy"
    if path.exists():
        return np.asarray(np.load(path, allow_pickle=False))
    answer = work(block)
    with written_whole(path, force=True) as scratch, scratch.open("wb") as stream:
        np.save(stream, answer, allow_pickle=False)
        stream.flush()
        os.fsync(stream.fileno())
    return answer
