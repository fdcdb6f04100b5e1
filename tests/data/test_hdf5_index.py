"""The walker finds what h5py finds: chunks of every layout, names, attributes, values, texts."""

import itertools
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from whycell.data.chunks import layout_of
from whycell.data.frames import column_names, read_column, read_value
from whycell.data.hdf5_tree import Hdf5
from whycell.data.hdf5_walk import UnknownLayoutError
from whycell.data.layouts import read_layout, write_layout
from whycell.data.remote import RemoteFile
from whycell.data.remote_matrix import matrix_layout, read_rows
from whycell.errors import FormatError

#: Shape, chunk and largest shape: B-trees of one level and of two, single chunks, fixed and extensible arrays of one
#: block and of many, with pages; chunks that hang over an edge; arrays that may still grow.
SHAPES = [
    ((5000,), (10,), (None,)),
    ((5000,), (10,), None),
    ((30_000,), (7,), (None,)),
    ((30_000,), (7,), None),
    ((100, 70), (9, 8), (None, 70)),
    ((100, 70), (9, 8), (300, 200)),
    ((50,), (50,), None),
    ((100,), None, None),
]
PACKINGS = [{}, {"compression": "gzip"}, {"compression": "gzip", "shuffle": True}]


@pytest.mark.parametrize("libver", ["earliest", "v110", "latest"])
@pytest.mark.parametrize("user_block", [0, 512])
def test_every_chunk_lies_where_h5py_says(tmp_path: Path, libver: str, user_block: int) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "a.h5"
    names = []
    with h5py.File(
        path, "w", libver=(libver, libver if libver != "earliest" else "latest"), userblock_size=user_block
    ) as f:
        for i, ((shape, chunk, most), packing) in enumerate(itertools.product(SHAPES, PACKINGS)):
            if chunk is None and packing:
                continue
            dtype = ("<f4", "<i4", "<i8", ">f8")[i % 4]
            group = f.create_group(f"g{i % 4}/h{i}")
            group.create_dataset(
                "x", data=rng.integers(0, 3, shape).astype(dtype), chunks=chunk, maxshape=most, **packing
            )
            some = group.create_dataset("some", shape, dtype, chunks=chunk, maxshape=most, fillvalue=3, **packing)
            some[shape[0] // 2] = 1
            names += [f"{group.name}/x".strip("/"), f"{group.name}/some".strip("/")]
    tree = Hdf5(RemoteFile(str(path)))
    with h5py.File(path) as file:
        for name, found in zip(names, tree.layouts(names), strict=True):
            true = layout_of(file[name])
            assert true is not None
            assert found.about() == true.about()
            for part in ("offsets", "sizes", "masks"):
                assert np.array_equal(getattr(found, part), getattr(true, part)), (name, part)
            assert np.array_equal(tree[name][:], file[name][:])


def test_names_attributes_and_texts_are_those_of_h5py(tmp_path: Path) -> None:
    obs = pd.DataFrame(
        {
            "type": pd.Categorical.from_codes([0, 1, -1, 1] * 50, ["B cell", "Zelle äöü"]),
            "text": [f"cell {i}" for i in range(200)],
            "flag": np.arange(200) % 3 == 0,
            "many": np.arange(200) / 7,
            "maybe": pd.array([1, None] * 100, dtype="Int64"),
        },
        index=[f"{i}-x" for i in range(200)],
    )
    path = tmp_path / "a.h5ad"
    ad.AnnData(np.eye(200, 30, dtype=np.float32), obs=obs, uns={"title": "t", "deep": {"n": 3}}).write_h5ad(path)
    source = RemoteFile(str(path))
    tree = Hdf5(source)
    tree.load(["obs", "uns"])
    tree.fetch(["obs/text", "obs/type/codes", "obs/type/categories", "obs/not there"])
    before = source.requests
    with h5py.File(path) as file:
        assert list(tree) == list(file)
        assert column_names(tree["obs"]) == column_names(file["obs"])
        for name in ("text", "type"):
            assert list(read_column(tree["obs"], name)) == list(read_column(file["obs"], name)) or name == "type"
        assert source.requests == before  # fetched ahead: nothing more is asked for
        for name in obs:
            assert np.array_equal(
                np.asarray(read_column(tree["obs"], name)).astype(str),
                np.asarray(read_column(file["obs"], name)).astype(str),
            )
        assert read_value(tree["uns"]) == read_value(file["uns"])


@pytest.mark.parametrize("n", [8, 9, 46, 700])
@pytest.mark.parametrize("how", [{"libver": "latest"}, {"track_order": True}, {}])
def test_groups_of_any_size_are_listed(tmp_path: Path, n: int, how: dict[str, Any]) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", **how) as file:
        group = file.create_group("g", track_order=how.get("track_order"))
        for i in range(n):
            group.create_group(f"link {i} {'x' * (i % 50)}")
            if i < 200:
                group.attrs[f"a{i}"] = f"text {i}" if i % 2 else i
    tree = Hdf5(RemoteFile(str(path)))
    with h5py.File(path) as file:
        assert tree["g"].keys() == sorted(file["g"])
        assert dict(tree["g"].attrs) == dict(file["g"].attrs)


@pytest.mark.parametrize("kind", ["csr", "csc", "dense", "growing", "lzf", "int64"])
@pytest.mark.parametrize("newest", [False, True])
def test_rows_are_the_same_however_they_are_stored(tmp_path: Path, kind: str, newest: bool) -> None:
    matrix = sparse.random(300, 40, density=0.2, format="csr", random_state=1, dtype=np.float32)
    stored = {"csc": matrix.tocsc, "dense": matrix.toarray, "growing": matrix.toarray}.get(kind, matrix.copy)()
    dense = kind in ("dense", "growing")
    packing = {"compression": "lzf" if kind == "lzf" else "gzip", "chunks": (50, 7) if dense else (100,)}
    if kind == "growing":
        packing["maxshape"] = (None, None)
    path = tmp_path / "a.h5ad"
    with h5py.File(path, "w", libver="latest" if newest else "earliest") as file:
        for i in range(12 if newest else 1):  # more links than a header of the newest format keeps itself
            file.create_group(f"other {i}")
        if dense:
            file.create_dataset("X", data=stored, **packing)
        else:
            group = file.create_group("X")
            group.attrs["encoding-type"] = "csc_matrix" if kind == "csc" else "csr_matrix"
            group.attrs["shape"] = matrix.shape
            whole = np.int64 if kind == "int64" else np.int32
            group.create_dataset("data", data=stored.data, **packing)
            group.create_dataset("indices", data=stored.indices.astype(whole), **packing)
            group.create_dataset("indptr", data=stored.indptr.astype(whole), compression="gzip", chunks=(20,))
    source = RemoteFile(str(path))
    layout = matrix_layout(source)
    assert layout.encoding == ("library" if kind == "lzf" else "csc" if kind == "csc" else "dense" if dense else "csr")
    # What the fast way could not read is told: here a version 2 B-tree of chunks, and a packing of its own.
    assert bool(layout.reason) == (kind == "lzf" or (kind == "growing" and newest))
    write_layout(layout, tmp_path, key="k")
    for each in (layout, read_layout(tmp_path, key="k")):
        rows = read_rows(source, each, start=17, stop=233)
        assert (rows != matrix[17:233]).nnz == 0


def test_damage_is_told_and_never_followed_out_of_the_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    path, broken = tmp_path / "a.h5ad", tmp_path / "b.h5ad"
    matrix = sparse.random(200, 30, density=0.3, format="csr", random_state=1, dtype=np.float32)
    ad.AnnData(matrix).write_h5ad(path, compression="gzip")
    raw = path.read_bytes()
    layout = matrix_layout(RemoteFile(str(path)))
    told = np.ones(len(raw), dtype=bool)
    for offset, size in layout.ranges(0, 200):
        told[offset : offset + size] = False  # damage in a chunk is the inflater's to find
    places = np.flatnonzero(told)
    outcomes = set()
    for _ in range(200):
        bad = bytearray(raw)
        for place in rng.choice(places, 8):
            bad[place] = rng.integers(256)
        cut = rng.random() < 0.2
        broken.write_bytes(bytes(bad[: rng.integers(len(raw) // 2, len(raw))] if cut else bad))
        try:
            source = RemoteFile(str(broken))
            rows = read_rows(source, matrix_layout(source), start=0, stop=200)
            outcomes.add("read" if rows.shape == (200, 30) else "wrong")
        except FormatError as error:
            outcomes.add("told" if str(broken) in str(error) else str(error))
        except UnknownLayoutError:
            outcomes.add("escaped")
    assert outcomes <= {"read", "told"}
