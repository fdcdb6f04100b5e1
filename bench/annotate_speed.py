"""annotate on 100,000 x 20,000, gzip h5ad: the whole process, and what is left of it after imports beside h5py.

h5py, in a process of its own, merely reads ``X/data`` and ``X/indices``. The two take turns, so that a busy machine
slows both. "After imports" is one call of the job in a process that has typed a file of 200 cells before.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from _big import big_file
from _harness import measure_command, report

REPEATS = 3
WHYCELL = Path(sys.executable).with_name("whycell")
HERE = Path(__file__).resolve()


def prepare(folder: Path) -> None:
    """The big file with real gene ids, a model trained on its first cells, and a tiny query."""
    import h5py
    import numpy as np

    from whycell.data.cells import open_cells
    from whycell.jobs.train import train
    from whycell.knowledge.genes import GeneTable
    from whycell.knowledge.terms import Ontology

    big = folder / "big.h5ad"
    if not big.exists():
        part = folder / "big.part"
        shutil.copyfile(big_file(), part)
        table = GeneTable.load("human")
        coding = table.ids[np.asarray(table.biotypes) == "protein_coding"]
        ids = np.concatenate([coding, np.setdiff1d(table.ids, coding)])
        with h5py.File(part, "r+") as file:
            index = file["var"][file["var"].attrs["_index"]]
            index[...] = ids[: index.shape[0]].astype(object)
        part.rename(big)
    if (folder / "model").exists():
        return
    import anndata as ad

    onto = Ontology.load()
    blood = sorted(t for t in onto.descendants("CL:0000738") if len(onto.descendants(t)) == 1)
    with open_cells(big) as cells:
        rows = np.arange(4000)
        obs = cells.obs().iloc[rows]
        data = ad.AnnData(cells.read_rows("X", rows), obs=obs, var=cells.var("X"))
    data.obs["cell_type"] = [blood[int(kind)] for kind in data.obs["cell_type"]]
    data.write_h5ad(folder / "train.h5ad")
    data[:200].write_h5ad(folder / "tiny.h5ad")
    train([folder / "train.h5ad"], folder / "model", label="cell_type", donor="donor_id", force=True)


def once(what: str, folder: Path) -> None:
    """Print the seconds of one reading, or of one call of the job."""
    import time

    if what == "h5py":
        from read import read_h5py

        start = time.perf_counter()
        read_h5py(folder / "big.h5ad")
    else:
        from whycell.jobs.annotate import annotate

        annotate(folder / "tiny.h5ad", folder / "tiny.out.h5ad", model=str(folder / "model"), force=True)
        start = time.perf_counter()
        annotate(folder / "big.h5ad", folder / "typed.h5ad", model=str(folder / "model"), force=True)
    print(time.perf_counter() - start)


def main() -> bool:
    folder = Path(tempfile.gettempdir()) / "whycell-bench-annotate"
    folder.mkdir(exist_ok=True)

    def child(*words: str) -> str:
        done = subprocess.run([sys.executable, HERE, *words, folder], check=True, capture_output=True, text=True)
        return done.stdout

    shutil.rmtree(folder / "model", ignore_errors=True)
    child("prepare")
    command = [WHYCELL, "annotate", folder / "big.h5ad", "--model", folder / "model"]
    command += ["-o", folder / "typed.h5ad", "--force", "--quiet"]
    child("h5py")  # fills the page cache
    read, job = [], []
    for _ in range(REPEATS):
        read.append(float(child("h5py").split()[-1]))
        job.append(float(child("job").split()[-1]))
    whole = measure_command(command, repeats=REPEATS)
    ratio = statistics.median(ours / theirs for ours, theirs in zip(job, read, strict=True))
    results = {
        "cells": 100_000,
        "genes": 20_000,
        "file_mb": round((folder / "big.h5ad").stat().st_size / 1e6),
        "h5py merely reads, s": [round(s, 2) for s in read],
        "after imports, s": [round(s, 2) for s in job],
        "after imports / h5py": round(ratio, 3),
        "whole process": whole,
        "cells per second, whole process": round(100_000 / whole.median),
    }
    limits = {
        "cells per second, whole process": (100_000 / whole.median, ">=", 10_000),
        "after imports over h5py": (ratio, "<=", 1.5),
        "peak memory, MB": (whole["peak_mb"], "<=", 2048),
    }
    return report("annotate_speed", results, limits=limits)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        prepare(Path(sys.argv[2])) if sys.argv[1] == "prepare" else once(sys.argv[1], Path(sys.argv[2]))
        sys.exit(0)
    sys.exit(0 if main() else 1)
