"""Tables of samples: what is read, what is left out and told, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from whycell.data import tables
from whycell.data.arff import read_arff
from whycell.data.tables import read_samples
from whycell.errors import DataError, FormatError, GroupError, LabelError

ARFF = """% comment
@relation weather
@attribute 'the day' {'sunny day', rainy, "o'cast"}
@attribute temperature REAL
@attribute level {1, 2, 3}
@attribute play {yes, no}
@data
'sunny day', 85, 1, no
rainy, ?, 3, yes
% another
?, 64.5, 2, yes
"""


def test_arff_is_read_with_its_kinds(tmp_path: Path) -> None:
    path = tmp_path / "w.arff"
    path.write_text(ARFF.replace('"o\'cast"', "overcast"))
    frame = read_arff(path)
    assert list(frame.columns) == ["the day", "temperature", "level", "play"]
    assert list(frame["the day"].cat.categories) == ["sunny day", "rainy", "overcast"]
    assert frame["the day"].isna().tolist() == [False, False, True]
    np.testing.assert_array_equal(frame["temperature"], [85, np.nan, 64.5])
    table = read_samples(path, target="play")
    assert table.features.dtypes["level"] == np.float64  # levels that are numbers are numbers
    path.write_text("@attribute a real\n@attribute b {x, y}\n@data\n{1 y}\n{0 3.5}\n")
    sparse = read_arff(path)
    assert sparse["a"].tolist() == [0, 3.5]
    assert sparse["b"].tolist() == ["y", "x"]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".csv.gz"])
def test_what_cannot_be_used_is_left_out_and_told(tmp_path: Path, suffix: str) -> None:
    frame = pd.DataFrame(
        {
            "id": [f"s{i}" for i in range(8)],
            "a": [1.0, 2, 3, np.inf, 5, 6, 7, 8],
            "b": list("xyxyxyxy"),
            "same": 4,
            "empty": np.nan,
            "who": [1, 1, 2, 2, 3, 3, 4, 4],
            "y": ["p", "q", "p", "q", "p", "q", "p", None],
        }
    )
    path = tmp_path / f"t{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    table = read_samples(path, target="y", group="who")
    assert list(table.features.columns) == ["a", "b"]
    assert table.features["a"].isna().sum() == 1
    assert table.left_out == {
        "1 rows": "no value of 'y'",
        "id": "names the rows",
        "same": "the same in every row",
        "empty": "empty",
    }
    assert list(table.groups) == list("1122334")
    again = read_samples(path, target=None, features=["b", "a"])
    assert list(again.features.columns) == ["b", "a"]
    assert len(again.features) == 8


@pytest.mark.parametrize(
    ("text", "told", "error", "sentence"),
    [
        ("a,y\n1,p\n2,p\n", {"target": "y"}, LabelError, "the one value 'p'"),
        ("a,y\n1,p\n2,q\n", {"target": "z"}, LabelError, "no column 'z'"),
        ("a,y\n1,p\n1,q\n", {"target": "y"}, DataError, "no column that varies"),
        ("a,g,y\n1,u,p\n2,,q\n", {"target": "y", "group": "g"}, GroupError, "1 rows"),
        ("a,g,y\n1,u,p\n2,u,q\n", {"target": "y", "group": "g"}, GroupError, "one group"),
        ("a,y\n1,p\n2,q\n", {"target": None, "features": ["a", "c"]}, FormatError, "lacks 1 of the 2"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, text: str, told: dict, error: type, sentence: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(error, match=sentence):
        read_samples(path, **told)


def test_more_than_memory_is_refused_before_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,y\n" + "1,p\n2,q\n" * 200)
    monkeypatch.setattr(tables, "_free_bytes", lambda: 1000)
    with pytest.raises(FormatError, match="are free"):
        read_samples(path, target="y")
    with pytest.raises(FormatError, match="no table"):
        read_samples(tmp_path / "t.xlsx", target="y")
