"""Scanning files by ranges: one large file behind 30 ms a request, and 200 files over sockets, 32 at a time.

Asked: one file of 100,000 cells x 30,000 genes in 1.5 s and 6 MB, whether it says the totals of its cells or they are
taken from sampled chunks; 1,500 files, extrapolated from 200 really scanned over sockets with two processes of 16 files
each, in under three minutes.

The 200 are ten different files, each under twenty addresses: from 2,500 to 100,000 cells, 30,000 genes, 2,117 genes a
cell, the columns of a CELLxGENE file; what a scan reads of them (obs, var, row pointers, index of the chunks) is of the
size it has in such files.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from _far import DELAY, far_file, far_server
from _harness import report
from whycell.corpus.parts import start_catalog
from whycell.corpus.scan import scan_into

KILLS = 20
CELLS = (2_500, 5_000, 7_500, 10_000, 12_500, 15_000, 20_000, 30_000, 60_000, 100_000)
FILES, EXTRAPOLATED, WORKERS, AT_ONCE = 200, 1_500, 2, 16
REPEATS = 5


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=int, default=100_000, help="of the one file")
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--kills", type=int, default=KILLS)
    asked = parser.parse_args()
    path = far_file(n_cells=asked.cells)
    silent = _without_totals(path)
    sizes = [n for n in CELLS if n <= asked.cells]
    results: dict[str, Any] = {"delay_s": DELAY, "cells": asked.cells, "file_mb": round(path.stat().st_size / 1e6, 1)}
    with far_server(path.parent) as (address, kind):
        results["server"] = kind
        results["one file, totals in obs"] = _one(f"{address}/{path.name}")
        results["one file, totals sampled"] = _one(f"{address}/{silent.name}")
    results["many files"] = _many([far_file(n_cells=n) for n in sizes], asked.files)
    many = results["many files"]
    results["killed at random"] = _killed(far_file(n_cells=sizes[0]), asked.kills)
    holds = report(
        "scan",
        results,
        limits={
            "one file, totals in obs, s": (results["one file, totals in obs"]["s"], "<=", 1.5),
            "one file, totals in obs, MB": (results["one file, totals in obs"]["mb"], "<=", 6.0),
            "one file, totals sampled, s": (results["one file, totals sampled"]["s"], "<=", 1.5),
            "one file, totals sampled, MB": (results["one file, totals sampled"]["mb"], "<=", 6.0),
            "median of the sampled totals, relative error": (_median_error(results), "<=", 0.05),
            f"{EXTRAPOLATED:,} files, extrapolated from {asked.files}, s": (many["extrapolated_s"], "<=", 180.0),
            "bytes that differ after kills at random": (results["killed at random"]["files_that_differ"], "<=", 0.0),
        },
    )
    sys.exit(0 if holds else 1)


def _one(address: str) -> dict[str, Any]:
    """The median of several scans of one file, each into a new catalogue."""
    runs, row = [], {}
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as folder:
            start_catalog(Path(folder, "catalog"))
            began, cpu = time.perf_counter(), time.process_time()
            row = scan_into(Path(folder, "catalog"), address)
            runs.append((time.perf_counter() - began, time.process_time() - cpu))
            if row["status"] != "ok":
                sys.exit(row["reason"])
            catalog_mb = sum(each.stat().st_size for each in Path(folder).rglob("*") if each.is_file()) / 1e6
            median = _kept_median(Path(folder, "catalog"))
    return {
        "s": round(statistics.median(run[0] for run in runs), 3),
        "cpu_s": round(statistics.median(run[1] for run in runs), 3),
        "seconds": [round(run[0], 3) for run in runs],
        "mb": round(row["bytes_read"] / 1e6, 3),
        "requests": row["requests"],
        "n_sampled": row["n_sampled"],
        "median_counts": median,
        "catalogue_mb": round(catalog_mb, 3),
    }


def _many(paths: list[Path], n: int) -> dict[str, Any]:
    """As a person would run it: the command, two processes, 16 files each at a time."""
    with tempfile.TemporaryDirectory(dir=paths[0].parent) as made:
        folder = Path(made)
        os.chmod(folder, 0o755)
        for i in range(n):
            os.link(paths[i % len(paths)], folder / f"file-{i:04d}.h5ad")
        with far_server(folder) as (address, kind):
            listed = folder / "list.txt"
            listed.write_text("".join(f"{address}/file-{i:04d}.h5ad\n" for i in range(n)), encoding="utf-8")
            catalog = folder / "catalog"
            command = [Path(sys.executable).with_name("whycell"), "corpus", "scan", listed, "-o", catalog, "-q"]
            command += ["--executor", f"local:{WORKERS}", "--at-once", str(AT_ONCE)]
            began = time.perf_counter()
            subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
            seconds = time.perf_counter() - began
        told = _told(catalog)
        size = sum(each.stat().st_size for each in folder.glob("*.h5ad"))
    return {
        "server": kind,
        "files": n,
        "different_files": len(paths),
        "cells_of_each": [int(path.stem.split("-")[1].split("x")[0]) for path in paths],
        "gb": round(size / 1e9, 2),
        "s": round(seconds, 2),
        "extrapolated_s": round(seconds * EXTRAPOLATED / n, 1),
        **told,
    }


def _killed(path: Path, kills: int) -> dict[str, Any]:
    """A scan killed with -9 at random moments, again and again, and an undisturbed one: what differs of them."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=path.parent) as made:
        folder = Path(made)
        os.chmod(folder, 0o755)
        names = [f"file-{i:04d}.h5ad" for i in range(6 * max(kills, 1))]
        for name in names:
            os.link(path, folder / name)
        with far_server(folder) as (address, _):
            listed = folder / "list.txt"
            listed.write_text("".join(f"{address}/{name}\n" for name in names), encoding="utf-8")
            whycell = Path(sys.executable).with_name("whycell")

            def command(catalog: Path) -> list[str]:
                return [str(whycell), "corpus", "scan", str(listed), "-o", str(catalog), "-q", "--at-once", "4"]

            subprocess.run(command(folder / "whole"), check=True, stdout=subprocess.DEVNULL)
            done = []
            for _ in range(kills):
                before = len(list((folder / "killed").glob("files/*.parquet")))
                process = subprocess.Popen(command(folder / "killed"), stdout=subprocess.DEVNULL)
                while process.poll() is None and len(list((folder / "killed").glob("files/*.parquet"))) == before:
                    time.sleep(0.005)
                time.sleep(rng.uniform(0, 0.3))
                process.kill()
                process.wait()
                done.append(len(list((folder / "killed").glob("files/*.parquet"))))
            subprocess.run(command(folder / "killed"), check=True, stdout=subprocess.DEVNULL)
        whole, killed = (_contents(folder / name) for name in ("whole", "killed"))
    differ = [name for name in whole.keys() | killed.keys() if whole.get(name) != killed.get(name)]
    return {"kills": kills, "files": len(names), "done_at_each_kill": done, "files_that_differ": len(differ)}


