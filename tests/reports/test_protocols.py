"""Stress and types left out, as the page shows them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from whycell.reports.evaluation import evaluation_page
from whycell.reports.protocols import calibration_notes, left_out_table, stress_table

NONE = np.nan
STRESS = pd.DataFrame(
    [
        ("m", "none", 0.0, 90, 0.9, 0.88, -0.02, NONE, NONE, True, 0.0, 0.04, 0, ""),
        ("m", "gene_dropout", 0.9, 60, 0.5, 0.9, 0.4, 0.3, 0.5, False, 0.0, 0.1, 1, "too few genes"),
        ("m", "columns_mislabelled", 1.0, 0, NONE, NONE, NONE, NONE, NONE, True, NONE, NONE, 3, "no <b>likeness</b>"),
    ],
    columns=[
        *("model", "stress", "level", "n", "accuracy", "confidence", "gap", "low", "high", "honest", "unknown"),
        *("wrong_branch_of_calls", "refused", "said"),
    ],
)
LEFT_OUT = pd.DataFrame({"model": ["m"], "left_out": ["NK"], "type": ["NK"], "auroc": [0.91], "n_novel": [12]})


def test_each_level_gets_a_verdict():
    rows = [[cell["text"] for cell in row] for row in stress_table(STRESS)["rows"]]
    assert [row[-1] for row in rows] == [
        "honest",
        "too sure of itself; refused in 1 folds",
        "refused: no <b>likeness</b>",
    ]
    assert rows[1][2] == "90.0 %"
    assert rows[1][6] == "0.400 (0.300 to 0.500)"
    assert rows[0][6] == "−0.020"


def test_nothing_asked_nothing_shown(evaluation):
    assert stress_table(None) is None
    assert left_out_table(LEFT_OUT[:0]) is None
    assert 'id="stress"' not in evaluation_page(evaluation)


def test_the_page_holds_both_tables_escaped(evaluation):
    page = evaluation_page(replace(evaluation, tables={"stress": STRESS, "novelty": LEFT_OUT}))
    assert "too sure of itself" in page
    assert "no &lt;b&gt;likeness" in page
    assert "left out of training" in page


def test_the_noise_floor_stands_beside_the_error():
    scores = {"a": {"ece": {"value": 0.02}, "ece_noise_floor": {"value": 0.005}}, "b": {"ece": {"value": 0.1}}}
    assert calibration_notes(scores) == [("a", "0.020", "0.005")]
