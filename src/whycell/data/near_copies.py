"""Sequences that are nearly the same, so that they never stand on two sides of a split.

Overlapping peaks, repeats and duplicated genes put long stretches of one sequence into another. Two sequences are near
copies where they share at least a given part of their k-mers (of the shorter one's, either strand); groups are what
such pairs connect. k-mers of 16 letters are shared by chance once in 4^16 / 2 pairs of positions, so the groups do not
depend on composition.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

__all__ = ["near_copies"]

_COMMON = 200  # a k-mer in more sequences than this is a repeat's: it joins nothing by itself
_BLOCK = 4096


def near_copies(letters: Sequence[str] | np.ndarray, *, k: int = 16, share: float = 0.3) -> np.ndarray:
    """The group of each sequence; a sequence without near copies is a group of its own.

    Parameters
    ----------
    letters
        (n,) of A, C, G, T and N.
    k
        Letters of a k-mer, at most 31; one that holds an N is left out.
    share
        Part of the shorter sequence's k-mers that a pair must share.

    Returns
    -------
    (n,) int; groups are numbered by their first member.
    """
    n = len(letters)
    rows, words = _words(letters, k)
    _, columns, counts = np.unique(words, return_inverse=True, return_counts=True)
    several = (counts[columns] > 1) & (counts[columns] <= _COMMON)
    size = np.bincount(rows, minlength=n)
    shape = (n, int(columns.max(initial=-1)) + 1)
    ones = np.ones(int(several.sum()), dtype=np.int32)
    present = sparse.csr_matrix((ones, (rows[several], columns[several])), shape=shape)
    edges = [np.empty((2, 0), dtype=np.int64)]
    for start in range(0, n, _BLOCK):
        shared = (present[start : start + _BLOCK] @ present.T).tocoo()
        one, other = shared.row + start, shared.col
        near = (one < other) & (shared.data >= share * np.maximum(1, np.minimum(size[one], size[other])))
        edges.append(np.stack([one[near], other[near]]).astype(np.int64))
    pairs = np.concatenate(edges, axis=1)
    graph = sparse.coo_matrix((np.ones(pairs.shape[1]), (pairs[0], pairs[1])), shape=(n, n))
    return np.asarray(sparse.csgraph.connected_components(graph, directed=False)[1])


def _words(letters: Sequence[str] | np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Sequence and number of every k-mer once, the smaller of its two strands."""
    codes = np.full(256, 4, dtype=np.uint8)
    codes[np.frombuffer(b"ACGT", dtype=np.uint8)] = range(4)
    lengths = np.fromiter((len(s) for s in letters), dtype=np.int64, count=len(letters))
    text = codes[np.frombuffer("".join(letters).encode(), dtype=np.uint8)]
    owner = np.repeat(np.arange(len(letters)), lengths)
    n = max(0, len(text) - k + 1)
    forward, backward = np.zeros(n, dtype=np.uint64), np.zeros(n, dtype=np.uint64)
    whole = np.ones(n, dtype=bool)
    for at in range(k):
        here = text[at : at + n].astype(np.uint64)
        whole &= here < 4
        forward |= (here & np.uint64(3)) << np.uint64(2 * (k - 1 - at))
        backward |= (np.uint64(3) - (here & np.uint64(3))) << np.uint64(2 * at)
    whole &= owner[:n] == owner[k - 1 : k - 1 + n]
    word, row = np.minimum(forward, backward)[whole], owner[:n][whole]
    found = np.unique(np.stack([row.astype(np.uint64), word], axis=1), axis=0)
    return found[:, 0].astype(np.int64), found[:, 1]
