"""What the page of grammar says, word by word, and that no name in it is read as anything but a name."""

import re
from dataclasses import replace

import pandas as pd
import pytest

from whycell.reports.grammar import grammar_page, sentences
from whycell.results import GrammarFindings

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def found():
    """Two motifs: a range of gaps and an order that real pairs have, and a strand that they have not."""
    kinds = [("one", "two", o, s) for o in ("AB", "BA") for s in ("++", "+-")]
    kinds += [(m, m, "AB", s) for m in ("one", "two") for s in ("++", "+-", "-+")]
    columns = ["task", "first", "second", "order", "strands", "gap"]
    places = pd.DataFrame([("T", *kind, gap) for kind in kinds for gap in range(6)], columns=columns)
    tests = pd.DataFrame(
        [
            ("one", "two", "gap", "AB", "++", "3-5", "3-5", 1.5, 0.0005, 90),
            ("one", "two", "order", "AB v BA", "++", "AB", "0-5", 0.8, 0.002, 200),
            ("one", "one", "strand", "AB", "++ v +-", "+-", "4", 0.6, 0.004, 0),
            ("one", "two", "together", "AB", "++", "", "0-5", -0.4, 0.001, 300),
            ("two", "two", "gap", "AB", "-+", "3-4", "3-4", 0.1, 0.5, 10),
        ],
        columns=["first", "second", "question", "order", "strands", "best", "gaps", "effect", "q", "seen"],
    )
    return GrammarFindings(
        pd.DataFrame(
            {
                "task": "T",
                "motif": ["one", "two"],
                "label": ["GATA1", EVIL],
                "core": ["GATAAG", "CAGCTG"],
                "width": 6,
                "cut": 0,
                "hits": 500,
            }
        ),
        places.assign(interaction=0.1, low=0.0, high=0.2, together=1.0),
        tests.assign(task="T", share=1.0, p=tests["q"] / 10, reported=tests["q"] < 0.01),
        pd.DataFrame({"task": "T", "motif": ["one", "two"], "effect": 1.0, "low": 0.9, "high": 1.1}),
        places.assign(n=5, expected=4.0, p=0.3, q=0.9),
        places.drop(columns="gap").drop_duplicates().assign(gaps="3-5", n=5, expected=4.0, p=0.3, q=0.9),
        {"unit": "log odds", "closest": 3},
    )


def test_what_is_reported_is_said_in_words(found):
    told = sentences(found)
    assert told["rules"] == [
        f"{EVIL} 3 to 5 letters behind GATA1 on the same strand: 1.5 log odds more than at other gaps (q = 0.0005).",
        f"{EVIL} behind GATA1 does 0.8 log odds more than ahead of it, on the same strand, 0 to 5 letters between "
        "(q = 0.0020).",
    ]
    assert told["guessed"] == [
        "GATA1 beside itself does 0.6 log odds more face to face than one behind the other, 4 letters between "
        "(q = 0.0040; none of the real pairs stand so)."
    ]
    assert told["sums"] == [
        f"GATA1 and {EVIL}, on the whole: 0.4 log odds less than the sum of each alone, in 1 of 4 arrangements "
        "(q = 0.0010)."
    ]


def test_gaps_that_real_pairs_favour_are_said(found):
    often = found.ranges_counted.assign(n=[25] + [5] * (len(found.ranges_counted) - 1), q=0.005)
    told = sentences(replace(found, ranges_counted=often))["counted"]
    assert len(told) == 1
    assert told[0].startswith("In the sequences, ")
    assert "25 pairs, 4 expected (q = 0.0050)" in told[0]


def test_the_page_stands_alone_and_escapes_every_name(found):
    page = grammar_page(found)
    assert page == grammar_page(found)
    assert "2 rules of grammar" in page
    assert "<img" not in page
    assert not re.search(r'(src|href)="https?:', page)
    assert page.count("<svg") == 3
