"""Accuracy and F1 against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

from whycell.metrics.flat import accuracy, class_counts, class_table, macro_f1, weighted_f1

labels = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcde")), min_size=1, max_size=40)


@given(labels)
def test_equal_to_scikit_learn(pairs):
    truth, predicted = (np.array(x) for x in zip(*pairs, strict=True))
    seen = np.unique(truth)
    assert accuracy(truth, predicted) == pytest.approx(accuracy_score(truth, predicted))
    assert macro_f1(truth, predicted) == pytest.approx(
        f1_score(truth, predicted, average="macro", labels=seen, zero_division=0)
    )
    assert weighted_f1(truth, predicted) == pytest.approx(
        f1_score(truth, predicted, average="weighted", zero_division=0)
    )
    table = class_table(truth, predicted).set_index("class")
    wanted = precision_recall_fscore_support(truth, predicted, labels=table.index.to_numpy(), zero_division=0)
    np.testing.assert_allclose(table[["precision", "recall", "f1"]].fillna(0).to_numpy().T, wanted[:3])


def test_groups_add_up_and_an_empty_call_accuses_no_class():
    counts = class_counts(["a", "a", "b"], ["a", "", "a"], groups=["x", "y", "y"])
    assert counts.classes.tolist() == ["a", "b"]
    assert counts.hits.tolist() == [[1, 0], [0, 0]]
    assert counts.support.tolist() == [[1, 0], [1, 1]]
    assert counts.predicted.tolist() == [[1, 0], [1, 0]]


def test_no_cells_is_not_a_number():
    assert np.isnan(accuracy([], []))
    assert np.isnan(macro_f1([], []))
