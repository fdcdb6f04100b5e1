"""Contributions as arrays that lie along a file's own genes: a sparse layer of the cells, one column a type in varm."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from whycell.data.cells import Cells
from whycell.jobs.explain_stream import Asked
from whycell.knowledge.genes import resolve_genes
from whycell.results import Explanation

__all__ = ["contribution_arrays"]


def contribution_arrays(
    result: Explanation, cells: Cells, asked: Asked, *, where: str
) -> tuple[sp.csr_matrix, np.ndarray]:
    """The contributions kept of every cell, and the mean ones by type.

    Parameters
    ----------
    result
        The explanation.
    cells, where
        The file, and the matrix that was read.
    asked
        Holds the model's gene of each column of that matrix.

    Returns
    -------
    (n_cells, n_genes of X) sparse float32, empty rows for cells not explained; and (n_genes of X, n_types) float32, in
    the order of ``result.by_type.types``. Genes of ``raw`` that X does not hold are left out.
    """
    columns = asked.columns
    if where == "raw/X":
        columns = asked.answerer.align(np.asarray(resolve_genes(cells.var("X").index).ids, dtype=object))
    place = np.full(len(asked.pipeline.genes), -1, dtype=np.int64)
    held = np.flatnonzero(columns >= 0)[::-1]  # of two columns of one gene the first has it
    place[columns[held]] = held
    rows, genes, values = [], [], []
    for top in (result.speaking_for, result.speaking_against):
        row, rank = np.nonzero(top.gene >= 0)
        rows.append(result.cells["row"].to_numpy()[row])
        genes.append(place[top.gene[row, rank]])
        values.append(top.contribution[row, rank])
    row, gene, value = (np.concatenate(parts) for parts in (rows, genes, values))
    kept = gene >= 0
    shape = (cells.n_cells, len(columns))
    layer = sp.csr_matrix((value[kept].astype(np.float32), (row[kept], gene[kept])), shape=shape)
    by_type = np.zeros((shape[1], len(result.by_type.mean)), dtype=np.float32)
    by_type[place[place >= 0]] = result.by_type.mean[:, place >= 0].T
    return layer, by_type
