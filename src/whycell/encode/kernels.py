"""The inner loops of typing, compiled: what every cell passes through, in code that a compiler makes vectors of.

Sums of one cell are taken in an order that depends on that cell and its file's columns alone, so that neither the size
of a chunk nor the number of threads can change a bit of the result. Rounding may be contracted (one multiply-add
instead of two steps) and sums may be split into lanes, always in the same way; NaN and infinities keep their meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

__all__ = ["LANES", "ONCE", "PLAIN", "SUMMED", "activate", "compiled", "encode_cells", "log1p_in_place", "nearest"]

#: Directions are padded to whole vectors of this many numbers.
LANES = 16
#: How the genes of a cell are gathered: two columns may be one gene; none are; besides, there is one pattern without
#: scale, and ``columns`` leaves out what it does not see.
SUMMED, ONCE, PLAIN = 0, 1, 2
_RELAXED = {"contract", "reassoc", "nsz", "arcp"}


def compiled(function: Callable[..., Any]) -> Any:
    """Compile on first use; keep the result on disk where some folder may be written, else for this process only."""
    try:
        return numba.njit(nogil=True, cache=True, fastmath=_RELAXED)(function)
    except RuntimeError:  # an installation that may not be written, and no cache folder for this user
        return numba.njit(nogil=True, fastmath=_RELAXED)(function)


@compiled
def encode_cells(
    starts: Any,
    stops: Any,
    indices: Any,
    data: Any,
    columns: Any,
    way: int,
    seen: Any,
    counted: Any,
    scale: Any,
    pattern: Any,
    shares: Any,
    mean: Any,
    mean_squares: Any,
    directions: Any,
    offset: Any,
    target: float,
    coordinates: Any,
    facts: Any,
) -> None:
    """All of ``Encoder.encode``; ``directions`` padded to whole lanes, ``scale`` without columns for none."""
    n_genes = len(mean)
    held = np.zeros(n_genes, dtype=np.float32)
    touched = np.empty(n_genes + 8, dtype=np.int32)
    x_of = np.empty(n_genes + 8, dtype=np.float32)
    bits_of = x_of.view(np.int32)
    sums = np.empty(directions.shape[1], dtype=np.float32)
    for c in range(len(starts)):
        p = pattern[c]
        start, stop = starts[c], stops[c]
        if way == PLAIN:
            n, total = _gather_plain(indices, data, start, stop, columns, touched, x_of)
        elif way == ONCE:
            n, total = _gather_once(indices, data, start, stop, columns, seen[p], counted[p], scale[p], touched, x_of)
        else:
            n, total = _gather_summed(
                indices, data, start, stop, columns, seen[p], counted[p], scale[p], held, touched, x_of
            )
        if target > 0:
            factor = np.float32(target * shares[p] / total) if total > 0 else np.float32(1.0)
            for t in range(n):
                x_of[t] *= factor
            log1p_in_place(x_of, bits_of, n)
        facts[c, 0] = total
        facts[c, 1] = n
        facts[c, 2] = mean_squares[p] + _square(touched, x_of, n, mean)
        sums[:] = 0
        _project(touched, x_of, n, directions, sums)
        row = coordinates[c]
        for d in range(len(row)):
            row[d] = sums[d] - offset[p, d]


@compiled
def _gather_plain(
    indices: Any, data: Any, start: int, stop: int, columns: Any, touched: Any, x_of: Any
) -> tuple[int, float]:
    """The genes of one cell where ``columns`` leaves out all that is not seen; no branches."""
    n = 0
    for k in range(start, stop):
        g = columns[indices[k]]
        touched[n] = g
        x_of[n] = data[k]
        n += (g >= 0) & (data[k] != 0)
    total = 0.0
    for t in range(n):
        total += np.float64(x_of[t])
    return n, total


@compiled
def _gather_once(
    indices: Any,
    data: Any,
    start: int,
    stop: int,
    columns: Any,
    seen: Any,
    counted: Any,
    scale: Any,
    touched: Any,
    x_of: Any,
) -> tuple[int, float]:
    """The genes of one cell through a pattern of gaps."""
    n = 0
    total = 0.0
    for k in range(start, stop):
        g = columns[indices[k]]
        if g < 0:
            continue
        value = data[k] * scale[g] if len(scale) else data[k]
        total += np.float64(value) if counted[g] else 0.0
        touched[n] = g
        x_of[n] = value
        n += seen[g] & counted[g] & (value != 0)
    return n, total


@compiled
def _gather_summed(
    indices: Any,
    data: Any,
    start: int,
    stop: int,
    columns: Any,
    seen: Any,
    counted: Any,
    scale: Any,
    held: Any,
    touched: Any,
    x_of: Any,
) -> tuple[int, float]:
    """The genes of one cell where two columns may be one gene."""
    n = 0
    total = 0.0
    for k in range(start, stop):
        g = columns[indices[k]]
        if g < 0 or not counted[g] or data[k] == 0:
            continue
        value = data[k] * scale[g] if len(scale) else data[k]
        total += np.float64(value)
        if not seen[g]:
            continue
        if held[g] == 0:
            touched[n] = g
            n += 1
        held[g] += value
    for t in range(n):
        x_of[t] = held[touched[t]]
        held[touched[t]] = 0
    return n, total


@compiled
def _square(touched: Any, x_of: Any, n: int, mean: Any) -> float:
    total = 0.0
    for t in range(n):
        x = np.float64(x_of[t])
        total += x * (x - 2.0 * np.float64(mean[touched[t]]))
    return total


@compiled
def _project(touched: Any, x_of: Any, n: int, directions: Any, sums: Any) -> None:
    """``sums += x @ directions`` over the genes touched, four at a time so that the sums are read and written less."""
    whole = (n + 3) // 4 * 4
    for t in range(n, whole):
        touched[t] = 0
        x_of[t] = 0
    for t in range(0, whole, 4):
        x0, x1, x2, x3 = x_of[t], x_of[t + 1], x_of[t + 2], x_of[t + 3]
        r0, r1 = directions[touched[t]], directions[touched[t + 1]]
        r2, r3 = directions[touched[t + 2]], directions[touched[t + 3]]
        for d in range(len(sums)):
            sums[d] += (x0 * r0[d] + x1 * r1[d]) + (x2 * r2[d] + x3 * r3[d])


@compiled
def log1p_in_place(x: Any, bits: Any, n: int) -> None:
    """log(1 + x) in place for x >= 0, to 3e-7: straight-line code that the compiler turns into vectors.

    ``bits`` is ``x`` seen as int32. With 1 + x = m 2^e and m in [2/3, 4/3): log = e log 2 + 2 atanh((m - 1) / (m + 1)).
    """
    for i in range(n):
        x[i] += np.float32(1.0)
    for i in range(n):
        raw = bits[i]
        exponent = (raw - np.int32(0x3F2AAAAB)) >> np.int32(23)
        bits[i] = raw - (exponent << np.int32(23))
        s = (x[i] - np.float32(1.0)) / (x[i] + np.float32(1.0))
        z = s * s
        tail = np.float32(0.2) + z * (np.float32(0.14285715) + z * np.float32(0.11111111))
        series = np.float32(1.0) + z * (np.float32(0.33333334) + z * tail)
        x[i] = np.float32(exponent) * np.float32(0.6931472) + np.float32(2.0) * s * series


@compiled
def activate(hidden: Any, bias: Any, gain: Any, shift: Any) -> None:
    """GELU(LayerNorm(hidden + bias) · gain + shift) in place; (n_cells, n_hidden) float32.

    erf is a quotient of polynomials on [-4, 4] (Eigen's), good to 4e-7: scipy's takes ten times as long.
    """
    n_cells, n_hidden = hidden.shape
    for c in range(n_cells):
        row = hidden[c]
        total = np.float32(0.0)
        for j in range(n_hidden):
            row[j] += bias[j]
            total += row[j]
        centre = total / np.float32(n_hidden)
        squares = np.float32(0.0)
        for j in range(n_hidden):
            row[j] -= centre
            squares += row[j] * row[j]
        inverse = np.float32(1.0) / np.sqrt(squares / np.float32(n_hidden) + np.float32(1e-5))
        for j in range(n_hidden):
            x = row[j] * inverse * gain[j] + shift[j]
            v = x * np.float32(0.70710678)
            v = min(max(v, np.float32(-4.0)), np.float32(4.0))
            z = v * v
            top = np.float32(-2.72614225801306e-10) * z + np.float32(2.77068142495902e-08)
            top = top * z + np.float32(-2.10102402082508e-06)
            top = top * z + np.float32(-5.69250639462346e-05)
            top = top * z + np.float32(-7.34990630326855e-04)
            top = top * z + np.float32(-2.95459980854025e-03)
            top = top * z + np.float32(-1.60960333262415e-02)
            low = np.float32(-1.45660718464996e-05) * z + np.float32(-2.13374055278905e-04)
            low = low * z + np.float32(-1.68282697438203e-03)
            low = low * z + np.float32(-7.37332916720468e-03)
            low = low * z + np.float32(-1.42647390514189e-02)
            row[j] = np.float32(0.5) * x * (np.float32(1.0) + v * top / low)


@compiled
def nearest(products: Any, squares: Any, known_squares: Any, k: int, out: Any) -> None:
    """The ``k`` smallest squared distances, rising: |x|² + (|y|² - 2 x·y).

    Parameters
    ----------
    products
        (n_cells, n_known) float32 inner products; overwritten.
    squares, known_squares
        (n_cells,) and (n_known,) float32.
    k
        How many; at most n_known.
    out
        (n_cells, k) float32.
    """
    n_cells, n_known = products.shape
    best = np.empty(k, dtype=np.float32)
    for c in range(n_cells):
        row = products[c]
        for j in range(n_known):
            row[j] = known_squares[j] - np.float32(2.0) * row[j]
        best[:] = np.float32(np.inf)
        for start in range(0, n_known, 64):
            stop = min(start + 64, n_known)
            limit = best[k - 1]
            closer = 0
            for j in range(start, stop):  # counting is done in vectors; few stretches hold anything closer
                closer += row[j] < limit
            if closer == 0:
                continue
            for j in range(start, stop):
                value = row[j]
                if value < best[k - 1]:
                    at = k - 1
                    while at > 0 and best[at - 1] > value:
                        best[at] = best[at - 1]
                        at -= 1
                    best[at] = value
        for i in range(k):
            out[c, i] = squares[c] + best[i]
