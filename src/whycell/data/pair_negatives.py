"""Negatives in which every gene occurs as often as in the positives, so that being often tried tells nothing."""

from __future__ import annotations

import numpy as np

__all__ = ["matched_negatives", "with_matched_negatives"]

_ROUNDS = 50


def matched_negatives(first: np.ndarray, second: np.ndarray, *, n_genes: int, seed: int = 0) -> np.ndarray:
    """(2, m) pairs of genes with the positives' degrees: the positives' ends dealt out anew.

    Parameters
    ----------
    first, second
        (n,) codes of the genes of the positive pairs.
    n_genes
        Number of genes.
    seed
        Of the deal.

    Returns
    -------
    m <= n pairs: none is a positive, none occurs twice. A gene found with most others has too few partners left; the
    pairs that no deal could place are left out.
    """
    rng = np.random.default_rng(seed)
    swap = rng.random(len(first)) < 0.5
    a, b = np.where(swap, second, first), np.where(swap, first, second)
    positive = _keys(first, second, n_genes)
    kept = np.empty((2, 0), dtype=np.int64)
    for left in reversed(range(_ROUNDS)):
        b = rng.permutation(b)
        keys = _keys(a, b, n_genes)
        fresh = np.zeros(len(a), dtype=bool)
        fresh[np.unique(keys, return_index=True)[1]] = True
        good = fresh & (a != b) & ~np.isin(keys, positive) & ~np.isin(keys, _keys(kept[0], kept[1], n_genes))
        kept = np.hstack([kept, [a[good], b[good]]])
        a, b = a[~good], b[~good]
        if not len(a) or not left:
            break
        # The rest could not be placed among themselves: give some placed pairs back and deal again.
        n_back = min(2 * len(a), kept.shape[1])
        back = np.isin(np.arange(kept.shape[1]), rng.choice(kept.shape[1], n_back, replace=False))
        a, b = np.concatenate([a, kept[0, back]]), np.concatenate([b, kept[1, back]])
        kept = kept[:, ~back]
    return kept


def with_matched_negatives(
    pairs: tuple[np.ndarray, np.ndarray], label: np.ndarray, *, n_genes: int, seed: int = 0
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """The positives among ``pairs`` and, in the place of the others, negatives of :func:`matched_negatives`.

    Parameters
    ----------
    pairs
        Codes of both genes, (n,) each.
    label
        (n,) 0 or 1.
    n_genes
        Number of genes.
    seed
        Of the deal.

    Returns
    -------
    Codes of both genes, positives first, and their labels.
    """
    true = label == 1
    a, b = pairs[0][true], pairs[1][true]
    no_a, no_b = matched_negatives(a, b, n_genes=n_genes, seed=seed)
    return (np.concatenate([a, no_a]), np.concatenate([b, no_b])), np.repeat([1.0, 0.0], [len(a), len(no_a)])


def _keys(a: np.ndarray, b: np.ndarray, n_genes: int) -> np.ndarray:
    return np.asarray(np.minimum(a, b).astype(np.int64) * n_genes + np.maximum(a, b))
