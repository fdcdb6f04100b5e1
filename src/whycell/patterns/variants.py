"""What a variant does to the output of a network, and whether a random change of its kind does as much.

The effect is the output with the alternative allele minus that with the reference, both as means over the windows that
``data.variant_windows`` gives (one a shift, two where the alleles differ in length); its spread is the standard
deviation over them.

*Null.* Changes of the same kind at random other places of the same surroundings, each looked at in the middle of its
own window: the same substitution at another such letter, several letters replaced at random, the inserted letters
shuffled and set in elsewhere, as many letters deleted elsewhere. The p-value of a variant is the share of null changes
of its kind whose effect is as large on either side; q is Benjamini and Hochberg's over the variants of a task. A small
one says that the network notices the variant more than others like it; it does not say that the variant matters in a
cell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from whycell.data.genome_letters import GenomeLetters
from whycell.data.variant_windows import KINDS, Change, windows_of
from whycell.encode.sequences import one_hot_of

__all__ = ["Ask", "Effects", "NullEffects", "Reservoir", "random_change", "variant_effects"]

#: From (n, 4, length) uint8 one-hot letters to (n, n_tasks) outputs: log odds, or logarithms of rates.
Ask = Callable[[np.ndarray], np.ndarray]
_TRIES = 20  # random places looked at before a null change is given up
_FEWEST = 20  # null changes of a kind, below which its p-values are not given


@dataclass(frozen=True)
class Effects:
    """What changes do, one row a change.

    Parameters
    ----------
    ref, alt
        (n, n_tasks) outputs, means over windows.
    spread
        (n, n_tasks) standard deviation of ``alt - ref`` over windows; NaN where there is one.
    padded
        (n,) bool: some window holds letters beyond the end of the chromosome.
    asked
        Windows that the network was shown, none of them twice.
    """

    ref: np.ndarray
    alt: np.ndarray
    spread: np.ndarray
    padded: np.ndarray
    asked: int

    @property
    def effect(self) -> np.ndarray:
        """(n, n_tasks) alternative minus reference."""
        return np.asarray(self.alt - self.ref)


def variant_effects(
    ask: Ask, changes: Sequence[Change], *, genome: GenomeLetters, length: int, shifts: int = 1
) -> Effects:
    """Outputs for both alleles of every change; a window that several share is asked once.

    Parameters
    ----------
    ask
        The network.
    changes
        As ``change_of`` makes them.
    genome, length, shifts
        As of ``windows_of``.
    """
    rows: dict[bytes, int] = {}
    pairs: list[tuple[int, int]] = []
    owner: list[int] = []
    padded = np.zeros(len(changes), dtype=bool)
    for at, change in enumerate(changes):
        for window in windows_of(change, genome, length=length, shifts=shifts):
            pairs.append(tuple(rows.setdefault(x.tobytes(), len(rows)) for x in (window.ref, window.alt)))  # type: ignore[arg-type]
            owner.append(at)
            padded[at] |= window.padded
    codes = np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(len(rows), length)
    output = np.asarray(ask(one_hot_of(codes, dtype=np.uint8)), dtype=np.float64)
    of = np.array(owner, dtype=np.int64)
    ref, alt = (output[[pair[side] for pair in pairs]] for side in (0, 1))
    n = np.bincount(of, minlength=len(changes))[:, None]
    mean_ref, mean_alt = (_summed(values, of, len(changes)) / n for values in (ref, alt))
    off = (alt - ref) - (mean_alt - mean_ref)[of]
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sqrt(_summed(off**2, of, len(changes)) / (n - 1))
    return Effects(mean_ref, mean_alt, spread, padded, len(rows))


def random_change(change: Change, genome: GenomeLetters, *, length: int, rng: np.random.Generator) -> Change | None:
    """A change of the same kind at another place less than half a window away; ``None`` where none was found.

    Parameters
    ----------
    change
        What it is like.
    genome
        Where it happens.
    length
        Letters of a window.
    rng
        Source of the place and the letters.
    """
    gone, half = change.stop - change.start, length // 2
    first = max(0, change.start - half)
    last = min(genome.size(change.chromosome), change.stop + half) - gone
    if last <= first:
        return None
    here = genome.codes(change.chromosome, first, last + gone)
    if change.kind == "snv":
        old = here[change.start - first]
        places = np.flatnonzero(here[: last - first] == old) + first
        places = places[places != change.start]
        if not len(places):
            return None
        start = int(rng.choice(places))
        return Change(change.chromosome, start, start + 1, change.letters)
    for _ in range(_TRIES):
        start = int(rng.integers(first, last))
        there = here[start - first : start - first + gone]
        if start == change.start or (there > 3).any():
            continue
        letters = rng.permutation(change.letters)
        if change.kind == "mnv":
            letters = ((there + rng.integers(1, 4, gone)) % 4).astype(np.uint8)
        return Change(change.chromosome, start, start + gone, letters)
    return None


class Reservoir:
    """A uniform sample of at most ``most`` changes of each kind out of a stream (Vitter's algorithm R).

    Parameters
    ----------
    most
        Of each kind.
    rng
        Of the draw.
    """

    def __init__(self, most: int, *, rng: np.random.Generator) -> None:
        self.most, self.rng = most, rng
        self.seen = dict.fromkeys(KINDS, 0)
        self.kept: dict[str, list[Change]] = {kind: [] for kind in KINDS}

    def add(self, change: Change) -> None:
        """One more ``change`` of the stream."""
        kind = change.kind
        kept = self.kept[kind]
        if len(kept) < self.most:
            kept.append(change)
        else:
            at = int(self.rng.integers(0, self.seen[kind] + 1))
            if at < self.most:
                kept[at] = change
        self.seen[kind] += 1

    def null_changes(self, n: int, genome: GenomeLetters, *, length: int) -> dict[str, list[Change]]:
        """``n`` random changes of each kind that was seen, spread evenly over those kept.

        Parameters
        ----------
        n
            Of each kind.
        genome, length
            As of :func:`random_change`.
        """
        found: dict[str, list[Change]] = {}
        for kind, kept in self.kept.items():
            if kept:
                order = [kept[at % len(kept)] for at in range(n)]
                drawn = (random_change(c, genome, length=length, rng=self.rng) for c in order)
                found[kind] = [c for c in drawn if c is not None]
        return found


class NullEffects:
    """Sizes of the effects of random changes, by kind.

    Parameters
    ----------
    effects
        Kind to (n, n_tasks) effects.
    """

    def __init__(self, effects: dict[str, np.ndarray]) -> None:
        self.sizes = {kind: np.sort(np.abs(e), axis=0) for kind, e in effects.items() if len(e) >= _FEWEST}

    def p_values(self, kinds: Sequence[str], effect: np.ndarray) -> np.ndarray:
        """(n, n_tasks) share of null changes of its kind whose effect is as large; NaN where there are too few.

        Parameters
        ----------
        kinds
            (n,) one of ``KINDS``.
        effect
            (n, n_tasks).
        """
        p = np.full(effect.shape, np.nan)
        of = np.asarray(kinds, dtype=object)
        for kind, sizes in self.sizes.items():
            rows = np.flatnonzero(of == kind)
            for task in range(effect.shape[1]):
                below = np.searchsorted(sizes[:, task], np.abs(effect[rows, task]), side="left")
                p[rows, task] = (1 + len(sizes) - below) / (1 + len(sizes))
        return p


def _summed(values: np.ndarray, of: np.ndarray, n: int) -> np.ndarray:
    found = np.zeros((n, values.shape[1]))
    np.add.at(found, of, values)
    return found
