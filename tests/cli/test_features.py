"""``whycell features``: what is handed to the job, and what is printed."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd


def answer() -> SimpleNamespace:
    """What the command reads of the features."""
    genes = pd.DataFrame({"type": ["B cell"], "rank": [1], "gene": ["CD79A"], "score": [0.25]})
    return SimpleNamespace(
        frame=lambda *, top: genes.head(top),
        types=pd.DataFrame({"type": ["B cell"], "cells": [12]}),
        programs=pd.DataFrame({"type": ["B cell"], "genes": [("CD79A", "MS4A1")]}),
        stability=pd.DataFrame({"type": ["B cell"], "angle": [float("nan")]}),
        provenance={"seed": 0},
    )


def test_features_hands_everything_to_the_job(run, fake) -> None:
    job = fake("features", answer())
    done = run(
        *("features", "q.h5ad", "-o", "f.h5ad", "-m", "model", "--type", "B cell", "--top", 5, "--report", "f.html"),
        *("--tsv", "f.tsv", "--key", "mine", "--donor", "d", "--gene-vectors", "v.parquet", "--seed", 3, "-j", 1, "-f"),
    )
    assert done.code == 0
    (asked,) = job.asked
    asked.pop("talk")
    assert asked == {
        "positional": (Path("q.h5ad"), Path("f.h5ad")),
        "model": "model",
        "of_type": "B cell",
        "inplace": False,
        "report": Path("f.html"),
        "tsv": Path("f.tsv"),
        "key": "mine",
        "top": 5,
        "donor": "d",
        "gene_vectors": Path("v.parquet"),
        "seed": 3,
        "threads": 1,
        "force": True,
    }
    assert done.out.splitlines() == ["type\trank\tgene\tscore", "B cell\t1\tCD79A\t0.25"]


def test_json_is_readable_and_two_places_are_one_too_many(run, fake) -> None:
    job = fake("features", answer())
    found = run("features", "q.h5ad", "--json", "--quiet").json
    assert found["programs"] == [{"type": "B cell", "genes": ["CD79A", "MS4A1"]}]
    assert found["stability"] == [{"type": "B cell", "angle": None}]
    done = run("features", "q.h5ad", "-o", "f.h5ad", "--inplace")
    assert done.code == 2
    assert len(job.asked) == 1
    assert "one at most" in done.err
