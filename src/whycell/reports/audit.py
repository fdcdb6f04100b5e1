"""The page of one audit: which training samples look wrong, where they are, and why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from whycell.reports.figures import cell_map
from whycell.reports.page import inline_svg, json_block, render, table
from whycell.reports.text import DASH, decimal, percent, tsv
from whycell.results import Audit

__all__ = ["audit_page"]

_MOST_ROWS = 500
_MOST_DONORS = 60
_NAMES = {
    "samples": "audited",
    "out_of_place": "out of place",
    "duplicate": "copies",
    "expected_mislabelled": "mislabelled, expected",
    "looks_like": "looks like",
    "expected": "expected",
    "suggested_term_id": "Cell Ontology",
    "self_influence": "self-influence",
    "agreeing": "models agreeing",
    "neighbours": "neighbours agreeing",
}


def audit_page(result: Audit) -> str:
    """One self-contained HTML page for an audit; the same ``result`` gives the same text."""
    told = result.summary
    unit = str(told.get("unit", "cells"))
    context = {
        "title": "Audit of training labels",
        "unit": unit,
        "told": told,
        "planted": told.get("planted_found", {}),
        "map": _map(result),
        "map_method": result.map_method,
        "n_mapped": len(result.map_rows),
        "suspects": _suspects(result.suspects),
        "n_suspects": len(result.suspects),
        "n_shown": min(len(result.suspects), _MOST_ROWS),
        "labels": _counts(result.per_label),
        "donors": _counts(result.per_donor) if result.per_donor.iloc[:, 0].astype(bool).any() else None,
        "confusions": table(_renamed(result.confusions), formats={"expected": lambda v: decimal(v, 1)})
        if len(result.confusions)
        else None,
        "provenance": result.provenance,
        "suspects_tsv": json_block("suspects-tsv", tsv(result.suspects)),
    }
    return render("audit.html", scripts=("common.js",), context=context)


def _renamed(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename(columns=_NAMES)


def _map(result: Audit) -> Any:
    if not len(result.map_rows):
        return None
    score = result.samples["score"].to_numpy(dtype=float)[result.map_rows]
    figure = cell_map(result.map_xy, score, method=result.map_method)
    return inline_svg(figure, label="Map of the samples, coloured by the probability of a wrong label", prefix="map")


def _counts(frame: pd.DataFrame) -> dict[str, Any]:
    order = np.lexsort((frame.iloc[:, 0].astype(str), -frame["mislabelled"], -frame["expected_mislabelled"]))
    shown = frame.iloc[order].head(_MOST_DONORS).copy()
    shown["share"] = shown["mislabelled"] / shown["samples"].clip(lower=1)
    return table(_renamed(shown), formats={"share": percent, _NAMES["expected_mislabelled"]: lambda v: decimal(v, 1)})


def _suspects(frame: pd.DataFrame) -> dict[str, Any] | None:
    if frame.empty:
        return None
    columns = ["flag", "score", "cell", "donor", "label", "suggested", "evidence", "file", "drop"]
    shown = frame.head(_MOST_ROWS)[columns].copy()
    shown["flag"] = shown["flag"].str.replace("_", " ").str.replace(";", ", ").replace("", DASH)
    shown["score"] = shown["score"].astype(float)
    return table(_renamed(shown), formats={"score": decimal})
