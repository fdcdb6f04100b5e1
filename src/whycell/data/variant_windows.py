"""Windows of a genome with and without a variant, as long as a network reads.

Letters that both alleles share at their ends are taken off first, those behind before those in front. A substitution
has one window, in which it stands in the middle. An insertion or deletion changes what fits into a window, and which
end gives way is arbitrary: both are asked. In one window all in front of the variant stays where it is, and letters
come in or fall off behind; in the other all behind it stays. Where a repeat leaves open which of its letters are gone
or new, the first window takes it for those in front and the second for those behind. So neither strand is preferred,
and it does not matter which place the file names.

A window that would reach beyond an end of its chromosome is moved inwards until it does not, so that the variant stands
beside the middle; only where the chromosome is too short, or a deletion leaves too little, unknown letters (N) fill it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from whycell.data.genome_letters import GenomeLetters, as_codes
from whycell.data.variants import Variant

__all__ = ["KINDS", "Change", "Window", "change_of", "rolled", "windows_of"]

#: What a variant may be.
KINDS = ("snv", "mnv", "insertion", "deletion", "indel")


class Change(NamedTuple):
    """What a variant does: letters from ``start`` to ``stop`` (from 0, not included) become ``letters`` (codes)."""

    chromosome: str
    start: int
    stop: int
    letters: np.ndarray

    @property
    def kind(self) -> str:
        """One of ``KINDS``: of one letter, of several of the same number, or of another number."""
        gone, come = self.stop - self.start, len(self.letters)
        if gone == come:
            return "snv" if gone == 1 else "mnv"
        return "insertion" if not gone else "indel" if come else "deletion"


class Window(NamedTuple):
    """(length,) codes of the reference and of the alternative; ``start`` is where that of the reference begins."""

    start: int
    ref: np.ndarray
    alt: np.ndarray
    padded: bool


def change_of(variant: Variant) -> Change:
    """The change that ``variant`` makes, without the letters that its alleles share.

    Examples
    --------
    >>> change_of(Variant("chr1", 10, ".", "CAG", "CG"))[:3]
    ('chr1', 10, 11)
    """
    ref, alt = variant.ref, variant.alt
    behind = 0
    while behind < min(len(ref), len(alt)) and ref[-1 - behind] == alt[-1 - behind]:
        behind += 1
    ref, alt = ref[: len(ref) - behind], alt[: len(alt) - behind]
    front = 0
    while front < min(len(ref), len(alt)) and ref[front] == alt[front]:
        front += 1
    start = variant.position - 1 + front
    return Change(variant.chromosome, start, start + len(ref) - front, as_codes(alt[front:]))


def rolled(change: Change, genome: GenomeLetters, *, behind: bool, most: int = 1000) -> Change:
    """The same insertion or deletion, told of the first place in a repeat, or of the last; others as they are.

    Parameters
    ----------
    change
        What happens.
    genome
        Where.
    behind
        Whether the last place is wanted.
    most
        Letters that it is moved at most.
    """
    gone = change.stop - change.start
    if (gone > 0) == (len(change.letters) > 0):
        return change
    most = min(most, genome.size(change.chromosome) - change.stop if behind else change.start)
    first = change.start - (0 if behind else most)
    around = genome.codes(change.chromosome, first, change.stop + (most if behind else 0))
    at, letters = change.start - first, change.letters
    for _ in range(most):
        out, into = (at, at + gone) if behind else (at + gone - 1, at - 1)
        moving = around[out] if gone else letters[0 if behind else -1]
        if moving > 3 or around[into] != moving:
            break
        at += 1 if behind else -1
        letters = np.roll(letters, -1 if behind else 1)
    return Change(change.chromosome, first + at, first + at + gone, letters)


def windows_of(change: Change, genome: GenomeLetters, *, length: int, shifts: int = 1) -> list[Window]:
    """The windows that a change is looked at in.

    Parameters
    ----------
    change
        Of at most ``length // 2 - shifts`` letters, on either allele.
    genome
        Where it happens.
    length
        Letters of a window.
    shifts
        Places of the window, one letter apart, about that which has the change in its middle.

    Returns
    -------
    One window a shift, two where the alleles differ in length, the unshifted first; fewer where an end of the
    chromosome makes some the same.
    """
    half = length // 2
    offsets = sorted(range(-((shifts - 1) // 2), shifts // 2 + 1), key=abs)
    size = genome.size(change.chromosome)
    found: dict[tuple[str, int], Window] = {}
    if change.stop - change.start == len(change.letters):
        middle = (change.start + change.stop) // 2
        for offset in offsets:
            start = _inside(middle - half + offset, length, size)
            found.setdefault(("", start), _front_stays(change, genome, start, length))
        return list(found.values())
    early, late = (rolled(change, genome, behind=side, most=half) for side in (False, True))
    for offset in offsets:
        start = _inside(early.start - half + offset, length, size)
        found.setdefault(("front", start), _front_stays(early, genome, start, length))
        start = _inside(late.stop + half - length + (-offset), length, size)
        found.setdefault(("behind", start), _behind_stays(late, genome, start, length))
    return list(found.values())


def _inside(start: int, length: int, size: int) -> int:
    return max(0, min(start, size - length)) if size >= length else -((length - size) // 2)


def _front_stays(change: Change, genome: GenomeLetters, start: int, length: int) -> Window:
    ref = genome.codes(change.chromosome, start, start + length)
    front = ref[: change.start - start]
    rest = max(0, length - len(front) - len(change.letters))
    behind = genome.codes(change.chromosome, change.stop, change.stop + rest)
    padded = start < 0 or max(start + length, change.stop + rest) > genome.size(change.chromosome)
    return Window(start, ref, np.concatenate([front, change.letters, behind])[:length], padded)


def _behind_stays(change: Change, genome: GenomeLetters, start: int, length: int) -> Window:
    ref = genome.codes(change.chromosome, start, start + length)
    behind = ref[change.stop - start :]
    rest = max(0, length - len(behind) - len(change.letters))
    front = genome.codes(change.chromosome, change.start - rest, change.start)
    padded = min(start, change.start - rest) < 0 or start + length > genome.size(change.chromosome)
    return Window(start, ref, np.concatenate([front, change.letters, behind])[-length:], padded)
