"""Which genes a model reads, and along which directions.

Genes are those that vary most; directions are the principal components of the normalised cells, each study centred on
itself so that no component is a laboratory. A single study adds the part of every class mean that the components miss,
which is what keeps rare types apart; with several studies those means carry the laboratory along (measured: four times
as many wrong branches on an unseen study), so they are left out.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from whycell.encode.cells import Encoder, gene_shares, log_normalise

__all__ = ["POWERS", "balance", "choose_genes", "learn_encoder", "principal_directions"]

#: How far kinds, donors and studies are on the way to weighing the same.
POWERS = (0.2, 0.5, 1.0)
_MOST_CELLS = 30_000  # components of more cells than this are the same to three digits
_SPARE = 12
# One study's directions are as good after two; those of several, centred each on itself, are flatter.
_ITERATIONS, _ITERATIONS_OF_SEVERAL = 2, 8


def choose_genes(
    values: sp.csr_matrix, study: np.ndarray, measured: np.ndarray, *, n_genes: int, target: float
) -> np.ndarray:
    """The genes that vary most, on the log scale, averaged over studies; a gene few studies measured counts for less.

    Parameters
    ----------
    values
        (n_cells, n_all) linear values.
    study
        (n_cells,) int, row of ``measured``.
    measured
        (n_studies, n_all) bool.
    n_genes
        How many to keep at most.
    target
        Size to which cells are scaled; 0 takes the values as they are.

    Returns
    -------
    Sorted positions of the genes kept.
    """
    if values.shape[1] <= n_genes:
        return np.arange(values.shape[1])
    spread = np.zeros(values.shape[1])
    for s in range(len(measured)):
        logged = log_normalise(values[study == s], target=target)
        n = max(logged.shape[0], 1)
        first = np.bincount(logged.indices, weights=logged.data, minlength=values.shape[1]) / n
        second = np.bincount(logged.indices, weights=logged.data.astype(np.float64) ** 2, minlength=len(spread)) / n
        spread += second - first**2
    return np.sort(np.argsort(-spread, kind="stable")[:n_genes])


def balance(study: np.ndarray, donor: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """Weights of cells with mean one: studies equal, donors and kinds on the way to equal.

    A donor with n cells weighs sqrt(n), a kind with n cells n^0.8: enough that the large ones do not drown the small,
    not so much that the few cells of a small one decide.
    """
    weights = np.ones(len(study))
    for groups, power in zip((kind, donor, study), POWERS, strict=True):
        _, codes = np.unique(groups, return_inverse=True)
        sums = np.bincount(codes, weights=weights)
        counts = np.bincount(codes)
        weights = weights * ((counts / sums) * (counts.mean() / counts) ** power)[codes]
    return weights / weights.mean()


def learn_encoder(
    values: sp.csr_matrix,
    study: np.ndarray,
    measured: np.ndarray,
    *,
    kind: np.ndarray,
    weights: np.ndarray,
    n_components: int,
    target: float,
    rng: np.random.Generator,
    texts: np.ndarray | None = None,
) -> Encoder:
    """Means, shares and directions of the training cells.

    Parameters
    ----------
    values
        (n_cells, n_genes) linear values of the model's genes.
    study
        (n_cells,) int, row of ``measured``.
    measured
        (n_studies, n_genes) bool.
    kind
        (n_cells,) int, the meaning of each cell's label.
    weights
        (n_cells,) weight of each cell.
    n_components
        Number of principal components.
    target
        Size to which cells are scaled; 0 takes the values as they are.
    rng
        Source of randomness.
    texts
        (n_genes, n_dims) float32 vector of each gene's text, zeros without one: the directions are then those along
        which cells vary most *as sums of these vectors*; ``None`` lets every gene have a direction of its own.

    Returns
    -------
    Encoder
    """
    n_genes = values.shape[1]
    share = gene_shares(values, study, measured) if target > 0 else np.full(n_genes, 1.0 / n_genes)
    rows = np.arange(values.shape[0])
    if len(rows) > _MOST_CELLS:
        rows = np.sort(rng.choice(rows, _MOST_CELLS, replace=False))
    study, kind, weights = study[rows], kind[rows], weights[rows]
    some = values if len(rows) == values.shape[0] else values[rows]
    dense = log_normalise(some, target=target, share=(measured @ share)[study]).toarray()
    means = np.stack(
        [dense[study == s].mean(axis=0) if (study == s).any() else 0 * dense[0] for s in range(len(measured))]
    )
    mean = (means * measured).sum(axis=0) / np.maximum(measured.sum(axis=0), 1)
    if len(measured) == 1:
        dense -= means[0]
    else:
        for s in range(len(measured)):
            dense[study == s] -= means[s]
    if texts is not None:
        dense = dense @ texts
    n_components = max(1, min(n_components, min(dense.shape) - 1))
    of_kinds = _means_of(dense, kind)
    dense *= np.sqrt(weights).astype(np.float32)[:, None]  # in place: the largest thing in memory
    iterations = _ITERATIONS if len(measured) == 1 else _ITERATIONS_OF_SEVERAL
    directions = principal_directions(dense, n_components, iterations=iterations, rng=rng)
    if len(measured) == 1:
        directions = np.hstack([directions, _missed(of_kinds, directions)])
    if texts is not None:  # projected before the product: a cell is multiplied by few numbers a gene, not by all
        directions = texts @ directions
    return Encoder(
        mean=mean.astype(np.float32),
        share=share,
        directions=np.ascontiguousarray(directions, dtype=np.float32),
        target=target,
    )


def principal_directions(dense: np.ndarray, n: int, *, iterations: int, rng: np.random.Generator) -> np.ndarray:
    """The first ``n`` right singular vectors, by subspace iteration from random directions (Halko et al. 2011).

    Parameters
    ----------
    dense
        (n_cells, n_genes) float32, centred.
    n
        How many.
    iterations
        Passes of subspace iteration.
    rng
        Source of randomness.

    Returns
    -------
    (n_genes, n) float32, the strongest first.
    """
    width = min(n + _SPARE, *dense.shape)
    basis = rng.standard_normal((dense.shape[1], width)).astype(np.float32)
    for _ in range(iterations):
        basis = np.linalg.qr(dense.T @ (dense @ basis))[0]
    seen = (dense @ basis).astype(np.float64)
    _, turned = np.linalg.eigh(seen.T @ seen)
    return np.asarray(basis @ turned[:, ::-1][:, :n].astype(np.float32))


def _means_of(dense: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """(n_kinds present, n_genes) means."""
    _, codes, counts = np.unique(kind, return_inverse=True, return_counts=True)
    member = sp.csr_matrix((np.ones(len(codes), np.float32), (codes, np.arange(len(codes)))))
    return np.asarray(member @ dense) / counts[:, None].astype(np.float32)


def _missed(means: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Orthonormal directions of the class means outside the components already there."""
    rest = means - (means @ directions) @ directions.T
    _, sizes, vectors = np.linalg.svd(rest, full_matrices=False)
    return vectors[sizes > 1e-3 * max(sizes[0], 1e-12)].T if sizes[0] > 1e-6 else np.zeros((means.shape[1], 0))
