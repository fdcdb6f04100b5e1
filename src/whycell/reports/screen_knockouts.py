"""The page of a whole-knockout screen: which knockouts are predicted, and on what they depend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from whycell.reports.page import inline_svg, json_block, render, table
from whycell.reports.palette import ACCENT, MUTED
from whycell.reports.text import decimal, percent, tsv
from whycell.results import KnockoutScreen

__all__ = ["knockout_screen_page"]

_MOST_ROWS = 300
_NAMES = {
    "gene_a": "knockout",
    "gene_b": "depends on",
    "r2": "R² held out",
    "null_r2": "R² shuffled",
    "elastic_net": "elastic net",
    "r2_without_own_locus": "R² without own locus",
}


def knockout_screen_page(result: KnockoutScreen) -> str:
    """One self-contained HTML page for a screen; the same ``result`` gives the same text."""
    told = result.summary
    context = {
        "title": "Screen of all knockouts",
        "told": told,
        "dropped": [(why, n) for why, n in told["dropped"].items() if n],
        "histogram": inline_svg(
            _histogram(result.knockouts), label="Held-out R² of all knockouts beside shuffled ones", prefix="r2"
        ),
        "ranked": _ranked(result.ranked),
        "n_ranked": len(result.ranked),
        "knockouts": _knockouts(result.knockouts),
        "rivals": table(result.rivals, formats={"shared": percent}) if len(result.rivals) else None,
        "provenance": result.provenance,
        "ranked_tsv": json_block("ranked-tsv", tsv(result.ranked)),
    }
    return render("knockouts.html", scripts=("common.js",), context=context)


def _ranked(frame: pd.DataFrame) -> dict[str, Any] | None:
    if frame.empty:
        return None
    short = {c: lambda v: decimal(v, 3) for c in ("score", "importance", "R² held out", "correlation", "elastic net")}
    small = {c: lambda v: f"{v:.2g}" for c in ("p", "q")}
    return table(frame.head(_MOST_ROWS).rename(columns=_NAMES), formats=short | small)


def _knockouts(frame: pd.DataFrame) -> dict[str, Any]:
    shown = frame[["gene", "r2", "null_r2", "q", "r2_without_own_locus", "partners"]].head(_MOST_ROWS)
    formats: dict[str, Any] = {name: lambda v: decimal(v, 3) for name in _NAMES.values()}
    return table(shown.rename(columns=_NAMES), formats={**formats, "q": lambda v: f"{v:.2g}"})


def _histogram(frame: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(6.4, 2.4), layout="constrained")
    axes = figure.add_subplot()
    real, null = frame["r2"].to_numpy(dtype=float), frame["null_r2"].to_numpy(dtype=float)
    everything = np.concatenate([real, null[np.isfinite(null)]])
    edges = np.linspace(max(float(everything.min()), -0.2), float(everything.max()) + 1e-9, 60)
    axes.hist(real, bins=edges, color=ACCENT, label="as measured")
    if np.isfinite(null).any():
        axes.hist(null, bins=edges, histtype="step", color=MUTED, label="shuffled, mean of copies")
    axes.set(xlabel="R² on held-out lines", ylabel="knockouts", yscale="log")
    axes.legend(frameon=False, fontsize=8)
    axes.tick_params(labelsize=8, colors=MUTED)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
