"""GenePT-w of a gzip h5ad of 100,000 x 20,000, end to end, beside h5py merely reading the same matrix."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from _big import big_file_of_genes
from _harness import measure_command, report

READ = "import h5py, sys; f = h5py.File(sys.argv[1])['X']; [f[k][:] for k in ('data', 'indices', 'indptr')]"
OURS = """
import sys
from pathlib import Path
from whycell.jobs.embed_cells import embed_cells
embed_cells(Path(sys.argv[1]), Path(sys.argv[3]), vectors=Path(sys.argv[2]), force=True)
"""
NOTHING = "import whycell.jobs.embed_cells, whycell.encode.product_kernel, zarr"


def vectors_for(path: Path, folder: Path) -> Path:
    """Unit vectors of 384 numbers for every gene of the file."""
    from whycell.data.cells import open_cells
    from whycell.encode.gene_vectors import unit_rows, write_gene_vectors
    from whycell.knowledge.genes import resolve_genes

    with open_cells(path) as cells:
        ids = [str(i) for i in resolve_genes(list(cells.var().index)).ids if i]
    made = unit_rows(np.random.default_rng(0).standard_normal((len(ids), 384)))
    out = folder / "vectors.parquet"
    write_gene_vectors(
        out, gene_ids=ids, ensembl_ids=[[i] for i in ids], facets=["name"] * len(ids), vectors=made, about={}
    )
    return out


def main() -> bool:
    file = big_file_of_genes()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        vectors = vectors_for(file, folder)
        reading = measure_command([sys.executable, "-c", READ, file], repeats=3)
        ours = measure_command([sys.executable, "-c", OURS, file, vectors, folder / "cells.zarr"], repeats=3)
        starting = measure_command([sys.executable, "-c", NOTHING], repeats=3)
    after_imports = ours.median - starting.median
    results = {"embedding": ours, "imports alone": starting, "h5py reads": reading, "after imports, s": after_imports}
    limits = {
        "after imports, times h5py's read": (after_imports / reading.median, "<=", 1.3),
        "peak memory, MB": (ours["peak_mb"], "<=", 2000),
    }
    return report("genept_cells", results, limits=limits)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
