"""Whether the genes of a file behave like those the model knows under the same names."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from whycell.data.cells import Cells
from whycell.data.doctor import Diagnosis
from whycell.data.values import to_linear
from whycell.encode.cells import log_normalise
from whycell.errors import FormatError, GeneError
from whycell.models.answer import Answerer

__all__ = ["LEAST_LIKENESS", "MOST_BURIED", "SURE_LIKENESS", "columns_for", "likeness"]

#: Rank correlation of mean expression, file against training, under which a file is refused; shuffled columns give 0.
LEAST_LIKENESS = 0.3
#: From here on a file is believed whatever else. Between the two it is refused where more than ``MOST_BURIED`` of the
#: genes strongest in training are in the weaker half of the file. Three blood studies against one another, each type by
#: itself: likeness .46 and more, buried .06 at most. With half of the names shuffled: .16 to .54, and .17 and more.
SURE_LIKENESS = 0.6
MOST_BURIED = 0.15
_GENES_NEEDED = 30
_STRONGEST = 0.1
_STRONG_NEEDED = 20
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
    alike, buried = likeness(to_linear(cells.sample(str(diagnosis.where), _CELLS), diagnosis.kind), columns, answerer)
    why = ""
    if alike < LEAST_LIKENESS:
        why = f"at least {LEAST_LIKENESS} is needed"
    elif alike < SURE_LIKENESS and buried > MOST_BURIED:
        why = f"and {buried:.0%} of the genes strongest in training are weak in this file"
    if why:
        msg = (
            f"The genes of {cells.name} do not behave like those the model knows under these names: mean "
            f"expression correlates at {alike:.2f}, {why}. Are the columns of the matrix in the order of the gene "
            "names, all of them?"
        )
        raise GeneError(msg)
    return columns


def likeness(sample: sparse.csr_matrix, columns: np.ndarray, answerer: Answerer) -> tuple[float, float]:
    """How alike the mean logarithms of the genes are: these cells against those of the training.

    Parameters
    ----------
    sample
        (n, n_columns) linear values of some cells.
    columns
        As ``Answerer.align`` gives them.

    Returns
    -------
    Spearman's correlation, and the share of the tenth of genes strongest in training that lie in the weaker half of
    the file; 1 and 0 where too few genes are shared to tell.
    """
    logged = log_normalise(sample, target=answerer.learned.encoder.target)
    shared = columns >= 0
    means = np.zeros(len(answerer.genes))
    np.add.at(means, columns[shared], np.asarray(logged.mean(axis=0)).ravel()[shared])
    seen = np.zeros(len(means), dtype=bool)
    seen[columns[shared]] = True
    usual = answerer.learned.encoder.mean[seen]
    if seen.sum() < _GENES_NEEDED or not means[seen].std() > 0 or not usual.std() > 0:
        return 1.0, 0.0
    rank = pd.Series(means[seen]).rank().to_numpy()
    strongest = np.argsort(-usual, kind="stable")[: int(_STRONGEST * len(usual))]
    buried = float((rank[strongest] < 0.5 * len(rank)).mean()) if len(strongest) >= _STRONG_NEEDED else 0.0
    return float(np.corrcoef(rank, pd.Series(usual).rank())[0, 1]), buried
