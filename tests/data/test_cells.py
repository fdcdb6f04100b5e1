"""Blocks put together are the matrix, however it is stored and however it is asked for."""

import itertools
import threading
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from whycell.data import columns as by_columns
from whycell.data import rows as by_rows
from whycell.data.cells import Block, Cells, open_cells
from whycell.errors import FormatError, UsageError


def counts(n: int, genes: int, seed: int = 0, density: float = 0.2) -> Any:
    rng = np.random.default_rng(seed)
    dense = rng.poisson(2, (n, genes)) * (rng.random((n, genes)) < density)
    return sparse.csr_matrix(dense.astype(np.float32))


def whole(cells: Cells, where: str = "X", **how: Any) -> np.ndarray:
    blocks = list(cells.blocks(where, **how))
    assert [b.start for b in blocks] == [0, *[b.stop for b in blocks[:-1]]][: len(blocks)]
    for block in blocks:
        tidy(block)
    n_genes = cells.matrices[where].shape[1]
    return np.concatenate([b.values.toarray() for b in blocks] or [np.zeros((0, n_genes))])


def tidy(block: Block) -> None:
    values = block.values
    assert values.shape[0] == block.stop - block.start
    assert (values.dtype, values.indices.dtype) == (np.float32, np.int32)
    assert values.data.size == np.count_nonzero(values.data)
    for low, high in itertools.pairwise(values.indptr):
        assert (np.diff(values.indices[low:high]) > 0).all()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_blocks_of_any_csr_or_csc_layout_are_the_matrix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    n, genes = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 30))
    matrix = counts(n, genes, seed=data.draw(st.integers(0, 99)), density=data.draw(st.sampled_from([0, 0.1, 0.9])))
    encoding = data.draw(st.sampled_from(["csr", "csc"]))
    stored = matrix.asformat(encoding)
    order = np.arange(stored.nnz)
    if data.draw(st.booleans()):  # indices within a row or column in any order, as some writers leave them
        rng = np.random.default_rng(0)
        for low, high in itertools.pairwise(stored.indptr):
            order[low:high] = rng.permutation(order[low:high])
    layout = {"chunks": (data.draw(st.integers(1, 200)),), "maxshape": (None,)}
    layout |= data.draw(st.sampled_from([{"compression": "gzip"}, {"compression": "gzip", "shuffle": True}, {}]))
    path = tmp_path / "a.h5ad"
    ad.AnnData(obs=pd.DataFrame(index=[f"c{i}" for i in range(n)]), shape=(n, genes)).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        if "X" in file:
            del file["X"]
        group = file.create_group("X")
        group.attrs["encoding-type"], group.attrs["encoding-version"] = f"{encoding}_matrix", "0.1.0"
        group.attrs["shape"] = np.array([n, genes])
        values = stored.data[order].astype(data.draw(st.sampled_from(["f4", "f8", "i4", "u2"])))
        group.create_dataset("data", data=values, **layout)
        group.create_dataset(
            "indices", data=stored.indices[order].astype(data.draw(st.sampled_from(["i4", "i8"]))), **layout
        )
        group.create_dataset("indptr", data=stored.indptr)
    monkeypatch.setattr(by_rows, "WINDOW", data.draw(st.sampled_from([1, 50, 10**6])))
    monkeypatch.setattr(by_rows, "PART", data.draw(st.sampled_from([1, 64, 10**6])))
    monkeypatch.setattr(by_columns, "STRIP", data.draw(st.sampled_from([1, 40, 10**6])))
    monkeypatch.setattr(by_columns, "IN_MEMORY", data.draw(st.sampled_from([0, 10**9])))
    expected = ad.read_h5ad(path).X.toarray()
    assert np.array_equal(expected, matrix.toarray())
    with open_cells(path) as cells:
        for rows, threads in ((1, 1), (7, 2), (n, 2), (4096, 0)):
            assert np.array_equal(whole(cells, rows=rows, threads=threads), expected)
        asked = np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=12)), dtype=int)
        assert np.array_equal(cells.read_rows("X", asked).toarray(), expected[asked])


@pytest.mark.parametrize("compression", [None, "gzip", "lzf"])
@pytest.mark.parametrize("kind", ["csr", "csc", "dense"])
def test_every_matrix_of_a_file_is_what_anndata_reads(tmp_path: Path, kind: str, compression: str | None) -> None:
    x = counts(50, 12)
    adata = ad.AnnData(x.toarray() if kind == "dense" else x.asformat(kind), layers={"counts": x * 2})
    adata.raw = ad.AnnData(sparse.hstack([x, x], format="csr"), var=pd.DataFrame({"s": list("abcd") * 6}))
    adata.write_h5ad(tmp_path / "a.h5ad", compression=compression)
    back = ad.read_h5ad(tmp_path / "a.h5ad")
    with open_cells(tmp_path / "a.h5ad") as cells, open_cells(back) as memory:
        assert list(cells.matrices) == ["X", "raw/X", "layers/counts"]
        assert cells.matrices["X"].encoding == kind
        for other in (cells, memory):
            assert np.array_equal(whole(other, rows=9), x.toarray())
            assert np.array_equal(whole(other, "layers/counts"), 2 * x.toarray())
            assert np.array_equal(whole(other, "raw/X"), sparse.hstack([x, x]).toarray())
            pd.testing.assert_frame_equal(other.var("raw/X"), back.raw.var, check_names=False)
            assert other.sample("X", 20, seed=3).shape == (20, 12)


