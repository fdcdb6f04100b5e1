"""Gaps between motifs as they are counted in real sequences, against the same hits dealt anew.

Each sequence keeps its hits of the first motif and is given those of the second from another sequence that holds both:
where hits of either lie in a sequence stays as it was, and only what ties the two together is lost. Of as many pairs,
is a gap, or a range of them, commoner than that?
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from whycell.patterns.gap_tests import ranges

__all__ = ["counted_gaps", "pairs_seen"]

_KINDS = (("AB", "++"), ("AB", "+-"), ("BA", "++"), ("BA", "+-"))
_OF_ITSELF = (("AB", "++"), ("AB", "+-"), ("AB", "-+"))


def counted_gaps(
    hits: pd.DataFrame, first: str, *, second: str, most: int = 30, permutations: int = 1000, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Gaps between hits of two motifs in the same sequence, counted, against hits dealt anew.

    Parameters
    ----------
    hits
        ``motif``, ``sequence``, ``start``, ``stop`` (in the sequence) and ``strand``.
    first, second
        Names of motifs; may be the same.
    most
        Largest gap counted.
    permutations, seed
        Of the null.

    Returns
    -------
    One row an order, strands and gap: ``order``, ``strands``, ``gap``, ``n``, ``expected``, ``p`` (binomial
    of as many pairs), ``q``. And one row an arrangement: ``order``, ``strands``, ``gaps`` (the range most in excess),
    ``n``, ``expected``, ``p`` (share of deals whose best range is as much in excess), ``q``.
    """
    from scipy.stats import binom, false_discovery_control

    same = first == second
    one, other = (hits[hits["motif"] == name] for name in (first, second))
    both = np.intersect1d(one["sequence"], other["sequence"])
    a, b = (_Hits.of(table, both) for table in (one, other))
    seen = _counts(a, b, np.arange(len(both)), most=most, same=same)
    rng = np.random.default_rng(seed)
    dealt = np.stack([_counts(a, b, rng.permutation(len(both)), most=most, same=same) for _ in range(permutations)])
    share = dealt.sum(axis=0) + 1.0  # a gap that no deal had is not impossible
    share /= share.sum()
    total = seen.sum()
    kind, gap = np.indices(seen.shape).reshape(2, -1)
    n, chance = seen.ravel().astype(np.int64), share.ravel()
    p = binom.sf(n - 1, total, chance)
    kinds = np.array(_OF_ITSELF if same else _KINDS)
    columns = {"order": kinds[kind, 0], "strands": kinds[kind, 1], "gap": gap, "n": n, "expected": total * chance}
    table = pd.DataFrame({**columns, "p": p, "q": false_discovery_control(p)})
    table = table.sort_values("q", kind="stable", ignore_index=True)
    spans = pd.DataFrame(_ranges(seen, dealt, share), columns=["gaps", "n", "expected", "p"])
    spans.insert(0, "order", kinds[:, 0])
    spans.insert(1, "strands", kinds[:, 1])
    return table, spans.assign(q=false_discovery_control(spans["p"]))


def pairs_seen(tests: pd.DataFrame, counted: pd.DataFrame) -> pd.Series:
    """How many real pairs stand as each test speaks of: where a network saw none such, it guesses.

    Parameters
    ----------
    tests
        ``first, second, order, strands, gaps``; two orders or strands that are compared are joined by `` v ``, and the
        commoner counts.
    counted
        ``first, second, order, strands, gap, n``.
    """
    by = counted.set_index(["first", "second", "order", "strands", "gap"])["n"].to_dict()
    found = []
    for row in tests.itertuples():
        low, _, high = str(row.gaps).partition("-")
        gaps = range(int(low), int(high or low) + 1)
        kinds = [(o, s) for o in str(row.order).split(" v ") for s in str(row.strands).split(" v ")]
        found.append(max(sum(by.get((row.first, row.second, o, s, g), 0) for g in gaps) for o, s in kinds))
    return pd.Series(found, index=tests.index, dtype=np.int64)


@dataclass(frozen=True)
class _Hits:
    """Hits by sequence: (n_sequences, most hits of one), with -1 where a sequence has fewer."""

    start: np.ndarray
    stop: np.ndarray
    turned: np.ndarray

    @classmethod
    def of(cls, table: pd.DataFrame, sequences: np.ndarray) -> _Hits:
        table = table[table["sequence"].isin(sequences)].sort_values(["sequence", "start"], kind="stable")
        row = np.searchsorted(sequences, table["sequence"].to_numpy())
        column = table.groupby("sequence").cumcount().to_numpy()
        shape = (len(sequences), int(column.max(initial=-1)) + 1)
        start, stop, turned = np.full(shape, -1), np.full(shape, -1), np.zeros(shape, dtype=bool)
        start[row, column], stop[row, column] = table["start"].to_numpy(), table["stop"].to_numpy()
        turned[row, column] = (table["strand"] == "-").to_numpy()
        return cls(start, stop, turned)


def _counts(a: _Hits, b: _Hits, dealt: np.ndarray, *, most: int, same: bool) -> np.ndarray:
    """(n_kinds, most + 1) pairs by arrangement and gap, where a sequence has the second's hits of ``dealt``."""
    start_a, start_b = a.start[:, :, None], b.start[dealt][:, None, :]
    good = (start_a >= 0) & (start_b >= 0)
    ahead = start_a < start_b
    if same:
        good &= ahead
    gap = np.where(ahead, start_b - a.stop[:, :, None], start_a - b.stop[dealt][:, None, :])
    good &= (gap >= 0) & (gap <= most)
    turned_a, turned_b = (t & good for t in (a.turned[:, :, None], b.turned[dealt][:, None, :]))
    if same:  # both on one strand, face to face, back to back
        kind = np.where(turned_a == turned_b, 0, np.where(turned_b, 1, 2))
    else:  # read from the other strand where the first is turned: what was behind it is ahead
        kind = 2 * (ahead == turned_a) + (turned_a != turned_b)
    flat = np.bincount((kind * (most + 1) + gap)[good], minlength=(3 if same else 4) * (most + 1))
    return flat.reshape(-1, most + 1).astype(np.float64)


def _ranges(seen: np.ndarray, dealt: np.ndarray, share: np.ndarray) -> list[tuple[str, int, float, float]]:
    """The range of each arrangement that is most in excess, in standard deviations of a count."""
    spans = ranges(seen.shape[1], whole=True)

    def inside(counts: np.ndarray) -> np.ndarray:
        totals = np.concatenate([np.zeros((*counts.shape[:-1], 1)), np.cumsum(counts, axis=-1)], axis=-1)
        return np.asarray(totals[..., spans[:, 1]] - totals[..., spans[:, 0]])

    def excess(counts: np.ndarray) -> np.ndarray:
        expected = inside(share * counts.sum(axis=(-1, -2), keepdims=True))
        return np.asarray((inside(counts) - expected) / np.sqrt(expected + 0.5))

    found, null = excess(seen), np.concatenate([excess(part).max(axis=-1) for part in np.array_split(dealt, 10)])
    rows = []
    for kind, best in enumerate(found.argmax(axis=1)):
        start, stop = spans[best]
        told = str(start) if stop - start == 1 else f"{start}-{stop - 1}"
        p = (1 + (null[:, kind] >= found[kind, best] - 1e-9).sum()) / (len(null) + 1)
        expected = (share[kind, start:stop] * seen.sum()).sum()
        rows.append((told, int(seen[kind, start:stop].sum()), float(expected), float(p)))
    return rows
