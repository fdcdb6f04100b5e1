"""Inner loops for networks of convolutions, with channels side by side in memory: arrays are (rows, height, width, c).

All take pairs of an input and a reference: ``x`` has one row for several pairs in a row, ``r`` one for each or fewer,
which then come round again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

__all__ = ["compiled", "overlap_add", "pool_back", "pool_forward", "relu_back"]


def compiled(function: Callable[..., Any]) -> Any:
    """Compiled, and kept beside the source where that can be written."""
    try:
        return numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:  # no place to keep it
        return numba.njit(nogil=True, error_model="numpy")(function)


@compiled
def pool_forward(z: np.ndarray, out: np.ndarray, window: tuple, floor: float) -> None:
    """Largest of ``floor`` and the values in each window: (height, width, stride, stride, padding, padding)."""
    rows, height, width, channels = z.shape
    kh, kw, sh, sw, ph, pw = window
    for row in range(rows):
        for p in range(out.shape[1]):
            for q in range(out.shape[2]):
                best = out[row, p, q]
                best[:] = floor
                for i in range(max(p * sh - ph, 0), min(p * sh - ph + kh, height)):
                    for j in range(max(q * sw - pw, 0), min(q * sw - pw + kw, width)):
                        line = z[row, i, j]
                        for c in range(channels):
                            best[c] = max(best[c], line[c])


@compiled
def pool_back(m: np.ndarray, x: np.ndarray, r: np.ndarray, out: np.ndarray, window: tuple, floor: float) -> None:
    """Multipliers through a maximum pool, and through the relu before it where ``floor`` is 0; added to ``out``."""
    pairs, tall, wide, channels = m.shape
    height, width = x.shape[1], x.shape[2]
    kh, kw, sh, sw, ph, pw = window
    each, of = pairs // x.shape[0], r.shape[0]
    a_best, b_best, share = np.empty(channels, x.dtype), np.empty(channels, x.dtype), np.empty(channels, x.dtype)
    a_at, b_at, place = np.empty(channels, np.int32), np.empty(channels, np.int32), np.empty(channels, np.int32)
    area = height * width
    for pair in range(pairs):
        a, b = x[pair // each].reshape(area, channels), r[pair % of].reshape(area, channels)
        flat = out[pair].reshape(area, channels)
        for p in range(tall):
            for q in range(wide):
                top, left = max(p * sh - ph, 0), max(q * sw - pw, 0)
                start = top * width + left
                for c in range(channels):  # few arrays in one loop: the compiler checks each pair for overlap
                    a_best[c], a_at[c] = a[start, c], start
                    b_best[c], b_at[c] = b[start, c], start
                for i in range(top, min(p * sh - ph + kh, height)):
                    for j in range(left, min(q * sw - pw + kw, width)):
                        here = np.int32(i * width + j)
                        first, second = a[here], b[here]
                        for c in range(channels):
                            more = first[c] > a_best[c]
                            a_best[c] = first[c] if more else a_best[c]
                            a_at[c] = here if more else a_at[c]
                        for c in range(channels):
                            more = second[c] > b_best[c]
                            b_best[c] = second[c] if more else b_best[c]
                            b_at[c] = here if more else b_at[c]
                come = m[pair, p, q]
                for c in range(channels):
                    rise = max(a_best[c], floor) - max(b_best[c], floor)
                    share[c] = come[c] * rise
                    place[c] = a_at[c] if rise >= 0 else b_at[c]
                for c in range(channels):
                    if share[c] != 0:
                        at = place[c]
                        flat[at, c] += share[c] / (a[at, c] - b[at, c])


@compiled
def relu_back(m: np.ndarray, x: np.ndarray, r: np.ndarray, out: np.ndarray) -> None:
    """Multipliers through relu, (pairs, size): Δ relu / Δ; where nothing differs, whether the reference is active."""
    pairs, size = m.shape
    each, of = pairs // x.shape[0], r.shape[0]
    for pair in range(pairs):
        a, b, come, go = x[pair // each], r[pair % of], m[pair], out[pair]
        for i in range(size):
            step = a[i] - b[i]
            rise = max(a[i], 0) - max(b[i], 0)
            slope = rise / (step if step != 0 else 1)
            go[i] = come[i] * (slope if step != 0 else (1 if b[i] > 0 else 0))


@compiled
def overlap_add(parts: np.ndarray, out: np.ndarray, stride: int) -> None:
    """Add part p of every row, (rows, places, size), to its row of ``out``, (rows, length), from ``p * stride`` on."""
    rows, places, size = parts.shape
    for row in range(rows):
        for p in range(places):
            part, there = parts[row, p], out[row, p * stride : p * stride + size]
            for t in range(size):
                there[t] += part[t]
