"""The shuffled store: the same bytes however the cells came, a fair order, and nothing lost to a kill."""

import hashlib
import itertools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from whycell.corpus.fairness import batch_fairness, store_fairness
from whycell.corpus.shuffle import shuffle
from whycell.corpus.store import fragment_name, open_store, write_fragment
from whycell.errors import DataError, FormatError


def _fragments(folder: Path, *, cuts: list[int], n_files: int = 20, n: int = 300, d: int = 6) -> None:
    """``n_files`` studies of ``n`` cells, each of mostly one label, in fragments cut at ``cuts``."""
    rng = np.random.default_rng(1)
    for f in range(n_files):
        vectors = rng.standard_normal((n, d)).astype(np.float32)
        label = np.where(rng.random(n) < 0.7, f % 5, rng.integers(5, size=n))
        cells = pd.DataFrame(
            {
                "label": [f"type {k}" for k in label],
                "label_id": [f"CL:{k:07d}" for k in label],
                "donor": [f"donor {k}" for k in rng.integers(3, size=n)],
                "study": f"study {f}",
                "address": f"file-{f}.h5ad",
                "row": np.arange(n),
            }
        )
        edges = [0, *cuts, n]
        for start, stop in itertools.pairwise(edges):
            name = fragment_name(f, start, stop)
            write_fragment(folder, name, vectors=vectors[start:stop], cells=cells.iloc[start:stop])


def _bytes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def fragments(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fragments")
    _fragments(folder, cuts=[100, 170])
    return folder


def test_the_bytes_depend_on_cells_and_seed_alone(fragments, tmp_path):
    (tmp_path / "other").mkdir()
    _fragments(tmp_path / "other", cuts=[10, 20, 250])
    one = _bytes(shuffle(fragments, tmp_path / "one", seed=3))
    assert _bytes(shuffle(tmp_path / "other", tmp_path / "two", seed=3, memory=60_000)) == one
    assert _bytes(shuffle(fragments, tmp_path / "three", seed=4)) != one


def test_every_cell_keeps_its_vector(fragments, tmp_path):
    store = open_store(shuffle(fragments, tmp_path / "s", memory=60_000))
    cells = store.cells(0)
    rng = np.random.default_rng(1)
    for f in range(20):
        vectors = rng.standard_normal((300, 6)).astype(np.float32)
        rng.random(300), rng.integers(5, size=300), rng.integers(3, size=300)
        mine = np.flatnonzero(cells["address"] == f"file-{f}.h5ad")
        assert sorted(cells["row"].iloc[mine]) == list(range(300))
        np.testing.assert_array_equal(store.vectors[mine], vectors[cells["row"].iloc[mine]].astype(np.float16))


def test_a_shuffled_store_is_fair_and_the_loader_that_goes_file_by_file_is_not(fragments, tmp_path):
    store = open_store(shuffle(fragments, tmp_path / "s"))
    assert all(verdict.fair and 0.8 < verdict.ratio < 1.2 for verdict in store_fairness(store, batch=128))
    cells = store.cells(0).sort_values(["address", "row"])
    for column in ("label", "study"):
        codes = np.unique(cells[column].astype(str), return_inverse=True)[1]
        file_by_file = batch_fairness(np.array_split(codes, len(codes) // 128), column=column)
        assert not file_by_file.fair
        assert file_by_file.ratio > 3
        # Shuffling inside a buffer of five files is not enough either.
        rng = np.random.default_rng(0)
        buffered = np.concatenate([rng.permutation(part) for part in np.array_split(codes, 4)])
        assert not batch_fairness(np.array_split(buffered, len(codes) // 128), column=column).fair


def test_fair_draws_are_called_fair_however_rare_the_kinds():
    rng = np.random.default_rng(0)
    p = 1 / np.arange(1, 700) ** 1.3
    ratios = [
        batch_fairness(np.array_split(rng.choice(len(p), 20_000, p=p / p.sum()), 80), column="label") for _ in range(20)
    ]
    assert all(verdict.fair for verdict in ratios)
    assert abs(np.mean([verdict.ratio for verdict in ratios]) - 1) < 0.02


def test_a_cell_that_comes_twice_is_refused(fragments, tmp_path):
    (tmp_path / "twice").mkdir()
    _fragments(tmp_path / "twice", cuts=[100], n_files=2)
    _fragments(tmp_path / "twice", cuts=[110], n_files=1)
    with pytest.raises(DataError, match="cells come twice"):
        shuffle(tmp_path / "twice", tmp_path / "s")


@pytest.mark.parametrize("name", ["vectors.f16", "cells.parquet", "about.json"])
def test_a_store_that_was_touched_is_refused(fragments, tmp_path, name):
    folder = shuffle(fragments, tmp_path / "s")
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(FormatError):
        open_store(folder)


def test_killed_at_random_it_ends_with_the_same_bytes(fragments, tmp_path):
    whole = _bytes(shuffle(fragments, tmp_path / "whole", memory=40_000))
    code = (
        "import sys; from pathlib import Path; from whycell.corpus.shuffle import shuffle; print('ready', flush=True);"
        "shuffle(Path(sys.argv[1]), Path(sys.argv[2]), memory=40_000)"
    )
    rng = random.Random(0)
    kills = 0
    while not (tmp_path / "out").exists():
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(fragments), str(tmp_path / "out")], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        if kills < 4:
            time.sleep(rng.uniform(0, 0.15))
            os.kill(process.pid, signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
        else:
            assert process.wait() == 0
        process.stdout.close()
    assert _bytes(tmp_path / "out") == whole
