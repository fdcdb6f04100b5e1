"""Results of evaluations on the card of a model: what is taken, what is refused, what is shown."""

from __future__ import annotations

import json

import pytest

from whycell.compute import Talk
from whycell.errors import FormatError, UsageError
from whycell.jobs.tested_on import read_tested
from whycell.reports.card import card_parts

SCORE = {"value": 0.94, "low": 0.9, "high": 0.96, "n": 8, "unit": "share"}


def results(folder, by, *, model="whycell", leaking=False):
    folder.mkdir()
    about = {"split": by, "split_hash": "sha256:1", "leaking": leaking, "ontology_release": "2025-07-30"}
    scores = {"accuracy": SCORE, "ece": SCORE, "n_cells": SCORE}
    (folder / "scores.json").write_text(json.dumps({"models": {model: scores}, "about": about}))
    (folder / "run.json").write_text(json.dumps({"inputs": {"/a/ref.h5ad": "sha256:2"}, "parameters": {"n_folds": 8}}))
    return folder


class Listening(Talk):
    """Remembers the warnings."""

    def __init__(self):
        self.said = []

    def warn(self, text):
        self.said.append(text)


def test_tables_by_donor_and_by_study(tmp_path):
    talk = Listening()
    study, donor = results(tmp_path / "s", "study"), results(tmp_path / "d", "donor")
    found = read_tested([study, donor], fingerprints={"ref.h5ad": "sha256:2"}, talk=talk)
    assert list(found["tested_on"]) == ["donor", "study"]
    three = {"value": 0.94, "low": 0.9, "high": 0.96}
    assert found["tested_on"]["donor"] == {"accuracy": three, "ece": three}
    assert found["tested_how"]["study"]["files"] == ["ref.h5ad"]
    assert talk.said == []
    read_tested([study], fingerprints={"other.h5ad": "sha256:3"}, talk=talk)
    assert "another model" in talk.said[0]
    assert read_tested([], fingerprints={}) == {}


def test_results_that_say_nothing_of_a_new_donor_are_refused(tmp_path):
    with pytest.raises(UsageError, match="by donor or by study"):
        read_tested([results(tmp_path / "r", "random", leaking=True)], fingerprints={})
    donors = [results(tmp_path / name, "donor") for name in ("a", "b")]
    with pytest.raises(UsageError, match="second"):
        read_tested(donors, fingerprints={})
    with pytest.raises(FormatError, match="no scores of whycell"):
        read_tested([results(tmp_path / "k", "donor", model="knn")], fingerprints={})
    with pytest.raises(FormatError, match="whycell evaluate wrote"):
        read_tested([tmp_path], fingerprints={})


def test_the_card_shows_them_beside_the_training_s_own_check():
    card = {
        "tested_on": {"donor": {"accuracy": SCORE}, "study": {"accuracy": {**SCORE, "value": 0.7}}},
        "held_out": {"unit": "studies", "accuracy": 0.6},
    }
    parts = card_parts(card)
    assert parts["tested"].startswith("It gave the right class to 94.0 % of the cells of a new donor and to 70.0 %")
    names = [column["name"] for column in parts["scores"]["columns"]]
    assert set(names) == {"score", "held-out studies", "new donor", "new study"}
