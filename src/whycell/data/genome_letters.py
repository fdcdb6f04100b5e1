"""Letters of a genome as small whole numbers, read by blocks: what many neighbouring windows need is read once."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import numpy as np

from whycell.data.regions import open_genome

__all__ = ["GenomeLetters", "as_codes", "as_letters"]

_UNKNOWN = 4
_BLOCK = 1 << 18  # letters read at a time
_KEPT = 16  # blocks held, some 4 MB
_ALPHABET = np.frombuffer(b"ACGTN", dtype=np.uint8)


def _code_table() -> np.ndarray:
    table = np.full(256, _UNKNOWN, dtype=np.uint8)
    for code, letter in enumerate("ACGT"):
        table[ord(letter)] = table[ord(letter.lower())] = code
    return table


_CODES = _code_table()


def as_codes(letters: str) -> np.ndarray:
    """(n,) uint8 of ``letters``: 0 to 3 for A, C, G and T in either case, 4 for any other."""
    return _CODES[np.frombuffer(letters.encode("ascii", errors="replace"), dtype=np.uint8)]


def as_letters(codes: np.ndarray) -> str:
    """:func:`as_codes` turned round: the letters of ``codes``, N for 4."""
    return bytes(_ALPHABET[codes]).decode()


class GenomeLetters:
    """A FASTA whose letters are asked for by place.

    Parameters
    ----------
    path
        Plain or bgzip; see ``data.regions.open_genome`` for what is raised.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self._fasta = open_genome(path)
        self._sizes = {str(name): len(self._fasta[name]) for name in self._fasta.keys()}  # noqa: SIM118
        self._blocks: OrderedDict[tuple[str, int], np.ndarray] = OrderedDict()

    def __contains__(self, chromosome: object) -> bool:
        return chromosome in self._sizes

    @property
    def names(self) -> tuple[str, ...]:
        """The chromosomes."""
        return tuple(self._sizes)

    def size(self, chromosome: str) -> int:
        """Letters of ``chromosome``."""
        return self._sizes[chromosome]

    def codes(self, chromosome: str, start: int, stop: int) -> np.ndarray:
        """(stop - start,) uint8 as :func:`as_codes`, counted from 0; 4 beyond either end."""
        found = np.full(max(0, stop - start), _UNKNOWN, dtype=np.uint8)
        first, last = max(start, 0), min(stop, self._sizes[chromosome])
        for number in range(first // _BLOCK, -(-last // _BLOCK) if last > first else 0):
            begin = number * _BLOCK
            left, right = max(first, begin), min(last, begin + _BLOCK)
            found[left - start : right - start] = self._block(chromosome, number)[left - begin : right - begin]
        return found

    def letters(self, chromosome: str, start: int, stop: int) -> str:
        """The same as upper-case text, N for what is unknown or beyond either end."""
        return as_letters(self.codes(chromosome, start, stop))

    def _block(self, chromosome: str, number: int) -> np.ndarray:
        key = (chromosome, number)
        block = self._blocks.get(key)
        if block is None:
            block = as_codes(str(self._fasta[chromosome][number * _BLOCK : (number + 1) * _BLOCK]))
            self._blocks[key] = block
            if len(self._blocks) > _KEPT:
                self._blocks.popitem(last=False)
        else:
            self._blocks.move_to_end(key)
        return block
