"""Motifs: what the contributions of many sequences have in common, found by TF-MoDISco.

The search itself is tfmodisco-lite (Shrikumar et al., arXiv:1811.00416), behind one function without its traps:

- sequences are used whole, and padded, so that a site at an end is found like any other and no window is cut silently;
  the padding is columns of the ground, dealt at random: of zeros, modisco's null (a Laplace distribution through the
  sums of windows) would become a spike, and everything pass it;
- where a site lies is told in the letters of the sequence it is in, whichever way round;
- one motif in all the sites is a pattern, where the original's clustering needs two to tell apart;
- the same input gives the same motifs;
- a pattern is cut to what its sites share and what contributes. Few sites share letters by chance: n of them seem to
  say 3 / (2 n ln 2) bits at every position (Schneider et al. 1986), so a position counts by what it says beyond that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from whycell.errors import DataError, MissingExtraError
from whycell.results.motifs import Motif

__all__ = ["distinct", "find_motifs", "likeness", "motif_bits", "motif_from_sites"]

_WINDOW, _FLANK = 21, 10
_FEWEST_SITES = 20
_GROUND = 0.8  # share of windows that are ground: modisco takes at most the other fifth for sites
_PSEUDO = 0.01
_LEAST_INFORMATION = 0.2  # bits: a position below this at an end is no part of the motif
_CHANCE = 11.34  # 99 % of chi-square with 3 degrees: 2 n ln 2 times the bits that one position shows by chance
_CORE = 0.3  # of the largest contribution of a position: modisco's own rule for where a pattern ends
_BESIDE = 4  # letters beside what contributes that may belong to the motif
_OWN_BITS = 4.0  # what a pattern that holds another must say beyond it


def find_motifs(
    x: np.ndarray, hypothetical: np.ndarray, *, most_sites: int = 5000, fewest_sites: int = _FEWEST_SITES
) -> list[Motif]:
    """Motifs of one task, those with most sites first.

    Parameters
    ----------
    x
        (n, 4, length) one-hot sequences.
    hypothetical
        (n, 4, length) contribution that each letter would have; see ``lenses.hypothetical``.
    most_sites
        Sites clustered at most, of either sign; time grows with their square.
    fewest_sites
        A pattern of fewer is none.

    Raises
    ------
    DataError
        Shapes differ, the sequences are shorter than the window in which sites are looked for, or the scores are not
        such as a network gives (NaN, all of one sign, zero nearly everywhere).
    MissingExtraError
        modisco-lite is not installed.
    """
    try:
        from modiscolite.tfmodisco import TFMoDISco
    except ImportError as error:
        msg = "motif discovery needs modisco-lite; install it with: pip install 'whycell[dna]'"
        raise MissingExtraError(msg) from error
    x, hypothetical = np.asarray(x, dtype=np.float32), np.asarray(hypothetical, dtype=np.float32)
    if x.shape != hypothetical.shape or x.ndim != 3 or x.shape[1] != 4:
        msg = f"sequences of shape {x.shape} and scores of shape {hypothetical.shape}: wanted the same (n, 4, length)."
        raise DataError(msg)
    if x.shape[2] < _WINDOW:
        msg = f"sequences of {x.shape[2]} letters: sites are looked for in windows of {_WINDOW}; give longer ones."
        raise DataError(msg)
    if not np.isfinite(hypothetical).all():
        msg = "the scores hold values that are no numbers (NaN or infinite); explain the sequences again."
        raise DataError(msg)
    if not (x * hypothetical).any():
        return []
    pad = _WINDOW + 2 * _FLANK
    one_hot, scores = _padded(x, hypothetical, pad)
    settings = {
        "sliding_window_size": _WINDOW,
        "flank_size": _FLANK,
        "max_seqlets_per_metacluster": most_sites,
        "min_metacluster_size": fewest_sites,
        "final_min_cluster_size": fewest_sites,
        "n_leiden_runs": 10,
    }
    try:
        with np.errstate(invalid="ignore", divide="ignore"):
            found = TFMoDISco(one_hot=one_hot, hypothetical_contribs=scores, **settings)
    except (ZeroDivisionError, IndexError, ValueError) as error:
        msg = f"modisco-lite finds no null for these scores ({error}): are they of one sign, or zero nearly everywhere?"
        raise DataError(msg) from error
    motifs = []
    for sign, patterns in zip(("positive", "negative"), found, strict=True):
        way = 1.0 if sign == "positive" else -1.0
        read = [_from_pattern(pattern, x, hypothetical, pad=pad, way=way) for pattern in patterns or []]
        made = [motif for motif in read if motif is not None]
        made.sort(key=lambda motif: -len(motif.sites))
        motifs += [replace(m, name=f"{sign}_{at + 1}") for at, m in enumerate(made)]
    return motifs


def motif_from_sites(x: np.ndarray, hypothetical: np.ndarray, sites: pd.DataFrame, *, name: str = "") -> Motif:
    """Averages over sites of one width; letters beyond an end of a sequence are left out of them.

    Parameters
    ----------
    x, hypothetical
        (n, 4, length).
    sites
        ``sequence``, ``start``, ``stop``, ``strand``; ends may lie outside the sequence.
    name
        Of the motif.
    """
    width = int((sites["stop"] - sites["start"]).iloc[0])
    columns = sites["start"].to_numpy()[:, None] + np.arange(width)
    inside = (columns >= 0) & (columns < x.shape[2])
    columns = np.clip(columns, 0, x.shape[2] - 1)
    rows = sites["sequence"].to_numpy()[:, None]
    other = (sites["strand"] == "-").to_numpy()

    def mean(values: np.ndarray) -> np.ndarray:
        cut = np.where(inside[:, :, None], values[rows, :, columns], 0)
        cut[other] = cut[other][:, ::-1, ::-1]
        known = np.where(other[:, None], inside[:, ::-1], inside)
        average: np.ndarray = (cut.sum(axis=0) / np.maximum(known.sum(axis=0), 1)[:, None]).T
        return average

    letters = mean(x) + _PSEUDO / 4
    return Motif(name, letters / letters.sum(axis=0), mean(x * hypothetical), mean(hypothetical), sites)


def _padded(x: np.ndarray, hypothetical: np.ndarray, pad: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, length + 2 pad, 4) letters and scores: at both ends columns of the ground, each from anywhere."""
    added = np.cumsum(np.pad((x * hypothetical).sum(axis=1), ((0, 0), (1, 0))), axis=1)
    windows = np.abs(added[:, _WINDOW:] - added[:, :-_WINDOW])
    rows, columns = np.nonzero(windows <= np.quantile(windows, _GROUND))
    dealt = np.random.default_rng(0).integers(0, len(rows), (len(x), 2, pad))
    rows, columns = rows[dealt], columns[dealt] + _WINDOW // 2

    def with_ends(values: np.ndarray) -> np.ndarray:
        ends = values[rows, :, columns]
        return np.ascontiguousarray(np.concatenate([ends[:, 0], values.transpose(0, 2, 1), ends[:, 1]], axis=1))

    return with_ends(x), with_ends(hypothetical)


