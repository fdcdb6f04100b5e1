"""The built wheel works where nothing of the developers' is installed.

This is a true installation from the package index into an environment of its own (about a minute with a warm pip
cache, 1.9 GB that is removed afterwards). constraints.txt is used as in the README, so that pip takes the CPU build
of torch. The cells come from the environment of the tests, because scanpy is not one of whycell's dependencies.
"""

import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: pytest keeps its last three, and this one is large.
    with tempfile.TemporaryDirectory(prefix="whycell-wheel-") as name:
        yield Path(name)


def _run(*command: object, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(each) for each in command], cwd=cwd, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_wheel_trains_and_annotates_without_development_packages(folder: Path) -> None:
    _run(sys.executable, *PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", folder / "dist", ROOT, cwd=folder)
    _run(sys.executable, "-m", "venv", "fresh", cwd=folder)
    python, whycell = folder / "fresh" / "bin" / "python", folder / "fresh" / "bin" / "whycell"
    install = ("install", "--no-compile")  # only what is imported needs compiling, and that happens by itself
    _run(python, *PIP, *install, "-r", ROOT / "constraints.txt", cwd=folder)
    _run(python, *PIP, *install, "-c", ROOT / "constraints.txt", "--find-links", "dist/", "whycell", cwd=folder)
    assert "pytest" not in _run(python, *PIP, "list", cwd=folder)

    write_two_files = runpy.run_path(str(ROOT / "demo" / "cells.py"))["write_two_files"]
    write_two_files(folder)
    assert "annotate" in _run(whycell, "--help", cwd=folder)
    labels = ("--label", "bulk_labels", "--label-map", ROOT / "demo" / "labels.tsv")
    _run(whycell, "train", "reference.h5ad", *labels, "-o", "model", cwd=folder)
    query = ("query.h5ad", "--model", "model", "-o", "typed.h5ad", "--report", "report.html")
    table = _run(whycell, "annotate", *query, cwd=folder)
    assert table.startswith("call\tcall_term_id\tcells\t")
    assert "CL:0000236" in table
    assert (folder / "typed.h5ad").stat().st_size > (folder / "query.h5ad").stat().st_size
    assert (folder / "report.html").exists()
