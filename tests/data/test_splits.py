"""The one splitter: no donor on two sides, nothing silently kept, frozen with a hash."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whycell.data.splits import Split, group_problems, make_split
from whycell.errors import FormatError, GroupError

donors = st.lists(st.sampled_from([f"d{i}" for i in range(14)]), min_size=2, max_size=60)


@given(donors, st.integers(2, 5) | st.none(), st.integers(0, 3))
def test_every_cell_is_tested_once_and_no_donor_stands_on_two_sides(names, n_folds, seed):
    obs = pd.DataFrame({"donor": names})
    if len(set(names)) < 2:
        with pytest.raises(GroupError, match="two or more"):
            make_split(obs, donor="donor")
        return
    split = make_split(obs, donor="donor", n_folds=n_folds, seed=seed)
    tested = np.concatenate([fold.test for fold in split.folds])
    assert sorted(tested) == list(range(len(obs)))
    for fold in split.folds:
        assert len(fold.test)
        assert not set(obs["donor"].iloc[fold.train]) & set(obs["donor"].iloc[fold.test])
        assert len(fold.train) + len(fold.test) == len(obs)


def test_the_same_donor_name_in_two_studies_is_two_donors():
    obs = pd.DataFrame({"donor": ["1", "2", "1"], "study": ["a", "a", "b"]})
    assert make_split(obs, donor="donor", study="study").names == ("a / 1", "a / 2", "b / 1")
    assert make_split(obs, by="study", donor="donor", study="study").names == ("a", "b")


def test_unknown_and_pooled_donors_are_refused_unless_told():
    obs = pd.DataFrame({"donor": ["a", "b", "unknown", None, "pooled", "a || b"]})
    with pytest.raises(GroupError, match="4 of 6 cells have an unknown or pooled donor"):
        make_split(obs, donor="donor")
    dropped = make_split(obs, donor="donor", unknown="drop")
    assert dropped.rows.tolist() == [0, 1]
    assert dropped.dropped["unknown_group"] == 4
    assert len(make_split(obs, donor="donor", unknown="own").names) == 6
    names = ["donor_1", "Pool-3", "x / na", "s:unknown", "unknown_2", "carpool", "s:d1"]
    assert group_problems(names) == ["Pool-3", "x / na", "s:unknown", "unknown_2"]


def test_second_copies_are_dropped():
    obs = pd.DataFrame({"donor": list("aabb"), "is_primary_data": [True, False, True, True]})
    split = make_split(obs, donor="donor")
    assert split.rows.tolist() == [0, 2, 3]
    assert split.dropped == {"duplicates": 1}


def test_a_random_split_says_that_it_leaks():
    split = make_split(pd.DataFrame(index=range(23)), by="random", seed=4)
    assert split.leaking
    assert [len(fold.test) for fold in split.folds] == [5, 5, 5, 4, 4]
    assert split.hash == make_split(pd.DataFrame(index=range(23)), by="random", seed=4).hash
    assert split.hash != make_split(pd.DataFrame(index=range(23)), by="random", seed=5).hash


def test_frozen_to_disk_with_a_hash_that_catches_edits(tmp_path):
    obs = pd.DataFrame({"donor": ["b", "a", "a", "c", "b"], "is_primary_data": [True, True, False, True, True]})
    split = make_split(obs, donor="donor")
    split.save(tmp_path / "split.json")
    again = Split.load(tmp_path / "split.json")
    assert again.hash == split.hash
    for one, other in zip(split.folds, again.folds, strict=True):
        np.testing.assert_array_equal(one.test, other.test)
        np.testing.assert_array_equal(one.train, other.train)
    assert again.groups.tolist() == split.groups.tolist()
    stored = json.loads((tmp_path / "split.json").read_text())
    stored["fold_of"][0][0] = 2
    (tmp_path / "split.json").write_text(json.dumps(stored))
    with pytest.raises(FormatError, match="changed after it was written"):
        Split.load(tmp_path / "split.json")
    (tmp_path / "split.json").write_text("{}")
    with pytest.raises(FormatError, match="not a split"):
        Split.load(tmp_path / "split.json")


def test_an_absent_column_is_named_with_what_there_is():
    with pytest.raises(GroupError, match=r"'donor_id'.*sample, batch"):
        make_split(pd.DataFrame({"sample": ["a"], "batch": ["b"]}), donor="donor_id")
