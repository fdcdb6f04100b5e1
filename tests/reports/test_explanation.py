"""The page of an explanation: hostile labels stay text, and it draws in a real browser."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from whycell.reports.explanation import explanation_page
from whycell.results import Explanation, TopGenes, TypeGenes

EVIL = "<script>alert(1)</script>"
TYPES = ("B cell", EVIL)
N, G = 60, 30


@pytest.fixture(scope="module")
def explanation() -> Explanation:
    random = np.random.default_rng(5)
    kind = np.arange(N) % 2
    symbols = np.array([f"GENE{g}" for g in range(G - 1)] + [EVIL], dtype=object)
    names = np.array(TYPES, dtype=object)[kind]

    def top(sign: int) -> TopGenes:
        gene = np.stack([random.permutation(G)[:10] for _ in range(N)]).astype(np.int32)
        size = -np.sort(-random.exponential(0.4, (N, 10)), axis=1).astype(np.float32)
        return TopGenes(gene, sign * size, random.random((N, 10)), random.random((N, 10)))

    here, there = random.normal(3, 1, N), random.normal(-2, 1, N)
    cells = pd.DataFrame(
        {
            "row": np.arange(N),
            "call": names,
            "call_term_id": np.array(["CL:0000236", ""], dtype=object)[kind],
            "confidence": random.random(N),
            "leaf": names,
            "runner_up": names[::-1],
            "novelty": 0.0,
            "flag": "",
            "explained": names,
            "against": names[::-1],
            "reference": "the mean of 20 cells",
            "log_odds": here,
            "reference_log_odds": there,
            "residual": 1e-7,
            "note": "",
            "rationale": [f"because {EVIL}"] * N,
            "evidence": "GENE1",
        },
        index=[f"cell {i} </script>" for i in range(N)],
    )
    numbers = (
        "completeness",
        "fall",
        "fall_random",
        "deletion",
        "insertion",
        "perturbation",
        "randomised",
        "references",
    )
    check = dict.fromkeys(numbers, 0.25)
    mean = random.normal(0, 0.3, (2, G)).astype(np.float32)
    return Explanation(
        cells=cells,
        genes=pd.DataFrame({"id": [f"ENSG{g}" for g in range(G)], "symbol": symbols, "measured": True}),
        speaking_for=top(1),
        speaking_against=top(-1),
        by_type=TypeGenes(
            types=pd.DataFrame(
                {
                    "type": TYPES,
                    "term_id": ["CL:0000236", ""],
                    "cells": [30, 30],
                    "donors": [2, 2],
                    "donor_agreement": [0.9, np.nan],
                    "markers": [1, 0],
                    "markers_for": [1, 0],
                    "markers_in_top": [0, 0],
                }
            ),
            mean=mean,
            share=np.full((2, G), 0.5, np.float32),
            same_sign=np.ones((2, G), np.float32),
            marker=np.zeros((2, G), np.int8),
        ),
        checks=pd.DataFrame(
            [
                {"type": name, "cells": 9, **check, "passed": passed}
                for name, passed in (("all types", True), ("B cell", True), (EVIL, False))
            ]
        ),
        curves=pd.DataFrame(
            [(m, k, 0.1 * k, 0.2 * k) for m in ("rescale", "random features") for k in (1, 5, 10)],
            columns=["method", "genes", "deletion", "insertion"],
        ),
        cell_checks=pd.DataFrame([check] * 4, index=cells.index[:4]),
        donors=np.array([f"<i>{i % 3}</i>" for i in range(N)]),
        map_rows=np.arange(N),
        map_xy=random.normal(size=(N, 2)).astype(np.float32),
        map_method="UMAP",
        map_genes=np.array([0, G - 1]),
        map_values=random.normal(size=(N, 2)).astype(np.float32),
        markers=pd.DataFrame(
            [("B cell", "ENSG3", "CD19", 1, f"above: {EVIL}")], columns=["type", "gene", "name", "sign", "source"]
        ),
        card={"name": "m"},
        provenance={
            "input": f"a/{EVIL}.h5ad",
            "model": EVIL,
            "against": "runner-up",
            "reference": "against",
            "method": "rescale",
        },
    )


@pytest.fixture(scope="module")
def page(explanation: Explanation) -> str:
    return explanation_page(explanation)


def test_no_text_of_the_data_becomes_markup(page: str) -> None:
    assert EVIL not in page
    assert "alert(1)" in page  # it is shown, as text
    assert "<i>0</i>" not in page
    assert len(re.findall(r"<script>", page)) == 2


def test_the_same_result_gives_the_same_page_and_nothing_is_fetched(explanation: Explanation, page: str) -> None:
    assert explanation_page(explanation) == page
    assert not re.search(r'(?:src|href)="(?!#|data:|https://)', page)
    assert '<link rel="stylesheet"' not in page


def test_a_type_that_fails_its_sanity_check_says_so_where_it_stands(page: str) -> None:
    alerts = page[page.index('class="alerts"') : page.index('class="parts"')]
    assert "fails its sanity check" in alerts
    assert page.count("Fails its sanity check.") == 1


def test_it_can_be_drawn_without_checks_or_map(explanation: Explanation) -> None:
    from dataclasses import replace

    bare = replace(
        explanation,
        checks=pd.DataFrame(),
        curves=pd.DataFrame(),
        cell_checks=pd.DataFrame(),
        map_rows=np.empty(0, np.int64),
        map_xy=np.zeros((0, 2), np.float32),
        map_genes=np.empty(0, np.int64),
        map_values=np.zeros((0, 0), np.float32),
        donors=None,
    )
    assert "Is it true?" not in explanation_page(bare)


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    """A new page that fails the test on any message, error or dialogue."""
    opened = browser.new_page(viewport={"width": 1280, "height": 1200})
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    yield opened
    opened.close()
    assert said == []


def test_the_map_takes_the_colour_of_the_gene_chosen(tab: Any, page: str, tmp_path: Path) -> None:
    (tmp_path / "why.html").write_text(page, encoding="utf-8")
    tab.goto((tmp_path / "why.html").as_uri())
    tab.wait_for_function("performance.getEntriesByName('whycell-reasons').length > 0")
    picture = "document.getElementById('reasons-map').toDataURL()"
    before = tab.evaluate(picture)
    tab.select_option("#gene", "1")
    assert tab.evaluate(picture) != before
    assert tab.locator("#gene option").nth(1).inner_text() == EVIL
    assert tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth + 1")