def test_duplicates_are_summed_and_stored_zeros_dropped(tmp_path: Path) -> None:
    x = sparse.csr_matrix(([1.0, 2.0, 0.0, 5.0], [2, 2, 1, 0], [0, 3, 4]), shape=(2, 3), dtype=np.float32)
    ad.AnnData(x).write_h5ad(tmp_path / "a.h5ad")
    with open_cells(tmp_path / "a.h5ad") as cells:
        (block,) = cells.blocks()
    tidy(block)
    assert np.array_equal(block.values.toarray(), [[0, 0, 3], [5, 0, 0]])


def test_nan_and_infinity_come_through_dense(tmp_path: Path) -> None:
    x = np.array([[0, np.nan, 1], [np.inf, 0, 0]], dtype=np.float32)
    ad.AnnData(x).write_h5ad(tmp_path / "a.h5ad")
    with open_cells(tmp_path / "a.h5ad") as cells:
        assert np.array_equal(whole(cells), x, equal_nan=True)


def test_obs_of_every_encoding(tmp_path: Path) -> None:
    obs = pd.DataFrame(
        {
            "text": ["x", "y", "zé"],
            "type": pd.Categorical(["a", None, "b"], categories=["b", "a", "c"], ordered=True),
            "grade": pd.Categorical([3, 1, None], categories=[1, 3]),
            "n": pd.array([1, None, 3], dtype="Int64"),
            "ok": pd.array([True, None, False], dtype="boolean"),
            "f": np.array([1.5, np.nan, 2], dtype=np.float32),
            "flag": [True, False, True],
        },
        index=["c1", "c2", "c3"],
    )
    adata = ad.AnnData(counts(3, 2), obs=obs, uns={"a": {"b": [1, 2], "t": "text", "x": True}, "org": "human"})
    adata.write_h5ad(tmp_path / "a.h5ad", convert_strings_to_categoricals=False)
    with open_cells(tmp_path / "a.h5ad") as cells:
        pd.testing.assert_frame_equal(cells.obs(), obs, check_index_type=False)
        assert list(cells.obs(["n", "text"])) == ["n", "text"]
        assert cells.uns("org") == "human"
        assert cells.uns("a")["t"] == "text"
        assert cells.uns("absent", default=3) == 3
        with pytest.raises(UsageError, match="no obs column 'cell'; it has text, type"):
            cells.obs(["cell"])
        with pytest.raises(UsageError, match="no matrix 'raw/X'; it has X"):
            next(cells.blocks("raw/X"))


def old_style(path: Path, frame: bool) -> None:
    """An h5ad as anndata 0.6 (records) or 0.7 (``__categories``) wrote it."""
    with h5py.File(path, "w") as file:
        group = file.create_group("X")
        x = counts(3, 2, density=1)
        group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = "csr", np.array(x.shape)
        for part in ("data", "indices", "indptr"):
            group[part] = getattr(x, part)
        if not frame:
            kind = [("index", "S4"), ("type", "i1"), ("n", "f4")]
            file["obs"] = np.array([(b"c1", 0, 1), (b"c2", 1, 2), (b"c3", 0, 3)], dtype=kind)
            file["var"] = np.array([(b"g1",), (b"g2",)], dtype=[("index", "S4")])
            file["uns/type_categories"] = np.array([b"T", b"B"])
            return
        for name, index in (("obs", ["c1", "c2", "c3"]), ("var", ["g1", "g2"])):
            stored = file.create_group(name)
            stored.attrs["_index"], stored.attrs["encoding-type"] = "_index", "dataframe"
            stored.attrs["encoding-version"] = "0.1.0"
            stored["_index"] = np.array(index, dtype=h5py.string_dtype())
            stored.attrs["column-order"] = np.array([], dtype=h5py.string_dtype())
        file["obs/type"] = np.array([0, 1, -1], dtype=np.int8)
        file["obs/__categories/type"] = np.array(["T", "B"], dtype=h5py.string_dtype())
        file["obs/type"].attrs["categories"] = file["obs/__categories/type"].ref
        file["obs"].attrs["column-order"] = ["type"]


@pytest.mark.parametrize("frame", [True, False])
def test_files_of_old_anndata(tmp_path: Path, frame: bool) -> None:
    old_style(tmp_path / "a.h5ad", frame)
    with open_cells(tmp_path / "a.h5ad") as cells:
        assert cells.obs_names.tolist() == ["c1", "c2", "c3"]
        assert cells.var().index.tolist() == ["g1", "g2"]
        types = cells.obs(["type"])["type"]
        assert types.astype(object).where(types.notna(), None).tolist() == ["T", "B", None if frame else "T"]
        assert np.array_equal(whole(cells), counts(3, 2, density=1).toarray())


