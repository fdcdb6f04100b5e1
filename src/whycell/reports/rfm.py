"""The page of ``rfm fit``: how well a machine predicts rows it did not see, and which features it reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from whycell.reports.figures import intervals, reliability
from whycell.reports.page import inline_svg, json_block, render, table
from whycell.reports.palette import ACCENT, INK, MUTED, RULE
from whycell.reports.text import DASH, decimal, percent, tsv
from whycell.results.machines import MachineFit

__all__ = ["machine_page"]

_SHOWN, _DRAWN, _LOADINGS = 40, 25, 8
_METRICS = {"accuracy": "accuracy", "log_loss": "log loss", "r2": "R²", "mae": "mean absolute error"}
_COLUMNS = {"standard_error": "standard error", "lower": "from", "upper": "to", "p_value": "p", "null": "by chance"}


def machine_page(result: MachineFit) -> str:
    """One self-contained HTML page; the same ``result`` gives the same text."""
    scores = result.scores.assign(metric=result.scores["metric"].map(_METRICS))
    own = scores[~scores["model"].str.startswith("minus ")]
    gaps = scores[scores["model"].str.startswith("minus ")]
    context = {
        "title": f"{result.target} – feature machine",
        "target": result.target,
        "task": result.task,
        "n": result.n,
        "n_groups": result.n_groups,
        "n_features": len(result.features),
        "headline": _headline(own),
        "scores": table(own),
        "gaps": table(gaps),
        "scores_figure": inline_svg(intervals(own), label="Scores with intervals", prefix="scores"),
        "reliability": _reliability(result.reliability),
        "features_figure": inline_svg(_bars(result.features), label="Scores of the first features", prefix="features"),
        "features": table(_feature_rows(result.features), formats={"score": percent, "by chance": percent}),
        "n_shown": min(_SHOWN, len(result.features)),
        "directions": _directions(result.directions, result.stability),
        "trials": table(result.trials.tail(_SHOWN)),
        "left_out": list(result.left_out.items()),
        "notes": list(result.notes),
        "provenance": result.provenance,
        "features_tsv": json_block("features-tsv", tsv(result.features)),
        "predictions_tsv": json_block("predictions-tsv", tsv(result.predictions)),
    }
    return render("rfm.html", scripts=("common.js",), context=context)


def _headline(own: pd.DataFrame) -> list[dict[str, str]]:
    ours = own[own["model"] == own["model"].iloc[0]]
    return [
        {"name": row.metric, "value": decimal(row.value, 3), "ends": f"{decimal(row.low, 3)} to {decimal(row.high, 3)}"}
        for row in ours.itertuples()
    ]


def _feature_rows(features: pd.DataFrame) -> pd.DataFrame:
    return features.head(_SHOWN).rename(columns=_COLUMNS)


def _reliability(bins: pd.DataFrame) -> Any:
    if bins.empty:
        return None
    return inline_svg(reliability({"feature machine": bins}), label="Confidence and accuracy", prefix="reliability")


def _bars(features: pd.DataFrame) -> Figure:
    """Scores with errors, strongest on top, and what chance gives as a tick."""
    shown = features.head(_DRAWN)[::-1]
    figure = Figure(figsize=(6.4, 0.7 + 0.2 * len(shown)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(shown))
    score = shown["score"].to_numpy(dtype=float)
    axes.barh(places, score, color=ACCENT, height=0.62)
    low, high = (np.nan_to_num(shown[c].to_numpy(dtype=float), nan=0) for c in ("lower", "upper"))
    known = shown["standard_error"].notna().to_numpy()
    axes.hlines(places[known], low[known], high[known], color=INK, linewidth=1)
    null = shown["null"].to_numpy(dtype=float)
    axes.plot(null[~np.isnan(null)], places[~np.isnan(null)], "|", color=MUTED, markersize=9)
    axes.set_yticks(places, [str(name)[:42] for name in shown["feature"]])
    axes.set_xlabel("share of the AGOP's diagonal")
    axes.grid(axis="x", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    return figure


def _directions(directions: pd.DataFrame, stability: pd.DataFrame) -> list[dict[str, Any]]:
    turned = dict(zip(stability["directions"], stability["angle"], strict=True)) if len(stability) else {}
    out = []
    for number, part in directions.groupby("direction"):
        first = part.head(_LOADINGS)
        out.append(
            {
                "number": number,
                "share": percent(part["share"].iloc[0]),
                "turned": decimal(turned[number]) if number in turned else DASH,
                "loadings": ", ".join(
                    f"{w:+.2f} {c}" for c, w in zip(first["coordinate"], first["weight"], strict=True)
                ),
            }
        )
    return out
