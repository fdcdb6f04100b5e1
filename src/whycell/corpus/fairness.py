"""Whether the batches of a training are fair draws: told before the training starts.

Files are read one after another where nothing mixes them; a batch then comes from one study, the loss jumps at every
border of a file, and the network unlearns what it learned. Of ``B`` batches and ``K`` kinds of cells (labels, studies)
with counts ``O_bk``, the statistic is

    chi2 = sum_bk (O_bk - E_bk)^2 / E_bk,   E_bk = n_b n_k / n,   df = (B - 1) (K - 1)

and its expectation under a fair draw, given the sizes of batches and kinds, is exactly ``df n / (n - 1)`` however rare
a kind is. So ``chi2 / df`` is 1 where the order is fair, and about the size of a batch where each batch is one study.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from whycell.corpus.store import Store

__all__ = ["Fairness", "batch_fairness", "store_fairness"]

_RARE = 1.0  # kinds expected less often in a batch are counted together: alone they only add noise
_SIGMAS = 5.0
_SLACK = 0.05
_MOST_BATCHES = 256


@dataclass(frozen=True)
class Fairness:
    """The verdict on one column.

    Parameters
    ----------
    column
        What was counted, "label" or "study".
    ratio
        chi-square per degree of freedom; 1 is fair.
    limit
        The ratio above which the order is not fair: five standard deviations of a fair draw, and a twentieth.
    n_batches, n_kinds
        What it was read off; rare kinds are counted as one.
    """

    column: str
    ratio: float
    limit: float
    n_batches: int
    n_kinds: int

    @property
    def fair(self) -> bool:
        """Whether batches look like fair draws."""
        return self.ratio <= self.limit

    def sentence(self) -> str:
        """One sentence for a person."""
        verdict = "fair" if self.fair else f"NOT fair (limit {self.limit:.2f}): batches are not draws from the whole"
        return (
            f"{self.column}: chi-square per degree of freedom {self.ratio:.2f} over {self.n_batches} batches and "
            f"{self.n_kinds} kinds, {verdict}"
        )


def batch_fairness(batches: Iterable[np.ndarray], *, column: str) -> Fairness:
    """Compare what is in batches with a fair draw.

    Parameters
    ----------
    batches
        For each batch the (n,) kind of each of its cells, int from 0.
    column
        What the kinds are, for the sentence.

    Returns
    -------
    Fairness; the ratio is 1 where there is one kind or one batch.
    """
    rows = [np.bincount(np.asarray(batch, dtype=np.int64)) for batch in batches]
    table = np.zeros((len(rows), max((len(row) for row in rows), default=0)))
    for b, row in enumerate(rows):
        table[b, : len(row)] = row
    table = _without_rare(table)
    n, df = table.sum(), (table.shape[0] - 1) * (table.shape[1] - 1)
    if df < 1:
        return Fairness(column, 1.0, 1.0 + _SLACK, *table.shape)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / n
    ratio = float(((table - expected) ** 2 / expected).sum() / (df * n / (n - 1)))
    return Fairness(column, ratio, 1.0 + _SLACK + _SIGMAS * float(np.sqrt(2.0 / df)), *table.shape)


def store_fairness(store: Store, *, batch: int, most: int = _MOST_BATCHES) -> list[Fairness]:
    """The verdict on a store read from its start to its end: by label, and by study.

    Parameters
    ----------
    store
        The store.
    batch
        Cells a batch.
    most
        Batches looked at, spread over the file.
    """
    whole = np.arange(len(store.vectors) // batch)
    looked = whole[np.unique(np.linspace(0, len(whole) - 1, min(most, len(whole))).astype(int))] if len(whole) else []
    found: dict[str, list[np.ndarray]] = {"label": [], "study": []}
    names: dict[str, dict[str, int]] = {column: {} for column in found}
    held, cells = -1, None
    for start in np.asarray(looked, dtype=np.int64) * batch:
        block = int(start) // store.rows_of(0).stop if len(store.vectors) else 0
        if block != held:
            held, cells = block, store.cells(block, columns=("label", "study"))
        at = int(start) - store.rows_of(block).start
        for column in found:
            values = cells[column].iloc[at : at + batch]  # type: ignore[index]
            code = names[column]
            known = np.array([code.setdefault(str(name), len(code)) for name in values.cat.categories], dtype=np.int64)
            found[column].append(known[values.cat.codes.to_numpy()])
    return [batch_fairness(batches, column=column) for column, batches in found.items()]


def _without_rare(table: np.ndarray) -> np.ndarray:
    """Kinds that occur, the rare ones as one."""
    table = table[:, table.sum(axis=0) > 0]
    rare = table.mean(axis=0) < _RARE if len(table) else np.zeros(table.shape[1], dtype=bool)
    if rare.sum() < 2:
        return table
    return np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)])
