"""What lookup, models push, genes sweep, views and unseen read, hand on and print."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from whycell.results import CellLookup, Lookup, Sweep, Views

GENES = pd.DataFrame({"gene_id": ["E1"], "symbol": ["INS"], "similarity": [0.71234], "text": ["word " * 60]})
TYPES = pd.DataFrame({"term_id": ["CL:1"], "name": ["beta"], "similarity": [0.5], "definition": ["d"]})


@pytest.fixture
def words(fake):
    return fake("words", SimpleNamespace(unsent=lambda _: 0), name="open_words")


def test_words_are_looked_up_and_texts_cut_short(run, fake, words) -> None:
    job = fake("lookup", Lookup("produces insulin", TYPES, GENES))
    done = run("lookup", "produces insulin", "--gene-vectors", "v.parquet", "--known", "--model", "m")
    lines = done.out.splitlines()
    assert lines[0] == "# types"
    assert lines[3] == "# genes"
    assert lines[5].startswith("E1\tINS\t0.7123\tword word")
    assert lines[5].endswith("...")
    assert len(lines[5]) < 150
    assert job.asked[0]["positional"] == ("produces insulin", None)
    assert job.asked[0]["known_only"]
    assert words.asked[0]["positional"] == ("v.parquet",)
    assert words.asked[0]["model"] == "m"
    assert run("lookup", "x", "--json").json["genes"][0]["text"] == GENES["text"][0]


def test_a_cell_is_looked_up_in_one_file(run, fake, words) -> None:
    types = pd.DataFrame({"what": ["call"], "term_id": [""], "name": ["b"], "score": [0.9], "definition": [""]})
    job = fake("lookup", CellLookup("AAA-1", types, GENES, "It stays off."), name="lookup_cell")
    fake("lookup", ["summary"], name="facets_of")
    done = run("lookup", "--cell", "AAA-1", "typed.h5ad", "--unseen", "map")
    assert "It stays off." in done.err
    assert job.asked[0]["positional"] == ("AAA-1", Path("typed.h5ad"))
    assert (job.asked[0]["unseen"], job.asked[0]["even_so"]) == (Path("map"), False)
    assert (words.asked[0]["typed"], words.asked[0]["facets"]) == (Path("typed.h5ad"), ["summary"])
    assert run("lookup", "--cell", "A", "text", "typed.h5ad").code == 2
    assert "name it with --cell" in run("lookup", "text", "--unseen", "map").err


def test_a_server_is_sent_nothing_unasked(run, fake) -> None:
    fake("words", SimpleNamespace(unsent=lambda _: 3000), name="open_words")
    job = fake("lookup", Lookup("x", TYPES, GENES))
    done = run("lookup", "x", "--encoder", "https://host/v1")
    assert done.code == 2
    assert "3,000 texts to send to https://host/v1, about 150,000 tokens" in done.err
    assert "Nothing was sent" in done.err
    assert job.asked == []
    assert run("lookup", "x", "--encoder", "https://host/v1", "--yes").code == 0


def test_push_prints_where_it_went(run, fake) -> None:
    job = fake("models", "https://hub/lab/blood/commit/1", name="push")
    assert run("models", "push", "model", "hf://lab/blood", "--private").out == "https://hub/lab/blood/commit/1\n"
    assert job.asked[0] == {"positional": (Path("model"), "hf://lab/blood"), "private": True}


def test_sweep_and_views_print_their_tables(run, fake) -> None:
    scores = pd.DataFrame({"representation": ["text"], "dims": [16], "macro_f1": [0.5]})
    gaps = pd.DataFrame({"against": ["random"], "difference": [0.1]})
    job = fake("sweep", Sweep(scores, gaps, pd.DataFrame(), "8 donors", False, ("few",)))
    asked = ("ref.h5ad", "--label", "type", "--donor", "d", "--gene-vectors", "v.parquet", "-o", "out")
    done = run("genes", "sweep", *asked, "--dims", "16,64")
    assert done.out.splitlines() == [
        *("representation\tdims\tmacro_f1", "text\t16\t0.5", "# what texts contribute"),
        *("against\tdifference", "random\t0.1"),
    ]
    assert (job.asked[0]["dims"], job.asked[0]["donor"]) == ([16, 64], "d")
    assert "are not numbers of dimensions" in run("genes", "sweep", *asked, "--dims", "a").err
    job = fake("views", Views(scores, {}, "UMAP", GENES["symbol"].to_numpy(), None))
    assert run("genes", "views", *asked, "--obsm", "X_a,X_b").out.splitlines()[1] == "text\t16\t0.5"
    assert job.asked[0]["obsm"] == ["X_a", "X_b"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("annotate", "q.h5ad", "-o", "t.h5ad", "--model", "hf://lab/blood"),
        ("explain", "q.h5ad", "--model", "hf://lab/blood"),
        ("lookup", "insulin", "--gene-vectors", "http://127.0.0.1:9/v.parquet"),
        ("genes", "cells", "q.h5ad", "-o", "c.zarr", "--gene-vectors", "hf://lab/blood/v.parquet"),
    ],
)
def test_offline_nothing_is_loaded_before_it_is_said(arguments: tuple[str, ...], tmp_path: Path) -> None:
    code = f"""
import sys
from whycell.cli import main
try:
    main({list(arguments)!r})
finally:
    print([name for name in ("numpy", "torch", "huggingface_hub") if name in sys.modules])
"""
    environment = os.environ | {"HF_ENDPOINT": "http://127.0.0.1:9", "WHYCELL_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment, cwd=tmp_path
    )
    assert done.returncode == 1
    assert "cannot be" in done.stderr
    assert "Fetch" in done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
