"""Whether the genes of a file behave like those the model knows under the same names."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.stats import rankdata

from whycell.data.cells import Cells
from whycell.data.doctor import Diagnosis
from whycell.data.values import to_linear
from whycell.encode.cells import log_normalise
from whycell.errors import FormatError, GeneError
from whycell.models.answer import Answerer

__all__ = ["LEAST_LIKENESS", "columns_for", "likeness"]

#: Rank correlation of mean expression, file against training, under which a file is refused; shuffled columns give 0.
LEAST_LIKENESS = 0.3
_GENES_NEEDED = 30
_CELLS = 1000


def columns_for(cells: Cells, diagnosis: Diagnosis, answerer: Answerer) -> np.ndarray:
    """The model's gene of each column of a file that was examined.

    Parameters
    ----------
    cells, diagnosis
        The open file, and what the doctor says of it.
    answerer
        The model.

    Returns
    -------
    (n_columns,) int32, as ``Answerer.align`` gives them.

    Raises
    ------
    FormatError
        The file holds no expression matrix.
    GeneError
        The values do not look like those of the genes named: the columns are shuffled against their names.
    """
    if diagnosis.genes is None or diagnosis.kind is None:
        msg = f"{cells.name} holds no expression matrix."
        raise FormatError(msg)
    columns = answerer.align(np.asarray(diagnosis.genes.ids, dtype=object))
    alike = likeness(to_linear(cells.sample(str(diagnosis.where), _CELLS), diagnosis.kind), columns, answerer)
    if alike is not None and alike < LEAST_LIKENESS:
        msg = (
            f"The genes of {cells.name} do not behave like those the model knows under these names: mean "
            f"expression correlates at {alike:.2f}, at least {LEAST_LIKENESS} is needed. Are the columns of "
            "the matrix in the order of the gene names?"
        )
        raise GeneError(msg)
    return columns


def likeness(sample: sparse.csr_matrix, columns: np.ndarray, answerer: Answerer) -> float | None:
    """Spearman correlation of the mean logarithm of each gene: these cells against those of the training.

    Parameters
    ----------
    sample
        (n, n_columns) linear values of some cells.
    columns
        As ``Answerer.align`` gives them.

    Returns
    -------
    -1..1, or ``None`` where too few genes are shared to tell.
    """
    logged = log_normalise(sample, target=answerer.learned.encoder.target)
    shared = columns >= 0
    means = np.zeros(len(answerer.genes))
    np.add.at(means, columns[shared], np.asarray(logged.mean(axis=0)).ravel()[shared])
    seen = np.zeros(len(means), dtype=bool)
    seen[columns[shared]] = True
    usual = answerer.learned.encoder.mean[seen]
    if seen.sum() < _GENES_NEEDED or not means[seen].std() > 0 or not usual.std() > 0:
        return None
    return float(np.corrcoef(rankdata(means[seen]), rankdata(usual))[0, 1])
