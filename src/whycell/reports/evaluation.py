"""The page of one evaluation: how right each model was on cells it had not seen, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from whycell.reports import figures
from whycell.reports.page import inline_svg, json_block, render, table
from whycell.reports.palette import BRANCH
from whycell.reports.protocols import calibration_notes, left_out_table, stress_table
from whycell.reports.text import count, decimal, interval, sentence, tsv, words
from whycell.results import Evaluation

__all__ = ["LOWER_IS_BETTER", "evaluation_page"]

#: Metrics of which less is better; of all others, more.
LOWER_IS_BETTER = frozenset(
    {"adaptive_ece", "aurc", "brier", "call_ece", "ece", "edge_distance", "log_loss", "node_ece", "novelty_fpr95"}
    | {"novel_wrong_branch", "wrong_branch", "wrong_branch_of_calls"}
)
#: Metrics of which neither is: a bolder model leaves fewer cells unknown and puts more on a wrong branch.
_NEITHER = frozenset(
    {"under", "over", "unknown", "novel_unknown", "overconfidence", "ece_noise_floor"}
    | {"conformal_coverage", "conformal_size"}
)

_HEADLINES = ("accuracy", "macro_f1", "wrong_branch", "information_kept", "unknown", "ece")
_KINDS = {
    "exact": "exactly the truth",
    "under": "right but less deep than the truth",
    "over": "deeper than the truth says",
    "wrong_branch": "on a wrong branch",
    "unknown": "left unknown",
}
_PROVENANCE_FIRST = ("split", "split_kind", "split_hash", "hash", "n_groups", "n_folds", "label", "inputs")
_MOST_MODELS_DRAWN = 12


def evaluation_page(result: Evaluation) -> str:
    """One self-contained HTML page for an evaluation.

    Parameters
    ----------
    result
        As ``jobs.evaluate`` returns it. ``curves`` hold ``reliability`` (``confidence, accuracy, n``) and
        ``risk_coverage`` (``coverage, risk``); ``provenance["term_names"]``, where there, names the ids of
        ``confusion``. Anything absent is left out of the page, and said to be.

    Returns
    -------
    str
        The page; the same result gives the same text. ``calls`` are not in it: they stay in ``calls.parquet``.
    """
    provenance = {k: v for k, v in result.provenance.items() if k not in ("term_names", "command")}
    order = [k for k in _PROVENANCE_FIRST if k in provenance]
    context = {
        "title": "How right the calls were – whycell",
        "models": list(result.scores),
        "warnings": list(result.warnings),
        "headline": _headline(result),
        "compared": [(words(k), sentence(provenance[k])) for k in order],
        "scores": _score_table(result),
        "score_figure": _score_figure(result),
        "all_scores": _all_scores(result),
        "kinds": _kinds(result),
        "kind_key": [(words(k), BRANCH[k], text) for k, text in _KINDS.items()],
        "comparisons": _comparisons(result.comparisons),
        "difference_figure": _difference_figure(result.comparisons),
        "confusions": _confusions(result),
        "reliability": _curve_figure(result, "reliability"),
        "calibration": calibration_notes(result.scores),
        "risk_coverage": _curve_figure(result, "risk_coverage"),
        "per_class": _per(result.per_class, "class"),
        "per_donor": _per(result.per_donor, "donor"),
        "stress": stress_table(result.tables.get("stress")),
        "left_out": left_out_table(result.tables.get("novelty")),
        "provenance": provenance,
        "scores_tsv": json_block("scores-tsv", tsv(_long_scores(result))),
        "class_tsv": json_block("per-class-tsv", tsv(result.per_class)),
        "donor_tsv": json_block("per-donor-tsv", tsv(result.per_donor)),
    }
    return render("evaluation.html", scripts=("common.js",), context=context)


def _headline(result: Evaluation) -> dict[str, Any]:
    calls, provenance = result.calls, result.provenance
    cells = int((calls["model"] == calls["model"].iloc[0]).sum()) if len(calls) else None
    groups = calls["donor"].dropna().nunique() if "donor" in calls else None
    split = provenance.get("split", provenance.get("split_kind"))
    if isinstance(split, dict):
        split = split.get("by", split.get("kind"))
    split_hash = provenance.get("split_hash", provenance.get("hash"))
    if split_hash is None and isinstance(provenance.get("split"), dict):
        split_hash = provenance["split"].get("hash")
    return {"cells": cells, "donors": groups, "split": split, "hash": split_hash, "models": len(result.scores)}


def _metrics(result: Evaluation) -> list[str]:
    every = dict.fromkeys(metric for scores in result.scores.values() for metric in scores)
    first = [m for m in _HEADLINES if m in every]
    return first + [m for m in every if m not in first]


def _headline_metrics(result: Evaluation) -> list[str]:
    metrics = _metrics(result)
    return [m for m in metrics if m in _HEADLINES] or metrics[:6]


def _score_table(result: Evaluation) -> dict[str, Any]:
    metrics = _headline_metrics(result)
    columns = [{"name": words(m), "better": _better(m)} for m in metrics]
    rows = []
    for model, scores in result.scores.items():
        cells = [_score_cell(scores.get(m)) for m in metrics]
        rows.append({"model": model, "cells": cells})
    return {"columns": columns, "rows": rows}


def _better(metric: str) -> str:
    if metric in _NEITHER or metric.startswith("n_"):
        return "neither"
    return "less" if metric in LOWER_IS_BETTER else "more"


def _score_cell(score: Any) -> dict[str, Any]:
    score = score if isinstance(score, dict) else {"value": score}
    low, high = score.get("low"), score.get("high")
    bounds = "" if decimal(low) == decimal(None) else f"{decimal(low, 3)} to {decimal(high, 3)}"
    return {"value": decimal(score.get("value"), 3), "bounds": bounds, "n": score.get("n")}


def _long_scores(result: Evaluation) -> pd.DataFrame:
    rows = []
    for model, scores in result.scores.items():
        for metric, score in scores.items():
            score = score if isinstance(score, dict) else {"value": score}
            rows.append({"model": model, "metric": metric} | {k: score.get(k) for k in ("value", "low", "high", "n")})
    return pd.DataFrame(rows, columns=["model", "metric", "value", "low", "high", "n"])


def _all_scores(result: Evaluation) -> dict[str, Any]:
    frame = {"score": [words(m) for m in _metrics(result)]}
    for model, scores in result.scores.items():
        frame[model] = [interval(scores[m]) if m in scores else "" for m in _metrics(result)]
    return table(pd.DataFrame(frame))


def _score_figure(result: Evaluation) -> Markup | None:
    frame = _long_scores(result)
    frame = frame[frame["metric"].isin(_headline_metrics(result)) & frame["value"].notna()]
    if frame.empty:
        return None
    frame = frame.sort_values("metric", key=lambda m: m.map(_metrics(result).index), kind="stable")
    return inline_svg(figures.intervals(frame), label="Scores with their intervals, a panel a score", prefix="scores")


def _kinds(result: Evaluation) -> list[dict[str, Any]]:
    rows = []
    for model, scores in result.scores.items():
        if not all(kind in scores for kind in _KINDS):
            continue
        shares = [(k, scores[k].get("value") if isinstance(scores[k], dict) else scores[k]) for k in _KINDS]
        parts = [{"kind": words(k), "share": s, "colour": BRANCH[k]} for k, s in shares if s]
        rows.append({"model": model, "parts": parts, "wrong": dict(shares)["wrong_branch"]})
    return rows


def _comparisons(frame: pd.DataFrame) -> dict[str, Any] | None:
    if frame.empty:
        return None
    frame = frame.copy()
    frame["told apart"] = [_told(*row) for row in frame[["metric", "low", "high"]].itertuples(index=False)]
    frame["metric"] = frame["metric"].map(words)
    show = {"difference": _signed, "low": _signed, "high": _signed}
    return table(frame.rename(columns={"n_groups": "groups"}), formats=show)


def _signed(value: Any) -> str:
    text = decimal(value, 3)
    return f"+{text}" if text != decimal(None) and value > 0 else text.replace("-", "−")


def _told(metric: str, low: float, high: float) -> str:
    if not (np.isfinite(low) and np.isfinite(high)):
        return "no interval"
    if low <= 0 <= high:
        return "no"
    more = "more" if low > 0 else "less"
    better = _better(metric)
    return f"yes, {more}" if better == "neither" else "yes, better" if more == better else "yes, worse"


def _difference_figure(frame: pd.DataFrame) -> Markup | None:
    shown = frame[frame["metric"].isin(_HEADLINES)] if "metric" in frame else frame
    shown = frame if shown.empty else shown
    shown = shown[shown["difference"].notna()] if len(shown) else shown
    if shown.empty:
        return None
    rank = {metric: k for k, metric in enumerate(_HEADLINES)}
    shown = shown.sort_values("metric", key=lambda m: m.map(rank), kind="stable")
    pairs = shown["model"].astype(str) + " − " + shown["against"].astype(str)
    if shown["model"].nunique() == 1:
        pairs = "minus " + shown["against"].astype(str)
    drawn = shown.assign(model=pairs, value=shown["difference"])
    return inline_svg(figures.intervals(drawn, zero=True), label="Paired differences with intervals", prefix="paired")


def _confusions(result: Evaluation) -> list[dict[str, Any]]:
    names = result.provenance.get("term_names") or {}
    answer = []
    for k, (model, counts) in enumerate(result.confusion.items()):
        if counts.empty or k >= _MOST_MODELS_DRAWN:
            continue
        label = f"Confusion of {model}: truth by call"
        svg = inline_svg(figures.confusion(counts, names=names), label=label, prefix=f"confusion-{k}")
        answer.append({"model": model, "svg": svg})
    return answer


def _curve_figure(result: Evaluation, kind: str) -> Markup | None:
    curves = {model: c[kind] for model, c in result.curves.items() if kind in c and len(c[kind])}
    curves = dict(list(curves.items())[:_MOST_MODELS_DRAWN])
    if not curves:
        return None
    if kind == "reliability":
        return inline_svg(figures.reliability(curves), label="Confidence against the share right", prefix="reliability")
    return inline_svg(figures.risk_coverage(curves), label="Share wrong against share of cells kept", prefix="risk")


def _per(frame: pd.DataFrame, what: str) -> dict[str, Any] | None:
    if frame.empty:
        return None
    by = _first(frame, (what, "label", "truth_label", "name", "term", "term_id", "group", "donor", "study"))
    value = _first(frame, ("f1", "accuracy", "recall", "exact", "value"))
    size = _first(frame, ("support", "n", "n_cells", "cells"))
    if by is None or value is None:
        return {"svg": None, "table": table(frame), "by": by, "value": value}
    ordered = frame.sort_values(size, ascending=False, kind="stable") if size and what == "class" else frame
    first_model_first = ordered.assign(_m=ordered["model"].map({m: k for k, m in enumerate(frame["model"].unique())}))
    drawn = first_model_first.sort_values("_m", kind="stable")
    figure = figures.per_class(drawn, by=by, value=value)
    label = f"{words(value)} of every {what} and model"
    shown = frame.rename(columns=words)
    return {
        "svg": inline_svg(figure, label=label, prefix=f"per-{what}"),
        "table": table(shown, formats={words(c): _three for c in frame if frame[c].dtype.kind == "f"}),
        "value": words(value),
        "rows": count(frame[by].nunique()),
    }


def _three(value: Any) -> str:
    return decimal(value, 3)


def _first(frame: pd.DataFrame, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in frame), None)
