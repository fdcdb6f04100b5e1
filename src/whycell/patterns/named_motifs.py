"""Which of the motifs that a variant changes is named.

Hundreds of known motifs look alike, and of 1,400 some fifteen stand over any place by chance. Of those that a variant
changes, the first is therefore one whose change fits the effect: a motif that helps (one of a collection is taken to)
comes with a rise and goes with a fall. Where the contributions of the letters are known, the one named is that whose
scores, letter by letter and five letters beyond its ends, are most like them (cosine).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whycell.patterns.variant_motifs import MotifChange, ScoredMotifs

__all__ = ["first_for", "fits", "likeness", "of_task"]

_BEYOND = 5  # letters on either side of a motif whose contributions speak against it


def of_task(found: Sequence[MotifChange], motifs: ScoredMotifs, *, task: str) -> list[MotifChange]:
    """Changes of motifs that are of a task, or of any.

    Parameters
    ----------
    found, motifs
        As of :func:`first_for`.
    task
        The output.
    """
    return [each for each in found if motifs.tasks[each.motif] in ("", task)]


def first_for(found: Sequence[MotifChange], motifs: ScoredMotifs, *, effect: float) -> list[MotifChange]:
    """The same motifs, those before the others whose change fits the sign of the effect.

    Parameters
    ----------
    found
        Of one change, as ``changed_motifs`` gives them.
    motifs
        The collection.
    effect
        Of that change.
    """
    return sorted(found, key=lambda each: not fits(each, motifs, effect=effect))


def fits(change: MotifChange, motifs: ScoredMotifs, *, effect: float) -> bool:
    """Whether a motif that helps came with a rise or went with a fall; of one that hinders the other way round.

    Parameters
    ----------
    change
        What became of the motif.
    motifs, effect
        As of :func:`first_for`.
    """
    return bool((change.score_alt - change.score_ref) * motifs.helps[change.motif] * effect > 0)


def likeness(
    change: MotifChange, motifs: ScoredMotifs, *, codes: np.ndarray, contributions: np.ndarray, at: int
) -> float:
    """Cosine between what letters contribute and how the motif scores them, at its place and a little beyond.

    Parameters
    ----------
    change
        The motif, and where it is.
    motifs
        The collection.
    codes, contributions
        (length,) letters of the allele in which it is better, and what they contribute.
    at
        First letter of the change, in ``codes``.
    """
    width = int(motifs.widths[change.motif])
    begin = int(motifs.offsets[change.motif])
    table = (motifs.steps if change.strand == "+" else motifs.turned)[begin : begin + width]
    start = at + change.offset
    first, last = max(0, start - _BEYOND), min(len(codes), start + width + _BEYOND)
    scores = np.zeros(last - first)
    for column in range(max(0, -start), min(width, len(codes) - start)):
        if codes[start + column] < 4:
            scores[start + column - first] = table[column, codes[start + column]]
    here = contributions[first:last] * motifs.helps[change.motif]
    size = float(np.linalg.norm(here) * np.linalg.norm(scores))
    return float(here @ scores) / size if size > 0 else 0.0
