"""One motif in two contexts: what it adds to two outputs at the same places.

Motifs of the two sides are matched by their letters. The instances of a motif are all places where either side has a
hit, so that one that is found in a single context is asked for in the other too. Contributions are divided by what the
contributions of a sequence typically add up to (root mean square over the sequences compared), since outputs of two
models have no common size.

*Test.* Instances of one sequence are no independent witnesses: each sequence gives one mean a side, and Wilcoxon's
signed-rank test asks whether one side's is larger by more than

    least * (mean size of the two + a tenth of a typical total)

since two trainings of one network on the same data differ by some percent everywhere, which many instances make
"significant", and by more in what hardly counts on either side.

*Used or not.* What an instance adds is compared with what windows of its width add elsewhere in the same sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, wilcoxon

from whycell.metrics.intervals import t_interval
from whycell.patterns.motifs import likeness
from whycell.patterns.same_places import Pairs
from whycell.results.motifs import Motif

__all__ = [
    "Compared",
    "compare_uses",
    "judged_use",
    "match_motifs",
    "same_instances",
    "typical_total",
    "used_where",
    "window_sums",
]

#: Fewer sequences are not tested.
FEWEST = 10
_MOST_NULL = 50_000
_SURELY_NOT = 0.1  # p of an instance that counts as not used
_FAINT = 0.1  # of what it adds to the other side
_TENTH = 0.1
_NOTHING = 1e-4  # of the larger mean: a difference below this is rounding


@dataclass(frozen=True)
class Compared:
    """What a motif adds on either side, over sequences.

    Parameters
    ----------
    sequences
        That hold an instance.
    mean_a, mean_b
        Means over sequences, scaled.
    difference, low, high
        b - a, with Student's interval of 95 % over sequences.
    p
        Of the test; NaN with too few sequences.
    """

    sequences: int
    mean_a: float
    mean_b: float
    difference: float
    low: float
    high: float
    p: float


def match_motifs(
    first: Sequence[Motif], second: Sequence[Motif], *, alike: float = 0.8
) -> list[tuple[Motif | None, Motif | None, float]]:
    """Motifs that are the same on both sides, the most alike first, and then those of one side.

    Parameters
    ----------
    first, second
        Motifs.
    alike
        Least correlation over the best alignment; see ``patterns.motifs.likeness``.
    """
    close = np.array([[likeness(a.letters, b.letters) for b in second] for a in first]).reshape(len(first), -1)
    pairs: list[tuple[Motif | None, Motif | None, float]] = []
    taken: tuple[set[int], set[int]] = set(), set()
    for flat in np.argsort(-close, axis=None, kind="stable"):
        a, b = divmod(int(flat), close.shape[1])
        if close[a, b] >= alike and a not in taken[0] and b not in taken[1]:
            pairs.append((first[a], second[b], float(close[a, b])))
            taken[0].add(a)
            taken[1].add(b)
    pairs += [(m, None, np.nan) for at, m in enumerate(first) if at not in taken[0]]
    return pairs + [(None, m, np.nan) for at, m in enumerate(second) if at not in taken[1]]


def same_instances(
    hits: pd.DataFrame | None, other_hits: pd.DataFrame | None, pairs: Pairs, *, lengths: tuple[int, int]
) -> pd.DataFrame:
    """Places where either side has a hit, once each, that lie within both sequences.

    Parameters
    ----------
    hits, other_hits
        ``sequence``, ``start``, ``stop``, ``strand`` of one motif, in the rows and letters of its own side.
    pairs
        Which rows are the same.
    lengths
        Letters of a sequence of either side.

    Returns
    -------
    ``pair`` (row of ``pairs``), ``start``, ``stop`` (letters of the first side), ``strand``, ``hit_in`` (``"both"``,
    ``"first"``, ``"second"``). Hits that overlap by half of the shorter are one; the first side tells where.
    """
    parts = []
    for side, table, rows in (("first", hits, pairs.first), ("second", other_hits, pairs.second)):
        if table is None or not len(table):
            continue
        known = pd.DataFrame({"sequence": rows, "pair": np.arange(len(rows)), "shift": pairs.shift})
        here = table[["sequence", "start", "stop", "strand"]].merge(known, on="sequence")
        if side == "second":
            here = here.assign(start=here["start"] + here["shift"], stop=here["stop"] + here["shift"])
        low, high = np.maximum(0, here["shift"]), np.minimum(lengths[0], lengths[1] + here["shift"])
        parts.append(here[(here["start"] >= low) & (here["stop"] <= high)].assign(hit_in=side))
    columns = ["pair", "start", "stop", "strand", "hit_in"]
    if not parts:
        return pd.DataFrame(columns=columns)
    return _merged(pd.concat(parts, ignore_index=True)[columns])


def _merged(table: pd.DataFrame) -> pd.DataFrame:
    """One row for hits of both sides that overlap by half."""
    table = table.sort_values(["pair", "start", "hit_in"], kind="stable", ignore_index=True)
    drop = np.zeros(len(table), dtype=bool)
    hit_in = table["hit_in"].to_numpy(dtype=object).copy()
    pair, start, stop = (table[name].to_numpy(dtype=np.int64) for name in ("pair", "start", "stop"))
    by_first = np.flatnonzero(hit_in == "first")
    spans: dict[int, list[int]] = {}
    for row in by_first:
        spans.setdefault(int(pair[row]), []).append(int(row))
    for row in np.flatnonzero(hit_in == "second"):
        for mate in spans.get(int(pair[row]), ()):
            shared = min(stop[row], stop[mate]) - max(start[row], start[mate])
            if 2 * shared >= min(stop[row] - start[row], stop[mate] - start[mate]):
                drop[row], hit_in[mate] = True, "both"
                break
    return table.assign(hit_in=hit_in)[~drop].reset_index(drop=True)


def window_sums(contributions: np.ndarray, rows: np.ndarray, *, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """(k,) sums of ``contributions`` (n, length) over the letters from ``start`` to ``stop`` of ``rows``."""
    totals = np.concatenate([np.zeros((len(contributions), 1)), np.cumsum(contributions, axis=1, dtype=float)], axis=1)
    return np.asarray(totals[rows, stop] - totals[rows, start])


def typical_total(contributions: np.ndarray) -> float:
    """Root mean square of what (n, length) ``contributions`` add up to in a sequence: the unit of a side."""
    return max(float(np.sqrt((contributions.sum(axis=1, dtype=float) ** 2).mean())), 1e-12)


def used_where(sums: np.ndarray, contributions: np.ndarray, *, taken: np.ndarray, width: np.ndarray) -> np.ndarray:
    """(k,) p-value of each instance: how many windows without a hit add as much, of either sign.

    Parameters
    ----------
    sums
        (k,) what the instances add.
    contributions
        (n, length) of the sequences compared.
    taken
        (n, length) letters that lie in a hit of any motif.
    width
        (k,) letters of each instance.
    """
    totals = np.concatenate([np.zeros((len(contributions), 1)), np.cumsum(contributions, axis=1, dtype=float)], axis=1)
    hits = np.concatenate([np.zeros((len(taken), 1), dtype=int), np.cumsum(taken, axis=1)], axis=1)
    p = np.ones(len(sums))
    for each in np.unique(width):
        free = (hits[:, each:] - hits[:, :-each]) == 0
        null = np.abs(totals[:, each:] - totals[:, :-each])[free]
        null = np.sort(null[:: max(1, len(null) // _MOST_NULL)])
        own = width == each
        p[own] = (1 + len(null) - np.searchsorted(null, np.abs(sums[own]))) / (1 + len(null))
    return p


def compare_uses(
    a: np.ndarray, b: np.ndarray, sequence: np.ndarray, *, least: float = 0.2, total: float = 1.0
) -> Compared:
    """Test whether a motif counts more on one side, over sequences.

    Parameters
    ----------
    a, b
        (k,) scaled contributions of the instances.
    sequence
        (k,) which sequence each is in.
    least
        Share of their mean size, and of a tenth of ``total``, by which one must exceed the other; 0 asks for any
        difference.
    total
        What a sequence's contributions typically add up to, in the units of ``a`` and ``b``.
    """
    _, codes = np.unique(sequence, return_inverse=True)
    n = int(codes.max()) + 1 if len(codes) else 0
    count = np.maximum(np.bincount(codes, minlength=n), 1)
    a, b = (np.bincount(codes, weights=side, minlength=n) / count for side in (a, b))
    apart = t_interval(b - a)
    p = _p_of(a, b, least, total) if n >= FEWEST else float("nan")
    means = (float(a.mean()), float(b.mean())) if n else (float("nan"), float("nan"))
    return Compared(n, *means, apart.value, apart.low, apart.high, p)


def _p_of(a: np.ndarray, b: np.ndarray, least: float, total: float) -> float:
    gap = b - a
    gap[np.abs(gap) < _NOTHING * max(abs(a.mean()), abs(b.mean()))] = 0
    beyond = gap * np.sign(gap.mean()) - least * ((np.abs(a) + np.abs(b)) / 2 + _TENTH * total)
    if not beyond.any():
        return 1.0
    return min(1.0, 2 * float(wilcoxon(beyond, alternative="greater").pvalue))


def judged_use(a: np.ndarray, b: np.ndarray, *, p: tuple[np.ndarray, np.ndarray], fdr: float) -> np.ndarray:
    """Where each instance counts: ``"both"``, ``"first"``, ``"second"``, ``"neither"`` or ``"unclear"``.

    It counts where q (Benjamini and Hochberg over the instances) is up to ``fdr``, and does not where p is above 0.1 or
    it adds less than a tenth of what it adds to the other side; what is neither is unclear.

    Parameters
    ----------
    a, b
        (k,) scaled contributions.
    p
        (k,) of each side, from :func:`used_where`.
    fdr
        Share of instances falsely said to count.
    """
    faint = (np.abs(a) < _FAINT * np.abs(b), np.abs(b) < _FAINT * np.abs(a))
    used = [
        (false_discovery_control(each) <= fdr if len(each) else each > 2) & ~f for each, f in zip(p, faint, strict=True)
    ]
    absent = [(each > _SURELY_NOT) | f for each, f in zip(p, faint, strict=True)]
    conditions = [used[0] & used[1], used[0] & absent[1], absent[0] & used[1], absent[0] & absent[1]]
    return np.select(conditions, ["both", "first", "second", "neither"], default="unclear")
