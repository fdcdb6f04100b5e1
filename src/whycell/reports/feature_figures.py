"""Figures of what a model decides along: genes by genes as a heat map and as a network."""

# m - gene shown

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure

from whycell.reports.palette import INK, MUTED, RULE
from whycell.reports.reasons import AGAINST, FOR

__all__ = ["gene_matrix", "gene_network", "layout"]

_BOTH = LinearSegmentedColormap.from_list("whycell-sides", [AGAINST, "#f3f0e9", FOR])
_STYLE: Any = {"text.parse_math": False, "font.size": 8.5, "text.color": INK, "axes.labelcolor": MUTED}


@mpl.rc_context(_STYLE)
def gene_matrix(genes: Sequence[str], values: np.ndarray, *, title: str = "") -> Figure:
    """Draw a matrix of genes by genes, those that pull together side by side.

    Parameters
    ----------
    genes
        (m,) names.
    values
        (m, m) symmetric.
    title
        Above the map.
    """
    values = np.asarray(values, dtype=np.float64)
    order = _alike(values)
    shown = values[np.ix_(order, order)]
    size = 2.2 + 0.17 * len(genes)
    figure, axes = _plain((size + 0.8, size))
    most = max(float(np.abs(shown).max(initial=0)), 1e-12)
    drawn = axes.imshow(shown, cmap=_BOTH, norm=TwoSlopeNorm(0, -most, most), interpolation="nearest")
    names = [str(genes[i]) for i in order]
    axes.set_xticks(np.arange(len(names)), names, rotation=90)
    axes.set_yticks(np.arange(len(names)), names)
    axes.set_title(title)
    bar = figure.colorbar(drawn, shrink=0.7)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=MUTED, labelcolor=INK, labelsize=8)
    bar.set_label("squared log-odds", color=MUTED)
    return figure


@mpl.rc_context(_STYLE)
def gene_network(genes: Sequence[str], values: np.ndarray, *, title: str = "", edges: int = 60) -> Figure:
    """Draw genes as circles, as large as their scores, joined where the model reads them together.

    Parameters
    ----------
    genes
        (m,) names.
    values
        (m, m) symmetric; the strongest entries off the diagonal are drawn: blue where two genes pull the same way,
        red where they pull apart.
    title
        Above the network.
    edges
        Joins drawn at most.
    """
    values = np.asarray(values, dtype=np.float64)
    m = len(values)
    above = np.triu_indices(m, 1)
    strength = np.abs(values[above])
    strongest = np.argsort(-strength, kind="stable")[:edges]
    strongest = strongest[strength[strongest] > 0]
    pairs = np.column_stack([above[0][strongest], above[1][strongest]])
    xy = layout(np.abs(values))
    figure, axes = _plain((6.4, 5.6))
    most = max(float(strength.max(initial=0)), 1e-12)
    if len(pairs):
        signs = np.sign(values[pairs[:, 0], pairs[:, 1]])
        share = strength[strongest] / most
        axes.add_collection(
            LineCollection(
                xy[pairs],
                colors=[FOR if sign > 0 else AGAINST for sign in signs],
                linewidths=0.4 + 2.6 * share,
                alpha=0.55,
                zorder=1,
            )
        )
    score = np.maximum(np.diagonal(values), 0)
    size = 30 + 420 * score / max(float(score.max(initial=0)), 1e-12)
    axes.scatter(xy[:, 0], xy[:, 1], s=size, color="#f3f0e9", edgecolors=MUTED, linewidths=0.8, zorder=2)
    for (x, y), gene in zip(xy, genes, strict=True):
        axes.annotate(str(gene), (x, y), ha="center", va="center", fontsize=7.5, color=INK, zorder=3)
    axes.set(title=title, xticks=[], yticks=[], aspect="equal")
    axes.margins(0.12)
    for side in axes.spines.values():
        side.set_visible(False)
    return figure


def layout(strength: np.ndarray, *, steps: int = 120) -> np.ndarray:
    """(m, 2) places where joined points lie near and all keep apart, by springs (Fruchterman and Reingold 1991).

    Parameters
    ----------
    strength
        (m, m) not negative, symmetric.
    steps
        Of the springs, from a circle; nothing is drawn at random.
    """
    m = len(strength)
    turn = 2 * np.pi * np.arange(m) / max(m, 1)
    xy = np.column_stack([np.cos(turn), np.sin(turn)])
    pull = strength / max(float(strength.max(initial=0)), 1e-12)
    np.fill_diagonal(pull, 0)
    ideal = 1.6 / max(m, 1) ** 0.5
    for step in range(steps):
        difference = xy[:, None] - xy
        distance = np.sqrt((difference**2).sum(axis=2)) + 1e-9
        force = ideal**2 / distance**2 - pull * distance / ideal
        np.fill_diagonal(force, 0)
        move = (difference * force[:, :, None]).sum(axis=1)
        size = np.sqrt((move**2).sum(axis=1, keepdims=True)) + 1e-12
        xy = xy + move / size * np.minimum(size, 0.12 * (1 - step / steps))
    return np.asarray(xy - xy.mean(axis=0))


def _alike(values: np.ndarray) -> np.ndarray:
    """Order along the first eigenvector, so that genes that pull together are neighbours."""
    if len(values) < 3:
        return np.arange(len(values))
    vector = np.linalg.eigh(values)[1][:, -1]
    vector = vector * (1.0 if vector[np.abs(vector).argmax()] >= 0 else -1.0)
    return np.argsort(-vector, kind="stable")


def _plain(size: tuple[float, float]) -> tuple[Figure, Any]:
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=8, length=2.5, width=0.6)
    for side in axes.spines:
        axes.spines[side].set(visible=side in ("left", "bottom"), color=RULE, linewidth=0.9)
    axes.set_axisbelow(True)
    return figure, axes
