"""The page of a screen of pairs: candidates in order with their evidence, and how far the order is to be trusted."""

from __future__ import annotations

from typing import Any

import pandas as pd

from whycell.reports.figures import intervals
from whycell.reports.page import inline_svg, json_block, render, table
from whycell.reports.text import DASH, decimal, tsv, words
from whycell.results import PairScreen

__all__ = ["pair_screen_page"]

_MOST_ROWS = 300
_SETTINGS = {"both_new": "both genes new", "one_new": "one gene new", "pair_new": "pair new"}
_MEASURES = ("auroc", "aupr", "ndcg@100", "enrichment@100")
_NAMES = {
    "gene_a": "gene",
    "gene_b": "with",
    "alike": "most like, among known",
    "drugs_a": "drugs",
    "drugs_b": "drugs ",
}


def pair_screen_page(result: PairScreen) -> str:
    """One self-contained HTML page for a screen; the same ``result`` gives the same text."""
    told = result.summary
    context = {
        "title": "Screen of gene pairs",
        "told": told,
        "headline": _headline(result),
        "given": _tables(result.scores, result.gaps, "given"),
        "matched": _tables(result.matched_scores, result.matched_gaps, "matched"),
        "candidates": _candidates(result.ranked),
        "n_candidates": len(result.ranked),
        "n_shown": min(len(result.ranked), _MOST_ROWS),
        "dropped": [(why, n) for why, n in told["dropped"].items() if n],
        "candidates_dropped": [(why, n) for why, n in told["candidates_dropped"].items() if n],
        "provenance": result.provenance,
        "ranked_tsv": json_block("ranked-tsv", tsv(result.ranked.head(20_000))),
    }
    return render("screen.html", scripts=("common.js",), context=context)


def _headline(result: PairScreen) -> dict[str, Any] | None:
    """AUROC and AUPR with both genes new, and the gap to the best baseline."""
    if result.scores.empty or "both_new" not in set(result.scores["setting"]):
        return None
    out = {}
    for measure in ("auroc", "aupr"):
        ours = _row(result.scores, measure, "whycell")
        gaps = result.gaps[(result.gaps["setting"] == "both_new") & (result.gaps["measure"] == measure)]
        nearest = gaps.sort_values("value", kind="stable").iloc[0]
        out[measure] = {"ours": _told(ours), "gap": _told(nearest), "rival": nearest["model"]}
    return out


def _row(frame: pd.DataFrame, measure: str, model: str) -> pd.Series:
    rows = frame[(frame["setting"] == "both_new") & (frame["measure"] == measure) & (frame["model"] == model)]
    return rows.iloc[0]


def _told(row: pd.Series) -> str:
    return f"{decimal(row['value'], 3)} ({decimal(row['low'], 3)} to {decimal(row['high'], 3)})"


def _tables(scores: pd.DataFrame, gaps: pd.DataFrame, prefix: str) -> list[dict[str, Any]]:
    """For each setting, both-new first: a table of all models, and a figure of the gaps."""
    if scores.empty:
        return []
    out = []
    for setting, name in _SETTINGS.items():
        part = scores[(scores["setting"] == setting) & scores["measure"].isin(_MEASURES)]
        if part.empty:
            continue
        shown = pd.DataFrame({"model": list(dict.fromkeys(part["model"]))}).set_index("model")
        for measure in _MEASURES:
            rows = part[part["measure"] == measure].set_index("model")
            shown[words(measure.replace("@", "_at_"))] = [_told(rows.loc[model]) for model in shown.index]
        gap = gaps[(gaps["setting"] == setting) & gaps["measure"].isin(_MEASURES[:2])]
        figure = intervals(gap.assign(metric=gap["measure"]), zero=True, columns=2)
        label = f"By how much whycell is better than each baseline, {name}"
        out.append(
            {
                "name": name,
                "table": table(shown.reset_index()),
                "figure": inline_svg(figure, label=label, prefix=f"{prefix}-{setting}"),
                "rounds": int(part["rounds"].max()),
            }
        )
    return out


def _candidates(ranked: pd.DataFrame) -> dict[str, Any]:
    shown = ranked.head(_MOST_ROWS).copy()
    shown["setting"] = shown["setting"].map(_SETTINGS)
    shown.loc[shown["label"] != "", "setting"] = "in training"
    columns = ["gene_a", "gene_b", "score", "setting", "evidence", "drivers", "alike"]
    columns += [c for c in ("drugs_a", "drugs_b") if (ranked[c] != "").any()]
    for column in columns[4:]:
        shown[column] = shown[column].replace("", DASH)
    return table(shown[columns].rename(columns=_NAMES), formats={"score": lambda v: decimal(v, 3)})
