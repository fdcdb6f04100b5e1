"""Sparse cells times a dense gene matrix, compiled; see ``genept.product``."""

from __future__ import annotations

from typing import Any

import numpy as np

from whycell.encode.kernels import compiled, log1p_in_place

__all__ = ["add_products", "log1p_per_ten_thousand", "totals_of_cells"]

#: Genes whose vectors are held in the cache while every cell of a chunk passes them.
_TILE = 512


@compiled
def add_products(indptr: Any, indices: Any, data: Any, matrix: Any, out: Any) -> None:
    """``out += values @ matrix`` for the rows of ``indptr``; column indices sorted in each row."""
    n_rows, n_dims = out.shape
    n_columns = len(matrix)
    at = indptr[:-1].copy()
    for first in range(0, n_columns, _TILE):
        beyond = first + _TILE
        for r in range(n_rows):
            k = at[r]
            stop = indptr[r + 1]
            end = k
            while end < stop and indices[end] < beyond:
                end += 1
            row = out[r]
            while k + 8 <= end:
                x0, x1, x2, x3 = data[k], data[k + 1], data[k + 2], data[k + 3]
                x4, x5, x6, x7 = data[k + 4], data[k + 5], data[k + 6], data[k + 7]
                m0, m1, m2, m3 = (
                    matrix[indices[k]],
                    matrix[indices[k + 1]],
                    matrix[indices[k + 2]],
                    matrix[indices[k + 3]],
                )
                m4, m5 = matrix[indices[k + 4]], matrix[indices[k + 5]]
                m6, m7 = matrix[indices[k + 6]], matrix[indices[k + 7]]
                for d in range(n_dims):
                    low = (x0 * m0[d] + x1 * m1[d]) + (x2 * m2[d] + x3 * m3[d])
                    high = (x4 * m4[d] + x5 * m5[d]) + (x6 * m6[d] + x7 * m7[d])
                    row[d] += low + high
                k += 8
            while k < end:  # the last few together too: what is missing counts nothing
                last = end - 1
                i1, i2, i3 = min(k + 1, last), min(k + 2, last), min(k + 3, last)
                x0 = data[k]
                x1 = data[i1] if k + 1 < end else np.float32(0.0)
                x2 = data[i2] if k + 2 < end else np.float32(0.0)
                x3 = data[i3] if k + 3 < end else np.float32(0.0)
                m0, m1, m2, m3 = matrix[indices[k]], matrix[indices[i1]], matrix[indices[i2]], matrix[indices[i3]]
                for d in range(n_dims):
                    row[d] += (x0 * m0[d] + x1 * m1[d]) + (x2 * m2[d] + x3 * m3[d])
                k += 4
            at[r] = end


@compiled
def totals_of_cells(indptr: Any, indices: Any, data: Any, described: Any, totals: Any, covered: Any) -> None:
    """Sum of every cell, and of its counts on described genes; float64."""
    for r in range(len(totals)):
        total, inside = 0.0, 0.0
        for k in range(indptr[r], indptr[r + 1]):
            value = np.float64(data[k])
            total += value
            inside += value if described[indices[k]] else 0.0
        totals[r] = total
        covered[r] = inside


@compiled
def log1p_per_ten_thousand(indptr: Any, data: Any, totals: Any, out: Any, bits: Any) -> None:
    """log(1 + 10,000 v / total) of every stored value; ``bits`` is ``out`` seen as int32."""
    for r in range(len(totals)):
        factor = np.float32(1e4 / totals[r]) if totals[r] > 0 else np.float32(0.0)
        for k in range(indptr[r], indptr[r + 1]):
            out[k] = data[k] * factor
    log1p_in_place(out, bits, len(out))
