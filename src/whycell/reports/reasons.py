"""Figures of explanations: a cell's genes as bars, types by genes as a heat map, one gene's say on the map of cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure

from whycell.reports.palette import INK, MUTED, RULE

__all__ = ["AGAINST", "FOR", "contribution_map", "contributions", "curves", "type_genes"]

#: The two sides: what speaks for a type, and what against it; apart for colour-blind readers too.
FOR, AGAINST = "#0072b2", "#c9572a"
_BOTH = LinearSegmentedColormap.from_list("whycell-sides", [AGAINST, "#f3f0e9", FOR])
_STYLE: Any = {"text.parse_math": False, "font.size": 8.5, "text.color": INK, "axes.labelcolor": MUTED}
_LABELS = {
    "rescale": "this explanation",
    "reveal-cancel": "this explanation",
    "integrated-gradients": "integrated gradients",
    "gradient-x-input": "gradient × input",
    "random features": "random genes",
}
_LINES = (FOR, "#e69f00", "#009e73", MUTED)


@mpl.rc_context(_STYLE)
def contributions(genes: Sequence[str], values: np.ndarray, *, title: str = "") -> Figure:
    """Draw the genes of one cell as bars, for to the right and against to the left.

    Parameters
    ----------
    genes
        (k,) names.
    values
        (k,) contributions, log-odds.
    title
        Above the bars.
    """
    values = np.asarray(values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    figure, axes = _plain((5.4, 0.9 + 0.2 * len(order)))
    axes.barh(np.arange(len(order)), values[order], color=np.where(values[order] >= 0, FOR, AGAINST), height=0.72)
    axes.set_yticks(np.arange(len(order)), [str(genes[i]) for i in order])
    axes.axvline(0, color=MUTED, linewidth=0.8)
    axes.set(xlabel="contribution to the log-odds", title=title)
    return figure


@mpl.rc_context(_STYLE)
def type_genes(types: Sequence[str], genes: Sequence[str], values: np.ndarray) -> Figure:
    """Draw mean contributions as a heat map, a row a type.

    Parameters
    ----------
    types
        (t,) names.
    genes
        (k,) names.
    values
        (t, k) mean contributions, log-odds.
    """
    values = np.asarray(values, dtype=np.float64)
    figure, axes = _plain((2.6 + 0.2 * len(genes), 1.3 + 0.24 * len(types)))
    most = max(float(np.abs(values).max(initial=0)), 1e-9)
    drawn = axes.imshow(values, cmap=_BOTH, norm=TwoSlopeNorm(0, -most, most), aspect="auto", interpolation="nearest")
    axes.set_xticks(np.arange(len(genes)), [str(g) for g in genes], rotation=90)
    axes.set_yticks(np.arange(len(types)), [str(t) for t in types])
    _bar(figure, drawn, "mean contribution")
    return figure


@mpl.rc_context(_STYLE)
def contribution_map(xy: np.ndarray, values: np.ndarray, *, method: str = "UMAP", title: str = "") -> Figure:
    """Draw what one gene says of every cell, on the map of cells.

    Parameters
    ----------
    xy
        (n_cells, 2) coordinates.
    values
        (n_cells,) contributions, log-odds.
    method
        What made ``xy``.
    title
        Above the map, as a rule the gene.
    """
    xy, values = np.asarray(xy), np.asarray(values, dtype=np.float64)
    figure, axes = _plain((6.2, 4.8))
    most = max(float(np.quantile(np.abs(values), 0.99)) if len(values) else 0.0, 1e-9)
    order = np.argsort(np.abs(values), kind="stable")  # what speaks loudest lies on top
    size = float(np.clip(40_000 / max(len(xy), 1), 0.8, 14))
    drawn = axes.scatter(
        xy[order, 0],
        xy[order, 1],
        c=values[order],
        cmap=_BOTH,
        norm=TwoSlopeNorm(0, -most, most),
        s=size,
        linewidths=0,
        rasterized=True,
    )
    _bar(figure, drawn, "contribution")
    axes.set(xlabel=f"{method} 1", ylabel=f"{method} 2", title=title, aspect="equal", xticks=[], yticks=[])
    return figure


@mpl.rc_context(_STYLE)
def curves(table: pd.DataFrame) -> Figure:
    """Draw what the probability does as genes go and come.

    Parameters
    ----------
    table
        ``method, genes, deletion, insertion``, as ``results.Explanation.curves``.
    """
    figure = Figure(figsize=(8.4, 2.9), layout="constrained")
    both = figure.subplots(1, 2)
    for axes, kind, title in zip(
        both,
        ("deletion", "insertion"),
        ("fall, strongest genes deleted", "rise, strongest genes inserted"),
        strict=True,
    ):
        for colour, (method, part) in zip(_LINES, table.groupby("method", sort=False), strict=False):
            style = ":" if "random" in str(method) else "-"
            axes.plot(
                [0, *part["genes"]],
                [0, *part[kind]],
                style,
                color=colour,
                label=_LABELS.get(str(method), str(method)),
                linewidth=1.6,
            )
        _quieten(axes)
        axes.grid(axis="y", color=RULE, linewidth=0.7)
        axes.set(xlabel="genes", title=title)
    both[0].set_ylabel("change of the probability")
    both[1].legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _plain(size: tuple[float, float]) -> tuple[Figure, Any]:
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    _quieten(axes)
    return figure, axes


def _quieten(axes: Any) -> None:
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=8, length=2.5, width=0.6)
    for side in axes.spines:
        axes.spines[side].set(visible=side in ("left", "bottom"), color=RULE, linewidth=0.9)
    axes.set_axisbelow(True)


def _bar(figure: Figure, drawn: Any, label: str) -> None:
    bar = figure.colorbar(drawn, shrink=0.7)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=MUTED, labelcolor=INK, labelsize=8)
    bar.set_label(label, color=MUTED)
