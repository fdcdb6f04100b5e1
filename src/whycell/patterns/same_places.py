"""The same bases in two sets of sequences: which row of one is which row of the other, and how far it is shifted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from whycell.errors import DataError

__all__ = ["Pairs", "Side", "pair_sequences"]

#: Letters that two sequences of one place must have in common; N says nothing.
_LEAST_SHARED = 8
_N = 4


@dataclass(frozen=True)
class Side:
    """Sequences and what an output takes from their letters.

    Parameters
    ----------
    letters
        (n, length) uint8: 0 to 3 for A, C, G and T, 4 for N.
    contributions
        (n, length) of the letters that stand there.
    names
        (n,) text.
    chromosome, start, strand
        (n,) where they lie, or ``None``.
    """

    letters: np.ndarray
    contributions: np.ndarray
    names: np.ndarray
    chromosome: np.ndarray | None = None
    start: np.ndarray | None = None
    strand: np.ndarray | None = None

    def one_way(self, *, by_place: bool) -> tuple[Side, np.ndarray]:
        """All turned one way round, and (n,) which of them were turned for it.

        ``by_place``: onto the forward strand of their chromosome; else to whichever strand's letters come first in the
        alphabet, so that a sequence and its reverse complement are the same.
        """
        if by_place and self.strand is not None:
            turned = np.asarray(self.strand == "-")
        else:
            pairs = zip(self.letters, _turned(self.letters), strict=True)
            turned = np.array([other.tobytes() < own.tobytes() for own, other in pairs], dtype=bool)
        letters, contributions = self.letters.copy(), self.contributions.copy()
        letters[turned], contributions[turned] = _turned(letters[turned]), contributions[turned][:, ::-1]
        return replace(self, letters=letters, contributions=contributions), turned


@dataclass(frozen=True)
class Pairs:
    """Rows that are the same bases: letter ``p`` of ``first[i]`` is letter ``p - shift[i]`` of ``second[i]``.

    Parameters
    ----------
    first, second
        (n_pairs,) rows; each row of the first at most once.
    shift
        (n_pairs,) letters.
    how
        ``"letters"`` or ``"places"``.
    """

    first: np.ndarray
    second: np.ndarray
    shift: np.ndarray
    how: str


def pair_sequences(first: Side, second: Side) -> Pairs:
    """Rows of two sides that are the same bases: by place where both have one, else by their letters.

    Parameters
    ----------
    first, second
        Turned one way round; see :meth:`Side.one_way`.

    Raises
    ------
    DataError
        No sequence is in both, or letters differ where the places say that they are the same.
    """
    if first.chromosome is not None and second.chromosome is not None:
        pairs = _by_place(first, second)
    else:
        pairs = _by_letters(first, second)
    if not len(pairs.first):
        msg = (
            f"none of the {len(first.letters):,} sequences of the first is among the {len(second.letters):,} of the "
            f"second, by {pairs.how}; wanted scores of the same sequences: explain one file with both models."
        )
        raise DataError(msg)
    _check_letters(first, second, pairs)
    return pairs


def _turned(letters: np.ndarray) -> np.ndarray:
    """The other strand."""
    return np.where(letters < _N, 3 - np.minimum(letters, 3), _N).astype(np.uint8)[:, ::-1]


def _by_letters(first: Side, second: Side) -> Pairs:
    if first.letters.shape[1] != second.letters.shape[1]:
        empty = np.empty(0, dtype=np.int64)
        return Pairs(empty, empty, empty, "letters")
    place: dict[bytes, int] = {}
    for row, letters in enumerate(second.letters):
        place.setdefault(letters.tobytes(), row)
    rows: dict[bytes, int] = {}
    for row, letters in enumerate(first.letters):
        rows.setdefault(letters.tobytes(), row)
    shared = [(row, place[letters]) for letters, row in rows.items() if letters in place]
    found = np.array(shared, dtype=np.int64).reshape(-1, 2)
    return Pairs(found[:, 0], found[:, 1], np.zeros(len(found), dtype=np.int64), "letters")


def _by_place(first: Side, second: Side) -> Pairs:
    """Every place of the first with that of the second that it shares most with."""
    sides = [
        pd.DataFrame({"chromosome": s.chromosome, "start": s.start, "row": np.arange(len(s.letters))})
        for s in (first, second)
    ]
    wide, other_wide = first.letters.shape[1], second.letters.shape[1]
    kept = []
    other = {str(name): table.sort_values("start", kind="stable") for name, table in sides[1].groupby("chromosome")}
    for name, table in sides[0].drop_duplicates(["chromosome", "start"]).groupby("chromosome"):
        if str(name) not in other:
            continue
        there = other[str(name)]
        starts, rows = there["start"].to_numpy(dtype=np.int64), there["row"].to_numpy()
        begin = table["start"].to_numpy(dtype=np.int64)
        at = np.searchsorted(starts, begin + (wide - other_wide) // 2)
        near = np.stack([np.clip(at + step, 0, len(starts) - 1) for step in (-1, 0)], axis=1)
        shared = np.minimum(begin[:, None] + wide, starts[near] + other_wide) - np.maximum(begin[:, None], starts[near])
        best = shared.argmax(axis=1)
        chosen = near[np.arange(len(near)), best]
        enough = shared.max(axis=1) >= _LEAST_SHARED
        parts = (table["row"].to_numpy(), rows[chosen], starts[chosen] - begin)
        kept.append(np.stack([part[enough] for part in parts], axis=1))
    found = np.concatenate(kept) if kept else np.empty((0, 3), dtype=np.int64)
    found = found[np.argsort(found[:, 0], kind="stable")].astype(np.int64)
    return Pairs(found[:, 0], found[:, 1], found[:, 2], "places")


def _check_letters(first: Side, second: Side, pairs: Pairs) -> None:
    for one, other, shift in zip(pairs.first, pairs.second, pairs.shift, strict=True):
        low = max(0, int(shift))
        high = min(first.letters.shape[1], second.letters.shape[1] + int(shift))
        a, b = first.letters[one, low:high], second.letters[other, low - shift : high - shift]
        if ((a != b) & (a < _N) & (b < _N)).any():
            msg = (
                f"the sequences {first.names[one]!r} and {second.names[other]!r} lie at the same place and hold other "
                "letters; wanted scores of the same genome."
            )
            raise DataError(msg)
