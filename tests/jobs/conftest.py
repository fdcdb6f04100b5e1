"""The demo's cells, and a model learned from them: once for the room."""

import runpy
from pathlib import Path

import pytest

from whycell.jobs.train import train

DEMO = Path(__file__).resolve().parents[2] / "demo"


@pytest.fixture(scope="session")
def pbmc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``reference.h5ad`` (500 labelled cells, counts), ``query.h5ad`` (200 others) and ``model``."""
    folder = tmp_path_factory.mktemp("pbmc")
    runpy.run_path(str(DEMO / "cells.py"))["write_two_files"](folder)
    train(
        [folder / "reference.h5ad"],
        folder / "model",
        label="bulk_labels",
        label_map=DEMO / "labels.tsv",
        name="seven hundred",
        threads=1,
    )
    for path in folder.glob("*.h5ad"):
        path.chmod(0o444)
    return folder
