"""A choice of offers cut down to what was asked: rows at the ends of offers that no demand needs are not read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whycell.corpus.cover_loops import compiled

__all__ = ["cap_pieces", "trim_pieces"]


def trim_pieces(
    starts: np.ndarray, stops: np.ndarray, offer: np.ndarray, *, groups: Sequence[tuple[np.ndarray, float]]
) -> tuple[np.ndarray, np.ndarray]:
    """Cut rows away at the ends of offers, as long as every group keeps what it needs.

    Parameters
    ----------
    starts, stops
        (n_pieces,) rows; empty where a piece is not taken.
    offer
        (n_pieces,) sorted; the inner pieces of an offer stay, since they are read over anyway.
    groups
        For each kind of demand the (n_pieces,) int group of each piece, and the cells that each group needs as far as
        it has them.

    Returns
    -------
    starts, stops
    """
    starts, stops = starts.astype(np.int64).copy(), stops.astype(np.int64).copy()
    codes = np.column_stack([np.unique(group, return_inverse=True)[1] for group, _ in groups]).astype(np.int64)
    width = int(codes.max()) + 1 if codes.size else 1
    have = np.zeros((len(groups), width))
    for k in range(len(groups)):
        have[k] = np.bincount(codes[:, k], weights=stops - starts, minlength=width)
    _trim(starts, stops, offer.astype(np.int64), codes, have, np.array([need for _, need in groups]))
    return starts, stops


def cap_pieces(
    starts: np.ndarray, stops: np.ndarray, kind: np.ndarray, donor: np.ndarray, *, cap: int
) -> tuple[np.ndarray, np.ndarray]:
    """Keep at most ``cap`` cells of a kind: donors of many cells give up theirs first, so that donors stay many.

    Parameters
    ----------
    starts, stops
        (n_pieces,) rows.
    kind, donor
        (n_pieces,) int.
    cap
        Cells of a kind at most.

    Returns
    -------
    starts, stops
    """
    stops = stops.copy()
    size = stops - starts
    for k in np.flatnonzero(np.bincount(kind, weights=size) > cap):
        mine = np.flatnonzero((kind == k) & (size > 0))
        givers, code = np.unique(donor[mine], return_inverse=True)
        level = _level(np.bincount(code, weights=size[mine]), cap)
        left = level[np.arange(len(givers))]
        for i, g in zip(mine, code, strict=True):
            kept = int(min(size[i], left[g]))
            stops[i] = starts[i] + kept
            left[g] -= kept
    return starts, stops


def _level(amounts: np.ndarray, cap: int) -> np.ndarray:
    """(n,) whole numbers no larger than ``amounts``, as equal as can be, that sum to ``cap``."""
    order = np.argsort(amounts, kind="stable")
    out = np.zeros(len(amounts), dtype=np.int64)
    left = cap
    for place, i in enumerate(order):
        out[i] = min(int(amounts[i]), left // (len(amounts) - place))
        left -= int(out[i])
    return out


@compiled
def _trim(starts, stops, offer, codes, have, need):
    """From the end of each offer, then from its start; stops at the first piece that cannot go."""
    n = len(starts)
    i = 0
    while i < n:
        j = i
        while j < n and offer[j] == offer[i]:
            j += 1
        for k in range(j - 1, i - 1, -1):
            spare = _spare(k, starts, stops, codes, have, need)
            stops[k] -= spare
            if stops[k] > starts[k]:
                break
        for k in range(i, j):
            spare = _spare(k, starts, stops, codes, have, need)
            starts[k] += spare
            if stops[k] > starts[k]:
                break
        i = j


@compiled
def _spare(k, starts, stops, codes, have, need):
    """Rows of a piece that no group needs; they are taken off what the groups have."""
    spare = stops[k] - starts[k]
    for g in range(codes.shape[1]):
        if need[g] > 0:
            spare = min(spare, max(0, int(have[g, codes[k, g]] - need[g])))
    for g in range(codes.shape[1]):
        have[g, codes[k, g]] -= spare
    return spare
