"""The matrices of a type's genes as they lie along a file's own genes: sparse in varp, scores in varm, words in uns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from whycell._keys import ObsKeys
from whycell.data.cells import Cells
from whycell.knowledge.genes import resolve_genes
from whycell.models.answer import Answerer
from whycell.results import TypeFeatures

__all__ = ["FeatureArrays", "feature_arrays"]


@dataclass(frozen=True)
class FeatureArrays:
    """What is written.

    Parameters
    ----------
    varp
        By name, (n_genes of X, n_genes of X) sparse float32: ``K_agop``, the mean over types of the matrices brought to
        trace one; and ``K_agop:TYPE`` for each type. Only the rows and columns of a type's ``top`` genes are there.
    varm
        ``K_agop``: (n_genes of X, n_types) float32 scores of all genes.
    uns
        Names of the types, the cut, and how it was made.
    """

    varp: dict[str, sp.csr_matrix]
    varm: dict[str, np.ndarray]
    uns: dict[str, Any]


def feature_arrays(
    result: TypeFeatures, cells: Cells, columns: np.ndarray, answerer: Answerer, *, where: str, keys: ObsKeys
) -> FeatureArrays:
    """Matrices and scores along the genes of X.

    Parameters
    ----------
    result
        The features.
    cells, where
        The file, and the matrix that was read. Genes of ``raw`` that X does not hold are left out.
    columns
        The model's gene of each column of that matrix.
    answerer
        The model.
    keys
        Names.
    """
    if where == "raw/X":
        columns = answerer.align(np.asarray(resolve_genes(cells.var("X").index).ids, dtype=object))
    place = np.full(len(result.genes), -1, dtype=np.int64)
    held = np.flatnonzero(columns >= 0)[::-1]  # of two columns of one gene the first has it
    place[columns[held]] = held
    n = len(columns)
    varp: dict[str, sp.csr_matrix] = {}
    together = sp.csr_matrix((n, n), dtype=np.float32)
    names = result.types["type"].astype(str).tolist()
    for t, name in enumerate(names):
        genes = result.top_genes(t)
        genes = genes[place[genes] >= 0]
        block = result.matrix(t, genes)
        matrix = _placed(block, place[genes], n)
        varp[f"{keys.agop}:{name.replace('/', '|')}"] = matrix
        together = together + matrix * np.float32(1 / max(len(names) * float(result.types["total"].iat[t]), 1e-300))
    varp[keys.agop] = sp.csr_matrix(together, dtype=np.float32)
    scores = np.zeros((n, len(names)), dtype=np.float32)
    scores[place[place >= 0]] = result.scores()[:, place >= 0].T
    uns = {
        **result.provenance,
        "types": names,
        "varp": [f"{keys.agop}:{name.replace('/', '|')}" for name in names],
        "cut": f"rows and columns of the {result.top} genes of highest score of each type",
        "unit": "squared log-odds of the type against all others, per standard deviation of each of two genes",
        "kept": result.types["kept"].astype(float).tolist(),
    }
    return FeatureArrays(varp, {keys.agop: scores}, uns)


def _placed(block: np.ndarray, at: np.ndarray, n: int) -> sp.csr_matrix:
    rows, columns = np.repeat(at, len(at)), np.tile(at, len(at))
    return sp.csr_matrix((block.astype(np.float32).ravel(), (rows, columns)), shape=(n, n))
