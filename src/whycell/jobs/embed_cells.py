"""GenePT-w of a whole file, block by block: memory does not grow with the cells."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from whycell.compute import Talk, in_order
from whycell.data.cells import Block, Cells, open_cells
from whycell.data.doctor import examine
from whycell.data.fetch import local_copy
from whycell.data.values import ValueKind, to_linear
from whycell.data.whole import check_free, folder_written_whole
from whycell.encode.gene_vectors import GeneVectors, read_gene_vectors
from whycell.encode.genept import genept_w, prepare_gene_matrix
from whycell.errors import GeneError
from whycell.jobs.record import fingerprint_file, write_run

__all__ = ["embed_cells", "embeddings"]


def embed_cells(
    query: Path,
    output: Path,
    *,
    vectors: str | Path,
    facets: tuple[str, ...] = (),
    dims: int | None = None,
    normalise: str = "log1p-cp10k",
    centre: str = "keep",
    chunk: int = 4096,
    threads: int = 0,
    force: bool = False,
    talk: Talk | None = None,
) -> dict[str, Any]:
    """Write a zarr store with ``embedding`` (n_cells, n_dims) float32, ``coverage`` (n_cells,) and ``cell`` (n_cells,).

    Parameters
    ----------
    query
        A file of cells.
    output
        The store to write.
    vectors, facets, dims
        What ``whycell genes embed`` wrote, by path or address, and how much of it.
    normalise, centre
        See ``encode.genept``.
    chunk, threads
        Cells at a time, and cores; the result does not depend on them.
    force
        Replace a store that is there.
    talk
        Told of progress.

    Returns
    -------
    ``cells``, ``dims``, ``coverage`` (mean share of counts on described genes)

    Raises
    ------
    GeneError
        No gene of the file has a vector.
    """
    import zarr

    output, talk = Path(output), talk or Talk()
    check_free(output, force=force)
    table_of_vectors = local_copy(vectors)
    held = read_gene_vectors(table_of_vectors, facets=facets)
    held = held if dims is None else held.projected(dims)
    output.parent.mkdir(parents=True, exist_ok=True)
    given = {str(query): Path(query), str(vectors): table_of_vectors}
    files = {name: path for name, path in given.items() if path.is_file()}
    with (
        open_cells(query) as cells,
        folder_written_whole(output, force=force) as store,
        ThreadPoolExecutor(1) as beside,  # hashing waits for no block, and no block for it
    ):
        hashes = beside.submit(lambda: {name: fingerprint_file(path) for name, path in files.items()})
        n, names = cells.n_cells, cells.obs_names
        shape = (n, held.vectors.shape[1])
        root = zarr.open_group(str(store), mode="w")
        table = root.create_array("embedding", shape=shape, chunks=(chunk, shape[1]), dtype="f4", compressors=None)
        covered = np.empty(n, dtype=np.float32)
        blocks = embeddings(cells, held, normalise=normalise, centre=centre, chunk=chunk, threads=threads, talk=talk)
        for start, embedding, coverage in blocks:
            table[start : start + len(embedding)] = embedding
            covered[start : start + len(coverage)] = coverage
        root.create_array("coverage", data=covered)
        array = root.create_array("cell", shape=(n,), chunks=(max(n, 1),), dtype=str)
        array[:] = np.asarray(names, dtype=object)
    write_run(
        output, "genes cells", inputs=hashes.result(), seed=0, parameters={"normalise": normalise, "centre": centre}
    )
    return {"cells": n, "dims": shape[1], "coverage": float(covered.mean()) if n else 0.0}


def embeddings(
    cells: Cells,
    vectors: GeneVectors,
    *,
    normalise: str,
    centre: str,
    chunk: int,
    threads: int,
    talk: Talk,
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """First row, embedding and coverage, block by block in the order of the file.

    Parameters
    ----------
    cells, vectors
        The file, and the vectors of its genes.
    normalise, centre, chunk, threads, talk
        As ``embed_cells`` takes them.
    """
    diagnosis = examine(cells)
    diagnosis.raise_if_unusable()
    kind, ids = diagnosis.kind or ValueKind("counts"), diagnosis.genes.ids if diagnosis.genes else np.array([])
    matrix = prepare_gene_matrix(vectors.matrix(ids), centre=centre)
    if not matrix.any():
        msg = f"None of the {len(ids):,} genes of {cells.name} is among the {len(vectors.genes):,} with a vector."
        raise GeneError(msg)

    def work(block: Block) -> tuple[int, np.ndarray, np.ndarray]:
        values: sp.csr_matrix = to_linear(block.values, kind, first_row=block.start)
        return block.start, *genept_w(values, matrix, normalise=normalise, threads=1)

    blocks = cells.blocks(diagnosis.where or "X", rows=chunk, threads=threads)
    with talk.progress("embedding", cells.n_cells) as bar:
        for done in in_order(work, blocks, threads=threads):
            bar.advance(len(done[1]))
            yield done
