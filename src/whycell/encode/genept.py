"""GenePT: a cell as the sum of its genes' text vectors, weighted by expression (w), or as a sentence of its genes (s).

    e_c = sum_g f(x_cg) E_g,   then e_c / |e_c|

Source: Chen & Zou 2023 (GenePT). The published codes differ in f, so it has a name here. All but the last step is
linear in E: centring, idf and gene weights are folded into the gene matrix once, and where fewer dimensions are wanted
the gene matrix is projected before the product, never the cells after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec

import numpy as np
import scipy.sparse as sp

from whycell.compute import n_threads
from whycell.encode.gene_vectors import unit_rows
from whycell.errors import UsageError

__all__ = [
    "NORMALISATIONS",
    "cell_sentences",
    "discriminating_weights",
    "genept_w",
    "idf_weights",
    "prepare_gene_matrix",
    "product",
]

#: What f does to the counts of a cell.
NORMALISATIONS = {
    "none": "counts as they are",
    "cp10k": "counts per ten thousand; after the last step the same as none",
    "log1p-cp10k": "log(1 + counts per ten thousand)",
    "sqrt": "square root of the counts",
    "rank": "rank among the genes detected in the cell, from 1 / n to 1; ties share their mean",
}
_SENTENCE = "A cell with genes ranked by expression: "
_ROWS = 1024


def prepare_gene_matrix(
    matrix: np.ndarray,
    *,
    centre: str = "keep",
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Fold what is linear into the gene matrix.

    Parameters
    ----------
    matrix
        (n_columns, n_dims) unit rows, zeros where a gene has no vector.
    centre
        ``"keep"``; ``"mean"``: the mean gene vector is taken from every gene, since texts on genes share a large
        common direction; ``"first"``: the first principal direction is taken away.
    weights
        (n_columns,) factor on each gene: idf, or learned from labels; ``None`` is one.

    Returns
    -------
    (n_columns, n_dims) float32; rows without a vector stay zero
    """
    present = np.abs(matrix).sum(axis=1) > 0
    out = matrix.astype(np.float32, copy=True)
    if centre == "mean":
        out[present] -= out[present].mean(axis=0)
    elif centre == "first":
        _, directions = np.linalg.eigh(out.T.astype(np.float64) @ out)
        first = directions[:, -1].astype(np.float32)
        out -= np.outer(out @ first, first)
    elif centre != "keep":
        msg = f"centre is {centre!r}; 'keep', 'mean' or 'first' is needed."
        raise UsageError(msg)
    if weights is not None:
        out *= np.asarray(weights, dtype=np.float32)[:, None]
    out[~present] = 0
    return out


def idf_weights(values: sp.csr_matrix) -> np.ndarray:
    """(n_columns,) log(C / (1 + number of cells that express the gene)), not below zero; ``values`` has C cells."""
    detected = np.bincount(values.indices[values.data != 0], minlength=values.shape[1])
    return np.asarray(np.maximum(np.log(values.shape[0] / (1.0 + detected)), 0.0), dtype=np.float32)


def discriminating_weights(values: sp.csr_matrix, labels: np.ndarray) -> np.ndarray:
    """Weights learned from labels: the square root of the share of a gene's variance that lies between the labels.

    Parameters
    ----------
    values
        (n_cells, n_columns) normalised expression of training cells.
    labels
        (n_cells,) their labels.

    Returns
    -------
    (n_columns,) float32, 0..1
    """
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    member = sp.csr_matrix((np.ones(len(codes)), (codes, np.arange(len(codes)))))
    means = (member @ values).toarray() / counts[:, None]
    overall = np.average(means, axis=0, weights=counts)
    total = np.asarray(values.multiply(values).mean(axis=0)).ravel() - overall**2
    between = np.average((means - overall) ** 2, axis=0, weights=counts)
    share = np.divide(between, total, out=np.zeros_like(total), where=total > 1e-12)
    return np.sqrt(np.clip(share, 0, 1)).astype(np.float32)


