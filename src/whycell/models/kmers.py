"""The baseline of every network on DNA: logistic regression on gapped k-mers, either strand.

A gapped k-mer is ``k`` letters at fixed places within ``span`` (Ghandi et al. 2014, of whose gkm-SVM this is the plain
form). A sequence is described by which of them it holds on either strand, scaled to length one.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, Self

import numpy as np
from scipy import sparse

__all__ = ["GappedKmers"]

_AT_ONCE = 2048  # sequences: what is written down before repeats are summed is large


class GappedKmers:
    """Logistic regression on the gapped k-mers of one task.

    Parameters
    ----------
    k, span
        Letters, and places they may lie in; the first and last place are always letters.
    C
        Inverse of the penalty.
    seed
        Of the solver.
    """

    def __init__(self, *, k: int = 6, span: int = 8, C: float = 3.0, seed: int = 0) -> None:
        self.k, self.span, self.C, self.seed = k, span, C, seed
        inner = combinations(range(1, span - 1), k - 2)
        self._places = [(0, *middle, span - 1) for middle in inner]

    def features(self, x: np.ndarray) -> sparse.csr_matrix:
        """(n, n_patterns 4^k) gapped k-mers of one-hot ``x`` (n, 4, length), rows of length one."""
        parts = [self._features(part) for part in np.split(x, range(_AT_ONCE, len(x), _AT_ONCE))]
        return sparse.vstack(parts, format="csr")

    def _features(self, x: np.ndarray) -> sparse.csr_matrix:
        n, _, length = x.shape
        known = x.sum(axis=1) > 0
        codes = x.argmax(axis=1).astype(np.int64)
        rows, columns = [], []
        for pattern, places in enumerate(self._places):
            word, other = (np.zeros((n, length - self.span + 1), dtype=np.int64) for _ in range(2))
            whole = np.ones_like(word, dtype=bool)
            for place in places:
                letter = codes[:, place : place + word.shape[1]]
                word = word * 4 + letter
                whole &= known[:, place : place + word.shape[1]]
            for place in reversed(places):
                other = other * 4 + 3 - codes[:, place : place + word.shape[1]]
            # What one strand holds the other one holds turned round: of the two names, the smaller says both.
            name = np.minimum(word + pattern * 4**self.k, other + self._mirrored(places) * 4**self.k)
            rows.append(np.nonzero(whole)[0].astype(np.int32))
            columns.append(name[whole].astype(np.int32))
        row, column = np.concatenate(rows), np.concatenate(columns)
        shape = (n, len(self._places) * 4**self.k)
        found = sparse.csr_matrix((np.ones(len(row), dtype=np.float32), (row, column)), shape=shape)
        found.data = np.log1p(found.data)
        norms = np.sqrt(np.asarray(found.multiply(found).sum(axis=1)).ravel())
        return sparse.diags(1 / np.maximum(norms, 1e-12)).astype(np.float32) @ found

    def fit(self, x: np.ndarray, y: np.ndarray) -> Self:
        """``x`` (n, 4, length) one-hot, ``y`` (n,) 0 and 1."""
        from sklearn.linear_model import LogisticRegression

        # The dual solver is the fast one where there are more patterns than sequences.
        self.model_: Any = LogisticRegression(
            C=self.C, solver="liblinear", dual=True, max_iter=200, random_state=self.seed
        )
        self.model_.fit(self.features(x), np.asarray(y) > 0)
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """(n,) probability of class 1."""
        return self.model_.predict_proba(self.features(x))[:, 1]

    def _mirrored(self, places: tuple[int, ...]) -> int:
        return self._places.index(tuple(sorted(self.span - 1 - place for place in places)))
