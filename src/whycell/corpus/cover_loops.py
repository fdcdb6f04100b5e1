"""The compiled loops of the cover: lazy greedy, pruning, and a search that takes apart and rebuilds.

Rows and demands: an offer adds ``a`` to each of its rows; row ``r`` counts up to ``most[r]`` and what counts flows to
the demand ``owner[r]``. A demand for cells has one row without a limit; a demand for distinct donors has a row a donor,
limited to one. ``short[u]`` is what a demand still lacks, below zero where there is more than was asked.
"""

# i, j - offer, r - row, u - demand, f - file, p, q - place in a sparse matrix

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

__all__ = ["compiled", "greedy", "prune", "rebuild"]


def compiled(function: Callable[..., Any]) -> Any:
    """Compiled, and kept beside the source where that can be written."""
    try:
        return numba.njit(cache=True)(function)
    except RuntimeError:  # no place to keep it
        return numba.njit(function)


@compiled
def _take(i, sign, indptr, rows, amounts, owner, most, have, short):
    """Add (+1) or remove (-1) an offer: what rows have and demands lack."""
    for p in range(indptr[i], indptr[i + 1]):
        r = rows[p]
        before = min(have[r], most[r])
        have[r] += sign * amounts[p]
        if have[r] < 1e-9:
            have[r] = 0.0
        short[owner[r]] -= min(have[r], most[r]) - before


@compiled
def _gains(i, indptr, rows, amounts, owner, most, have, short, weights, prices):
    """Weighted and priced worth of adding an offer, as things stand."""
    weighted = 0.0
    priced = 0.0
    for p in range(indptr[i], indptr[i + 1]):
        r = rows[p]
        u = owner[r]
        if short[u] > 1e-9:
            more = min(min(have[r] + amounts[p], most[r]) - min(have[r], most[r]), short[u])
            if more > 0:
                weighted += weights[u] * more
                priced += prices[u] * more
    return weighted, priced


@compiled
def _loss(i, indptr, rows, amounts, owner, most, have, short, prices):
    """Price of what demands would lack were an offer removed; the state is as before afterwards."""
    lost = 0.0
    for p in range(indptr[i], indptr[i + 1]):
        r = rows[p]
        u = owner[r]
        less = min(have[r], most[r]) - min(have[r] - amounts[p], most[r])
        if less > 0:
            now = max(short[u], 0.0)
            short[u] += less
            lost += prices[u] * (max(short[u], 0.0) - now)
    for p in range(indptr[i], indptr[i + 1]):
        r = rows[p]
        less = min(have[r], most[r]) - min(have[r] - amounts[p], most[r])
        if less > 0:
            short[owner[r]] -= less
    return lost


@compiled
def greedy(
    indptr,
    rows,
    amounts,
    owner,
    most,
    cost,
    file_of,
    opening,
    by_file,
    files,
    weights,
    prices,
    taken,
    have,
    short,
    opened,
):
    """Take the offer of most weighted worth a cost until none is worth its cost; lazily, worths only fall.

    Opening a file makes its other offers cheaper, so they are put back in the queue.
    """
    heap = [(0.0, 0)]
    heap.pop()
    for i in range(len(cost)):
        if not taken[i]:
            worth, priced = _gains(i, indptr, rows, amounts, owner, most, have, short, weights, prices)
            price = cost[i] + (opening if opened[file_of[i]] == 0 else 0.0)
            if priced > price:
                heapq.heappush(heap, (-worth / price, i))
    while len(heap) > 0:
        _, i = heapq.heappop(heap)
        if taken[i]:
            continue
        worth, priced = _gains(i, indptr, rows, amounts, owner, most, have, short, weights, prices)
        f = file_of[i]
        price = cost[i] + (opening if opened[f] == 0 else 0.0)
        if priced <= price:
            continue
        if len(heap) > 0 and -worth / price > heap[0][0]:
            heapq.heappush(heap, (-worth / price, i))
            continue
        taken[i] = True
        _take(i, 1, indptr, rows, amounts, owner, most, have, short)
        opened[f] += 1
        if opened[f] == 1 and opening > 0:
            for q in range(files[f], files[f + 1]):
                j = by_file[q]
                if not taken[j]:
                    worth, priced = _gains(j, indptr, rows, amounts, owner, most, have, short, weights, prices)
                    if priced > cost[j]:
                        heapq.heappush(heap, (-worth / cost[j], j))


@compiled
def prune(indptr, rows, amounts, owner, most, cost, file_of, opening, prices, order, taken, have, short, opened):
    """Remove, in the order given, every offer that costs more than what would be lacking without it."""
    for i in order:
        if taken[i]:
            saved = cost[i] + (opening if opened[file_of[i]] == 1 else 0.0)
            if _loss(i, indptr, rows, amounts, owner, most, have, short, prices) < saved:
                taken[i] = False
                opened[file_of[i]] -= 1
                _take(i, -1, indptr, rows, amounts, owner, most, have, short)


