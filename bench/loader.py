"""Cells a second from a shuffled store to float32 batches with their labels, beside the ways that are usual.

``make bench NAME=loader``. One thread. Every way gives batches of 1,024 cells of 256 numbers and their labels' codes.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch

from _harness import report
from whycell.corpus.shuffle import shuffle
from whycell.corpus.store import Store, fragment_name, open_store, write_fragment
from whycell.knowledge.terms import Ontology
from whycell.models.held_out import HeldOutGroups
from whycell.models.streamed_batches import Batches
from whycell.models.streamed_kinds import find_kinds

D, BATCH, REPEATS = 256, 1024, 3


def make_store(folder: Path, n: int) -> Store:
    """Twenty studies of thirty labels and fifty donors; a tenth of the donors are held out."""
    rng = np.random.default_rng(0)
    for f in range(20):
        m = n // 20
        cells = pd.DataFrame(
            {
                "label": np.char.add("type ", rng.integers(30, size=m).astype(str)),
                "label_id": "",
                "donor": np.char.add("donor ", rng.integers(50, size=m).astype(str)),
                "study": f"study {f}",
                "address": f"file {f}",
                "row": np.arange(m),
            }
        )
        write_fragment(folder / "fragments", fragment_name(f), vectors=rng.standard_normal((m, D)), cells=cells)
    return open_store(shuffle(folder / "fragments", folder / "store", memory=1 << 28), verify=False)


def rate(batches: Callable[[], Iterator[tuple[object, object]]]) -> float:
    """Cells a second, the best of the repeats."""
    best = 0.0
    for _ in range(REPEATS):
        n, start = 0, time.perf_counter()
        for x, _ in batches():
            n += len(x)  # type: ignore[arg-type]
        best = max(best, n / (time.perf_counter() - start))
    return best


def main(n: int) -> bool:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "fragments").mkdir()
        store = make_store(folder, n)
        groups = [f"study {f} / donor {d}" for f in range(20) for d in range(5)]
        held_out = HeldOutGroups("donor", groups)
        kinds = find_kinds(store, held_out, ontology=Ontology.load())
        ours = Batches(store, kinds, held_out, BATCH, 0)
        codes = np.concatenate([kinds.rows_of(store.cells(b)) for b in range(store.n_blocks)])
        with h5py.File(folder / "x.h5", "w") as file:
            file.create_dataset("X", data=store.vectors[: n // 4].astype(np.float32), chunks=True, compression="gzip")

        def by_numpy() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for start in range(0, n - BATCH, BATCH):
                yield store.vectors[start : start + BATCH].astype(np.float32), codes[start : start + BATCH]

        def random_rows() -> Iterator[tuple[torch.Tensor, np.ndarray]]:
            order = np.random.default_rng(0).permutation(n)
            for start in range(0, n - BATCH, BATCH):
                at = order[start : start + BATCH]
                yield torch.from_numpy(store.vectors[at]).float(), codes[at]

        def gzip_h5() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            with h5py.File(folder / "x.h5") as file:
                for start in range(0, n // 4 - BATCH, BATCH):
                    yield file["X"][start : start + BATCH], codes[start : start + BATCH]

        results = {
            "cells": n,
            "dimensions": D,
            "whycell, cells/s": round(rate(lambda: ours.epoch(0))),
            "numpy halves to floats, file order, cells/s": round(rate(by_numpy)),
            "random rows of the memory map, cells/s": round(rate(random_rows)),
            "gzip HDF5 of float32, file order, cells/s": round(rate(gzip_h5)),
        }
    limits = {"cells/s at d = 256 from float16": (results["whycell, cells/s"], ">=", 250_000.0)}
    return report("loader", results, limits=limits)


if __name__ == "__main__":
    sys.exit(not main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
