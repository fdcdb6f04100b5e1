"""Motifs that a variant makes or breaks: the best place over it, in either allele, on either strand.

A place is scored by log odds of the motif's shares over the background's, in steps of a twentieth of a bit. In whole
steps the distribution of the score of random letters is exact (one convolution a position; Staden 1989), so the
p-value of a score is too, and a motif *stands* where it is at most ``p``: where a place of random letters scores so
high that rarely.

``made``: the motif stands in the alternative only; ``broken``: in the reference only; ``strengthened`` and
``weakened``: in both, with another score. A change of less than a bit (odds that do not double) is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from whycell.data.genome_letters import GenomeLetters
from whycell.data.variant_windows import Change
from whycell.encode.kernels import compiled

__all__ = ["MotifChange", "ScoredMotifs", "changed_motifs", "scored_motifs"]

STEPS = 20  # of a score, in a bit
_NOISE = 0.01  # share of letters that are taken for random ones: no letter is impossible
_LEAST_BITS = 1.0
_UNREACHABLE = np.iinfo(np.int32).max
_NOWHERE = -(1 << 30)


@dataclass(frozen=True)
class ScoredMotifs:
    """Motifs ready to be looked for.

    Parameters
    ----------
    names, labels
        (m,) as the collection calls them, and what a person calls them.
    tasks
        (m,) task that a motif is of; empty for any.
    helps
        (m,) 1 where its letters raise the output, -1 where they lower it.
    widths, offsets
        (m,) columns of each, and where they begin in ``steps``.
    steps
        (columns, 4) int32 scores of letters on the forward strand; ``turned`` on the other.
    least
        (m,) int32 score from which a motif stands; one that no letters reach where it is too short.
    tails
        For each, p-value of every score from ``lowest`` on.
    lowest
        (m,) int32.
    """

    names: tuple[str, ...]
    labels: tuple[str, ...]
    tasks: tuple[str, ...]
    helps: np.ndarray
    widths: np.ndarray
    offsets: np.ndarray
    steps: np.ndarray
    turned: np.ndarray
    least: np.ndarray
    tails: tuple[np.ndarray, ...]
    lowest: np.ndarray

    def __len__(self) -> int:
        return len(self.names)

    @property
    def too_short(self) -> int:
        """Motifs that no letters make stand."""
        return int((self.least == _UNREACHABLE).sum())

    def p_value(self, motif: int, score: int) -> float:
        """Probability that random letters at one place, on one strand, score as high.

        Parameters
        ----------
        motif
            Its number.
        score
            In steps.
        """
        tail = self.tails[motif]
        at = score - int(self.lowest[motif])
        return float(tail[min(max(at, 0), len(tail) - 1)]) if at < len(tail) else 0.0


@dataclass(frozen=True)
class MotifChange:
    """A motif that a variant makes, breaks or changes.

    Parameters
    ----------
    motif
        Its number in the collection.
    what
        ``"made"``, ``"broken"``, ``"strengthened"`` or ``"weakened"``.
    offset
        Where it begins in the allele in which it is better, counted from the first letter of the change.
    strand
        ``"+"`` or ``"-"``, in that allele.
    score_ref, score_alt
        Best scores over the change, bits.
    p
        Of the better one.
    """

    motif: int
    what: str
    offset: int
    strand: str
    score_ref: float
    score_alt: float
    p: float


def scored_motifs(
    motifs: Sequence[tuple[str, str, str, int, np.ndarray]], *, background: np.ndarray, p: float = 3e-4
) -> ScoredMotifs:
    """Make motifs ready.

    Parameters
    ----------
    motifs
        Name, label, task, whether it helps (1 or -1) and (4, width) letter shares of each.
    background
        (4,) shares of letters.
    p
        A motif stands where random letters score as high with at most this probability.
    """
    scores = []
    for *_, letters in motifs:
        shares = (1 - _NOISE) * letters + _NOISE * background[:, None]
        scores.append(np.rint(np.log2(shares / background[:, None]) * STEPS).astype(np.int32).T)
    widths = np.array([len(s) for s in scores], dtype=np.int64)
    found = [_tail(s, background) for s in scores]
    least = [int(lowest + np.argmax(tail <= p)) if (tail <= p).any() else _UNREACHABLE for lowest, tail in found]
    return ScoredMotifs(
        tuple(m[0] for m in motifs),
        tuple(m[1] for m in motifs),
        tuple(m[2] for m in motifs),
        np.array([m[3] for m in motifs], dtype=np.int64),
        widths,
        np.concatenate([[0], np.cumsum(widths)[:-1]]).astype(np.int64),
        np.ascontiguousarray(np.concatenate(scores)),
        np.ascontiguousarray(np.concatenate([s[::-1, ::-1] for s in scores])),
        np.array(least, dtype=np.int32),
        tuple(tail for _, tail in found),
        np.array([lowest for lowest, _ in found], dtype=np.int32),
    )


def changed_motifs(
    changes: Sequence[Change], motifs: ScoredMotifs, *, genome: GenomeLetters
) -> list[list[MotifChange]]:
    """For each change the motifs that it changes, see the module; made and broken first, the rarer by chance first.

    Parameters
    ----------
    changes
        What happens.
    motifs
        What is looked for.
    genome
        Where it happens.
    """
    if not len(motifs) or not changes:
        return [[] for _ in changes]
    flank = int(motifs.widths.max())
    score, at, turned = (
        np.zeros((2, len(changes), len(motifs)), dtype=kind) for kind in (np.int32, np.int32, np.bool_)
    )
    for side in (0, 1):
        codes, sizes = _surroundings(changes, genome, flank, alt=bool(side))
        _best_places(
            codes,
            sizes,
            flank,
            (motifs.widths, motifs.offsets, motifs.steps, motifs.turned),
            (score[side], at[side], turned[side]),
        )
    better = score.max(axis=0)
    moved = (np.abs(score[1].astype(np.int64) - score[0]) >= _LEAST_BITS * STEPS) & (score.min(axis=0) > _NOWHERE)
    found: list[list[MotifChange]] = [[] for _ in changes]
    for row, motif in zip(*np.nonzero(moved & (better >= motifs.least)), strict=True):
        side = int(score[1, row, motif] > score[0, row, motif])
        found[row].append(
            MotifChange(
                int(motif),
                _what(int(score[0, row, motif]), int(score[1, row, motif]), int(motifs.least[motif])),
                int(at[side, row, motif]) - flank,
                "-" if turned[side, row, motif] else "+",
                float(score[0, row, motif]) / STEPS,
                float(score[1, row, motif]) / STEPS,
                motifs.p_value(int(motif), int(better[row, motif])),
            )
        )
    for each in found:
        each.sort(key=lambda c: (c.what not in ("made", "broken"), c.p, -abs(c.score_alt - c.score_ref), c.motif))
    return found


def _what(ref: int, alt: int, least: int) -> str:
    if ref < least:
        return "made"
    if alt < least:
        return "broken"
    return "strengthened" if alt > ref else "weakened"


def _tail(steps: np.ndarray, background: np.ndarray) -> tuple[int, np.ndarray]:
    """The lowest score of (width, 4) ``steps``, and the probability of every score from it on, or higher."""
    lowest = int(steps.min(axis=1).sum())
    chance = np.ones(1)
    for column in steps - steps.min(axis=1, keepdims=True):
        longer = np.zeros(len(chance) + int(column.max()))
        for letter in range(4):
            longer[column[letter] : column[letter] + len(chance)] += background[letter] * chance
        chance = longer
    return lowest, np.minimum(np.cumsum(chance[::-1])[::-1], 1.0)


def _surroundings(
    changes: Sequence[Change], genome: GenomeLetters, flank: int, *, alt: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(n, longest) codes about every change, ``flank`` letters on either side, and (n,) letters of the change."""
    texts = []
    for change in changes:
        front = genome.codes(change.chromosome, change.start - flank, change.start)
        behind = genome.codes(change.chromosome, change.stop, change.stop + flank)
        here = change.letters if alt else genome.codes(change.chromosome, change.start, change.stop)
        texts.append(np.concatenate([front, here, behind]))
    codes = np.full((len(texts), max(map(len, texts))), 4, dtype=np.uint8)
    for row, text in enumerate(texts):
        codes[row, : len(text)] = text
    return codes, np.array([len(text) - 2 * flank for text in texts], dtype=np.int64)


@compiled
def _best_places(codes, sizes, flank, motifs, found):  # type: ignore[no-untyped-def]
    """The best place of every motif over the change; over the gap between two letters where the change has none."""
    widths, offsets, forward, backward = motifs
    score, place, turned = found
    for row in range(len(codes)):
        last_at = flank + sizes[row] - 1 if sizes[row] > 0 else flank - 1
        for motif in range(len(widths)):
            width, begin = widths[motif], offsets[motif]
            best, best_at, best_turned = _NOWHERE, flank, False
            for at in range(flank - width + 1, last_at + 1):
                one, other, known = 0, 0, True
                for column in range(width):
                    letter = codes[row, at + column]
                    if letter > 3:
                        known = False
                        break
                    one += forward[begin + column, letter]
                    other += backward[begin + column, letter]
                if known and one > best:
                    best, best_at, best_turned = one, at, False
                if known and other > best:
                    best, best_at, best_turned = other, at, True
            score[row, motif], place[row, motif], turned[row, motif] = best, best_at, best_turned
