"""zarr, 10x .h5, mtx folders and AnnData in memory: what scanpy or anndata would read."""

import gzip
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
from scipy import sparse

from whycell.data.cells import Cells, open_cells
from whycell.errors import FormatError

NAMES = ["CD3D", "MS4A1", "CD3", "NKG7", "LYZ"]
IDS = ["ENSG1", "ENSG2", "ADT1", "ENSG4", "ENSG5"]
TYPES = ["Gene Expression", "Gene Expression", "Antibody Capture", "Gene Expression", "Gene Expression"]
BARCODES = [f"AAAC{i}-1" for i in range(40)]


def counts() -> Any:
    rng = np.random.default_rng(1)
    return sparse.csr_matrix(rng.poisson(1, (40, 5)).astype(np.int32))


def whole(cells: Cells, where: str = "X", rows: int = 7) -> np.ndarray:
    return np.concatenate([block.values.toarray() for block in cells.blocks(where, rows=rows, threads=2)])


def write_tenx(path: Path, version: int, types: list[str]) -> None:
    x = counts()
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix" if version == 3 else "GRCh38")
        for name, values in (("data", x.data), ("indices", x.indices.astype("i8")), ("indptr", x.indptr.astype("i8"))):
            group.create_dataset(name, data=values, chunks=(11,), compression="gzip", shuffle=True)
        group["shape"] = np.array([5, 40], dtype=np.int32)
        group["barcodes"] = np.array(BARCODES, dtype="S")
        if version == 2:
            group["genes"], group["gene_names"] = np.array(IDS, dtype="S"), np.array(NAMES, dtype="S")
            return
        features = {"id": IDS, "name": NAMES, "feature_type": types, "genome": ["GRCh38"] * 5}
        for name, values in features.items():
            group[f"features/{name}"] = np.array(values, dtype="S")


def write_mtx(folder: Path, zipped: bool, types: list[str] | None) -> None:
    folder.mkdir()
    scipy.io.mmwrite(folder / "matrix.mtx", counts().T, comment=" made by a test")
    (folder / "barcodes.tsv").write_text("\n".join(BARCODES) + "\n")
    columns = [IDS, NAMES, types] if types else [IDS, NAMES]
    (folder / ("features.tsv" if types else "genes.tsv")).write_text(
        "\n".join("\t".join(r) for r in zip(*columns, strict=True))
    )
    for path in list(folder.iterdir()) if zipped else []:
        Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()


@pytest.mark.parametrize("version", [2, 3])
def test_tenx_h5_keeps_the_genes(tmp_path: Path, version: int) -> None:
    write_tenx(tmp_path / "a.h5", version, TYPES)
    kept = [0, 1, 3, 4] if version == 3 else [0, 1, 2, 3, 4]
    with open_cells(tmp_path / "a.h5") as cells:
        assert cells.kind == "10x"
        assert np.array_equal(whole(cells), counts().toarray()[:, kept])
        assert cells.var().index.tolist() == [NAMES[i] for i in kept]
        assert cells.var()["gene_ids"].tolist() == [IDS[i] for i in kept]
        assert cells.obs().index.tolist() == BARCODES
        assert cells.matrices["X"].shape == (40, len(kept))
        assert cells.read_rows("X", np.array([9, 2])).toarray().tolist() == counts().toarray()[[9, 2]][:, kept].tolist()


def test_tenx_agrees_with_scanpy(tmp_path: Path) -> None:
    scanpy = pytest.importorskip("scanpy", reason="scanpy is not installed")
    write_tenx(tmp_path / "a.h5", 3, TYPES)
    expected = scanpy.read_10x_h5(tmp_path / "a.h5")
    with open_cells(tmp_path / "a.h5") as cells:
        assert np.array_equal(whole(cells), expected.X.toarray())
        assert cells.var().index.tolist() == expected.var_names.tolist()


def test_tenx_without_genes_is_refused(tmp_path: Path) -> None:
    write_tenx(tmp_path / "a.h5", 3, ["Antibody Capture"] * 5)
    with pytest.raises(FormatError, match="no Gene Expression features"):
        open_cells(tmp_path / "a.h5")


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("types", [TYPES, None])
def test_mtx_folder(tmp_path: Path, zipped: bool, types: list[str] | None) -> None:
    write_mtx(tmp_path / "m", zipped, types)
    kept = [0, 1, 3, 4] if types else [0, 1, 2, 3, 4]
    with open_cells(tmp_path / "m") as cells:
        assert cells.kind == "mtx"
        assert cells.matrices["X"].shape == (40, len(kept))
        assert np.array_equal(whole(cells), counts().toarray()[:, kept])
        assert cells.var()["gene_ids"].tolist() == [IDS[i] for i in kept]
        assert cells.obs_names.tolist() == BARCODES
        assert cells.fingerprint() == open_cells(tmp_path / "m").fingerprint()


