"""Figures of the page of subgroups."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from whycell.reports.palette import ACCENT, MUTED, RULE

__all__ = ["stability_figure"]

_COLUMNS = 3
_MOST_CLASSES = 12


def stability_figure(curves: pd.DataFrame) -> Figure:
    """Stability by number of groups, a panel a class, with what clouds without groups score.

    ``curves`` as in :class:`whycell.results.Groups`; the twelve first classes are drawn.
    """
    labels = list(dict.fromkeys(curves["label"]))[:_MOST_CLASSES]
    rows = -(-len(labels) // _COLUMNS)
    width = min(len(labels), _COLUMNS)
    figure = Figure(figsize=(3.4 * width + 0.6, 2.5 * rows + 0.3), layout="constrained")
    panels = figure.subplots(rows, width, squeeze=False, sharey=True).ravel()
    for panel, label in zip(panels, labels, strict=False):
        own = curves[curves["label"] == label]
        x = own["n_groups"].to_numpy()
        low, high = own["expected"] - 2 * own["spread"], own["expected"] + 2 * own["spread"]
        panel.fill_between(x, low, high, color=RULE, linewidth=0)
        panel.plot(x, own["expected"], color=MUTED, linewidth=1, linestyle=(0, (3, 2)))
        panel.errorbar(x, own["stability"], yerr=own["error"], color=ACCENT, linewidth=1.4, marker="o", markersize=3.5)
        chosen = own[own["chosen"]]
        panel.plot(chosen["n_groups"], chosen["stability"], "o", markersize=9, fillstyle="none", color=ACCENT)
        panel.set_title(str(label)[:40], fontsize=9, parse_math=False)
        panel.set(ylim=(-0.05, 1.05), xlabel="groups")
        panel.tick_params(labelsize=8, colors=MUTED)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            panel.spines[side].set_color(RULE)
    for panel in panels[len(labels) :]:
        panel.set_visible(False)
    panels[0].set_ylabel("adjusted Rand index")
    return figure
