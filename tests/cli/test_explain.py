"""``whycell explain``: what is handed to the job, and what is printed."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd


def answer() -> SimpleNamespace:
    """What the command reads of an explanation."""
    genes = pd.DataFrame({"cell": ["c"], "side": ["for"], "rank": [1], "gene": ["CD19"], "contribution": [0.5]})
    return SimpleNamespace(
        cells=pd.DataFrame({"rationale": ["B cell rather than T cell"], "log_odds": [np.nan]}, index=["c"]),
        frame=lambda: genes,
        type_frame=lambda: genes.drop(columns="cell").assign(type="B cell"),
        by_type=SimpleNamespace(types=pd.DataFrame({"type": ["B cell"], "cells": [1]})),
        checks=pd.DataFrame({"type": ["all types"], "passed": [True]}),
        provenance={"seed": 0},
    )


def test_explain_hands_everything_to_the_job(run, fake) -> None:
    job = fake("explain", answer())
    done = run(
        *("explain", "q.h5ad", "-o", "why.h5ad", "-m", "model", "--type", "NK cell", "--against", "T cell"),
        *("--reference", "others", "--method", "reveal-cancel", "--top", 5, "--report", "w.html", "--tsv", "w.tsv"),
        *("--key", "mine", "--layer", "--markers", "m.tsv", "--donor", "d", "--seed", 3, "-j", 1, "--force"),
    )
    assert done.code == 0
    (asked,) = job.asked
    asked.pop("talk")
    assert asked == {
        "positional": (Path("q.h5ad"), Path("why.h5ad")),
        "model": "model",
        "cell": None,
        "of_type": "NK cell",
        "against": "T cell",
        "reference": "others",
        "method": "reveal-cancel",
        "top": 5,
        "inplace": False,
        "report": Path("w.html"),
        "tsv": Path("w.tsv"),
        "key": "mine",
        "layer": True,
        "markers": Path("m.tsv"),
        "donor": "d",
        "seed": 3,
        "threads": 1,
        "force": True,
    }
    assert done.out.splitlines()[1].startswith("for\t1\tCD19")


def test_one_cell_prints_its_genes_and_says_why(run, fake) -> None:
    fake("explain", answer())
    done = run("explain", "q.h5ad", "--cell", "c")
    assert done.out.splitlines() == ["side\trank\tgene\tcontribution", "for\t1\tCD19\t0.5"]
    assert "B cell rather than T cell" in done.err


def test_json_is_readable_by_any_parser(run, fake) -> None:
    fake("explain", answer())
    found = run("explain", "q.h5ad", "--cell", "c", "--json", "--quiet").json
    assert found["cell"] == {"rationale": "B cell rather than T cell", "log_odds": None}
    assert found["checks"] == [{"type": "all types", "passed": True}]


def test_two_places_to_write_to_are_one_too_many(run, fake) -> None:
    job = fake("explain", answer())
    done = run("explain", "q.h5ad", "-o", "why.h5ad", "--inplace")
    assert (done.code, job.asked) == (2, [])
    assert "one at most" in done.err
