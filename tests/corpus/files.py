"""Small files of every kind that people keep cells in, and some that only look like one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

__all__ = ["CITATION", "every_kind"]

GENES = ["CD3E", "CD4", "CD8A", "MS4A1", "NKG7", "LYZ", "GNLY", "CD14", "FCGR3A", "PPBP", "CST3", "CCR7"]
IDS = ["ENSG00000198851", "ENSG00000010610", "ENSG00000153563", "ENSG00000156738", "ENSG00000105374",
       "ENSG00000090382", "ENSG00000115523", "ENSG00000170458", "ENSG00000203747", "ENSG00000163736",
       "ENSG00000101439", "ENSG00000126353"]  # fmt: skip
CITATION = (
    "Publication: https://doi.org/10.1/x Dataset Version: https://datasets.cellxgene.cziscience.com/a.h5ad curated and "
    "distributed by CZ CELLxGENE Discover in Collection: "
    "https://cellxgene.cziscience.com/collections/11111111-2222-3333-4444-555555555555"
)


def _cells(seed: int, n: int = 60) -> ad.AnnData:
    rng = np.random.default_rng(seed)
    counts = sp.csr_matrix(rng.poisson(1.5, (n, len(GENES))).astype(np.float32))
    types = np.array(["B cell", "T cell", "monocyte"])[np.sort(rng.integers(0, 3, n))]
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(types),
            "donor_id": pd.Categorical(np.repeat([f"D{i}" for i in range(3)], n // 3)),
            "tissue": pd.Categorical(["blood"] * n),
            "quality": rng.random(n),
        },
        index=[f"cell{i}" for i in range(n)],
    )
    return ad.AnnData(counts, obs=obs, var=pd.DataFrame({"feature_name": GENES}, index=IDS))


def every_kind(folder: Path) -> dict[str, ad.AnnData | str]:
    """Write one file of each kind; what was written by name, or why it cannot be read."""
    folder.mkdir(parents=True, exist_ok=True)
    made: dict[str, Any] = {}

    def write(name: str, cells: ad.AnnData, **how: Any) -> None:
        cells.write_h5ad(folder / name, **how)
        made[name] = cells

    write("csr.h5ad", _cells(1), compression="gzip")
    csc = _cells(2)
    csc.X = sp.csc_matrix(csc.X)
    write("csc.h5ad", csc, compression="gzip")
    dense = _cells(3)
    dense.X = dense.X.toarray()
    write("dense.h5ad", dense)
    write("dense_gzip.h5ad", dense.copy(), compression="gzip")

    raw = _cells(4)
    raw.raw = raw.copy()
    raw.X = sp.csr_matrix(np.log1p(raw.X.toarray() / raw.X.sum(axis=1) * 1e4).astype(np.float32))
    write("raw.h5ad", raw[:, :8].copy())
    layer = _cells(5)
    layer.layers["counts"] = layer.X.copy()
    layer.X = np.asarray((layer.X.toarray() - 1.5) / 1.2, dtype=np.float32)
    write("layer.h5ad", layer)

    schema = _cells(6)
    schema.obs["cell_type_ontology_term_id"] = pd.Categorical(
        schema.obs["cell_type"].map({"B cell": "CL:0000236", "T cell": "CL:0000084", "monocyte": "CL:0000576"})
    )
    schema.obs["tissue_ontology_term_id"] = pd.Categorical(["UBERON:0000178"] * 60)
    schema.obs["organism_ontology_term_id"] = pd.Categorical(["NCBITaxon:9606"] * 60)
    schema.obs["is_primary_data"] = np.arange(60) < 45
    schema.obs["n_counts"] = np.asarray(schema.X.sum(axis=1)).ravel()
    schema.obs["nFeature_RNA"] = np.diff(schema.X.indptr)
    schema.uns |= {"title": "Schema 5", "schema_version": "5.2.0", "citation": CITATION}
    write("schema5.h5ad", schema)
    newest = schema.copy()
    del newest.obs["organism_ontology_term_id"]
    newest.uns |= {"organism_ontology_term_id": "NCBITaxon:10090", "schema_version": "7.0.0", "title": "Schema 7"}
    write("schema7.h5ad", newest)

    words = _cells(7)  # other names, text instead of categories, missing codes, ids found by their looks
    words.obs = pd.DataFrame(
        {
            "Cell.Type": pd.Categorical.from_codes([-1, 0, 1] * 20, ["B cells", "never heard of"]),
            "patient": ["p1"] * 30 + ["p2"] * 30,
            "what": ["CL:0000236"] * 60,
            "Disease.Status": pd.Categorical(["healthy"] * 60),
        },
        index=words.obs_names,
    )
    words.var = pd.DataFrame(index=GENES)
    write("words.h5ad", words)

    made["old_categories.h5ad"] = _old_categories(folder / "old_categories.h5ad")
    made["records.h5ad"] = _records(folder / "records.h5ad")
    made |= _strangers(folder)
    return made


def _old_categories(path: Path) -> ad.AnnData:
    """As anndata 0.7 wrote categories: codes in obs, names under ``__categories``."""
    cells = _cells(8)
    cells.write_h5ad(path)
    with h5py.File(path, "a") as file:
        obs = file["obs"]
        kept = obs.create_group("__categories")
        for name in ("cell_type", "donor_id", "tissue"):
            codes, names = obs[name]["codes"][:], obs[name]["categories"][:]
            del obs[name]
            kept[name] = names
            obs[name] = codes
            obs[name].attrs["categories"] = kept[name].ref
    return cells


def _records(path: Path) -> ad.AnnData:
    """As anndata 0.6 wrote data frames: arrays of records, and names of codes in uns."""
    cells = _cells(9)
    types = cells.obs["cell_type"].cat
    with h5py.File(path, "w") as file:
        obs = np.zeros(60, dtype=[("index", "S10"), ("cell_type", "i1"), ("n_counts", "f4")])
        obs["index"], obs["cell_type"] = [name.encode() for name in cells.obs_names], types.codes
        obs["n_counts"] = np.asarray(cells.X.sum(axis=1)).ravel()
        file["obs"] = obs
        var = np.zeros(len(IDS), dtype=[("index", "S16")])
        var["index"] = [name.encode() for name in IDS]
        file["var"] = var
        file["uns/cell_type_categories"] = np.array([name.encode() for name in types.categories])
        group = file.create_group("X")
        group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = "csr", np.array(cells.shape)
        group["data"], group["indices"], group["indptr"] = cells.X.data, cells.X.indices, cells.X.indptr
    return cells


def _strangers(folder: Path) -> dict[str, str]:
    (folder / "empty.h5ad").touch()
    (folder / "text.h5ad").write_text("cell\tgene\n", encoding="utf-8")
    whole = (folder / "csr.h5ad").read_bytes()
    (folder / "cut.h5ad").write_bytes(whole[: len(whole) * 2 // 3])
    damaged = bytearray(whole)
    damaged[200:] = bytes(len(damaged) - 200)
    (folder / "zeros.h5ad").write_bytes(damaged)
    with h5py.File(folder / "loom.h5ad", "w") as file:
        file["matrix"] = np.zeros((2, 2))
        file.create_group("row_attrs")
    ad.AnnData(obs=pd.DataFrame(index=["a", "b"])).write_h5ad(folder / "no_matrix.h5ad")
    return {
        "empty.h5ad": "is empty",
        "text.h5ad": "is not an HDF5 file",
        "cut.h5ad": "cut off",
        "zeros.h5ad": "",
        "loom.h5ad": "holds matrix, row_attrs",
        "no_matrix.h5ad": "no matrix",
    }
