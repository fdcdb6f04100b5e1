"""What a cell is compared with: mean expression of other cells of the same file, of the training, or nothing at all."""

# n - cell, g - gene of the model, k - leaf, s - donor

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from whycell.jobs.explain_targets import Sides
from whycell.models.answer import Answer, top_two
from whycell.models.explaining import Pipeline

__all__ = ["FEWEST", "REFERENCES", "Background", "exact_sum"]

#: ``against``: confident cells of the alternative; ``others``: all cells but those of the type explained; ``training``:
#: the mean of the training cells; ``zeros``: no expression.
REFERENCES = ("against", "others", "training", "zeros")
#: Cells that a mean must rest on; with fewer, cells of all donors are taken, and then the mean of the training.
FEWEST = 10
_SURE = 0.5
_GRAIN = 2.0**24
_MOST_NUMBERS = 16_000_000  # in the sums; with more donors than that allows, references are of all of them


@dataclass
class Background:
    """Sums of the expression of a file's cells by donor and leaf, and the references made of them.

    Parameters
    ----------
    pipeline
        The model for this file.
    leaf_names
        (k,) what a person reads.
    donor_names
        (s,) donors; empty where there are none.
    """

    pipeline: Pipeline
    leaf_names: np.ndarray
    donor_names: np.ndarray
    sums: np.ndarray = field(init=False)
    counts: np.ndarray = field(init=False)
    _made: dict[tuple[object, ...], tuple[np.ndarray, str]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        k, g = len(self.leaf_names), len(self.pipeline.genes)
        if len(self.donor_names) * k * g * 2 > _MOST_NUMBERS:
            self.donor_names = self.donor_names[:0]
        s = max(len(self.donor_names), 1)
        self.sums = np.zeros((s, k, 2, g))
        self.counts = np.zeros((s, k, 2), dtype=np.int64)

    @property
    def matches_donors(self) -> bool:
        """Whether references are kept by donor."""
        return len(self.donor_names) > 0

    def tally(self, answer: Answer, expression: np.ndarray, donor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Groups (m, 3) of donor, leaf and sureness among some cells, and sums (m, 1 + g): cells, and expression.

        Parameters
        ----------
        answer, expression
            Of these cells; ``expression`` (n, g).
        donor
            (n,) int.
        """
        first, _ = top_two(answer.probabilities)
        sure = (answer.node >= 0) & (answer.probabilities[np.arange(len(first)), first] >= _SURE)
        groups = np.column_stack([donor if self.matches_donors else np.zeros_like(donor), first, sure])
        found, inverse = np.unique(groups, axis=0, return_inverse=True)
        sums = np.zeros((len(found), 1 + expression.shape[1]))
        for group in range(len(found)):
            mine = inverse.ravel() == group
            sums[group] = np.append(mine.sum(), exact_sum(expression[mine]))
        return found, sums

    def add(self, groups: np.ndarray, sums: np.ndarray) -> None:
        """Add what :meth:`tally` found in one block: ``groups`` (m, 3) and ``sums`` (m, 1 + g)."""
        at = tuple(groups.astype(np.int64).T)
        self.counts[at] += sums[:, 0].astype(np.int64)
        self.sums[at] += sums[:, 1:]

    def references(self, sides: Sides, donor: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """What each cell is compared with.

        Parameters
        ----------
        sides
            What is explained and against what.
        donor
            (n,) int.
        kind
            One of :data:`REFERENCES`.

        Returns
        -------
        (n, g) float32 normalised expression, and (n,) what it is, for a reader
        """
        if kind in ("training", "zeros"):
            row, words = self._fixed(kind)
            return np.repeat(row[None], len(donor), axis=0), np.full(len(donor), words, dtype=object)
        wanted = sides.others if kind == "against" else ~sides.leaves
        codes = donor if self.matches_donors else np.zeros_like(donor)
        keys = [(kind, int(s), mask.tobytes()) for s, mask in zip(codes, wanted, strict=True)]
        for key, mask, name in zip(keys, wanted, sides.against, strict=True):
            if key not in self._made:
                self._made[key] = self._mean(mask, key[1], kind, str(name))
        unique = list(dict.fromkeys(keys))
        place = {key: i for i, key in enumerate(unique)}
        at = np.array([place[key] for key in keys], dtype=np.int64)
        rows = np.stack([self._made[key][0] for key in unique])
        return rows[at], np.array([self._made[key][1] for key in unique], dtype=object)[at]

    def _fixed(self, kind: str) -> tuple[np.ndarray, str]:
        if kind == "zeros":
            return np.zeros(len(self.pipeline.genes), dtype=np.float32), "no expression"
        return self.pipeline.mean, "the mean of the training cells"

    def _mean(self, mask: np.ndarray, donor: int, kind: str, name: str) -> tuple[np.ndarray, str]:
        sure_only = slice(1, 2) if kind == "against" else slice(0, 2)
        counts, sums = self.counts[:, mask, sure_only], self.sums[:, mask, sure_only]
        who = f"cells typed {name}" if kind == "against" else "other cells"
        n = int(counts[donor].sum())
        if n >= FEWEST:
            where = f" of donor {self.donor_names[donor]}" if self.matches_donors else ""
            return _mean_of(sums[donor], n), f"the mean of {n} {who}{where}"
        n = int(counts.sum())
        if n >= FEWEST:
            where = ", all donors" if self.matches_donors else ""
            return _mean_of(sums, n), f"the mean of {n} {who}{where}"
        row, words = self._fixed("training")
        return row, f"{words} (this file has {n} {who})"


def exact_sum(values: np.ndarray) -> np.ndarray:
    """Sums over the rows of ``values`` (n, g), each rounded to 2^-24 first: they then add up without rounding, so that
    neither the size of a chunk nor its place can change a bit of a mean."""
    return np.asarray(np.rint(values.astype(np.float64) * _GRAIN).sum(axis=0) / _GRAIN)


def _mean_of(sums: np.ndarray, n: int) -> np.ndarray:
    return (sums.reshape(-1, sums.shape[-1]).sum(axis=0) / n).astype(np.float32)
