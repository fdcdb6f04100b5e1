"""Motifs: what the contributions of many sequences have in common, found by TF-MoDISco.

The search itself is tfmodisco-lite (Shrikumar et al., arXiv:1811.00416), behind one function without its traps:

- sequences are used whole, and padded, so that a site at an end is found like any other and no window is cut silently;
- where a site lies is told in the letters of the sequence it is in, whichever way round;
- one motif in all the sites is a pattern, where the original's clustering needs two to tell apart;
- the same input gives the same motifs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from whycell.errors import DataError, MissingExtraError
from whycell.results.motifs import Motif

__all__ = ["distinct", "find_motifs", "likeness", "motif_from_sites"]

_WINDOW, _FLANK = 21, 10
_FEWEST_SITES = 20
_PSEUDO = 0.01
_LEAST_INFORMATION = 0.2  # bits: a position below this at an end is no part of the motif


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
        Shapes differ, or the sequences are shorter than the window in which sites are looked for.
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
    pad = _WINDOW + 2 * _FLANK
    one_hot, scores = (np.pad(a.transpose(0, 2, 1), ((0, 0), (pad, pad), (0, 0))) for a in (x, hypothetical))
    found = TFMoDISco(
        one_hot=np.ascontiguousarray(one_hot),
        hypothetical_contribs=np.ascontiguousarray(scores),
        sliding_window_size=_WINDOW,
        flank_size=_FLANK,
        max_seqlets_per_metacluster=most_sites,
        min_metacluster_size=fewest_sites,
        final_min_cluster_size=fewest_sites,
        n_leiden_runs=10,
    )
    motifs = []
    for sign, patterns in zip(("positive", "negative"), found, strict=True):
        made = [_from_pattern(pattern, x, hypothetical, pad) for pattern in patterns or []]
        made.sort(key=lambda motif: -len(motif.sites))
        motifs += [replace(m, name=f"{sign}_{at + 1}") for at, m in enumerate(made) if m is not None]
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


def _from_pattern(pattern: object, x: np.ndarray, hypothetical: np.ndarray, pad: int) -> Motif:
    seqlets = pattern.seqlets  # type: ignore[attr-defined]
    sites = pd.DataFrame(
        {
            "sequence": [int(s.example_idx) for s in seqlets],
            "start": [int(s.start) - pad for s in seqlets],
            "stop": [int(s.end) - pad for s in seqlets],
            "strand": ["-" if s.is_revcomp else "+" for s in seqlets],
        }
    )
    return _trimmed(motif_from_sites(x, hypothetical, sites), x, hypothetical)


def _trimmed(motif: Motif, x: np.ndarray, hypothetical: np.ndarray) -> Motif:
    """Without the ends that say nothing; the sites are cut with it."""
    information = 2 + (motif.letters * np.log2(motif.letters)).sum(axis=0)
    strong = np.flatnonzero(information >= _LEAST_INFORMATION)
    if not len(strong):
        return motif
    first, last = int(strong[0]), int(strong[-1]) + 1
    behind = motif.width - last
    sites, other = motif.sites, motif.sites["strand"] == "-"
    cut = sites.assign(
        start=sites["start"] + np.where(other, behind, first), stop=sites["stop"] - np.where(other, first, behind)
    )
    return motif_from_sites(x, hypothetical, cut, name=motif.name)


def distinct(motifs: Sequence[Motif], *, alike: float = 0.9) -> tuple[list[Motif], dict[str, str]]:
    """Motifs of one sign that are not the same as an earlier one, and what each of the others is like.

    Parameters
    ----------
    motifs
        Those with most sites first.
    alike
        Least correlation of letter shares, over the best alignment on either strand, at which two are the same; the
        shorter must overlap by two thirds.
    """
    kept: list[Motif] = []
    same: dict[str, str] = {}
    for motif in motifs:
        sign = motif.name.split("_")[0]
        like = [k for k in kept if k.name.startswith(sign) and likeness(k.letters, motif.letters) >= alike]
        if like:
            same[motif.name] = like[0].name
        else:
            kept.append(motif)
    return kept, same


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two (4, width) tables of letter shares, ``one`` and ``other``, over the best alignment.

    Either strand; the shorter must overlap by two thirds, and by four positions at least.
    """
    best = -1.0
    least = max(4, -(-2 * min(one.shape[1], other.shape[1]) // 3))
    for turned in (other, other[::-1, ::-1]):
        for offset in range(least - turned.shape[1], one.shape[1] - least + 1):
            first, last = max(0, offset), min(one.shape[1], offset + turned.shape[1])
            a, b = one[:, first:last] - 0.25, turned[:, first - offset : last - offset] - 0.25
            scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
            best = max(best, float((a * b).sum()) / max(scale, 1e-12))
    return best
