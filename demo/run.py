"""The demo: learns from 500 real blood cells, types 200 others, and prints where the answers are.

The commands shown on the way are those a person would type. Writes into demo-output/, or the folder named.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import anndata as ad
from cells import write_two_files

DEMO = Path(__file__).resolve().parent
WHYCELL = Path(sys.executable).with_name("whycell")


def main(output: Path) -> None:
    """Make the two files, train, annotate, and compare the calls with the authors' labels."""
    start = time.perf_counter()
    output.mkdir(parents=True, exist_ok=True)
    reference, query = write_two_files(output)
    model, typed, report = output / "model", output / "typed.h5ad", output / "report.html"
    labels = ("--label", "bulk_labels", "--label-map", DEMO / "labels.tsv")
    _whycell("train", reference, *labels, "-o", model, "--force")
    _whycell("annotate", query, "--model", model, "-o", typed, "--report", report, "--force")
    _compare(typed)
    print(f"\nDone in {time.perf_counter() - start:.0f} s.")
    print(f"Typed cells:  {typed}")
    print(f"Report:       {report}  (open it in a browser)")


def _whycell(*arguments: str | Path) -> None:
    shown = [os.path.relpath(each) if isinstance(each, Path) else each for each in arguments]
    print(f"\n$ whycell {shlex.join(shown)}", flush=True)
    done = subprocess.run([WHYCELL, *shown], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def _compare(typed: Path) -> None:
    obs = ad.read_h5ad(typed, backed="r").obs
    counts = obs.groupby(["bulk_labels", "whycell"], observed=True).size().rename("cells").reset_index()
    print(f"\nHow the {len(obs)} held-out cells were labelled by their authors, and what they were called:")
    print(counts.sort_values(["bulk_labels", "cells"], ascending=[True, False]).to_string(index=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEMO.parent / "demo-output")
