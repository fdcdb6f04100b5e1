"""A file of 100,000 cells x 20,000 genes as anndata writes one: gzip, about 1,100 genes a cell, small skewed counts."""

from __future__ import annotations

import tempfile
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

__all__ = ["big_file", "big_file_of_genes"]

TYPES, STEP = 12, 2000


def big_file(n_cells: int = 100_000, n_genes: int = 20_000, *, molecules: int = 1450) -> Path:
    """Path of the file, made once and kept in the temporary folder (under a minute, 2.5 GB while it is made).

    Parameters
    ----------
    n_cells, n_genes
        Its size.
    molecules
        Median of the counts of a cell.
    """
    path = Path(tempfile.gettempdir()) / f"whycell-bench-{n_cells}x{n_genes}-{molecules}.h5ad"
    if path.exists():
        return path
    rng = np.random.default_rng(0)
    base = rng.normal(0, 1.7, n_genes)  # log expression: a few genes take most molecules
    profiles = [np.cumsum(_share(base + rng.normal(0, 0.7, n_genes))) for _ in range(TYPES)]
    kinds = rng.integers(0, TYPES, n_cells)
    parts = [_draw(rng, profiles, kinds[at : at + STEP], n_genes, molecules) for at in range(0, n_cells, STEP)]
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(kinds.astype(str)),
            "donor_id": pd.Categorical(rng.integers(0, 8, n_cells).astype(str)),
        },
        index=[f"cell{i:06d}" for i in range(n_cells)],
    )
    made = ad.AnnData(
        sparse.vstack(parts, format="csr"), obs=obs, var=pd.DataFrame(index=[f"G{i}" for i in range(n_genes)])
    )
    temporary = path.with_suffix(".part")
    made.write_h5ad(temporary, compression="gzip")
    return temporary.replace(path)


def big_file_of_genes(n_cells: int = 100_000, n_genes: int = 20_000) -> Path:
    """The same file with real Ensembl ids, those that code for proteins first."""
    import shutil

    import h5py

    from whycell.knowledge.genes import GeneTable

    source = big_file(n_cells, n_genes)
    path = source.with_name(source.name.replace("whycell-bench-", "whycell-bench-genes-"))
    if not path.exists():
        part = path.with_suffix(".part")
        shutil.copyfile(source, part)
        table = GeneTable.load("human")
        coding = table.ids[np.asarray(table.biotypes) == "protein_coding"]
        ids = np.concatenate([coding, np.setdiff1d(table.ids, coding)])
        with h5py.File(part, "r+") as file:
            index = file["var"][file["var"].attrs["_index"]]
            index[...] = ids[: index.shape[0]].astype(object)
        part.replace(path)
    return path


def _share(logs: np.ndarray) -> np.ndarray:
    weights = np.exp(logs)
    return weights / weights.sum()


def _draw(
    rng: np.random.Generator, profiles: list[np.ndarray], kinds: np.ndarray, n_genes: int, molecules: int
) -> sparse.csr_matrix:
    """Molecules drawn one by one from the profile of each cell's type, and counted."""
    sizes = np.maximum(200, rng.lognormal(np.log(molecules), 0.45, kinds.size)).astype(int)
    places = []
    for kind, profile in enumerate(profiles):
        cells = np.flatnonzero(kinds == kind)
        genes = np.minimum(np.searchsorted(profile, np.sort(rng.random(sizes[cells].sum()))), n_genes - 1)
        places.append(rng.permutation(np.repeat(cells, sizes[cells])) * np.int64(n_genes) + genes)
    where, counts = np.unique(np.concatenate(places), return_counts=True)
    shape = (kinds.size, n_genes)
    return sparse.csr_matrix((counts.astype(np.float32), (where // n_genes, where % n_genes)), shape=shape)
