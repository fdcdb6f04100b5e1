"""Chunks inflated here are what h5py reads, for every layout; damage is told in one sentence."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whycell.data.chunks import ChunkedArray, open_array
from whycell.data.ranges import LibraryArray, LocalFile, PlainArray
from whycell.errors import FormatError

LAYOUTS = [
    {"compression": "gzip"},
    {"compression": "gzip", "shuffle": True},
    {"compression": "gzip", "fletcher32": True},
    {"compression": "lzf"},
    {"shuffle": True},
    {},
    {"chunks": None},
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_range_of_any_layout_is_what_h5py_reads(tmp_path: Path, data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 400))
    wide = data.draw(st.sampled_from([None, 1, 7]))
    dtype = data.draw(st.sampled_from(["<f4", ">f4", "<f8", "<i4", "<i8", "u1", "<u2"]))
    layout = dict(data.draw(st.sampled_from(LAYOUTS)))
    shape = (n,) if wide is None else (n, wide)
    if "chunks" not in layout:
        layout["chunks"] = tuple(data.draw(st.integers(1, s)) for s in shape)
    values = np.random.default_rng(n).integers(0, 5, shape).astype(dtype)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("before", data=np.arange(10))
        file.create_dataset("x", data=values, **layout)
    start = data.draw(st.integers(0, n))
    stop = data.draw(st.integers(start, n))
    with h5py.File(path) as file:
        source = LocalFile(path)
        array = open_array(file["x"], source)
        out = np.empty((stop - start, *shape[1:]), dtype=array.dtype)
        pieces = array.cuts(start, stop, data.draw(st.integers(1, 500)))
        assert [a for a, _ in pieces[1:]] == [b for _, b in pieces[:-1]]
        for a, b in pieces:
            array.read_into(out[a - start : b - start], a, b)
        source.close()
    assert np.array_equal(out, values[start:stop])


def test_the_layout_decides_the_reader(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for i, layout in enumerate(LAYOUTS):
            file.create_dataset(str(i), data=np.arange(100, dtype=np.float32), **({"chunks": (10,)} | layout))
    source = LocalFile(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        kinds = [type(open_array(file[str(i)], source)) for i in range(len(LAYOUTS))]
    assert kinds == [ChunkedArray, ChunkedArray, LibraryArray, LibraryArray, ChunkedArray, ChunkedArray, PlainArray]


def test_zstd_and_blosc_of_the_plugin(tmp_path: Path) -> None:
    plugin = pytest.importorskip("hdf5plugin", reason="hdf5plugin is not installed")
    values = np.random.default_rng(0).integers(0, 9, 5000).astype(np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("zstd", data=values, chunks=(700,), **plugin.Zstd())
        file.create_dataset("blosc", data=values, chunks=(700,), **plugin.Blosc())
    source = LocalFile(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        for name, kind in (("zstd", ChunkedArray), ("blosc", LibraryArray)):
            array = open_array(file[name], source)
            assert type(array) is kind
            out = np.empty(3000, dtype=np.float32)
            array.read_into(out, 1000, 4000)
            assert np.array_equal(out, values[1000:4000])


def test_chunks_never_written_read_as_the_fill_value(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        stored = file.create_dataset("x", shape=(100,), dtype="f4", chunks=(10,), compression="gzip", fillvalue=7)
        stored[40:60] = 1
    source = LocalFile(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        out = np.empty(100, dtype=np.float32)
        open_array(file["x"], source).read_into(out, 0, 100)
        assert np.array_equal(out, file["x"][:])


def test_a_damaged_chunk_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.random.default_rng(0).random(1000), chunks=(100,), compression="gzip")
        at = file["x"].id.get_chunk_info(3)
    raw = bytearray(path.read_bytes())
    raw[at.byte_offset + 20 : at.byte_offset + 60] = bytes(40)
    path.write_bytes(raw)
    with h5py.File(path) as file:
        array = open_array(file["x"], LocalFile(path))
        with pytest.raises(FormatError, match=rf"a\.h5:x is damaged at byte {at.byte_offset}"):
            array.read_into(np.empty(1000), 0, 1000)


def test_chunks_beyond_the_end_are_seen_before_reading(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.random.default_rng(0).random(1000), chunks=(100,), compression="gzip")
    with h5py.File(path) as file:
        source = LocalFile(path)
        source.size = file["x"].id.get_chunk_info(9).byte_offset + 10
        with pytest.raises(FormatError, match="cut off"):
            open_array(file["x"], source)
