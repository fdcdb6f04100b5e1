"""Figures that are returned: nothing is shown, nothing saved, and matplotlib's global state stays as it was.

They take arrays and frames, so that the pages, :mod:`whycell.pl` and a notebook share them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from whycell._keys import UNKNOWN
from whycell.reports.palette import ACCENT, INK, MUTED, RULE, colours_by_name
from whycell.reports.text import natural, words

__all__ = [
    "ATTENTION",
    "cell_map",
    "composition",
    "confusion",
    "intervals",
    "per_class",
    "reliability",
    "risk_coverage",
]

# Labels are a person's text: "$" must not start mathematics.
_STYLE: Any = {
    "text.parse_math": False,
    "font.size": 8.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "pdf.fonttype": 42,
}
#: Calm to "look here", lightness falling all the way; the page's script has the same.
ATTENTION = LinearSegmentedColormap.from_list(
    "whycell", ["#cfdae2", "#a9bccb", "#e3a84a", "#c9572a", "#8c1d24", "#4a0d1c"]
)
_SHARE = LinearSegmentedColormap.from_list("whycell-share", ["#f3f0e9", "#9fc3c6", "#3c8a91", "#0b4e55"])


def _axes(figure: Figure, rows: int = 1, columns: int = 1, *, grid: str = "") -> list[Axes]:
    every = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for axes in every:
        axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=8, length=2.5, width=0.6)
        for side in axes.spines:
            axes.spines[side].set(visible=side in ("left", "bottom"), color=RULE, linewidth=0.9)
        if grid:
            axes.grid(axis=grid, color=RULE, linewidth=0.7)
        axes.set_axisbelow(True)
    return every


def _shown(text: Any, limit: int = 42) -> str:
    line = str(text)
    line = line if len(line) <= limit else f"{line[: limit - 1]}…"
    return f"\u200b{line}" if line.startswith("_") else line  # matplotlib hides labels that begin with "_"


@mpl.rc_context(_STYLE)
def cell_map(xy: np.ndarray, values: np.ndarray, *, method: str = "UMAP", title: str = "") -> Figure:
    """Draw cells in the plane.

    Parameters
    ----------
    xy
        (n_cells, 2) coordinates.
    values
        (n_cells,) what colours them: numbers in [0, 1] (0 calm, 1 striking), or names.
    method
        What made ``xy``; named on the axes.
    title
        Above the map.
    """
    xy, values = np.asarray(xy), np.asarray(values)
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = _axes(figure)[0]
    shuffle = np.random.default_rng(0).permutation(len(xy))
    size = float(np.clip(40_000 / max(len(xy), 1), 0.8, 14))
    dots: Any = {"s": size, "linewidths": 0, "alpha": 0.85, "rasterized": True}
    if np.issubdtype(values.dtype, np.number):
        drawn = axes.scatter(xy[shuffle, 0], xy[shuffle, 1], c=values[shuffle], cmap=ATTENTION, vmin=0, vmax=1, **dots)
        bar = figure.colorbar(drawn, ax=axes, shrink=0.5)
        bar.outline.set_visible(False)
        bar.ax.tick_params(colors=MUTED, labelcolor=INK, labelsize=8)
    else:
        names = values.astype(str)
        colours = colours_by_name(names, grey=(UNKNOWN,))
        axes.scatter(xy[shuffle, 0], xy[shuffle, 1], c=[colours[name] for name in names[shuffle]], **dots)
        for name in _by_size(names):
            axes.scatter([], [], s=22, color=colours[name], label=_shown(name))
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, labelspacing=0.35, handletextpad=0.3)
    axes.set(xlabel=f"{method} 1", ylabel=f"{method} 2", title=title, aspect="equal", xticks=[], yticks=[])
    return figure


def _by_size(names: np.ndarray) -> list[str]:
    kept, counts = np.unique(names, return_counts=True)
    order = np.lexsort((kept, -counts, kept == UNKNOWN))
    return [str(name) for name in kept[order]]


@mpl.rc_context(_STYLE)
def composition(calls: Sequence[str] | np.ndarray, groups: Sequence[str] | np.ndarray | None = None) -> Figure:
    """Draw the share of every call in every group, as stacked bars.

    Parameters
    ----------
    calls
        (n_cells,) names of the calls.
    groups
        (n_cells,) donor of each cell; ``None`` draws all cells as one.
    """
    names = np.asarray(calls).astype(str)
    rows = np.full(len(names), "all cells") if groups is None else np.asarray(groups).astype(str)
    shares = pd.crosstab(rows, names, normalize="index")
    shares = shares.loc[sorted(shares.index, key=natural, reverse=True)]
    colours = colours_by_name(names, grey=(UNKNOWN,))
    figure = Figure(figsize=(8, 0.8 + 0.26 * len(shares)), layout="constrained")
    axes = _axes(figure)[0]
    left = np.zeros(len(shares))
    for name in _by_size(names):
        axes.barh(
            [_shown(r, 24) for r in shares.index], shares[name], left=left, color=colours[name], label=_shown(name)
        )
        left += shares[name].to_numpy()
    axes.set(xlim=(0, 1), xlabel="share of cells")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, labelspacing=0.35)
    return figure


@mpl.rc_context(_STYLE)
def intervals(frame: pd.DataFrame, *, zero: bool = False, columns: int = 3) -> Figure:
    """Draw numbers with their intervals, a panel a metric and a row a model.

    Parameters
    ----------
    frame
        Columns ``model, metric, value, low, high``; ``low`` and ``high`` may be missing values.
    zero
        Mark zero, as for differences; intervals that hold it are grey.
    columns
        Panels in a row.
    """
    metrics, models = list(dict.fromkeys(frame["metric"])), list(dict.fromkeys(frame["model"]))[::-1]
    columns = min(columns, len(metrics)) or 1
    height = 0.62 + 0.22 * len(models)
    figure = Figure(figsize=(3.4 * columns + 0.9, height * -(-len(metrics) // columns)), layout="constrained")
    every = _axes(figure, -(-len(metrics) // columns) or 1, columns, grid="x")
    for k, axes in enumerate(every):
        if k >= len(metrics):
            axes.set_visible(False)
            continue
        part = frame[frame["metric"] == metrics[k]].drop_duplicates("model").set_index("model").reindex(models)
        value, low, high = (
            pd.to_numeric(part[c], errors="coerce").to_numpy(dtype=float) for c in ("value", "low", "high")
        )
        told = (low > 0) | (high < 0) | (not zero)
        for y in range(len(models)):
            if not np.isfinite(value[y]):
                continue
            colour = ACCENT if told[y] else MUTED
            axes.plot([low[y], high[y]], [y, y], color=colour, linewidth=1.6, solid_capstyle="round")
            axes.plot(value[y], y, "o", color=colour, markersize=4.2)
        axes.set_yticks(range(len(models)), [_shown(m, 34) for m in models] if k % columns == 0 else [""] * len(models))
        axes.set_ylim(-0.6, len(models) - 0.4)
        axes.locator_params(axis="x", nbins=5)
        _keep_near(axes, value, low, high, zero=zero)
        if not zero and np.nanmin(value) >= 0:
            axes.set_xlim(left=max(axes.get_xlim()[0], -0.02 * axes.get_xlim()[1]))  # shares have no left of zero
        axes.set_title(words(metrics[k]), loc="left", fontsize=9, color=INK)
        if zero:
            axes.axvline(0, color=INK, linewidth=0.8)
    return figure


def _keep_near(axes: Axes, value: np.ndarray, low: np.ndarray, high: np.ndarray, *, zero: bool) -> None:
    # One model far from the rest (a majority vote) would squeeze the others: it gets an arrow and its number.
    near = np.isfinite(value)
    if near.sum() < 4:
        return
    middle = np.median(value[near])
    far = int(np.nanargmax(np.abs(value - middle)))
    near[far] = False
    left = np.fmin(value, np.where(np.isfinite(low), low, value))
    right = np.fmax(value, np.where(np.isfinite(high), high, value))
    start, end = left[near].min(), right[near].max()
    start, end = (min(start, 0.0), max(end, 0.0)) if zero else (start, end)
    room = 0.12 * max(end - start, 1e-9)
    if min(abs(value[far] - start), abs(value[far] - end)) < 2 * (end - start) or start <= value[far] <= end:
        return
    below = value[far] < start
    axes.set_xlim(start - (3 * room if below else room), end + (room if below else 3 * room))
    edge = 0.015 if below else 0.985
    text = f"← {value[far]:.2f}" if below else f"{value[far]:.2f} →"
    place: Any = {"transform": axes.get_yaxis_transform(), "ha": "left" if below else "right"}
    axes.text(edge, far, text, va="center", fontsize=7.5, color=MUTED, **place)


@mpl.rc_context(_STYLE)
def reliability(curves: Mapping[str, pd.DataFrame], *, columns: int = 4) -> Figure:
    """Draw how often calls of a given confidence are right, a panel a model; the diagonal is honesty.

    Parameters
    ----------
    curves
        ``{model: frame}`` with columns ``confidence`` (mean of a bin), ``accuracy`` (share right in it) and ``n``.
    columns
        Panels in a row.
    """
    columns = min(columns, len(curves)) or 1
    rows = -(-len(curves) // columns) or 1
    figure = Figure(figsize=(2.6 * columns, 2.6 * rows), layout="constrained")
    every = _axes(figure, rows, columns, grid="both")
    for k, axes in enumerate(every):
        if k >= len(curves):
            axes.set_visible(False)
            continue
        name, curve = list(curves.items())[k]
        curve = curve[curve["n"] > 0]
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.plot(curve["confidence"], curve["accuracy"], color=ACCENT, linewidth=1.2)
        area = 6 + 90 * curve["n"] / max(float(curve["n"].sum()), 1)
        axes.scatter(
            curve["confidence"], curve["accuracy"], s=area, color=ACCENT, linewidths=0, zorder=3, clip_on=False
        )
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal", xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        axes.set_title(_shown(name, 30), loc="left", fontsize=9, color=INK)
        if k // columns == rows - 1 or k + columns >= len(curves):
            axes.set_xlabel("confidence")
        if k % columns == 0:
            axes.set_ylabel("share right")
    return figure


@mpl.rc_context(_STYLE)
def risk_coverage(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw the share wrong among the most confident cells, as more and more cells are kept.

    Parameters
    ----------
    curves
        ``{model: frame}`` with columns ``coverage`` and ``risk``, both in [0, 1].
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = _axes(figure, grid="y")[0]
    colours = colours_by_name(curves)
    ends = {name: float(curve["risk"].iloc[-1]) for name, curve in curves.items()}
    top = 4 * float(np.median(list(ends.values()))) if len(ends) > 2 else np.inf
    for k, (name, curve) in enumerate(curves.items()):
        if ends[name] > top > 0:  # a majority vote would squeeze the others
            axes.plot(
                [], [], color=colours[name], linewidth=1.3, label=f"{_shown(name)} (above: ends at {ends[name]:.2f})"
            )
            continue
        step = max(len(curve) // 400, 1)  # a curve of a million cells has a point a cell
        thin = pd.concat([curve.iloc[::step], curve.iloc[-1:]])
        style: Any = {"color": colours[name], "linewidth": 2.2 if k == 0 else 1.3, "zorder": 4 if k == 0 else 3}
        axes.plot(thin["coverage"], thin["risk"], label=_shown(name), **style)
    axes.set(xlim=(0, 1), xlabel="coverage: share of cells kept, most confident first", ylabel="risk: share wrong")
    axes.set_ylim(bottom=0)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


@mpl.rc_context(_STYLE)
def confusion(counts: pd.DataFrame, *, names: Mapping[str, str] | None = None, limit: int = 32) -> Figure:
    """Draw true against called terms; every row sums to one.

    Parameters
    ----------
    counts
        Truth (index) by call (columns), in cells; drawn in the order given.
    names
        Names of the terms, where index and columns hold ids.
    limit
        Most rows and columns drawn, those with most cells.
    """
    names = names or {}
    rows = sorted(counts.sum(axis=1).fillna(0).nlargest(limit).index, key=list(counts.index).index)
    columns = sorted(counts.loc[rows].sum().nlargest(limit).index, key=list(counts.columns).index)
    columns = [c for c in columns if counts.loc[rows, c].sum() > 0]
    total = counts.loc[rows].sum(axis=1).to_numpy(dtype=float)
    share = counts.loc[rows, columns].to_numpy(dtype=float) / np.maximum(total, 1)[:, None]
    figure = Figure(figsize=(3.4 + 0.27 * len(columns), 2.5 + 0.24 * len(rows)), layout="constrained")
    axes = _axes(figure)[0]
    axes.imshow(share, cmap=_SHARE, vmin=0, vmax=1, aspect="auto", interpolation="none")
    for i, j in zip(*np.nonzero(share >= 0.095), strict=True):
        text = f"{share[i, j]:.1f}".lstrip("0") if share[i, j] < 0.95 else "1"
        axes.text(j, i, text, ha="center", va="center", fontsize=7, color="#ffffff" if share[i, j] > 0.5 else "#1c2328")
    axes.set_yticks(
        range(len(rows)), [f"{_shown(names.get(r, r), 36)}  {int(t):,}" for r, t in zip(rows, total, strict=True)]
    )
    axes.set_xticks(range(len(columns)), [_shown(names.get(c, c) or UNKNOWN, 30) for c in columns], rotation=90)
    axes.set(xlabel="called", ylabel="truth, and its cells")
    axes.tick_params(length=0)
    return figure


@mpl.rc_context(_STYLE)
def per_class(frame: pd.DataFrame, *, by: str, value: str, limit: int = 40) -> Figure:
    """Draw one number for every class (or donor) and model: a row a class, a dot a model.

    Parameters
    ----------
    frame
        Columns ``model``, ``by`` and ``value``; drawn in the order of first appearance.
    by, value
        The columns of the rows and of the numbers in [0, 1].
    limit
        Most rows drawn, the first ones.
    """
    rows = list(dict.fromkeys(frame[by].astype(str)))[:limit]
    models = list(dict.fromkeys(frame["model"].astype(str)))
    colours = colours_by_name(models)
    figure = Figure(figsize=(10, 0.8 + 0.23 * len(rows)), layout="constrained")
    axes = _axes(figure, grid="both")[0]
    place = {row: len(rows) - 1 - k for k, row in enumerate(rows)}
    for k, model in list(enumerate(models))[::-1]:
        part = frame[(frame["model"].astype(str) == model) & frame[by].astype(str).isin(rows)]
        y = [place[row] for row in part[by].astype(str)]
        style: Any = {"s": 34 if k == 0 else 20, "zorder": 4 if k == 0 else 3, "linewidths": 0, "alpha": 0.9}
        axes.scatter(part[value], y, color=colours[model], label=_shown(model), **style)
    axes.set_yticks(list(place.values()), [_shown(row) for row in rows])
    axes.set(xlabel=words(value), ylim=(-0.7, len(rows) - 0.3))
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure
