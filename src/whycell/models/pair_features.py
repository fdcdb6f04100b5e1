"""What is known of a gene, and of two genes together, in a way that does not care which comes first.

Of a gene: its text vector, where it lies in the interaction network (a degree-corrected spectral embedding), the mean
text of those it interacts with, its profile over cell lines, and how much is known of it. Of a pair: sum, absolute
difference and product of the two genes' numbers, the neighbours they share, and how alike they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from whycell.errors import DataError

__all__ = ["GeneFeatures", "gene_features", "network_of", "pair_features", "pair_names"]

_TEXT, _NETWORK, _NEIGHBOURS, _PROFILE = 100, 64, 50, 50


@dataclass(frozen=True)
class GeneFeatures:
    """Numbers of every gene.

    Parameters
    ----------
    genes
        (n,) ids, sorted.
    blocks
        By kind (``text``, ``network``, ``neighbours``, ``profile``, ``known``): (n, d) float32.
    network
        (n, n) interactions, 0 or 1, symmetric, no gene with itself; None where none were given.
    """

    genes: np.ndarray
    blocks: Mapping[str, np.ndarray]
    network: sp.csr_matrix | None

    @property
    def matrix(self) -> np.ndarray:
        """(n, d) float32, all blocks side by side."""
        return np.hstack(list(self.blocks.values()))

    def codes(self, genes: np.ndarray) -> np.ndarray:
        """(k,) positions of ``genes``, which must all be held."""
        return np.searchsorted(self.genes, genes.astype(str))


def network_of(genes: np.ndarray, first: np.ndarray, second: np.ndarray) -> sp.csr_matrix:
    """(n, n) interactions among ``genes`` (sorted ids); those of other genes are left out."""
    inside = np.isin(first.astype(str), genes) & np.isin(second.astype(str), genes)
    a, b = np.searchsorted(genes, first[inside].astype(str)), np.searchsorted(genes, second[inside].astype(str))
    half = sp.coo_matrix((np.ones(len(a), np.float32), (a, b)), (len(genes), len(genes)))
    both = ((half + half.T) > 0).astype(np.float32).tocsr()
    both.setdiag(0)
    both.eliminate_zeros()
    return sp.csr_matrix(both)


def gene_features(
    genes: np.ndarray,
    *,
    texts: np.ndarray | None = None,
    network: sp.csr_matrix | None = None,
    profiles: np.ndarray | None = None,
) -> GeneFeatures:
    """Build the blocks that the sources allow; each is centred and scaled to a root mean square of one.

    Parameters
    ----------
    genes
        (n,) ids, sorted.
    texts
        (n, d) vectors of text, rows of zeros where there is none.
    network
        (n, n) interactions, see :func:`network_of`.
    profiles
        (n, lines) numbers in cell lines, NaN where not measured; rows of NaN where a gene is not in the table.

    Raises
    ------
    DataError
        No source was given.
    """
    if texts is None and network is None and profiles is None:
        msg = "got no features of genes; wanted text vectors, interactions or profiles over cell lines."
        raise DataError(msg)
    blocks: dict[str, np.ndarray] = {}
    known: list[np.ndarray] = []
    if texts is not None:
        blocks["text"] = _principal(texts, _TEXT)
        known.append(np.abs(texts).sum(axis=1) > 0)
    if network is not None:
        degree = np.asarray(network.sum(axis=1)).ravel()
        blocks["network"] = _spectral(network, degree)
        if texts is not None:
            mean = sp.diags(1 / np.maximum(degree, 1)) @ network @ texts
            blocks["neighbours"] = _principal(np.asarray(mean), _NEIGHBOURS)
        known += [np.log1p(degree), degree > 0]
    if profiles is not None:
        blocks["profile"] = _principal(_standard_rows(profiles), _PROFILE)
        known.append(np.isfinite(profiles).any(axis=1))
    blocks["known"] = np.column_stack(known).astype(np.float32)
    return GeneFeatures(genes, blocks, network)


def _principal(values: np.ndarray, n: int) -> np.ndarray:
    """Scores on the first ``n`` principal directions, signs fixed, root mean square one."""
    centred = np.asarray(values, dtype=np.float64) - values.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    directions = directions[:, ::-1][:, : min(n, *values.shape)]
    signs = np.sign(directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])])
    scores = centred @ (directions * signs)
    return np.asarray(scores / max(np.sqrt((scores**2).mean()), 1e-12), dtype=np.float32)


def _spectral(network: sp.csr_matrix, degree: np.ndarray) -> np.ndarray:
    """Leading eigenvectors of (D + mean)^-1/2 A (D + mean)^-1/2, the regularised form of Qin and Rohe 2013: without the
    mean, genes of one or two interactions would own the leading directions."""
    from scipy.sparse.linalg import eigsh

    n = len(degree)
    scale = sp.diags(1 / np.sqrt(degree + max(degree.mean(), 1e-9)))
    k = min(_NETWORK, n - 2)
    values, vectors = eigsh((scale @ network @ scale).astype(np.float64), k=k, v0=np.ones(n), which="LM")
    order = np.argsort(-np.abs(values), kind="stable")
    vectors = vectors[:, order] * np.sqrt(np.abs(values[order]))
    signs = np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(k)])
    vectors = vectors * signs
    return np.asarray(vectors / max(np.sqrt((vectors**2).mean()), 1e-12), dtype=np.float32)


def _standard_rows(profiles: np.ndarray) -> np.ndarray:
    """Each gene's profile to mean 0 and spread 1 over the lines; 0 where not measured, and for constant rows."""
    measured = np.isfinite(profiles)
    n = np.maximum(measured.sum(axis=1, keepdims=True), 1)
    mean = np.where(measured, profiles, 0).sum(axis=1, keepdims=True) / n
    centred = np.where(measured, profiles - mean, 0.0)
    spread = np.sqrt((centred**2).sum(axis=1, keepdims=True) / n)
    return np.asarray(centred / np.where(spread > 0, spread, 1))


def pair_features(of: GeneFeatures, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n_pairs, d) float32, the same for (a, b) and (b, a).

    Parameters
    ----------
    of
        Features of the genes.
    first, second
        (n_pairs,) positions of the genes.
    """
    columns: list[np.ndarray] = []
    for values in of.blocks.values():
        a, b = values[first], values[second]
        columns += [a + b, np.abs(a - b), a * b]
    return np.hstack([*columns, _together(of, first, second)]).astype(np.float32)


def _together(of: GeneFeatures, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n_pairs, k): likeness in each block of vectors; shared neighbours, whether they interact."""
    columns = []
    for kind in ("text", "profile"):
        if kind in of.blocks:
            columns.append(_cosine(of.blocks[kind], first, second))
    if of.network is not None:
        degree = np.asarray(of.network.sum(axis=1)).ravel()
        shared = np.asarray(of.network[first].multiply(of.network[second]).sum(axis=1)).ravel()
        columns += [
            shared,
            np.log1p(shared),
            shared / np.sqrt((degree[first] + 1) * (degree[second] + 1)),
            np.asarray(of.network[first, second]).ravel(),
        ]
    return np.column_stack(columns) if columns else np.zeros((len(first), 0))


def _cosine(values: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(values, axis=1)
    units = values / np.where(length > 0, length, 1)[:, None]
    return np.asarray((units[first] * units[second]).sum(axis=1))


def pair_names(of: GeneFeatures) -> list[str]:
    """Kind of each column of :func:`pair_features`: the block it comes from, or ``likeness``, ``interactions``."""
    names: list[str] = []
    for kind, values in of.blocks.items():
        names += [kind] * (3 * values.shape[1])
    names += ["likeness"] * sum(kind in of.blocks for kind in ("text", "profile"))
    return names + (["interactions"] * 4 if of.network is not None else [])