def _contents(catalog: Path) -> dict[str, bytes]:
    return {str(each.relative_to(catalog)): each.read_bytes() for each in catalog.rglob("*") if each.is_file()}


def _told(catalog: Path) -> dict[str, Any]:
    from whycell.corpus.catalog import Catalog

    with Catalog(catalog) as opened:
        row = opened.sql(
            "select count(*) filter (status = 'ok') as readable, sum(n_cells) as cells, "
            "round(avg(bytes_read) / 1e6, 3) as mb_a_file, round(avg(requests), 1) as requests_a_file from files"
        )
    size = sum(each.stat().st_size for each in catalog.rglob("*") if each.is_file())
    return {**{name: float(value) for name, value in row.iloc[0].items()}, "catalogue_mb": round(size / 1e6, 1)}


def _kept_median(catalog: Path) -> float:
    from whycell.corpus.catalog import Catalog

    with Catalog(catalog) as opened:
        return float(opened.one("select quantiles[5] from dist where what = 'counts'"))


def _without_totals(path: Path) -> Path:
    """The same file, silent about the totals of its cells."""
    silent = path.with_name(path.name.replace("far-", "silent-"))
    if not silent.exists():
        scratch = silent.with_suffix(".part")
        shutil.copyfile(path, scratch)
        with h5py.File(scratch, "a") as file:
            obs = file["obs"]
            for name in ("n_counts", "n_genes"):
                del obs[name]
            order = [name for name in obs.attrs["column-order"] if name not in ("n_counts", "n_genes")]
            obs.attrs["column-order"] = np.array(order, dtype=object)
        scratch.replace(silent)
    return silent


def _median_error(results: dict[str, Any]) -> float:
    """How far the median of the sampled totals lies from that of all cells."""
    true = results["one file, totals in obs"]["median_counts"]
    return abs(results["one file, totals sampled"]["median_counts"] / true - 1.0)


if __name__ == "__main__":
    main()
