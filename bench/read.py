"""Reading every row of a gzip h5ad of 100,000 x 20,000: our reader, with 1 and 2 threads, against h5py, in turns.

h5py merely reads ``X/data`` and ``X/indices`` in slices of the same size; ours also checks, sorts and hands out
blocks. Taking turns means that a busy machine slows both.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

from _big import big_file
from _harness import measure_command, report
from whycell.data.cells import open_cells

REPEATS = 5
SLICE = 4_500_000  # elements in 4,096 rows


def read_h5py(path: Path) -> None:
    """Read both arrays of X."""
    with h5py.File(path) as file:
        for name in ("X/data", "X/indices"):
            stored = file[name]
            for start in range(0, stored.shape[0], SLICE):
                stored[start : start + SLICE]


def read_ours(path: Path, threads: int, rows: int = 4096) -> None:
    """Read every block of X."""
    with open_cells(path) as cells:
        n = sum(block.values.shape[0] for block in cells.blocks(rows=rows, threads=threads))
        assert n == cells.n_cells


def main() -> bool:
    # Made by another process: a child's peak memory counts what its parent held at the fork.
    subprocess.run(
        [sys.executable, "-c", "from _big import big_file; big_file()"], cwd=Path(__file__).parent, check=True
    )
    path = big_file()
    ways: dict[str, Callable[[], None]] = {
        "h5py": lambda: read_h5py(path),
        "whycell, 1 thread": lambda: read_ours(path, 1),
        "whycell, 2 threads": lambda: read_ours(path, 2),
        "whycell, 2 threads, 256 rows": lambda: read_ours(path, 2, rows=256),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(REPEATS + 1):
        for name, way in ways.items():
            wall, busy = time.perf_counter(), time.process_time()
            way()
            if repeat:  # the first round fills the page cache
                seconds[name].append(round(time.perf_counter() - wall, 3))
                cpu[name].append(round(time.process_time() - busy, 3))
    ratios = {
        name: statistics.median(ours / h5 for ours, h5 in zip(seconds[name], seconds["h5py"], strict=True))
        for name in ways
        if name != "h5py"
    }
    alone = measure_command([sys.executable, __file__, "--once", path], repeats=1)
    results: dict[str, Any] = {
        name: {
            "median_s": statistics.median(seconds[name]),
            "cpu_s": statistics.median(cpu[name]),
            "seconds": seconds[name],
        }
        for name in ways
    }
    results |= {f"{name} / h5py": round(ratio, 3) for name, ratio in ratios.items()}
    results["one process that reads it"] = alone
    limits = {
        "2 threads over h5py": (ratios["whycell, 2 threads"], "<=", 0.6),
        "1 thread over h5py": (ratios["whycell, 1 thread"], "<=", 1.0),
        "peak of a process that reads it, MB": (alone["peak_mb"], "<=", 1000),
    }
    return report("read", results, limits=limits)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--once"]:
        read_ours(Path(sys.argv[2]), 2)
        sys.exit(0)
    sys.exit(0 if main() else 1)