def motif_bits(motif: Motif) -> float:
    """Bits that the letters say, less what so many sites show by chance."""
    return float(np.maximum(_information(motif.letters) - 3 / (2 * np.log(2) * max(len(motif.sites), 1)), 0).sum())


def _information(letters: np.ndarray) -> np.ndarray:
    bits: np.ndarray = 2 + (letters * np.log2(letters)).sum(axis=0)
    return bits


def _from_pattern(pattern: object, x: np.ndarray, hypothetical: np.ndarray, *, pad: int, way: float) -> Motif | None:
    seqlets = pattern.seqlets  # type: ignore[attr-defined]
    sites = pd.DataFrame(
        {
            "sequence": [int(s.example_idx) for s in seqlets],
            "start": [int(s.start) - pad for s in seqlets],
            "stop": [int(s.end) - pad for s in seqlets],
            "strand": ["-" if s.is_revcomp else "+" for s in seqlets],
        }
    )
    middle = (sites["start"] + sites["stop"]) / 2
    sites = sites[(middle >= 0) & (middle <= x.shape[2])].reset_index(drop=True)
    return _trimmed(motif_from_sites(x, hypothetical, sites), x, hypothetical, way) if len(sites) else None


def _trimmed(motif: Motif, x: np.ndarray, hypothetical: np.ndarray, way: float) -> Motif:
    """Only what contributes with the pattern's sign, and what its sites share beside it; the sites are cut with it."""
    first, last = _extent(motif, way)
    behind = motif.width - last
    sites, other = motif.sites, motif.sites["strand"] == "-"
    cut = sites.assign(
        start=sites["start"] + np.where(other, behind, first), stop=sites["stop"] - np.where(other, first, behind)
    )
    return motif_from_sites(x, hypothetical, cut, name=motif.name)