def test_damaged_categories_are_told(tmp_path: Path) -> None:
    adata = ad.AnnData(counts(3, 2), obs=pd.DataFrame({"t": pd.Categorical(list("aba"))}, index=list("xyz")))
    adata.write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "r+") as file:
        file["obs/t/codes"][0] = 5
    with open_cells(tmp_path / "a.h5ad") as cells, pytest.raises(FormatError, match="obs/t has a code 5 for 2"):
        cells.obs()
    with h5py.File(tmp_path / "a.h5ad", "r+") as file:
        del file["obs/t/categories"]
    with open_cells(tmp_path / "a.h5ad") as cells, pytest.raises(FormatError, match="obs/t cannot be read"):
        cells.obs()


def test_what_is_not_a_file_of_cells_is_refused_in_one_sentence(tmp_path: Path) -> None:
    good = tmp_path / "good.h5ad"
    ad.AnnData(counts(300, 50)).write_h5ad(good, compression="gzip")
    raw = good.read_bytes()
    (tmp_path / "text.h5ad").write_text("cells,genes\n1,2\n")
    (tmp_path / "empty.h5ad").write_bytes(b"")
    (tmp_path / "cut.h5ad").write_bytes(raw[: len(raw) // 2])
    (tmp_path / "header.h5ad").write_bytes(raw[:50])
    (tmp_path / "folder").mkdir()
    with h5py.File(tmp_path / "other.h5ad", "w") as file:
        file["reads"] = 1
    with h5py.File(tmp_path / "mu.h5ad", "w") as file:
        file["mod/rna"] = 1
    wanted = {
        "missing.h5ad": "does not exist",
        "text.h5ad": "not an HDF5 file",
        "empty.h5ad": "is empty",
        "cut.h5ad": "is cut off",
        "header.h5ad": "header.h5ad is ",
        "folder": "without a zarr store or a matrix.mtx",
        "other.h5ad": "it holds reads, wanted X, obs and var",
        "mu.h5ad": "MuData",
    }
    for name, sentence in wanted.items():
        with pytest.raises(FormatError, match=sentence) as error:
            open_cells(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match="from a int"):
        open_cells(3)


def test_an_index_outside_the_matrix_is_refused(tmp_path: Path) -> None:
    ad.AnnData(counts(20, 5)).write_h5ad(tmp_path / "a.h5ad")
    with h5py.File(tmp_path / "a.h5ad", "r+") as file:
        file["X/indices"][3] = 99
    with open_cells(tmp_path / "a.h5ad") as cells, pytest.raises(FormatError, match="column 99 but has 5"):
        list(cells.blocks())


def test_an_abandoned_loop_leaves_no_threads(tmp_path: Path) -> None:
    ad.AnnData(counts(500, 20)).write_h5ad(tmp_path / "a.h5ad", compression="gzip")
    before = threading.active_count()
    with open_cells(tmp_path / "a.h5ad") as cells:
        loop = cells.blocks(rows=10)
        next(loop)
        loop.close()
    assert threading.active_count() == before


def test_a_sample_is_spread_and_repeatable(tmp_path: Path) -> None:
    adata = ad.AnnData(counts(1000, 5), obs=pd.DataFrame(index=[f"c{i}" for i in range(1000)]))
    with open_cells(adata) as cells:
        rows = cells.sample_rows(80, seed=1)
        assert rows.size == 80 == np.unique(rows).size
        assert (np.diff(rows) > 0).all()
        assert np.histogram(rows, bins=8, range=(0, 1000))[0].min() > 0
        assert np.array_equal(rows, cells.sample_rows(80, seed=1))
        assert cells.sample_rows(5000).size == 1000
        assert np.array_equal(cells.sample("X", 80, seed=1).toarray(), adata.X[rows].toarray())


def test_real_files_are_what_anndata_reads(shared_data: Path) -> None:
    for path in sorted((shared_data / "cells").glob("*.h5ad")):
        expected = ad.read_h5ad(path)
        with open_cells(path) as cells:
            total = sum(float(block.values.sum(dtype=np.float64)) for block in cells.blocks(rows=1000))
            assert total == float(expected.X.sum(dtype=np.float64))
            assert (cells.sample("X", 200) != expected.X[cells.sample_rows(200)]).nnz == 0
            pd.testing.assert_frame_equal(cells.obs(), expected.obs, check_names=False)


def test_bytes_changed_within_the_chunks_never_pass_silently(tmp_path: Path) -> None:
    path = tmp_path / "a.h5ad"
    matrix = counts(200, 30)
    ad.AnnData(matrix).write_h5ad(path, compression="gzip")
    chunks: list[Any] = []
    with h5py.File(path) as file:
        for part in ("data", "indices"):
            file[f"X/{part}"].id.chunk_iter(chunks.append)
    raw = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        chunk = chunks[rng.integers(len(chunks))]
        at = chunk.byte_offset + int(rng.integers(2, chunk.size))
        path.write_bytes(raw[:at] + bytes([raw[at] ^ int(rng.integers(1, 256))]) + raw[at + 1 :])
        with open_cells(path) as cells, pytest.raises(FormatError, match="a chunk does not inflate"):
            list(cells.blocks(threads=1))
