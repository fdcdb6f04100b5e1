"""The demo's cells: 700 PBMCs with their raw counts, cut into a part to learn from and a part to type.

They are the cells (Zheng and others 2017, 68k PBMCs) that scanpy ships inside its package: nothing is downloaded.
"""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import scanpy as sc
import scipy.sparse as sp

__all__ = ["write_two_files"]


def write_two_files(folder: Path, *, held_out: int = 200, seed: int = 0) -> tuple[Path, Path]:
    """Write ``reference.h5ad`` and ``query.h5ad`` into ``folder``; ``held_out`` random cells are in the second."""
    small = sc.datasets.pbmc68k_reduced()
    # .raw is log1p of counts per 10,000; n_counts is each cell's own total, so the counts come back exactly.
    per_ten_thousand = small.raw.X.copy()
    per_ten_thousand.data = np.expm1(per_ten_thousand.data)
    counts = sp.csr_matrix(sp.diags_array(small.obs["n_counts"].to_numpy() / 1e4) @ per_ten_thousand)
    counts.data = np.round(counts.data).astype(np.float32)
    cells = ad.AnnData(counts, obs=small.obs[["bulk_labels"]].copy(), var=small.raw.var[[]].copy())

    typed_later = np.zeros(cells.n_obs, dtype=bool)
    typed_later[np.random.default_rng(seed).permutation(cells.n_obs)[:held_out]] = True
    reference, query = folder / "reference.h5ad", folder / "query.h5ad"
    cells[~typed_later].copy().write_h5ad(reference, compression="gzip")
    cells[typed_later].copy().write_h5ad(query, compression="gzip")
    return reference, query
