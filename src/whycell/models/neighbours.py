"""Votes of the nearest training cells by angle: exact, or through a graph (HNSW) where there are many."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Self

import numpy as np

from whycell.compute import n_threads
from whycell.encode.gene_vectors import unit_rows
from whycell.errors import MissingExtraError, UsageError

__all__ = ["LARGE", "SEARCHES", "CosineNeighbours"]

#: Training cells from which on a graph finds neighbours sooner than comparing with all.
LARGE = 50_000
SEARCHES = ("auto", "exact", "hnsw")
_BLOCK = 1024
_LINKS, _BREADTH = 16, 200  # of a graph; with these 99 in 100 of the neighbours found are the nearest


class CosineNeighbours:
    """A classifier of vectors by the votes of their nearest neighbours.

    Parameters
    ----------
    neighbours
        How many vote.
    search
        ``"exact"``; ``"hnsw"``, by hnswlib's graph; ``"auto"``: the graph where it is installed and there are
        :data:`LARGE` cells or more.
    seed, threads
        Of the graph: it is built on one core, so that the same cells give the same graph.

    Attributes
    ----------
    classes_
        Sorted.
    """

    def __init__(self, *, neighbours: int = 15, search: str = "auto", seed: int = 0, threads: int = 1) -> None:
        if search not in SEARCHES:
            msg = f"search is {search!r}; one of {', '.join(SEARCHES)} is needed."
            raise UsageError(msg)
        if search == "hnsw" and find_spec("hnswlib") is None:
            msg = "search 'hnsw' needs hnswlib, which is not installed: `pip install hnswlib`, or search='exact'."
            raise MissingExtraError(msg)
        self.neighbours, self.search, self.seed, self.threads = neighbours, search, seed, threads

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        """Keep the (n, d) training vectors and their (n,) classes."""
        self.classes_, self._codes = np.unique(y, return_inverse=True)
        self._vectors = unit_rows(np.asarray(X, dtype=np.float32))
        self._k = min(self.neighbours, len(self._vectors))
        large = self.search == "auto" and len(self._vectors) >= LARGE and find_spec("hnswlib") is not None
        self._graph = self._built() if self.search == "hnsw" or large else None
        return self

    def nearest(self, X: np.ndarray) -> np.ndarray:
        """(n, k) rows of the training cells nearest to the vectors (n, d), in no particular order."""
        X = unit_rows(np.asarray(X, dtype=np.float32))
        if not len(X):
            return np.empty((0, self._k), dtype=np.int64)
        if self._graph is not None:
            found, _ = self._graph.knn_query(X, k=self._k, num_threads=n_threads(self.threads))
            return np.asarray(found, dtype=np.int64)
        parts = []
        for start in range(0, len(X), _BLOCK):
            likeness = X[start : start + _BLOCK] @ self._vectors.T
            parts.append(np.argpartition(-likeness, self._k - 1, axis=1)[:, : self._k])
        return np.concatenate(parts)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """(n, n_classes) shares of the votes."""
        codes = self._codes[self.nearest(X)]
        votes = np.zeros((len(codes), len(self.classes_)))
        np.add.at(votes, (np.arange(len(codes))[:, None], codes), 1.0 / self._k)
        return votes

    def _built(self) -> Any:
        import hnswlib

        graph = hnswlib.Index(space="ip", dim=self._vectors.shape[1])  # of unit vectors: the angle
        graph.init_index(len(self._vectors), M=_LINKS, ef_construction=_BREADTH, random_seed=self.seed)
        graph.add_items(self._vectors, num_threads=1)
        graph.set_ef(max(_BREADTH, 4 * self._k))
        return graph
