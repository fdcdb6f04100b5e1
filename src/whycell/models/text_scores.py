"""How well a representation of cells tells their types on donors that it was not fitted to.

One head for all, so that what is compared is the representation: multinomial logistic regression (C = 1) on coordinates
that are centred and divided by one number, their root mean square in training.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from whycell.compute import in_order
from whycell.data.splits import Fold
from whycell.encode.cells import log_normalise
from whycell.encode.gene_vectors import GeneVectors
from whycell.encode.genept import genept_w, prepare_gene_matrix
from whycell.errors import GeneError
from whycell.metrics.flat import macro_f1

__all__ = ["held_out", "held_out_principal", "scores_by_group", "text_embedding"]

_PER_CELL = 1e4


def text_embedding(
    counts: sp.csr_matrix,
    genes: np.ndarray,
    *,
    vectors: GeneVectors,
    normalise: str = "log1p-cp10k",
    centre: str = "mean",
    threads: int = 1,
) -> np.ndarray:
    """(n_cells, n_dims) float32: GenePT-w, see ``encode.genept``.

    Parameters
    ----------
    counts
        (n_cells, n_genes).
    genes
        (n_genes,) Ensembl ids.
    vectors
        Of genes.
    normalise, centre
        See ``encode.genept``.
    threads
        Cores.
    """
    matrix = prepare_gene_matrix(vectors.matrix(genes), centre=centre)
    if not matrix.any():
        msg = f"None of the {len(genes):,} genes has a vector; were the vectors made for this species?"
        raise GeneError(msg)
    return genept_w(counts, matrix, normalise=normalise, threads=threads)[0]


def held_out(embedding: np.ndarray, classes: np.ndarray, *, folds: Sequence[Fold], threads: int = 1) -> np.ndarray:
    """(n_cells,) class that each cell is given by a head which saw none of its fold; "" for cells in no fold.

    Parameters
    ----------
    embedding
        (n_cells, n_dims).
    classes
        (n_cells,) str.
    folds
        As a split gives them.
    threads
        Folds at once.
    """
    said = np.full(len(classes), "", dtype=object)
    for fold, found in in_order(
        lambda fold: (fold, _fitted(embedding[fold.train], classes[fold.train], embedding[fold.test])),
        folds,
        threads=threads,
    ):
        said[fold.test] = found
    return said


def held_out_principal(
    counts: sp.csr_matrix, classes: np.ndarray, *, folds: Sequence[Fold], dims: Sequence[int], threads: int = 1
) -> dict[int, np.ndarray]:
    """As ``held_out``, of the expression's own principal directions, which are learned in each fold's training cells.

    Parameters
    ----------
    counts
        (n_cells, n_genes).
    classes, folds, threads
        As ``held_out`` takes them.
    dims
        How many directions, one answer each.
    """
    logged = log_normalise(counts, target=_PER_CELL)
    said = {n: np.full(len(classes), "", dtype=object) for n in dims}

    def work(fold: Fold) -> tuple[Fold, list[np.ndarray]]:
        own, other = _principal(logged[fold.train], logged[fold.test], max(dims))
        return fold, [_fitted(own[:, :n], classes[fold.train], other[:, :n]) for n in dims]

    for fold, found in in_order(work, folds, threads=threads):
        for n, answer in zip(dims, found, strict=True):
            said[n][fold.test] = answer
    return said


def scores_by_group(truth: np.ndarray, said: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """(n_groups,) macro-F1 of each group, in the order of their names.

    Parameters
    ----------
    truth, said
        (n_cells,) classes.
    groups
        (n_cells,) donor of each cell.
    """
    return np.array([macro_f1(truth[groups == g], said[groups == g]) for g in np.unique(groups)])


def _principal(own: sp.csr_matrix, other: sp.csr_matrix, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of training and test cells along the training cells' principal directions."""
    mean = np.asarray(own.mean(axis=0)).ravel()
    gram = np.asarray((own.T @ own).todense(), dtype=np.float64) if own.shape[1] <= 4000 else None
    if gram is not None:
        _, directions = np.linalg.eigh(gram - own.shape[0] * np.outer(mean, mean))
        directions = directions[:, ::-1][:, :n]
    else:
        from sklearn.utils.extmath import randomized_svd

        directions = randomized_svd(own, min(n, min(own.shape) - 1), random_state=0)[2].T
    return tuple(np.asarray(x @ directions - mean @ directions) for x in (own, other))  # type: ignore[return-value]


def _fitted(own: np.ndarray, classes: np.ndarray, other: np.ndarray) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(classes)) < 2:
        return np.full(len(other), classes[0] if len(classes) else "", dtype=object)
    centre = own.mean(axis=0)
    unit = float(np.sqrt(((own - centre) ** 2).mean())) or 1.0
    head = LogisticRegression(C=1.0, max_iter=300)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="lbfgs failed to converge"
        )  # stopping is a choice; the score shows it
        head.fit((own - centre) / unit, classes.astype(str))
    return np.asarray(head.predict((other - centre) / unit), dtype=object)
