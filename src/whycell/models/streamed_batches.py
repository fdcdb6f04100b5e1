"""Batches from a shuffled store: blocks in a fresh order each epoch, permuted inside, with a block in memory at a time.

The order depends on the seed, the epoch and the block alone, so that a training that was killed reads on where it was.
Vectors stay float16 until they are in a batch: torch turns halves into floats four times as fast as numpy does, and a
block of halves is half as much to move.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from whycell.corpus.store import Store
from whycell.models.held_out import HeldOutGroups
from whycell.models.streamed_kinds import KEYS, Kinds

__all__ = ["Batches", "Rest", "held_out_cells"]


@dataclass(frozen=True)
class Rest:
    """Cells of the blocks read so far that did not fill a batch: (n, d) float16, and (n,) rows of the kinds' table."""

    vectors: torch.Tensor
    rows: torch.Tensor

    @classmethod
    def none(cls, d: int) -> Rest:
        """Nothing is left over."""
        return cls(torch.empty((0, d), dtype=torch.float16), torch.empty(0, dtype=torch.int64))


@dataclass(frozen=True)
class Batches:
    """The cells of a store that train.

    Parameters
    ----------
    store, kinds, held_out
        The corpus, what its cells mean, and who takes no part.
    batch
        Cells a step.
    seed
        Of the orders.
    """

    store: Store
    kinds: Kinds
    held_out: HeldOutGroups
    batch: int
    seed: int

    def order(self, epoch: int) -> np.ndarray:
        """(n_blocks,) the order of blocks in an epoch."""
        return np.random.default_rng([self.seed, 3, epoch]).permutation(self.store.n_blocks)

    def read(self, epoch: int, block: int, rest: Rest) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], Rest]:
        """The batches of one block, those of its cells first that are left from the last one.

        Returns
        -------
        pairs of (batch, d) float16 and (batch,) rows of the kinds' table, and what is left over
        """
        at, rows = self._taught(block)
        order = np.random.default_rng([self.seed, 4, epoch, block]).permutation(len(at))
        start = self.store.rows_of(block).start
        halves = torch.from_numpy(np.array(self.store.vectors[self.store.rows_of(block)]))
        vectors = torch.cat([rest.vectors, halves.index_select(0, torch.from_numpy(at[order] - start))])
        codes = torch.cat([rest.rows, torch.from_numpy(rows[order])])
        whole = len(codes) // self.batch * self.batch
        pairs = (
            list(zip(vectors[:whole].split(self.batch), codes[:whole].split(self.batch), strict=True)) if whole else []
        )
        return pairs, Rest(vectors[whole:].clone(), codes[whole:].clone())

    def epoch(self, number: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """(batch, d) float32 and (batch,) rows of the kinds' table, once over the corpus; a short rest is left out."""
        rest = Rest.none(self.store.vectors.shape[1])
        for block in self.order(number):
            pairs, rest = self.read(number, int(block), rest)
            for vectors, rows in pairs:
                yield vectors.float(), rows

    def _taught(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the store that train, and their rows of the kinds' table."""
        cells = self.store.cells(block, columns=_columns(self.held_out))
        rows = self.kinds.rows_of(cells)
        # Where groups are held out, a combination trains as a whole or not at all: no cell need be looked at.
        use = self.kinds.taught[rows] & (rows >= 0)
        if self.held_out.unit == "cell":
            use &= ~self.held_out.mask(cells)
        return np.flatnonzero(use) + self.store.rows_of(block).start, rows[use]


def _columns(held_out: HeldOutGroups) -> tuple[str, ...]:
    return (*KEYS, "address", "row") if held_out.unit == "cell" else KEYS


def held_out_cells(store: Store, kinds: Kinds, held_out: HeldOutGroups, *, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The first cells of the store that are held out: it is shuffled, so they are a fair draw.

    Parameters
    ----------
    store, kinds, held_out
        The corpus.
    most
        Cells at most.

    Returns
    -------
    (n, d) float32, and (n,) rows of the kinds' table
    """
    vectors, rows, n = [], [], 0
    for block in range(store.n_blocks):
        cells = store.cells(block, columns=_columns(held_out))
        of = kinds.rows_of(cells)
        use = np.flatnonzero(held_out.mask(cells) & (of >= 0) & (kinds.table["kind"].to_numpy()[of] >= 0))[: most - n]
        halves = torch.from_numpy(np.array(store.vectors[use + store.rows_of(block).start]))
        vectors.append(halves.float().numpy())
        rows.append(of[use])
        n += len(use)
        if n >= most:
            break
    return np.concatenate(vectors), np.concatenate(rows)
