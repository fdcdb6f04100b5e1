"""Made-up answers with hostile labels in them, and a real browser."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from whycell.results import Annotation, Evaluation, Finding, TreeNode

EVIL = "<script>alert(1)</script>"
TYPES = (
    ("CD14-positive monocyte", "CL:0001054"),
    ("naive B cell", "CL:0000788"),
    ("natural killer cell", "CL:0000623"),
    ("T cell", "CL:0000084"),
    (EVIL, ""),
    ("unknown", ""),
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@pytest.fixture(scope="session")
def make_annotation() -> Callable[..., Annotation]:
    def make(n: int = 300, *, donors: bool = True, clusters: bool = False) -> Annotation:
        random = np.random.default_rng(7)
        kind = random.choice(len(TYPES), n, p=[0.3, 0.25, 0.2, 0.15, 0.05, 0.05])
        names, ids = (np.array([t[k] for t in TYPES], dtype=object)[kind] for k in (0, 1))
        calls = pd.DataFrame(
            {
                "call": names,
                "call_term_id": ids,
                "confidence": random.uniform(0.5, 1, n).astype(np.float32),
                "leaf": names,
                "leaf_term_id": ids,
                "leaf_confidence": random.uniform(0.3, 1, n).astype(np.float32),
                "runner_up": np.roll(names, 1),
                "novelty": random.beta(1, 6, n).astype(np.float32),
                "flag": np.where(random.random(n) < 0.05, "low_counts;novel", ""),
            },
            index=[f"cell <b>{i}</b>" for i in range(n)],
        )
        if clusters:
            calls = calls.assign(cluster=kind.astype(str), cluster_call=names, cluster_confidence=np.float32(0.9))
        centres = random.normal(0, 6, (len(TYPES), 2))
        count = {name: int((names == name).sum()) for name, _ in TYPES}
        tree = (
            TreeNode("CL:0000000", "cell", (), 0, n - count["unknown"]),
            TreeNode("CL:0000542", "lymphocyte", ("CL:0000000",), 0, n - count["unknown"] - count[TYPES[0][0]]),
            TreeNode("CL:0001054", TYPES[0][0], ("CL:0000000",), count[TYPES[0][0]], count[TYPES[0][0]]),
            TreeNode("CL:0000084", "T cell", ("CL:0000542",), count["T cell"], count["T cell"]),
            TreeNode("CL:0000788", "naive B cell", ("CL:0000542",), count["naive B cell"], count["naive B cell"]),
            TreeNode("CL:0000623", TYPES[2][0], ("CL:0000542", "CL:0000000"), count[TYPES[2][0]], count[TYPES[2][0]]),
            TreeNode(EVIL, EVIL, ("CL:0000000",), count[EVIL], count[EVIL]),
        )
        return Annotation(
            calls=calls,
            donors=np.array([f"<i>donor</i> {k}" for k in random.integers(1, 12, n)]) if donors else None,
            map_rows=np.arange(n),
            map_xy=(centres[kind] + random.normal(0, 1, (n, 2))).astype(np.float32),
            map_method="UMAP",
            tree=tree,
            findings=(
                Finding("log1p_cp10k", "info", "X holds log1p values.", "Undone while reading.", True),
                Finding("evil", "warning", f"A label reads {EVIL}.", "</script><img src=x onerror=alert(2)>"),
            ),
            card={
                "name": f"blood {EVIL}",
                "tested": "on donors it had not seen",
                "held_out": {"donor": {"accuracy": {"value": 0.94, "low": 0.93, "high": 0.95}}},
                "trained_on": [{"study": EVIL, "cells": 14000, "licence": "CC BY 4.0"}],
                "does_not_know": ["anything that is not blood"],
                "licences": ["CC BY 4.0"],
                "classes": [name for name, _ in TYPES],
                "seed": 0,
            },
            provenance={"input": "some/where/query.h5ad", "seed": 0, "versions": {"whycell": "0.1.0"}},
        )

    return make


@pytest.fixture(scope="session")
def evaluation() -> Evaluation:
    random = np.random.default_rng(3)
    models = ["whycell", "logistic regression", f"evil {EVIL}", "_majority"]
    shares = {"exact": 0.8, "under": 0.1, "over": 0.02, "wrong_branch": 0.03, "unknown": 0.05}
    scores: dict[str, dict[str, dict[str, Any]]] = {}
    for k, model in enumerate(models):
        values = shares | {"accuracy": 0.94 - 0.02 * k, "macro_f1": 0.8, "ece": 0.01 * (k + 1)}
        scores[model] = {m: {"value": v, "low": v - 0.01, "high": v + 0.01, "n": 8} for m, v in values.items()}
    scores["_majority"]["accuracy"] |= {"value": 0.3, "low": float("nan"), "high": None}
    rows = [(models[0], m, "accuracy", 0.02 * k, 0.02 * k - 0.03, 0.02 * k + 0.03, 8) for k, m in enumerate(models[1:])]
    rows.append((models[0], models[1], "ece", -0.02, -0.03, -0.01, 8))
    labels = ["CL:0000788", "CL:0000623", f"$x_1$ {EVIL}"]
    steps = np.linspace(0.05, 0.95, 10)
    reliability = pd.DataFrame({"n": np.arange(10), "confidence": steps, "accuracy": np.append(np.nan, steps[1:])})
    risk = pd.DataFrame({"threshold": steps[::-1], "coverage": steps, "risk": 0.1 * steps})
    called = [*labels, "unknown"]
    confusion = pd.DataFrame(random.integers(0, 50, (3, 4)), index=labels, columns=called)
    per_class = [(m, c, 100, random.uniform(0.5, 1)) for m in models for c in labels]
    per_donor = [(m, f"donor {d}", 50, random.uniform(0.5, 1)) for m in models for d in range(8)]
    return Evaluation(
        scores=scores,
        comparisons=pd.DataFrame(rows, columns=["model", "against", "metric", "difference", "low", "high", "n_groups"]),
        per_class=pd.DataFrame(per_class, columns=["model", "label", "support", "f1"]),
        per_donor=pd.DataFrame(per_donor, columns=["model", "donor", "n", "accuracy"]),
        calls=pd.DataFrame(
            {"model": "whycell", "cell": [f"c{i}" for i in range(80)], "donor": np.resize(list("abcd"), 80)}
        ),
        curves={m: {"reliability": reliability, "risk_coverage": risk} for m in models},
        confusion=dict.fromkeys(models, confusion),
        warnings=(f"Fewer than five donors. {EVIL}",),
        provenance={
            "split": "donor",
            "split_hash": "sha256:abc",
            "term_names": {"CL:0000788": "naive B cell"},
            "inputs": ["a.h5ad"],
        },
    )


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"no Chromium on this machine: none of {', '.join(BROWSERS)} is on PATH")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=program, args=ARGUMENTS.split())
        yield opened
        opened.close()
