"""The page of discovered motifs: logos, places, and what they are known as."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D

from whycell.reports.page import inline_svg, render, table
from whycell.reports.text import decimal
from whycell.results import Kinds, Motif, MotifFindings

__all__ = ["logo", "motifs_page"]

#: The field's colours of the letters.
_COLOURS = {"A": "#1a7f37", "C": "#1f4fbf", "G": "#d18a00", "T": "#c0282d"}
_FONT = FontProperties(family="DejaVu Sans", weight="bold")
_MOST_DRAWN = 40


def logo(heights: np.ndarray, *, title: str = "") -> Figure:
    """A sequence logo: letters stacked by height, the largest on top; negative ones below the line.

    Parameters
    ----------
    heights
        (4, width) height of A, C, G and T at each position.
    title
        Of the vertical axis.
    """
    width = heights.shape[1]
    figure = Figure(figsize=(0.22 * width + 0.6, 0.95))
    axes = figure.add_axes((0.5 / (0.22 * width + 0.6), 0.08, 1 - 0.55 / (0.22 * width + 0.6), 0.86))
    for at in range(width):
        for sign in (1, -1):
            base = 0.0
            here = np.where(np.sign(heights[:, at]) == sign, np.abs(heights[:, at]), 0)
            for letter in np.argsort(here, kind="stable"):
                if here[letter] > 0:
                    low = base if sign > 0 else -base - here[letter]
                    _draw(axes, "ACGT"[letter], at, low, here[letter])
                    base += here[letter]
    top = np.where(heights > 0, heights, 0).sum(axis=0).max(initial=0)
    bottom = np.where(heights < 0, heights, 0).sum(axis=0).min(initial=0)
    axes.set(xlim=(0, width), ylim=(bottom * 1.05, max(top * 1.05, 1e-9)), xticks=[], ylabel=title)
    axes.axhline(0, linewidth=0.6, color="black")
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(labelsize=6)
    axes.yaxis.label.set_size(7)
    return figure


def motifs_page(result: MotifFindings, *, kinds: Kinds | None = None) -> str:
    """One self-contained HTML page; the same ``result`` gives the same text."""
    tasks = []
    for number, (task, motifs) in enumerate(result.motifs.items()):
        named = result.matches[result.matches["task"] == task].groupby("motif", sort=False).first()
        counts = result.summary[result.summary["task"] == task].set_index("motif")
        cards = [_card(m, counts.loc[m.name], named, f"{number}-{at}") for at, m in enumerate(motifs[:_MOST_DRAWN])]
        tasks.append({"name": task, "cards": cards, "more": max(0, len(motifs) - _MOST_DRAWN)})
    context: dict[str, Any] = {
        "title": "Motifs",
        "tasks": tasks,
        "n_motifs": sum(len(m) for m in result.motifs.values()),
        "n_hits": len(result.hits),
        "left_out": table(result.left_out) if len(result.left_out) else None,
        "matches": table(result.matches, formats={"p": _small, "q": _small}) if len(result.matches) else None,
        "provenance": result.provenance,
    }
    return render("motifs.html", scripts=("common.js",), context=context)


def _card(motif: Motif, counts: Any, named: Any, prefix: str) -> dict[str, Any]:
    information = 2 + (motif.letters * np.log2(motif.letters)).sum(axis=0)
    drawn = (
        ("letters, bits", motif.letters * information),
        ("contribution", motif.contribution),
        ("hypothetical", motif.hypothetical),
    )
    match = named.loc[motif.name] if motif.name in named.index else None
    return {
        "name": motif.name,
        "consensus": motif.consensus,
        "sites": len(motif.sites),
        "hits": int(counts["hits"]),
        "sequences": int(counts["sequences"]),
        "contribution": float(counts["contribution"]),
        "match": None if match is None else {"name": match["name"], "id": match["known"], "q": _small(match["q"])},
        "logos": [
            {"what": what, "svg": inline_svg(logo(h), label=f"{motif.name}: {what}", prefix=f"logo-{prefix}-{at}")}
            for at, (what, h) in enumerate(drawn)
        ],
    }


def _draw(axes: Any, letter: str, x: float, y: float, height: float) -> None:
    path = TextPath((0, 0), letter, size=1, prop=_FONT)
    box = path.get_extents()
    fit = Affine2D().translate(-box.x0, -box.y0).scale(0.94 / box.width, height / box.height).translate(x + 0.03, y)
    axes.add_patch(PathPatch(fit.transform_path(path), facecolor=_COLOURS[letter], linewidth=0))


def _small(value: float) -> str:
    return f"{value:.1e}" if value < 0.001 else decimal(value)
