"""Pages of representations: score against dimensions, and maps with the numbers beside them."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from whycell.reports.page import inline_svg, json_block, render, table
from whycell.reports.palette import ACCENT, INK, MUTED, RULE, colours_by_name
from whycell.reports.text import DASH, decimal, tsv
from whycell.results.representation import Sweep, Views

__all__ = ["sweep_figure", "sweep_page", "views_figure", "views_page"]

_STYLE: Any = {"text.parse_math": False, "font.size": 8.5, "text.color": INK, "axes.labelcolor": MUTED}
#: Each line of the sweep: how it is named, its colour and its dash.
_LINES = {
    ("text", "projected"): ("texts, projected", ACCENT, "-"),
    ("text", "truncated"): ("texts, cut short", ACCENT, (0, (4, 2))),
    ("permuted", "projected"): ("texts of other genes", "#c9572a", "-"),
    ("random", "projected"): ("random, same spectrum", "#e69f00", "-"),
    ("expression", "principal"): ("expression itself", MUTED, (0, (1, 1.5))),
}
_COLUMNS = 3
_MOST_NAMED = 14


@mpl.rc_context(_STYLE)
def sweep_figure(scores: pd.DataFrame) -> Figure:
    """Draw macro-F1 against the number of dimensions, a line a representation, with intervals.

    Parameters
    ----------
    scores
        As ``results.Sweep.scores``.
    """
    figure = Figure(figsize=(6.6, 3.6), layout="constrained")
    axes = figure.subplots()
    for key, (name, colour, dash) in _LINES.items():
        own = scores[(scores["representation"] == key[0]) & (scores["way"] == key[1])].sort_values("dims")
        if own.empty:
            continue
        axes.plot(own["dims"], own["macro_f1"], color=colour, linestyle=dash, marker="o", markersize=3.5, label=name)
        if key[1] == "projected":
            axes.fill_between(own["dims"], own["low"], own["high"], color=colour, alpha=0.12, linewidth=0)
    axes.set_xscale("log", base=2)
    ticks = sorted(scores["dims"].unique())
    axes.set_xticks(ticks, [str(n) for n in ticks])
    axes.minorticks_off()
    axes.set(xlabel="dimensions", ylabel="macro-F1, held out")
    _quieten(axes)
    axes.grid(axis="y", color=RULE, linewidth=0.7)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


@mpl.rc_context(_STYLE)
def views_figure(result: Views, *, by: str = "type") -> Figure:
    """Draw every map of a result, all in the same colours.

    Parameters
    ----------
    result
        What ``jobs.views`` gives.
    by
        ``"type"`` or ``"donor"``: what the colours mean.
    """
    names = np.asarray(result.types if by == "type" or result.donors is None else result.donors).astype(str)
    colours = colours_by_name(names.tolist())
    height = -(-len(result.maps) // _COLUMNS)
    width = min(len(result.maps), _COLUMNS)
    figure = Figure(figsize=(3.0 * width + 1.6, 2.7 * height + 0.3), layout="constrained")
    panels = figure.subplots(height, width, squeeze=False).ravel()
    order = np.random.default_rng(0).permutation(len(names))  # else the last type of the file hides the others
    for panel, (name, xy) in zip(panels, result.maps.items(), strict=False):
        size = float(np.clip(20_000 / max(len(xy), 1), 0.6, 12))
        shade = [colours[n] for n in names[order]]
        panel.scatter(xy[order, 0], xy[order, 1], c=shade, s=size, linewidths=0, rasterized=True)
        panel.set(title=name, xticks=[], yticks=[])
        _quieten(panel)
    for panel in panels[len(result.maps) :]:
        panel.set_visible(False)
    common = pd.Series(names).value_counts().index[:_MOST_NAMED]
    marks = [
        Line2D([], [], marker="o", linestyle="", markersize=5, color=colours[n], label=str(n)[:34]) for n in common
    ]
    figure.legend(handles=marks, frameon=False, loc="outside right upper", fontsize=7.5)
    return figure


def sweep_page(result: Sweep) -> str:
    """One self-contained HTML page of a sweep; the same ``result`` gives the same text."""
    shown = result.scores.assign(score=_scored(result.scores, "macro_f1", "low", "high"))
    gaps = result.gaps.assign(gap=_scored(result.gaps, "difference", "low", "high"))
    facets = result.facets.assign(
        score=_scored(result.facets, "macro_f1", "low", "high"),
        gap=_scored(result.facets, "difference", "difference_low", "difference_high"),
    )
    best = result.scores[result.scores["representation"] == "text"].sort_values("macro_f1").iloc[-1]
    context = {
        "title": "Score against dimensions",
        "best": {"dims": int(best["dims"]), "score": decimal(best["macro_f1"], 3), "way": str(best["way"])},
        "gaps_best": _gap_at(result, int(best["dims"])),
        "split": result.split,
        "warnings": result.warnings,
        "figure": inline_svg(sweep_figure(result.scores), label="Macro-F1 against dimensions", prefix="sweep"),
        "scores": _table(shown, {"score": "macro-F1", "n_groups": "groups"}),
        "gaps": _table(gaps, {"gap": "texts less control", "n_groups": "groups"}),
        "facets": _table(facets, {"score": "macro-F1", "gap": "less all facets"}) if len(facets) else None,
        "provenance": result.provenance,
        "scores_tsv": json_block("scores-tsv", tsv(result.scores)),
    }
    return render("sweep.html", scripts=("common.js",), context=context)


def views_page(result: Views) -> str:
    """One self-contained HTML page of maps and numbers; the same ``result`` gives the same text."""
    figures = []
    if result.maps:
        figures.append(inline_svg(views_figure(result), label="Maps coloured by type", prefix="types"))
    if result.maps and result.donors is not None:
        figures.append(inline_svg(views_figure(result, by="donor"), label="Maps coloured by donor", prefix="donors"))
    names = {
        "ari_type": "ARI, types",
        "ami_type": "AMI, types",
        "silhouette_type": "silhouette, types",
        "ari_donor": "ARI, donors",
        "ami_donor": "AMI, donors",
        "silhouette_donor": "silhouette, donors",
        "mixing": "donors mixed",
    }
    numbers = result.numbers.rename(columns=names)[["representation", "dims", *names.values()]]
    context = {
        "title": "Views of the same cells",
        "n": len(result.types),
        "n_types": len(np.unique(result.types)),
        "n_donors": 0 if result.donors is None else len(np.unique(result.donors)),
        "method": result.method,
        "figures": figures,
        "warnings": result.warnings,
        "numbers": table(numbers, formats=dict.fromkeys(names.values(), _three)),
        "numbers_tsv": json_block("numbers-tsv", tsv(result.numbers)),
        "provenance": result.provenance,
    }
    return render("views.html", scripts=("common.js",), context=context)


def _gap_at(result: Sweep, dims: int) -> str:
    own = result.gaps[(result.gaps["dims"] == dims) & (result.gaps["against"] != "expression")]
    told = {"permuted": "the texts dealt out to other genes", "random": "random vectors of the same spectrum"}
    gaps = zip(own["against"], own["difference"], strict=True)
    return " and ".join(f"{_signed(gap)} beyond {told.get(name, name)}" for name, gap in gaps)


def _signed(value: float) -> str:
    return f"{'+' if value >= 0 else '−'}{decimal(abs(value), 3)}"


def _scored(frame: pd.DataFrame, value: str, low: str, high: str) -> list[str]:
    rows = zip(frame[value], frame[low], frame[high], strict=True)
    return [_three(v) + ("" if _three(a) == DASH else f" ({_three(a)} to {_three(b)})") for v, a, b in rows]


def _three(value: Any) -> str:
    return decimal(value, 3).replace("-", "−")


def _table(frame: pd.DataFrame, names: dict[str, str]) -> dict[str, Any]:
    numbers = {"macro_f1", "low", "high", "difference", "difference_low", "difference_high"}
    kept = [column for column in frame if column not in numbers]
    return table(frame[kept].rename(columns=names), formats={"accuracy": _three})


def _quieten(axes: Any) -> None:
    axes.tick_params(colors=MUTED, labelcolor=INK, labelsize=8, length=2.5, width=0.6)
    for side in axes.spines:
        axes.spines[side].set(visible=side in ("left", "bottom"), color=RULE, linewidth=0.9)
