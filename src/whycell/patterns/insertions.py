"""Motifs written into backgrounds that hold none, and what a network makes of them; nothing is asked twice.

What a motif does alone depends on where it stands and not on its partner: it is asked once a place and strand, and
every pair takes it from there. Places count from a point near the middle of each background, drawn anew for each by a
few letters, so that no answer hangs on where a pool of the network begins.

A motif is written by letters drawn from its letter shares, each background its own: the sites of real sequences are not
all the likeliest one, and a network may be convinced by that alone. Its ends that say little are left out, so that gaps
count from core to core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from whycell.errors import UsageError
from whycell.results.motifs import Motif

__all__ = ["Insertions", "Placement", "core_of", "placements"]

Predict = Callable[[np.ndarray], np.ndarray]
_AT_ONCE = 4096
_LEAST_BITS = 0.5
_LETTERS = ("drawn", "likeliest")


@dataclass(frozen=True)
class Placement:
    """Where the two motifs of an arrangement stand, gap by gap.

    Parameters
    ----------
    order, strands
        See ``results.grammar.PairGrammar``.
    left, right
        The motif that comes first in the letters, and the other, each with its strand.
    left_at, right_at
        Where each begins at each gap, from the middle.
    """

    order: str
    strands: str
    left: tuple[Motif, str]
    right: tuple[Motif, str]
    left_at: tuple[int, ...]
    right_at: tuple[int, ...]


def core_of(motif: Motif, *, least: float = _LEAST_BITS) -> tuple[Motif, int, int]:
    """The motif without ends that say little, and how many letters were cut on the left and on the right.

    Parameters
    ----------
    motif
        With ``letters`` that sum to one at each position.
    least
        Bits that the outermost positions hold at least; where none does, the motif stays as it is.
    """
    shares = np.maximum(motif.letters, 1e-9)
    clear = np.flatnonzero(2 + (shares * np.log2(shares)).sum(axis=0) >= least)
    if not len(clear):
        return motif, 0, 0
    kept = slice(int(clear[0]), int(clear[-1]) + 1)
    tables = {name: getattr(motif, name)[:, kept] for name in ("letters", "contribution", "hypothetical")}
    return replace(motif, **tables), kept.start, motif.width - kept.stop


def placements(first: Motif, second: Motif, gaps: Sequence[int]) -> list[Placement]:
    """Every arrangement that differs from all others to a network that reads both strands alike.

    The first motif stands on its own strand; the second stands behind it or ahead of it, on the same strand or on the
    other: the four left out are these, read from the other strand (the second behind the first, both turned, is the
    second ahead of it). Of a motif with itself there are three: one behind the other, face to face, back to back.

    Parameters
    ----------
    first, second
        Motifs, or cores of them.
    gaps
        Letters between the two.
    """
    kinds = [("AB", s) for s in ("++", "+-", "-+")]
    if first is not second:
        kinds = [(order, strands) for order in ("AB", "BA") for strands in ("++", "+-")]
    found = []
    for order, strands in kinds:
        pair = (first, strands[0]), (second, strands[1])
        left, right = pair if order == "AB" else pair[::-1]
        begins = [-((left[0].width + gap + right[0].width) // 2) for gap in gaps]
        behind = tuple(at + left[0].width + gap for at, gap in zip(begins, gaps, strict=True))
        found.append(Placement(order, strands, left, right, tuple(begins), behind))
    return found


class Insertions:
    """A network, backgrounds, and what has been asked of them so far.

    Parameters
    ----------
    predict
        From (n, 4, length) one-hot uint8 to (n,) numbers, such as logits of a task.
    background
        (n, 4, length) sequences that hold none of the motifs, such as dinucleotide shuffles; 30 or more.
    letters
        ``"drawn"`` from the motif's shares, each background its own; or the ``"likeliest"`` everywhere.
    shift
        Letters by which a background's middle is moved at most, drawn for each.
    seed
        Of letters and shifts.
    """

    def __init__(
        self, predict: Predict, background: np.ndarray, *, letters: str = "drawn", shift: int = 0, seed: int = 0
    ) -> None:
        if letters not in _LETTERS:
            msg = f"letters is {letters!r}; wanted one of: {', '.join(_LETTERS)}."
            raise UsageError(msg)
        self.predict, self.letters, self.shift, self.seed = predict, letters, shift, seed
        self.background = np.asarray(background, dtype=np.uint8)
        moved = np.random.default_rng(seed).integers(-shift, shift + 1, len(background))
        self._middle = self.background.shape[2] // 2 + moved
        self.plain = self._ask([self.background])[:, 0]
        self._alone: dict[tuple[str, str, int], np.ndarray] = {}
        self._instances: dict[str, np.ndarray] = {}

    def check_room(self, first: Motif, second: Motif, gaps: Sequence[int]) -> None:
        """Raise ``UsageError`` where two motifs at the widest of the ``gaps`` do not fit."""
        length, widest = self.background.shape[2], first.width + second.width + max(gaps) + 2 * self.shift
        if widest > length or len(gaps) < 2 or min(gaps) < 0:
            most = max(0, length - first.width - second.width - 2 * self.shift)
            msg = (
                f"{first.name} and {second.name} at {len(gaps)} gaps up to {max(gaps)} take {widest} of {length} "
                f"letters; wanted two gaps or more, from 0 to {most}."
            )
            raise UsageError(msg)

    def interaction(self, placed: Placement) -> tuple[np.ndarray, np.ndarray]:
        """(n, n_gaps) what both do beyond the sum of what each does at its place, and what both do."""
        left_alone = self._effects(*placed.left, placed.left_at)
        right_alone = self._effects(*placed.right, placed.right_at)
        left, right = self._written_as(*placed.left), self._written_as(*placed.right)
        asked = (
            self._written(self._written(self.background, left, a), right, b)
            for a, b in zip(placed.left_at, placed.right_at, strict=True)
        )
        both = self._ask(asked) - self.plain[:, None]
        return both - left_alone - right_alone, both

    def alone(self, motif: Motif) -> np.ndarray:
        """(n,) what a motif does by itself, mean over the places and strands that were asked."""
        return np.asarray(np.mean([values for key, values in self._alone.items() if key[0] == motif.name], axis=0))

    def _effects(self, motif: Motif, strand: str, places: Sequence[int]) -> np.ndarray:
        keys = [(motif.name, strand, at) for at in places]
        new = [key for key in dict.fromkeys(keys) if key not in self._alone]
        if new:
            letters = self._written_as(motif, strand)
            answers = self._ask(self._written(self.background, letters, at) for _, _, at in new)
            self._alone |= dict(zip(new, (answers - self.plain[:, None]).T, strict=True))
        return np.stack([self._alone[key] for key in keys], axis=1)

    def _written_as(self, motif: Motif, strand: str) -> np.ndarray:
        """(n, 4, width) letters of the motif, one instance a background."""
        if motif.name not in self._instances:
            n = len(self.background)
            if self.letters == "likeliest":
                best = np.repeat(motif.letters.argmax(axis=0)[None], n, axis=0)
            else:
                rng = np.random.default_rng([self.seed, *motif.name.encode()])
                steps = np.cumsum(motif.letters / motif.letters.sum(axis=0), axis=0)
                best = (rng.random((n, 1, motif.width)) > steps[None, :3]).sum(axis=1)
            self._instances[motif.name] = np.eye(4, dtype=np.uint8)[best].transpose(0, 2, 1)
        letters = self._instances[motif.name]
        return letters if strand == "+" else np.asarray(letters[:, ::-1, ::-1])

    def _written(self, x: np.ndarray, letters: np.ndarray, at: int) -> np.ndarray:
        out: np.ndarray = x.copy()
        columns = (self._middle + at)[:, None] + np.arange(letters.shape[2])
        out[np.arange(len(x))[:, None], :, columns] = letters.transpose(0, 2, 1)
        return out

    def _ask(self, parts: Iterable[np.ndarray]) -> np.ndarray:
        """(n, n_parts) answers, in batches of about the same size."""
        answers, waiting = list[np.ndarray](), list[np.ndarray]()
        for part in parts:
            waiting.append(part)
            if len(waiting) * len(part) >= _AT_ONCE:
                answers.append(np.asarray(self.predict(np.concatenate(waiting)), dtype=np.float64))
                waiting = []
        if waiting:
            answers.append(np.asarray(self.predict(np.concatenate(waiting)), dtype=np.float64))
        return np.concatenate(answers).reshape(-1, len(self.background)).T
