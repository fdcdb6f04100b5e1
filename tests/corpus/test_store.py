"""Fragments and stores: what was written is read, and anything else is refused in one sentence."""

import numpy as np
import pandas as pd
import pytest

from whycell.corpus.store import fragment_name, fragment_names, has_fragment, read_fragment, write_fragment
from whycell.errors import DataError, FormatError


def _cells(n: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "label": ["T cell", None] * (n // 2),
            "label_id": ["CL:0000084", ""] * (n // 2),
            "donor": [f"d{i % 3}" for i in range(n)],
            "study": "one",
            "address": "https://host/a.h5ad",
            "row": np.arange(n),
        }
    )


def test_a_fragment_comes_back_as_written(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((8, 5)).astype(np.float32)
    name = fragment_name("https://host/a.h5ad", "etag", 0, 8)
    write_fragment(tmp_path, name, vectors=vectors, cells=_cells(8))
    back = read_fragment(tmp_path, name)
    assert fragment_names(tmp_path) == [name]
    np.testing.assert_array_equal(back.vectors, vectors.astype(np.float16))
    assert list(back.cells["label"]) == ["T cell", ""] * 4
    assert list(back.cells["row"]) == list(range(8))


def test_without_its_json_a_fragment_is_not_there(tmp_path):
    name = fragment_name("a")
    written = write_fragment(tmp_path, name, vectors=np.zeros((2, 3)), cells=_cells(2))
    written.unlink()
    assert not has_fragment(tmp_path, name)
    assert fragment_names(tmp_path) == []


@pytest.mark.parametrize("suffix", ["f16", "parquet"])
def test_a_changed_byte_is_refused(tmp_path, suffix):
    name = fragment_name("a")
    write_fragment(tmp_path, name, vectors=np.zeros((2, 3)), cells=_cells(2))
    path = tmp_path / f"{name}.{suffix}"
    path.write_bytes(path.read_bytes()[:-1] + b"\x07")
    with pytest.raises(FormatError, match="gather it again"):
        read_fragment(tmp_path, name)


def test_what_float16_cannot_hold_is_refused(tmp_path):
    with pytest.raises(DataError, match="not finite in float16"):
        write_fragment(tmp_path, fragment_name("a"), vectors=np.full((2, 3), 1e6), cells=_cells(2))
