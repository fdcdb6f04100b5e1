"""The output is the input's bytes plus columns: same chunks, same bytes every time, nothing lost when it fails."""

import hashlib
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from whycell.data import write as writer
from whycell.data.cells import check_output, open_cells, write_annotation
from whycell.errors import OutputError, UsageError

PROVENANCE = {
    "model": {"name": "blood", "classes": ["a", "b"], "thresholds": [0.5, 0.25], "licence": None},
    "seed": 3,
    "exact": True,
    "share": 0.75,
    "empty": [],
    "findings": [{"code": "x", "level": "info"}],
    "odd": {"a/b": 1},
}


def adata(n: int = 300) -> Any:
    rng = np.random.default_rng(0)
    x = sparse.csr_matrix(rng.poisson(0.3, (n, 40)).astype(np.float32))
    obs = pd.DataFrame(
        {"donor": pd.Categorical(["d1", "d2"] * (n // 2)), "n": np.arange(n)}, index=[f"c{i}" for i in range(n)]
    )
    made = ad.AnnData(x, obs=obs, uns={"title": "t"}, obsm={"X_pca": rng.random((n, 2))}, layers={"counts": x})
    made.raw = made.copy()
    return made


def new_columns(n: int = 300, first: str = "T cell") -> pd.DataFrame:
    calls = pd.Categorical([first, "B cell", None] * (n // 3), categories=["B cell", first])
    score = np.linspace(0, 1, n, dtype=np.float32)
    return pd.DataFrame({"whycell": calls, "whycell_confidence": score, "whycell_flag": ["", "novel", ""] * (n // 3)})


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    adata().write_h5ad(tmp_path / "in.h5ad", compression="gzip")
    return tmp_path / "in.h5ad"


def test_anndata_reads_it_back_with_everything_that_was_there(source: Path, tmp_path: Path) -> None:
    before = digest(source)
    with open_cells(source) as cells:
        write_annotation(cells, tmp_path / "out.h5ad", new_columns(), uns=("whycell", PROVENANCE))
    assert digest(source) == before
    got, expected = ad.read_h5ad(tmp_path / "out.h5ad"), ad.read_h5ad(source)
    columns = new_columns().set_index(expected.obs_names)
    pd.testing.assert_frame_equal(got.obs, expected.obs.join(columns))
    assert (got.X != expected.X).nnz == 0
    assert (got.raw.X != expected.raw.X).nnz == 0
    assert list(got.obsm) == ["X_pca"]
    assert got.uns["title"] == "t"
    assert got.uns["whycell"]["model"]["classes"].tolist() == ["a", "b"]
    assert got.uns["whycell"]["model"]["thresholds"].tolist() == [0.5, 0.25]
    assert (got.uns["whycell"]["seed"], got.uns["whycell"]["exact"], got.uns["whycell"]["share"]) == (3, True, 0.75)
    assert got.uns["whycell"]["odd"] == '{"a/b": 1}'
    assert got.uns["whycell"]["findings"] == '[{"code": "x", "level": "info"}]'
    got.write_h5ad(tmp_path / "again.h5ad")


def test_the_chunks_of_the_input_are_at_their_place_byte_for_byte(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5ad"
    with open_cells(source) as cells:
        write_annotation(cells, out, new_columns(), uns=("whycell", PROVENANCE))
    raw_in, raw_out = source.read_bytes(), out.read_bytes()
    with h5py.File(source) as a, h5py.File(out) as b:
        for name in ("X", "raw/X", "layers/counts"):
            for part in ("data", "indices", "indptr"):
                chunks: list[list[Any]] = [[], []]
                a[f"{name}/{part}"].id.chunk_iter(chunks[0].append)
                b[f"{name}/{part}"].id.chunk_iter(chunks[1].append)
                assert chunks[0] == chunks[1]
                for c in chunks[0]:
                    there = slice(c.byte_offset, c.byte_offset + c.size)
                    assert raw_in[there] == raw_out[there]


def test_the_same_input_gives_the_same_bytes(source: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        with open_cells(source) as cells:
            write_annotation(cells, tmp_path / f"{name}.h5ad", new_columns(), uns=("whycell", PROVENANCE))
    assert digest(tmp_path / "a.h5ad") == digest(tmp_path / "b.h5ad")


def test_nothing_is_replaced_without_force(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5ad"
    with open_cells(source) as cells:
        write_annotation(cells, out, new_columns(), uns=("whycell", {"a": 1}))
        with pytest.raises(OutputError, match=r"out\.h5ad exists; force"):
            write_annotation(cells, out, new_columns())
        with pytest.raises(OutputError, match="is the input; ask for inplace"):
            write_annotation(cells, source, new_columns(), force=True)
        with pytest.raises(OutputError, match="does not exist; make it first"):
            check_output(cells, tmp_path / "no" / "out.h5ad", [])
        write_annotation(cells, out, new_columns(first="T"), force=True)
    with open_cells(out) as cells:
        with pytest.raises(OutputError, match="already has the obs column 'whycell'"):
            write_annotation(cells, tmp_path / "out2.h5ad", new_columns())
        with pytest.raises(OutputError, match="already has 'title' in uns"):
            check_output(cells, tmp_path / "out2.h5ad", [], uns_key="title")
        write_annotation(cells, tmp_path / "out2.h5ad", new_columns(first="NK"), force=True)
    back = ad.read_h5ad(tmp_path / "out2.h5ad")
    assert back.obs["whycell"].cat.categories.tolist() == ["B cell", "NK"]
    assert back.obs.columns.tolist() == ["donor", "n", "whycell", "whycell_confidence", "whycell_flag"]


@pytest.mark.parametrize("name", ["cell_type", "donor_id", "observation_joinid", "__mine", "a/b"])
def test_names_that_belong_to_others_are_never_written(source: Path, tmp_path: Path, name: str) -> None:
    columns = pd.DataFrame({name: np.zeros(300)})
    with open_cells(source) as cells, pytest.raises(OutputError, match="choose another key"):
        write_annotation(cells, tmp_path / "out.h5ad", columns, force=True)
    assert not (tmp_path / "out.h5ad").exists()


def test_columns_that_do_not_fit_are_refused(source: Path, tmp_path: Path) -> None:
    with open_cells(source) as cells:
        with pytest.raises(UsageError, match="3 rows were given for the 300 cells"):
            write_annotation(cells, tmp_path / "o.h5ad", new_columns(3))
        with pytest.raises(UsageError, match="not the cells of"):
            write_annotation(cells, tmp_path / "o.h5ad", new_columns().set_index(cells.obs_names[::-1]))
        with pytest.raises(UsageError, match="not text"):
            write_annotation(cells, tmp_path / "o.h5ad", pd.DataFrame({"a": np.array([None] * 300, dtype=object)}))
        for both in ({"output": None}, {"output": tmp_path / "o.h5ad", "inplace": True}):
            with pytest.raises(UsageError, match="Exactly one"):
                write_annotation(cells, columns=new_columns(), **both)


def test_in_place_follows_links_and_keeps_the_mode(source: Path, tmp_path: Path) -> None:
    source.chmod(0o640)
    link = tmp_path / "link.h5ad"
    link.symlink_to(source)
    with open_cells(link) as cells:
        write_annotation(cells, None, new_columns(), inplace=True)
    assert link.is_symlink()
    assert source.stat().st_mode & 0o777 == 0o640
    assert "whycell" in ad.read_h5ad(source).obs


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("disk full")])
@pytest.mark.parametrize("inplace", [False, True])
def test_an_interruption_leaves_the_old_file_and_nothing_else(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Any, inplace: bool
) -> None:
    def stop(*args: Any, **kwargs: Any) -> None:
        raise error

    before = digest(source)
    monkeypatch.setattr(writer, "put_value", stop)
    out = None if inplace else tmp_path / "out.h5ad"
    with open_cells(source) as cells, pytest.raises(OutputError if isinstance(error, OSError) else KeyboardInterrupt):
        write_annotation(cells, out, new_columns(), uns=("whycell", PROVENANCE), inplace=inplace)
    assert [p.name for p in tmp_path.iterdir()] == ["in.h5ad"]
    assert digest(source) == before


@pytest.mark.parametrize("version", [2, 3])
def test_zarr_in_zarr_out(tmp_path: Path, version: int) -> None:
    with ad.settings.override(zarr_write_format=version):
        adata().write_zarr(tmp_path / "in.zarr")
    with open_cells(tmp_path / "in.zarr") as cells:
        for name in ("a", "b"):
            write_annotation(cells, tmp_path / f"{name}.zarr", new_columns(), uns=("whycell", PROVENANCE))
        write_annotation(cells, tmp_path / "a.zarr", new_columns(), uns=("whycell", PROVENANCE), force=True)
    files = {
        p.relative_to(tmp_path / "a.zarr"): p.read_bytes() for p in (tmp_path / "a.zarr").rglob("*") if p.is_file()
    }
    for path, content in files.items():
        assert (tmp_path / "b.zarr" / path).read_bytes() == content
    for path in (tmp_path / "in.zarr" / "X").rglob("*"):
        assert path.is_dir() or files[path.relative_to(tmp_path / "in.zarr")] == path.read_bytes()
    back = ad.read_zarr(tmp_path / "a.zarr")
    assert back.obs.columns.tolist() == ["donor", "n", "whycell", "whycell_confidence", "whycell_flag"]
    assert back.obs["whycell"].isna().sum() == 100
    assert back.uns["whycell"]["seed"] == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "b.zarr", "in.zarr"]
    with open_cells(tmp_path / "in.zarr") as cells:
        write_annotation(cells, None, new_columns(), inplace=True)
    assert "whycell" in ad.read_zarr(tmp_path / "in.zarr").obs


def test_memory_out_to_a_file_and_into_itself(tmp_path: Path) -> None:
    made = adata()
    with open_cells(made) as cells:
        write_annotation(cells, tmp_path / "out.h5ad", new_columns(), uns=("whycell", PROVENANCE))
        assert "whycell" not in made.obs
        write_annotation(cells, None, new_columns(), uns=("whycell", PROVENANCE), inplace=True)
    back = ad.read_h5ad(tmp_path / "out.h5ad")
    pd.testing.assert_frame_equal(back.obs, made.obs)
    assert (back.X != made.X).nnz == 0
    assert made.uns["whycell"]["seed"] == 3


def test_mtx_becomes_an_h5ad(tmp_path: Path) -> None:
    import scipy.io

    made = adata()
    (tmp_path / "m").mkdir()
    scipy.io.mmwrite(tmp_path / "m" / "matrix.mtx", made.X.T)
    (tmp_path / "m" / "barcodes.tsv").write_text("\n".join(made.obs_names))
    (tmp_path / "m" / "genes.tsv").write_text("\n".join(f"ENSG{i}\tG{i}" for i in range(40)))
    with open_cells(tmp_path / "m") as cells:
        for name in ("a", "b"):
            write_annotation(cells, tmp_path / f"{name}.h5ad", new_columns(), uns=("whycell", PROVENANCE))
        with pytest.raises(UsageError, match="give an output path"):
            write_annotation(cells, None, new_columns(), inplace=True)
    back = ad.read_h5ad(tmp_path / "a.h5ad")
    assert (back.X != made.X).nnz == 0
    assert back.var["gene_ids"].tolist()[:2] == ["ENSG0", "ENSG1"]
    assert back.obs_names.tolist() == made.obs_names.tolist()
    assert digest(tmp_path / "a.h5ad") == digest(tmp_path / "b.h5ad")


def test_records_of_2019_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "old.h5ad", "w") as file:
        file["X"] = np.ones((300, 2), dtype="f4")
        file["obs"] = np.array([(b"c", 1)] * 300, dtype=[("index", "S4"), ("n", "i4")])
        file["var"] = np.array([(b"g1",), (b"g2",)], dtype=[("index", "S4")])
    with open_cells(tmp_path / "old.h5ad") as cells, pytest.raises(OutputError, match="save it anew with anndata"):
        write_annotation(cells, tmp_path / "out.h5ad", new_columns())
    assert [p.name for p in tmp_path.iterdir()] == ["old.h5ad"]
