"""The map of cells as the page's script reads it: quantised, packed, a few bytes a cell."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pandas as pd

from whycell._keys import UNKNOWN
from whycell.reports.page import pack_uint16
from whycell.reports.palette import colours_by_name
from whycell.results import Annotation

__all__ = ["MAX_POINTS", "map_data"]

#: Points beyond this many are left out, evenly; the job that makes the map keeps to it too.
MAX_POINTS = 100_000

_TEXTS = ("leaf", "runner_up", "flag")
_NUMBERS = ("confidence", "leaf_confidence", "novelty")


def map_data(result: Annotation) -> dict[str, Any]:
    """Pack of ``result`` what ``annotation.js`` draws.

    Returns
    -------
    dict
        ``n``; ``x``, ``y`` (base64 uint16, one scale for both axes); ``names`` of the cells; ``categories``
        (``call``, ``donor`` and the texts: ``labels``, ``counts``, ``codes`` as base64 uint16, ``colours``);
        ``numbers`` (``low``, ``high``, ``values`` as :func:`~whycell.reports.page.pack_uint16`).
    """
    rows, xy = _thinned(np.asarray(result.map_rows), np.asarray(result.map_xy, dtype=np.float64))
    cells = result.calls.iloc[rows]
    x, y = _square(xy)
    names = [str(name) for name in cells.index]
    categories = {"call": _category(cells["call"], extra=cells["call_term_id"], grey=(UNKNOWN,))}
    if result.donors is not None:
        categories["donor"] = _category(pd.Series(np.asarray(result.donors)[rows]))
    categories |= {column: _category(cells[column], colour=False) for column in _TEXTS if column in cells}
    if "cluster_call" in cells:
        categories["cluster_call"] = _category(cells["cluster_call"], colour=False)
    numbers = {column: _number(cells[column]) for column in _NUMBERS if column in cells}
    return {"n": len(rows), "x": x, "y": y, "names": names, "categories": categories, "numbers": numbers}


def _thinned(rows: np.ndarray, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    usable = np.isfinite(xy).all(axis=1) if len(xy) else np.zeros(0, dtype=bool)
    rows, xy = rows[usable], xy[usable]
    if len(rows) <= MAX_POINTS:
        return rows, xy
    keep = np.linspace(0, len(rows) - 1, MAX_POINTS).astype(np.int64)
    return rows[keep], xy[keep]


def _square(xy: np.ndarray) -> tuple[str, str]:
    # One scale for both axes: a map stretched to its frame would lie about distances.
    if not len(xy):
        return pack_uint16(np.zeros(0), 0, 1), pack_uint16(np.zeros(0), 0, 1)
    low, high = xy.min(axis=0), xy.max(axis=0)
    half = max(float((high - low).max()) / 2, 1e-9)
    middle = (low + high) / 2
    packed = [pack_uint16(xy[:, axis], middle[axis] - half, middle[axis] + half) for axis in (0, 1)]
    return packed[0], packed[1]


def _category(
    values: pd.Series, *, extra: pd.Series | None = None, grey: tuple[str, ...] = (), colour: bool = True
) -> dict[str, Any]:
    text = values.astype(object).where(values.notna(), "").astype(str).to_numpy()
    labels, codes, counts = np.unique(text, return_inverse=True, return_counts=True)
    last = np.isin(labels, grey)
    order = np.lexsort((labels, -counts, last))
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    packed = rank[codes].astype("<u2")
    result: dict[str, Any] = {
        "labels": [str(label) for label in labels[order]],
        "counts": [int(n) for n in counts[order]],
        "codes": base64.b64encode(packed.tobytes()).decode("ascii"),
    }
    if colour:
        colours = colours_by_name(labels.tolist(), grey=grey)
        result["colours"] = [colours[label] for label in labels[order]]
    if extra is not None:
        first = np.unique(codes, return_index=True)[1]
        result["ids"] = [str(i) for i in extra.astype(object).fillna("").to_numpy()[first][order]]
    return result


def _number(values: pd.Series) -> dict[str, Any]:
    array = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64)
    finite = array[np.isfinite(array)]
    low, high = (min(0.0, float(finite.min())), max(1.0, float(finite.max()))) if len(finite) else (0.0, 1.0)
    return {"low": low, "high": high, "values": pack_uint16(array, low, high)}
