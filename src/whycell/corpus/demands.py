"""What is offered and what is asked: the numbers of a selection, without the words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp

__all__ = ["Problem"]


@dataclass(frozen=True)
class Problem:
    """Offers, and demands that they may serve.

    Parameters
    ----------
    amounts
        (n_offers, n_rows) what an offer adds to each row; see ``corpus.cover``.
    owner
        (n_rows,) int, the demand that a row counts for.
    most
        (n_rows,) up to what a row counts.
    asked
        (n_demands,) what is asked.
    price
        (n_demands,) MB for each unit that is lacking.
    cost
        (n_offers,) MB.
    file_of
        (n_offers,) int, the file that an offer lies in.
    opening
        MB for each file of which anything is taken.
    """

    amounts: sp.csr_matrix
    owner: np.ndarray
    most: np.ndarray
    asked: np.ndarray
    price: np.ndarray
    cost: np.ndarray
    file_of: np.ndarray
    opening: float = 0.0

    @classmethod
    def of_cells(cls, counts: sp.csr_matrix, need: np.ndarray, cost: np.ndarray, *, price: float = 10.0) -> Problem:
        """Demands for cells of some kinds alone: (n_offers, n_kinds) counts, (n_kinds,) asked, (n_offers,) MB."""
        n_offers, n_kinds = counts.shape
        return cls(
            amounts=sp.csr_matrix(counts, dtype=np.float64),
            owner=np.arange(n_kinds),
            most=np.full(n_kinds, np.inf),
            asked=np.asarray(need, dtype=np.float64),
            price=np.full(n_kinds, float(price)),
            cost=np.asarray(cost, dtype=np.float64),
            file_of=np.arange(n_offers),
        )

    @property
    def n_files(self) -> int:
        """Files that offers lie in."""
        return int(self.file_of.max()) + 1 if len(self.file_of) else 0

    @cached_property
    def need(self) -> np.ndarray:
        """(n_demands,) what is asked, as far as all offers together can serve it."""
        return np.asarray(np.minimum(self.asked, self._served(np.ones(len(self.cost)))))

    @cached_property
    def files(self) -> tuple[np.ndarray, np.ndarray]:
        """(n_files + 1,) starts, and (n_offers,) offers file by file."""
        order = np.argsort(self.file_of, kind="stable")
        sizes = np.bincount(self.file_of, minlength=self.n_files)
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), order.astype(np.int64)

    def short(self, taken: np.ndarray) -> np.ndarray:
        """(n_demands,) what ``taken`` (n_offers,) bool lacks of ``need``."""
        return np.asarray(np.maximum(self.need - self._served(taken.astype(np.float64)), 0.0))

    def cost_of(self, taken: np.ndarray) -> float:
        """MB of the offers taken (n_offers,) bool, and of the files opened."""
        return float(self.cost[taken].sum() + self.opening * len(np.unique(self.file_of[taken])))

    def _served(self, x: np.ndarray) -> np.ndarray:
        have = np.minimum(np.asarray(self.amounts.T @ x).ravel(), self.most)
        return np.bincount(self.owner, weights=have, minlength=len(self.asked))
