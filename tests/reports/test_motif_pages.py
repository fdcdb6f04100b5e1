"""The pages of motifs and of contexts: logos that add up, nothing unescaped, nothing fetched, room on a phone."""

import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from whycell.reports.logos import logo_svg
from whycell.reports.motif_contexts import contexts_page
from whycell.reports.motifs import motifs_page
from whycell.results import Contexts, Kinds, Motif, MotifFindings

EVIL = "<script>alert(1)</script>"


def _motif(name, width=20):
    rng = np.random.default_rng(width)
    letters = rng.dirichlet(np.full(4, 0.4), width).T
    sites = pd.DataFrame({"sequence": [0], "start": [3], "stop": [3 + width], "strand": ["+"]})
    return Motif(name, letters, letters * rng.normal(size=(1, width)), rng.normal(size=(4, width)), sites)


@pytest.fixture
def findings():
    motifs = [_motif("positive_1"), _motif("negative_1", 48)]
    rows = [(EVIL, m.name, s, f"{EVIL}{s}", 3, 9, "+", 8.0, 0.01, 0.5, 3, "+") for m in motifs for s in range(0, 40, 2)]
    columns = "task motif sequence name start stop strand score q contribution start_in_sequence strand_in_sequence"
    matches = pd.DataFrame(
        [(EVIL, "positive_1", "M1", EVIL, 1e-9, 1e-6, 0, "+")],
        columns=["task", "motif", "known", "name", "p", "q", "offset", "strand"],
    )
    left = pd.DataFrame(
        [(EVIL, "positive_2", "AC", 20, EVIL)], columns=["task", "motif", "consensus", "sites", "reason"]
    )
    summary = pd.DataFrame(
        [(EVIL, m.name, m.consensus, 1, 20, 20, 0.5, np.nan, np.nan) for m in motifs[:-1]]
        + [(EVIL, m.name, m.consensus, 1, 0, 0, 0.5, 31.0, 9.2) for m in motifs[-1:]],
        columns=["task", "motif", "consensus", "sites", "hits", "sequences", "contribution", "held", "held_by_chance"],
    )
    made = {"scores": f"{EVIL}.h5", "sequences": 40, "length": 60}
    return MotifFindings({EVIL: motifs}, pd.DataFrame(rows, columns=columns.split()), matches, left, summary, made)


@pytest.fixture
def kinds():
    table = pd.DataFrame(
        [(1, EVIL, 20, 0.5, 0.9, f"{EVIL}0,b"), (2, "no motif", 20, 0.5, 0.8, "c")],
        columns=["kind", "motifs", "size", "share", "stability", "examples"],
    )
    profile = pd.DataFrame(
        [(k, EVIL, m, EVIL, 0.9, 1.0, k == 1) for k in (1, 2) for m in ("positive_1", "negative_1")],
        columns=["kind", "task", "motif", "called", "share", "contribution", "named"],
    )
    numbers = pd.DataFrame(
        [(2, 0.9, 0.8, 1.0, 0.4, True)], columns=["n_kinds", "agreement", "low", "high", "expected", "chosen"]
    )
    of = pd.DataFrame({"sequence": range(40), "name": "s", "kind": 1, "distance": 0.1, "margin": 0.5})
    return Kinds(table, profile, of, numbers, 0.025, "chosen", np.zeros((40, 2)))


@pytest.fixture
def contexts(findings):
    a, _ = next(iter(findings.motifs.values()))
    keys = {"task": EVIL, "other_task": "B", "motif": "positive_1", "other": ""}
    row = keys | {"called": EVIL, "consensus": "ACGT", "likeness": np.nan, "found_in": "first", "n": 3, "sequences": 3}
    row |= {"mean_a": 0.5, "mean_b": 0.1, "difference": -0.4, "low": -0.5, "high": -0.3, "p": 1e-9, "q": 1e-8}
    row |= {"differs": True, "both": 1, "only_a": 1, "only_b": 0, "neither": 0, "unclear": 1}
    instances = pd.DataFrame([keys | {"contribution_a": v, "contribution_b": 0.1, "used": "both"} for v in (1, 2, 3)])
    scales = pd.DataFrame([{"task": EVIL, "other_task": "B", "scale_a": 1.0, "scale_b": 2.0}])
    return Contexts(pd.DataFrame([row]), instances, ((a, None),), scales, (EVIL,), {"least": 0.2})


def test_a_motif_without_sure_places_is_said_to_be_one(findings, kinds):
    assert "31 sequences hold it, against 9 of their shuffles" in motifs_page(findings, kinds=kinds)


def test_letters_of_a_logo_add_up_and_stand_in_order():
    heights = np.array([[0.5, -0.2], [1.0, 0.0], [0.25, 0.6], [0.0, -0.1]])
    drawn = re.findall(
        r'#letter-(\w)" transform="matrix\(15 0 0 ([\d.]+) ([\d.]+) ([\d.]+)\)', logo_svg(heights, label="")
    )
    unit = 62 / (1.75 + 0.3)
    first = [(letter, float(high), float(low)) for letter, high, x, low in drawn if float(x) < 50]
    assert [letter for letter, _, _ in first] == ["G", "A", "C"]
    for (_, high, low), (_, _, above) in pairwise(first):
        assert low - high == pytest.approx(above, abs=0.02)
    assert sum(high for _, high, _ in first) == pytest.approx(1.75 * unit, abs=0.05)
    below = [(letter, float(low)) for letter, _, x, low in drawn if float(x) > 50 and letter in "AT"]
    assert [letter for letter, _ in below] == ["T", "A"]
    assert below[0][1] < below[1][1]
    assert "<use" not in logo_svg(np.zeros((4, 3)), label=EVIL)
    assert EVIL not in logo_svg(np.zeros((4, 3)), label=EVIL)


def test_pages_hold_everything_and_nothing_unescaped(findings, kinds, contexts):
    for page in (motifs_page(findings, kinds=kinds), motifs_page(findings), contexts_page(contexts)):
        assert EVIL not in page
        assert "&lt;script&gt;alert(1)" in page
        assert "://" not in page
        assert not re.search(r"\son\w+=", page)
    assert motifs_page(findings, kinds=kinds) == motifs_page(findings, kinds=kinds)
    assert "Carried over" in motifs_page(findings, kinds=kinds)
    empty = MotifFindings(
        {"A": []}, findings.hits[:0], findings.matches[:0], findings.left_out[:0], findings.summary[:0]
    )
    assert "No motif" in motifs_page(empty)


@pytest.mark.parametrize("width", [390, 1280])
def test_pages_fit_the_screen(browser, findings, kinds, contexts, tmp_path, width):
    tab = browser.new_page(viewport={"width": width, "height": 900})
    said = []
    tab.on("console", lambda message: said.append(message.text))
    for name, page in (("motifs", motifs_page(findings, kinds=kinds)), ("contexts", contexts_page(contexts))):
        (tmp_path / f"{name}.html").write_text(page, encoding="utf-8")
        tab.goto((tmp_path / f"{name}.html").as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.evaluate("document.querySelector('use').getBBox().height > 0")
    tab.close()
    assert said == []
