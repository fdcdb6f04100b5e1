"""Scanning with weight matrices: compiled loops over letters that are numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from whycell.encode.sequences import compiled

__all__ = ["END", "Places", "codes_of", "log_odds", "scan"]

_UNKNOWN = 4
#: No letter: a window that reaches it is none.
END = 5
_LEAST_SHARE = 1e-4


@dataclass(frozen=True)
class Places:
    """Where a matrix fits, sequence by sequence.

    Parameters
    ----------
    sequence, start
        Row and first letter.
    turned
        Whether it reads on the other strand.
    score
        Bits.
    """

    sequence: np.ndarray
    start: np.ndarray
    turned: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        """Places."""
        return len(self.score)


def codes_of(x: np.ndarray) -> np.ndarray:
    """(n, length) uint8 of (n, 4, length) one-hot: 0 to 3 for A, C, G, T, and 4 where the base is unknown."""
    return np.where(x.any(axis=1), x.argmax(axis=1), _UNKNOWN).astype(np.uint8)


def log_odds(letters: np.ndarray, background: np.ndarray) -> np.ndarray:
    """(4, width) bits by which ``letters`` (4, width) are commoner than in the ``background`` (4,); none impossible."""
    return np.asarray(np.log2(np.maximum(letters, _LEAST_SHARE) / background[:, None]))


def scan(codes: np.ndarray, letters: np.ndarray, *, background: np.ndarray, least: float) -> Places:
    """Places above ``least`` on the better strand, none of them covered by half or more by a better one.

    Parameters
    ----------
    codes
        (n, length), see :func:`codes_of`; an unknown base is worth nothing, and no place reaches ``END``.
    letters
        (4, width) share of each letter.
    background
        (4,) share of each letter where there is no motif.
    least
        Bits.
    """
    odds = np.zeros((END, letters.shape[1]), dtype=np.float32)
    odds[:4] = log_odds(letters, background)
    turned = np.zeros_like(odds)
    turned[:4] = log_odds(letters[::-1, ::-1], background)
    most = len(codes) * (codes.shape[1] // (letters.shape[1] // 2 + 1) + 1)
    where = np.empty((most, 2), dtype=np.int64)
    score = np.empty(most, dtype=np.float32)
    strand = np.empty(most, dtype=np.bool_)
    n = _scan(np.ascontiguousarray(codes), odds, turned, np.float32(least), where, score, strand)
    return Places(where[:n, 0].copy(), where[:n, 1].copy(), strand[:n].copy(), score[:n].copy())


@compiled
def _scan(codes: Any, odds: Any, turned: Any, least: Any, where: Any, score: Any, strand: Any) -> int:
    """Fill ``where``, ``score`` and ``strand``; the number of places."""
    n, length = codes.shape
    width = odds.shape[1]
    start = np.empty(length, dtype=np.int64)
    best = np.empty(length, dtype=np.float32)
    other = np.empty(length, dtype=np.bool_)
    kept = np.empty(length, dtype=np.int64)
    found = 0
    for row in range(n):
        stop = length
        while stop > 0 and codes[row, stop - 1] == 5:
            stop -= 1
        here = 0
        for at in range(stop - width + 1):
            forward = np.float32(0)
            backward = np.float32(0)
            for column in range(width):
                letter = codes[row, at + column]
                forward += odds[letter, column]
                backward += turned[letter, column]
            better = max(forward, backward)
            if better > least:
                start[here], best[here], other[here] = at, better, backward > forward
                here += 1
        n_kept = 0
        for pick in np.argsort(-best[:here], kind="mergesort"):
            apart = True
            for k in range(n_kept):
                if 2 * abs(start[pick] - start[kept[k]]) <= width:
                    apart = False
                    break
            if apart:
                kept[n_kept] = pick
                n_kept += 1
        for pick in np.sort(kept[:n_kept]):
            where[found, 0], where[found, 1] = row, start[pick]
            score[found], strand[found] = best[pick], other[pick]
            found += 1
    return found