def genept_w(
    values: sp.csr_matrix,
    matrix: np.ndarray,
    *,
    normalise: str = "log1p-cp10k",
    zero: str = "zero",
    threads: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Embed cells.

    Parameters
    ----------
    values
        (n_cells, n_columns) counts.
    matrix
        (n_columns, n_dims) as ``prepare_gene_matrix`` gives it.
    normalise
        One of ``NORMALISATIONS``.
    zero
        What a cell without any count on a described gene becomes: ``"zero"``, ``"nan"``, or ``"raise"``.
    threads
        Cores; 0 is all.

    Returns
    -------
    embedding : (n_cells, n_dims) float32, rows of length one
    coverage : (n_cells,) share of a cell's counts that falls on genes with a vector

    Raises
    ------
    UsageError
        An unknown name, shapes that do not meet, or an empty cell where ``zero`` is ``"raise"``.
    """
    if values.shape[1] != len(matrix):
        msg = f"The cells have {values.shape[1]} columns and the gene matrix {len(matrix)} rows; they must be the same."
        raise UsageError(msg)
    described = np.abs(matrix).sum(axis=1) > 0
    totals, covered = _totals(values, described)
    coverage = np.divide(covered, totals, out=np.zeros_like(totals), where=totals > 0)
    sums = product(_normalised(values, normalise, totals), matrix, threads=threads)
    empty = ~(np.abs(sums).max(axis=1, initial=0) > 0)
    if empty.any():
        if zero == "raise":
            msg = f"{int(empty.sum()):,} cells, first row {int(empty.argmax())}, have no count on a described gene."
            raise UsageError(msg)
        if zero not in ("zero", "nan"):
            msg = f"zero is {zero!r}; 'zero', 'nan' or 'raise' is needed."
            raise UsageError(msg)
    embedding = unit_rows(sums)
    if zero == "nan":
        embedding[empty] = np.nan
    return embedding, coverage


def product(values: sp.csr_matrix, matrix: np.ndarray, *, threads: int = 0) -> np.ndarray:
    """``values @ matrix`` without making the cells dense, tiled so that a part of the matrix stays in the cache.

    Parameters
    ----------
    values
        (n_cells, n_columns).
    matrix
        (n_columns, n_dims) float32.
    threads
        Cores; 0 is all. The sums of a cell are taken in the same order whatever their number.

    Returns
    -------
    (n_cells, n_dims) float32
    """
    matrix = np.ascontiguousarray(matrix, dtype=np.float32)
    if not values.has_sorted_indices:
        values = values.sorted_indices()
    if not _compiled():
        return np.asarray(values.astype(np.float32) @ matrix, dtype=np.float32)
    from whycell.encode.product_kernel import add_products

    out = np.zeros((values.shape[0], matrix.shape[1]), dtype=np.float32)
    data = values.data.astype(np.float32, copy=False)
    indptr = values.indptr.astype(np.int64, copy=False)
    indices = values.indices.astype(np.int32, copy=False)

    def work(start: int) -> None:
        stop = min(start + _ROWS, len(out))
        add_products(indptr[start : stop + 1], indices, data, matrix, out[start:stop])

    starts = range(0, len(out), _ROWS)
    with ThreadPoolExecutor(n_threads(threads)) as pool:
        list(pool.map(work, starts))
    return out


def cell_sentences(values: sp.csr_matrix, symbols: Sequence[str], *, ids: Sequence[str], most: int = 1000) -> list[str]:
    """GenePT-s: each cell's genes by falling expression, as a sentence for a text encoder.

    Parameters
    ----------
    values
        (n_cells, n_columns).
    symbols, ids
        (n_columns,) what is written, and the gene id that settles ties.
    most
        Genes a sentence holds at most; encoders read some hundred words.
    """
    order_of_ids = np.argsort(np.argsort(np.asarray(ids, dtype=str), kind="stable"))
    names = np.asarray(symbols, dtype=object)
    sentences = []
    for start, stop in zip(values.indptr[:-1], values.indptr[1:], strict=True):
        at, x = values.indices[start:stop], values.data[start:stop]
        at, x = at[x > 0], x[x > 0]
        best = np.lexsort((order_of_ids[at], -x))[:most]
        sentences.append(_SENTENCE + " ".join(names[at[best]]))
    return sentences


@cache
def _compiled() -> bool:
    """Whether there are compiled loops: numba has no build for every Python."""
    return find_spec("numba") is not None


def _totals(values: sp.csr_matrix, described: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n_cells,) sums of the counts: all of them, and those on described genes."""
    if not _compiled():
        return np.asarray(values.sum(axis=1)).ravel(), np.asarray(values @ described.astype(np.float64)).ravel()
    from whycell.encode.product_kernel import totals_of_cells

    totals, covered = np.empty(values.shape[0]), np.empty(values.shape[0])
    totals_of_cells(values.indptr.astype(np.int64), values.indices, values.data, described, totals, covered)
    return totals, covered


def _normalised(values: sp.csr_matrix, how: str, totals: np.ndarray) -> sp.csr_matrix:
    if how == "none":
        return values
    if how not in NORMALISATIONS:
        msg = f"normalise is {how!r}; one of {', '.join(NORMALISATIONS)} is needed."
        raise UsageError(msg)
    if how == "rank":
        data = _ranks(values)
    elif how == "sqrt":
        data = np.sqrt(values.data, dtype=np.float32)
    elif how == "log1p-cp10k" and _compiled():
        from whycell.encode.product_kernel import log1p_per_ten_thousand

        data = np.empty(len(values.data), dtype=np.float32)
        given = values.data.astype(np.float32, copy=False)
        log1p_per_ten_thousand(values.indptr.astype(np.int64), given, totals, data, data.view(np.int32))
    else:
        factor = np.divide(1e4, totals, out=np.zeros_like(totals), where=totals > 0).astype(np.float32)
        data = values.data * np.repeat(factor, np.diff(values.indptr))
        data = np.log1p(data) if how == "log1p-cp10k" else data
    data = data.astype(np.float32, copy=False)
    return sp.csr_matrix((data, values.indices, values.indptr), shape=values.shape)


def _ranks(values: sp.csr_matrix) -> np.ndarray:
    from scipy.stats import rankdata

    out = np.zeros(len(values.data), dtype=np.float32)
    for start, stop in zip(values.indptr[:-1], values.indptr[1:], strict=True):
        x = values.data[start:stop]
        used = x > 0
        out[start:stop][used] = rankdata(x[used]) / max(used.sum(), 1)
    return out