@compiled
def rebuild(
    indptr,
    rows,
    amounts,
    owner,
    most,
    cost,
    file_of,
    opening,
    columns,
    column_rows,
    weights,
    prices,
    taken,
    have,
    short,
    opened,
    tries,
    width,
    work,
    rng,
):
    """Take a few offers that serve a common demand away, serve what is lacking anew, keep what is no dearer.

    ``columns`` and ``column_rows`` list, row by row, the offers that may be added. Ends after ``tries``, or when
    ``work`` places of the matrix were looked at; what was looked at is returned.
    """
    n = len(cost)
    seen = np.zeros(n, dtype=np.int64)
    candidates = np.empty(n, dtype=np.int64)
    held = np.empty(n, dtype=np.int64)
    place = np.full(n, -1, dtype=np.int64)
    n_held = 0
    for i in range(n):
        if taken[i]:
            held[n_held] = i
            place[i] = n_held
            n_held += 1
    log = np.empty(n + 8 * width + 256, dtype=np.int64)
    looked = 0
    for attempt in range(1, tries + 1):
        if n_held == 0 or looked > work:
            break
        n_log = 0
        change = 0.0
        first = held[rng.integers(0, n_held)]
        for step in range(1 + rng.integers(0, width)):
            i = first
            if step > 0:
                i = -1
                r = rows[indptr[first] + rng.integers(0, indptr[first + 1] - indptr[first])]
                if columns[r + 1] > columns[r]:
                    for _ in range(12):
                        j = column_rows[columns[r] + rng.integers(0, columns[r + 1] - columns[r])]
                        if taken[j]:
                            i = j
                            break
            if i >= 0:
                change += _switch(
                    i, indptr, rows, amounts, owner, most, cost, file_of, opening, prices, taken, have, short, opened
                )
                log[n_log] = i
                n_log += 1
        n_gone = n_log
        n_candidates = 0
        for k in range(n_gone):
            for p in range(indptr[log[k]], indptr[log[k] + 1]):
                r = rows[p]
                if short[owner[r]] > 1e-9:
                    looked += columns[r + 1] - columns[r]
                    for q in range(columns[r], columns[r + 1]):
                        j = column_rows[q]
                        if not taken[j] and seen[j] != attempt:
                            seen[j] = attempt
                            candidates[n_candidates] = j
                            n_candidates += 1
        while n_log < n_gone + 4 * width + 60:
            best = -1
            best_score = 0.0
            for k in range(n_candidates):
                j = candidates[k]
                if not taken[j]:
                    looked += indptr[j + 1] - indptr[j]
                    worth, priced = _gains(j, indptr, rows, amounts, owner, most, have, short, weights, prices)
                    price = cost[j] + (opening if opened[file_of[j]] == 0 else 0.0)
                    if priced > price:
                        score = worth / price * (1.0 - 0.15 * rng.random())
                        if score > best_score:
                            best_score = score
                            best = j
            if best < 0:
                break
            change += _switch(
                best, indptr, rows, amounts, owner, most, cost, file_of, opening, prices, taken, have, short, opened
            )
            log[n_log] = best
            n_log += 1
        n_new = n_log
        for k in range(n_gone, n_new):
            for p in range(indptr[log[k]], indptr[log[k] + 1]):
                r = rows[p]
                if short[owner[r]] < 0 and columns[r + 1] > columns[r]:
                    for _ in range(6):
                        j = column_rows[columns[r] + rng.integers(0, columns[r + 1] - columns[r])]
                        if taken[j] and n_log < len(log):
                            looked += indptr[j + 1] - indptr[j]
                            saved = cost[j] + (opening if opened[file_of[j]] == 1 else 0.0)
                            if _loss(j, indptr, rows, amounts, owner, most, have, short, prices) < saved:
                                change += _switch(
                                    j,
                                    indptr,
                                    rows,
                                    amounts,
                                    owner,
                                    most,
                                    cost,
                                    file_of,
                                    opening,
                                    prices,
                                    taken,
                                    have,
                                    short,
                                    opened,
                                )
                                log[n_log] = j
                                n_log += 1
        if change > 1e-12:
            for k in range(n_log - 1, -1, -1):
                _switch(
                    log[k],
                    indptr,
                    rows,
                    amounts,
                    owner,
                    most,
                    cost,
                    file_of,
                    opening,
                    prices,
                    taken,
                    have,
                    short,
                    opened,
                )
        else:
            for k in range(n_log):
                i = log[k]
                if taken[i] and place[i] < 0:
                    held[n_held] = i
                    place[i] = n_held
                    n_held += 1
                elif not taken[i] and place[i] >= 0:
                    n_held -= 1
                    last = held[n_held]
                    held[place[i]] = last
                    place[last] = place[i]
                    place[i] = -1
    return looked


@compiled
def _switch(i, indptr, rows, amounts, owner, most, cost, file_of, opening, prices, taken, have, short, opened):
    """Take an offer that is not taken or drop one that is; the change of the objective."""
    f = file_of[i]
    if taken[i]:
        change = _loss(i, indptr, rows, amounts, owner, most, have, short, prices) - cost[i]
        opened[f] -= 1
        if opened[f] == 0:
            change -= opening
        taken[i] = False
        _take(i, -1, indptr, rows, amounts, owner, most, have, short)
        return change
    taken[i] = True
    change = cost[i]
    if opened[f] == 0:
        change += opening
    opened[f] += 1
    _take(i, 1, indptr, rows, amounts, owner, most, have, short)
    return change - _loss(i, indptr, rows, amounts, owner, most, have, short, prices)
