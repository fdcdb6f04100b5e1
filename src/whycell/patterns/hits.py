"""Hits: every place where a motif stands, with a false-discovery rate against shuffles, and what it adds there.

A place is scored by its letters: log odds of the motif's letter shares over the background's, on the better strand. The
shares that discovery gives are those of the strongest sites, so they are read again off the likely places, each counted
by how likely it is a site.

*Null.* Dinucleotide shuffles of the sequences would hold more of the motifs than chance makes: the letters of their
sites are shuffled with the rest. The likely sites of all motifs are therefore cut out before the sequences are shuffled
again, and again once they are known better: what is shuffled in the end is the ground on which false hits can arise.

*Where to expect it.* A sequence that the network answers to is likelier to hold a site than one it is silent about.
Sequences are binned by what contributions of the rest of the sequence add up to, the place's own letters and their
neighbours left out: they were told by its score, and a place that fits by chance moves the network as a site does. A
place in a shuffle stands in the bin of the sequence it was shuffled from. How many sites a bin holds for each false
place (its prior odds, which may not fall as the answer grows) is counted in one half of the sequences and used in the
other, and places are ranked by log odds plus log prior odds. Where contributions say nothing the odds are the same
everywhere, and the letters decide alone.

*Whose it is.* Where two motifs are alike, a place is read for, and told of, the one whose letters fit it better: else a
rare motif that holds part of a common one would be read off its places until the two are the same.

*What it adds.* The contributions of the network to the letters of a hit, summed, stand beside it. They do not decide
whether a place is a hit: where a sequence holds a motif five times a network is convinced by the third, and the other
two would be lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from whycell.encode.sequences import dinucleotide_shuffle, one_hot_of
from whycell.errors import DataError
from whycell.patterns.odds import Both, expected_ranks, false_share, q_values
from whycell.patterns.scan import END, Places, codes_of, scan
from whycell.results.motifs import Motif

__all__ = ["find_hits", "hits_and_letters"]

_COLUMNS = ["motif", "sequence", "start", "stop", "strand", "score", "q", "contribution"]
_LEAST = 1.0  # bits: a place below this is not looked at, hit or null
_FEWEST_READ = 20
_PSEUDO = 0.5  # sites added to the counts of every letter
_ROUNDS = 6
_SHUFFLES, _LAST_SHUFFLES = 2, 6  # of each sequence, in every round and in the one that is told
_LIKELY = 0.3  # sites are cut out up to this share of false ones
_READ = 0.5  # letters are read off places that are sites with at least this probability
_BINS = 8
_NEIGHBOURS = 5  # letters about a place that the network may have read with it


def find_hits(
    motifs: Sequence[Motif], x: np.ndarray, hypothetical: np.ndarray, *, fdr: float = 0.05, seed: int = 0
) -> pd.DataFrame:
    """Places of the motifs.

    Parameters
    ----------
    motifs
        From ``find_motifs``.
    x
        (n, 4, length) one-hot sequences.
    hypothetical
        (n, 4, length) contribution that each letter would have, for the task that the motifs are of.
    fdr
        Share of false hits that is allowed, motif by motif.
    seed
        Of the shuffles, and of the halves in which prior odds are counted.

    Returns
    -------
    One row a hit: ``motif``, ``sequence``, ``start``, ``stop``, ``strand``, ``score`` (bits, of the letters alone),
    ``q`` and ``contribution`` (sum over the place). Hits of one motif do not overlap by half or more, and the middle of
    a hit lies in no better hit of another motif.

    Raises
    ------
    DataError
        Shapes differ.
    """
    return hits_and_letters(motifs, x, hypothetical, fdr=fdr, seed=seed)[0]


def hits_and_letters(
    motifs: Sequence[Motif], x: np.ndarray, hypothetical: np.ndarray, *, fdr: float = 0.05, seed: int = 0
) -> tuple[pd.DataFrame, list[Motif]]:
    """What :func:`find_hits` gives, and the motifs with letter shares as they were read off their places.

    Parameters
    ----------
    motifs, x, hypothetical, fdr, seed
        As of :func:`find_hits`.
    """
    if x.shape != hypothetical.shape:
        msg = f"sequences of shape {x.shape} and scores of shape {hypothetical.shape}: wanted the same (n, 4, length)."
        raise DataError(msg)
    ground = _Ground.of(x, hypothetical, seed)
    here = [motif for motif in motifs if motif.width <= x.shape[2]]
    cut = np.zeros(ground.codes.shape, dtype=bool)
    judged = list[_Judged]()
    for at in range(_ROUNDS):
        null = _shuffled_rest(ground.codes, cut, seed, _SHUFFLES if at < _ROUNDS - 1 else _LAST_SHUFFLES)
        judged = [_judged(motif, ground, null) for motif in here]
        if at < _ROUNDS - 1:
            cut[:] = False
            for motif, found in zip(here, judged, strict=True):
                likely = found.q <= _LIKELY
                columns = found.places.start[likely][:, None] + np.arange(motif.width)
                cut[found.places.sequence[likely][:, None], columns] = True
            own = _own(here, [(found.places, found.site >= _READ) for found in judged], ground.codes.shape)
            here = [_read_again(*each, ground) for each in zip(here, judged, own, strict=True)]
    own = _own(here, [(found.places, found.q <= fdr) for found in judged], ground.codes.shape)
    tables = [_table(*each, ground) for each in zip(here, judged, own, strict=True)]
    filled = [table for table in tables if len(table)]
    hits = pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=_COLUMNS)
    again = {motif.name: motif for motif in here}
    return hits, [again.get(motif.name, motif) for motif in motifs]


@dataclass(frozen=True)
class _Ground:
    """The sequences as numbers, sums of their contributions up to each letter, and the half each belongs to."""

    codes: np.ndarray
    summed: np.ndarray
    background: np.ndarray
    half: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, hypothetical: np.ndarray, seed: int) -> _Ground:
        added = np.where(x > 0, hypothetical, 0).sum(axis=1, dtype=np.float64)
        summed = np.concatenate([np.zeros((len(x), 1)), np.cumsum(added, axis=1)], axis=1)
        background = np.maximum(np.asarray(x).mean(axis=(0, 2), dtype=np.float64), 1e-3)
        return cls(codes_of(x), summed, background, np.random.default_rng(seed).integers(0, 2, len(x)))

    def between(self, sequence: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        """What contributions from ``start`` to ``stop`` add up to."""
        last = self.codes.shape[1]
        upto = self.summed[sequence, np.minimum(stop, last)]
        total: np.ndarray = upto - self.summed[sequence, np.maximum(start, 0)]
        return total


@dataclass(frozen=True)
class _Judged:
    """Places of a motif, the q-value of each, and the probability that it is a site."""

    places: Places
    q: np.ndarray
    site: np.ndarray


def _judged(motif: Motif, ground: _Ground, null: np.ndarray) -> _Judged:
    real = scan(ground.codes, motif.letters, background=ground.background, least=_LEAST)
    false = scan(null, motif.letters, background=ground.background, least=_LEAST)
    false = replace(false, sequence=false.sequence % len(ground.codes))
    shuffles = len(null) // max(len(ground.codes), 1)
    ranks = _ranked(motif, ground, real, false, shuffles=shuffles)
    return _Judged(real, q_values(ranks, shuffles=shuffles), 1 - false_share(ranks, shuffles=shuffles))


def _ranked(motif: Motif, ground: _Ground, real: Places, false: Places, *, shuffles: int) -> Both:
    """Log odds of the letters plus log prior odds of the bin, in bits."""
    scores = Both(real.score, false.score)
    total = ground.summed[:, -1]
    if total.min() == total.max():
        return scores
    edges = np.unique(np.quantile(total, np.arange(1, _BINS) / _BINS))
    start, stop = real.start - _NEIGHBOURS, real.start + motif.width + _NEIGHBOURS
    answers = Both(total[real.sequence] - ground.between(real.sequence, start, stop), total[false.sequence])
    bins = Both(*(np.searchsorted(edges, answer, side="right") for answer in answers))
    halves = Both(ground.half[real.sequence], ground.half[false.sequence])
    # A site takes from the rest of a sequence that is sure already, which is no sign against other places there.
    return expected_ranks(scores, bins, halves, shuffles=shuffles, rising=bool(motif.contribution.sum() > 0))


def _shuffled_rest(codes: np.ndarray, cut: np.ndarray, seed: int, k: int) -> np.ndarray:
    """Shuffles of the sequences without the letters of their sites: rows r, r + n and so on are those of row r."""
    left = (~cut).sum(axis=1)
    out = np.full((k, *codes.shape), END, dtype=np.uint8)
    for length in np.unique(left[left > 1]):
        rows = np.flatnonzero(left == length)
        rest = codes[rows][~cut[rows]].reshape(len(rows), int(length))
        shuffles = dinucleotide_shuffle(one_hot_of(rest), k, seed=seed)
        for at in range(k):
            out[at, rows, : int(length)] = codes_of(shuffles[:, at])
    rows_of_all: np.ndarray = out.reshape(-1, codes.shape[1])
    return rows_of_all


def _own(
    motifs: Sequence[Motif], found: Sequence[tuple[Places, np.ndarray]], shape: tuple[int, ...]
) -> list[np.ndarray]:
    """Of the places told, those whose middle lies in no better place of another motif."""
    best = np.zeros(shape, dtype=np.float32)
    for motif, (places, told) in zip(motifs, found, strict=True):
        for at in range(motif.width):
            np.maximum.at(best, (places.sequence[told], places.start[told] + at), places.score[told])
    own = []
    for motif, (places, told) in zip(motifs, found, strict=True):
        own.append(told & (places.score >= best[places.sequence, places.start + motif.width // 2]))
    return own


def _read_again(motif: Motif, found: _Judged, likely: np.ndarray, ground: _Ground) -> Motif:
    """The motif with the letter shares of its likely places, each counted by its probability."""
    if likely.sum() < _FEWEST_READ:
        return motif
    places, weight = found.places, found.site[likely]
    columns = places.start[likely][:, None] + np.arange(motif.width)
    letters = ground.codes[places.sequence[likely][:, None], columns]
    turned = places.turned[likely]
    letters[turned] = np.where(letters[turned] < 4, 3 - letters[turned], letters[turned])[:, ::-1]
    counts = np.stack([(weight[:, None] * (letters == letter)).sum(axis=0) for letter in range(4)])
    counts += 4 * _PSEUDO * ground.background[:, None]
    return replace(motif, letters=counts / counts.sum(axis=0))


def _table(motif: Motif, found: _Judged, hit: np.ndarray, ground: _Ground) -> pd.DataFrame:
    sequence, start = found.places.sequence[hit], found.places.start[hit]
    columns = {
        "motif": motif.name,
        "sequence": sequence,
        "start": start,
        "stop": start + motif.width,
        "strand": np.where(found.places.turned[hit], "-", "+"),
        "score": found.places.score[hit],
        "q": found.q[hit],
        "contribution": ground.between(sequence, start, start + motif.width),
    }
    return pd.DataFrame(columns)[_COLUMNS]