def test_mtx_folder_of_geo_has_the_sample_before_each_name(tmp_path: Path) -> None:
    write_mtx(tmp_path / "m", zipped=True, types=TYPES)
    for path in list((tmp_path / "m").iterdir()):
        path.rename(path.with_name(f"GSM1_{path.name}"))
    with open_cells(tmp_path / "m") as cells:
        assert cells.n_cells == 40
    (tmp_path / "m" / "GSM2_matrix.mtx.gz").write_bytes(b"")
    with pytest.raises(FormatError, match="put each sample into a folder of its own"):
        open_cells(tmp_path / "m")


def test_damaged_mtx_folders_are_told(tmp_path: Path) -> None:
    write_mtx(tmp_path / "a", zipped=True, types=TYPES)
    matrix = tmp_path / "a" / "matrix.mtx.gz"
    whole_bytes = matrix.read_bytes()
    matrix.write_bytes(gzip.compress(gzip.decompress(whole_bytes)[:-40]))
    with open_cells(tmp_path / "a") as cells, pytest.raises(FormatError, match="cut off"):
        whole(cells)
    matrix.write_bytes(whole_bytes[: len(whole_bytes) // 2])
    with pytest.raises(FormatError, match="cut off"), open_cells(tmp_path / "a") as cells:
        whole(cells)
    matrix.write_bytes(whole_bytes)
    (tmp_path / "a" / "barcodes.tsv.gz").unlink()
    with pytest.raises(FormatError, match=r"has no barcodes\.tsv"):
        open_cells(tmp_path / "a")


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("kind", ["csr", "csc", "dense"])
def test_zarr_of_both_formats(tmp_path: Path, kind: str, version: int) -> None:
    x = counts().astype(np.float32)
    obs = pd.DataFrame({"t": pd.Categorical(["a", None] * 20), "s": ["é"] * 40, "f": np.arange(40.0)}, index=BARCODES)
    adata = ad.AnnData(
        x.toarray() if kind == "dense" else x.asformat(kind), obs=obs, layers={"c": x}, uns={"o": "human"}
    )
    adata.raw = adata.copy()
    with ad.settings.override(zarr_write_format=version):
        adata.write_zarr(tmp_path / "a.zarr", convert_strings_to_categoricals=False)
    with open_cells(tmp_path / "a.zarr") as cells:
        assert cells.kind == "zarr"
        assert list(cells.matrices) == ["X", "raw/X", "layers/c"]
        for where in cells.matrices:
            assert np.array_equal(whole(cells, where), x.toarray())
        pd.testing.assert_frame_equal(cells.obs(), obs, check_index_type=False, check_dtype=False)
        assert cells.var("raw/X").index.tolist() == ["0", "1", "2", "3", "4"]
        assert cells.uns("o") == "human"
        assert cells.uns("absent") is None
        assert cells.fingerprint().startswith("sha256:")


def test_a_damaged_zarr_is_told(tmp_path: Path) -> None:
    ad.AnnData(counts().astype(np.float32)).write_zarr(tmp_path / "a.zarr")
    for part in (tmp_path / "a.zarr/X/data").rglob("*"):
        if part.is_file() and part.name != "zarr.json" and part.name[0] != ".":
            part.write_bytes(part.read_bytes()[:10])
    with open_cells(tmp_path / "a.zarr") as cells, pytest.raises(FormatError, match="cannot be read"):
        whole(cells)
    (tmp_path / "b.zarr").mkdir()
    (tmp_path / "b.zarr" / ".zgroup").write_text('{"zarr_format": 2}')
    with pytest.raises(FormatError, match="not an AnnData"):
        open_cells(tmp_path / "b.zarr")


def test_memory_is_read_and_left_as_it_was(tmp_path: Path) -> None:
    x = sparse.csr_matrix(([3.0, 1.0, 0.0, 2.0], [4, 0, 2, 1], [0, 3, 4]), shape=(2, 5), dtype=np.float32)
    data, indices = x.data.copy(), x.indices.copy()
    adata = ad.AnnData(x)
    with open_cells(adata) as cells:
        assert np.array_equal(whole(cells), [[1, 0, 0, 0, 3], [0, 2, 0, 0, 0]])
        assert cells.fingerprint() == open_cells(adata.copy()).fingerprint()
        assert cells.fingerprint() != open_cells(ad.AnnData(x * 2)).fingerprint()
    assert np.array_equal(adata.X.data, data)
    assert np.array_equal(adata.X.indices, indices)


@pytest.mark.parametrize("kind", ["csr", "csc", "dense"])
def test_backed_views_and_arrays(tmp_path: Path, kind: str) -> None:
    x = counts().astype(np.float32)
    adata = ad.AnnData(x.toarray() if kind == "dense" else x.asformat(kind))
    adata.write_h5ad(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    assert np.array_equal(whole(open_cells(backed)), x.toarray())
    backed.file.close()
    assert np.array_equal(whole(open_cells(adata[5:30, [3, 1]])), x.toarray()[5:30][:, [3, 1]])
    if kind != "dense":
        array = sparse.csr_array(x) if kind == "csr" else sparse.csc_array(x)
        assert np.array_equal(whole(open_cells(ad.AnnData(array))), x.toarray())
