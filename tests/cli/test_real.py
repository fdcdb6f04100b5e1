"""The commands with their real jobs, on the demo's cells."""

import hashlib
import json
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import anndata as ad
import pytest

from whycell._keys import ObsKeys

DEMO = Path(__file__).resolve().parents[2] / "demo"
WHYCELL = Path(sys.executable).with_name("whycell")


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with reference.h5ad and query.h5ad, and a model learned from the first."""
    folder = tmp_path_factory.mktemp("cells")
    runpy.run_path(str(DEMO / "cells.py"))["write_two_files"](folder)
    command = ("train", "reference.h5ad", "--label", "bulk_labels", "--label-map", DEMO / "labels.tsv", "-o", "model")
    done = subprocess.run([WHYCELL, *command], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "model\n"), done.stderr
    return folder


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_annotate_writes_its_columns_and_a_record(run, cells: Path, tmp_path: Path) -> None:
    typed, tsv = tmp_path / "typed.h5ad", tmp_path / "calls.tsv"
    asked = ("annotate", cells / "query.h5ad", "--model", cells / "model", "--seed", 3)
    done = run(*asked, "-o", typed, "--tsv", tsv, "--json")
    assert done.code == 0, done.err
    obs = ad.read_h5ad(typed).obs
    assert {n for n in ObsKeys().all() if "cluster" not in n and "disagree" not in n} <= set(obs.columns)
    assert sum(row["cells"] for row in done.json["calls"]) == len(obs) == len(tsv.read_text().splitlines()) - 1
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["seed"] == 3
    assert f"sha256:{_sha(cells / 'query.h5ad')}" in record["inputs"].values()

    again = run(*asked, "-o", typed)
    assert again.code == 1
    assert "force" in again.err
    assert run(*asked, "-o", typed, "--force").code == 0


def test_inplace_is_the_same_file_as_the_copy(run, cells: Path, tmp_path: Path) -> None:
    copy, inplace = tmp_path / "copy.h5ad", tmp_path / "query.h5ad"
    inplace.write_bytes((cells / "query.h5ad").read_bytes())
    assert run("annotate", inplace, "--model", cells / "model", "-o", copy).code == 0
    assert run("annotate", inplace, "--model", cells / "model", "--inplace").code == 0
    assert _sha(copy) == _sha(inplace)


def test_the_python_door_writes_what_the_command_writes(run, cells: Path, tmp_path: Path) -> None:
    import whycell

    assert run("annotate", cells / "query.h5ad", "--model", cells / "model", "-o", tmp_path / "t.h5ad").code == 0
    wanted = ad.read_h5ad(tmp_path / "t.h5ad").obs
    adata = ad.read_h5ad(cells / "query.h5ad")
    whycell.tl.annotate(adata, model=cells / "model", key_added="whycell")
    assert list(adata.obs.columns) == list(wanted.columns)
    for name in wanted.columns:
        assert adata.obs[name].astype(str).tolist() == wanted[name].astype(str).tolist(), name
    assert "whycell" in adata.uns


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("nowhere.h5ad", "--model", "model"), "nowhere.h5ad"),
        (("query.h5ad", "--model", "no-such-model"), "no-such-model"),
        (("broken.h5ad", "--model", "model"), "broken.h5ad"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(run, cells: Path, monkeypatch, arguments, wanted: str) -> None:
    monkeypatch.chdir(cells)
    (cells / "broken.h5ad").write_bytes((cells / "query.h5ad").read_bytes()[:5000])
    done = run("annotate", *arguments, "-o", "typed.h5ad")
    assert (done.code, done.out) == (1, "")
    assert wanted in done.err
    assert "not foreseen" not in done.err
    assert len(done.err.splitlines()) == 1
    assert not (cells / "typed.h5ad").exists()


def test_an_interrupt_leaves_no_half_file(cells: Path, tmp_path: Path) -> None:
    command = [WHYCELL, "annotate", cells / "query.h5ad", "--model", cells / "model", "-o", tmp_path / "typed.h5ad"]
    # Where these tests run in the background of a shell, interrupts are ignored, and so by what they start.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    for seconds in (0.6, 2.0):
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(seconds)
        running.send_signal(signal.SIGINT)
        _, told = running.communicate(timeout=60)
        if running.returncode:  # a fast machine may have been done
            assert running.returncode == 130, told
            assert "Traceback" not in told
            assert list(tmp_path.iterdir()) == []
        (tmp_path / "typed.h5ad").unlink(missing_ok=True)
    signal.signal(signal.SIGINT, before)


def test_doctor_and_models_know_the_model(run, cells: Path) -> None:
    healthy = run("doctor", cells / "query.h5ad", "--model", cells / "model", "--json")
    assert healthy.code == 0, healthy.err
    assert run("doctor", cells / "nowhere.h5ad").code == 1
    assert run("models").code == 0
    assert run("models", "--card", cells / "model").code == 0
