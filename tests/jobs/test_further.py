"""What an evaluation does beyond its scores, asked for and refused."""

from __future__ import annotations

import pytest

from whycell.errors import UsageError
from whycell.jobs.evaluate import evaluate
from whycell.jobs.further import logged, names_tried
from whycell.jobs.specs import Spec

SEARCHED = Spec("logistic", "mine", search={"space": {"C": [0.1, 1.0]}, "trials": 2})


def test_one_word_sets_the_logger_of_every_search(tmp_path):
    given = (SEARCHED, Spec("knn"), Spec("logistic", "../own", search={**SEARCHED.search, "folder": "there"}))
    mine, knn, own = logged(given, "tensorboard", tmp_path)
    assert mine.search == {**SEARCHED.search, "logger": "tensorboard", "folder": tmp_path / "mine"}
    assert knn == Spec("knn")
    assert (own.search["folder"], own.search["logger"]) == ("there", "tensorboard"), "a folder of its own stays"
    assert logged(given, None, tmp_path) == given
    with pytest.raises(UsageError, match="nothing to log"):
        logged([Spec("knn")], "csv", tmp_path)


def test_baselines_are_stressed_only_where_they_are_named():
    assert names_tried([]) == ["whycell"]
    assert names_tried([Spec("knn"), SEARCHED]) == ["whycell", "knn", "mine"]
    # A default model with other parameters gets a name of its own; the default one is not tried for it.
    tried = names_tried([Spec("logistic", parameters={"C": 0.1})])
    assert tried == ["whycell", "logistic (C=0.1)"]


def test_calls_alone_cannot_be_stressed(tmp_path):
    with pytest.raises(UsageError, match="a model to train"):
        evaluate([], tmp_path / "r", truth=tmp_path / "t.tsv", calls=tmp_path / "c.tsv", stress=True)
