"""The search never leaves its rows, can be resumed, and keeps every trial; loggers behind one word."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from whycell.errors import GroupError, MissingExtraError, UsageError
from whycell.models.loggers import open_logger
from whycell.models.tune import inner_folds, search

optuna = pytest.importorskip("optuna")
optuna.logging.set_verbosity(optuna.logging.WARNING)

GROUPS = np.repeat(list("abcdef"), 10)
TRAIN = np.flatnonzero(GROUPS != "f")


def test_the_test_donor_is_never_touched_and_inner_donors_are_whole():
    touched = set()

    def score(parameters, train, held_out):
        assert not set(GROUPS[train]) & set(GROUPS[held_out])
        touched.update(train.tolist(), held_out.tolist())
        return -((parameters["x"] - 2) ** 2)

    found = search(score, {"x": {"low": -5.0, "high": 5.0}, "kind": ["a", "b"]}, GROUPS, rows=TRAIN, n_trials=25)
    assert touched == set(TRAIN.tolist())
    assert abs(found.best["x"] - 2) < 1
    assert len(found.trials) == 25
    assert set(found.trials["state"]) <= {"complete", "pruned"}
    assert {"number", "state", "value", "seconds", "x", "kind", "fold_1"} <= set(found.trials)


@pytest.mark.parametrize("file", ["search.db", "search.journal"])
def test_an_interrupted_search_goes_on(tmp_path, file):
    calls = []

    def score(parameters, train, held_out):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return parameters["n"]

    space = {"n": {"low": 1, "high": 64, "log": True}}
    with pytest.raises(KeyboardInterrupt):
        search(score, space, GROUPS, n_trials=5, n_inner=2, storage=tmp_path / file)
    found = search(score, space, GROUPS, n_trials=5, n_inner=2, storage=tmp_path / file)
    finished = found.trials["state"].isin(["complete", "pruned"])
    before = len(calls)
    again = search(score, space, GROUPS, n_trials=5, n_inner=2, storage=tmp_path / file)
    assert len(calls) == before, "a finished search does nothing more"
    assert again.best == found.best
    assert finished.sum() >= 4


def test_poor_trials_are_stopped_early():
    seen = []

    def score(parameters, train, held_out):
        seen.append(parameters["x"])
        return parameters["x"]

    found = search(score, {"x": {"low": 0.0, "high": 1.0}}, GROUPS, n_trials=20, n_inner=3, seed=1)
    assert (found.trials["state"] == "pruned").any()
    assert len(seen) < 60


def test_what_cannot_be_searched_is_refused():
    with pytest.raises(UsageError, match="'x' is 3"):
        search(lambda *_: 0.0, {"x": 3}, GROUPS, n_trials=1)
    with pytest.raises(GroupError, match="1 donor"):
        inner_folds(np.array(["a", "a"]), 3)


def test_loggers_behind_one_word(tmp_path, monkeypatch):
    with open_logger("csv", tmp_path) as log:
        log.log(0, {"score": 0.5})
    with open_logger("csv", tmp_path) as log:
        log.log(1, {"score": 0.75})
    assert (tmp_path / "log.csv").read_text().splitlines() == ["step,name,value", "0,score,0.5", "1,score,0.75"]
    with pytest.raises(UsageError, match="'paper'"):
        open_logger("paper", tmp_path)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtraError, match=r"whycell\[track\]"):
        open_logger("wandb", tmp_path)