def _extent(motif: Motif, way: float) -> tuple[int, int]:
    added = way * motif.contribution.sum(axis=0)
    contributes = added >= _CORE * max(added.max(), 1e-12)
    if not contributes.any():
        return 0, motif.width
    beyond_chance = _information(motif.letters) - _CHANCE / (2 * np.log(2) * len(motif.sites))
    clear = beyond_chance >= _LEAST_INFORMATION
    core = np.flatnonzero(contributes & clear)
    if not len(core):
        core = np.flatnonzero(contributes)
        return int(core[0]), int(core[-1]) + 1
    near = slice(max(0, int(core[0]) - _BESIDE), int(core[-1]) + 1 + _BESIDE)
    shared = near.start + np.flatnonzero(clear[near])
    return int(shared[0]), int(shared[-1]) + 1


def distinct(motifs: Sequence[Motif], *, alike: float = 0.85) -> tuple[list[Motif], dict[str, str]]:
    """Motifs of one sign that are not the same as an earlier one, and what each of the others is like.

    A part of an earlier motif is the same as it. One that holds an earlier motif is the same unless it says 4 bits or
    more beyond it.

    Parameters
    ----------
    motifs
        Those with most sites first.
    alike
        Least correlation of letter shares, over the best alignment on either strand, at which two are the same; the
        shorter must overlap by two thirds. Two that differ in one letter of seven are, in one of six are not.
    """
    kept: list[Motif] = []
    same: dict[str, str] = {}
    for motif in motifs:
        sign = motif.name.split("_")[0]
        like = [k for k in kept if k.name.startswith(sign) and _is_same(k, motif, alike)]
        if like:
            same[motif.name] = like[0].name
        else:
            kept.append(motif)
    return kept, same


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of the letter shares of two motifs over their best alignment, on either strand.

    Parameters
    ----------
    one, other
        (4, width) letter shares; the shorter overlaps by two thirds, by four letters at least.
    """
    return _aligned(one, other)[0]


def _is_same(one: Motif, other: Motif, alike: float) -> bool:
    close, beyond = _aligned(one.letters, other.letters)
    chance = beyond.shape[1] * 3 / (2 * np.log(2) * max(len(other.sites), 1))
    return close >= alike and float(_information(beyond).sum()) - chance < _OWN_BITS


def _aligned(one: np.ndarray, other: np.ndarray) -> tuple[float, np.ndarray]:
    """The best correlation over alignments, and the columns of ``other`` that lie outside ``one`` there."""
    best, beyond = -1.0, other
    least = max(4, -(-2 * min(one.shape[1], other.shape[1]) // 3))
    for turned in (other, other[::-1, ::-1]):
        for offset in range(least - turned.shape[1], one.shape[1] - least + 1):
            first, last = max(0, offset), min(one.shape[1], offset + turned.shape[1])
            a, b = one[:, first:last] - 0.25, turned[:, first - offset : last - offset] - 0.25
            scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
            close = float((a * b).sum()) / max(scale, 1e-12)
            if close > best:
                best = close
                beyond = np.concatenate([turned[:, : first - offset], turned[:, last - offset :]], axis=1)
    return best, beyond
