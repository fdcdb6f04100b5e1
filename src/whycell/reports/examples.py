"""The page of ``explain --lens examples``: which training cells, donors and studies taught a call."""

from __future__ import annotations

from typing import Any

import pandas as pd

from whycell.reports.page import json_block, render, table
from whycell.reports.text import decimal, percent, term_url, tsv
from whycell.results import ExampleEvidence, Teaching

__all__ = ["examples_page", "taught_part"]

_MOST_ROWS = 40
_NAMES = {"cell": "training cell", "share": "share", "score": "log-odds", "opposition": "against", "support": "for"}


def examples_page(result: ExampleEvidence) -> str:
    """One self-contained HTML page; the same ``result`` gives the same text."""
    several = len(result.targets) > 1
    first = result.targets[0]
    context = {
        "title": "What taught these types" if several else f"What taught {first.name}",
        "of_types": result.of_types,
        "several": several,
        "first": first,
        "targets": [_section(i, each) for i, each in enumerate(result.targets)],
        "overview": _overview(result) if several else None,
        "quality": result.quality,
        "card": result.card,
        "provenance": result.provenance,
        "all_tsv": json_block("examples-tsv", tsv(result.long_frame())),
    }
    return render("examples.html", scripts=("common.js",), context=context)


def taught_part(result: ExampleEvidence | None) -> dict[str, Any] | None:
    """What ``taught.html`` shows of a ``result`` within another page; nothing where there is none."""
    if result is None or not result.targets:
        return None
    return {
        "overview": _overview(result) if result.of_types else None,
        "one": _section(0, result.targets[0]),
        "warnings": [f"{each.name} {line}" for each in result.targets for line in each.warnings],
        "quality": result.quality,
    }


def _overview(result: ExampleEvidence) -> dict[str, Any]:
    frame = result.overview().drop(columns="warning")
    if not frame["first_study"].any():  # one study: nothing to choose from
        frame = frame.drop(columns=["first_study", "first_study_share"])
    if not frame["first_donor"].any():
        frame = frame.drop(columns=["first_donor", "first_donor_share", "donors_effective"])
    names = {name: name.replace("_", " ") for name in frame.columns}
    shares = {names[name]: percent for name in frame.columns if name.endswith("_share")}
    return table(frame.rename(columns=names), formats={**shares, "donors effective": lambda v: decimal(v, 1)})


def _section(i: int, each: Teaching) -> dict[str, Any]:
    return {
        "id": f"target-{i}",
        "name": each.name,
        "call": each.call,
        "url": term_url(each.call_term_id) if each.call_term_id else "",
        "term_id": each.call_term_id,
        "confidence": each.confidence,
        "n_cells": each.n_cells,
        "n_supporting": each.n_supporting,
        "n_opposing": each.n_opposing,
        "donors_effective": each.donors_effective,
        "warnings": each.warnings,
        "supporters": _drawn(each.supporters),
        "opponents": _drawn(each.opponents),
        "bars": [
            (what, _bars(groups, what))
            for what, groups in (("donor", each.donors), ("study", each.studies), ("label", each.labels))
            if len(groups)
        ],
    }


def _drawn(frame: pd.DataFrame) -> dict[str, Any] | None:
    if frame.empty:
        return None
    shown = frame.drop(columns=[name for name in ("donor", "study") if not frame[name].any()])
    formats = {"log-odds": lambda v: decimal(v, 4), "share": percent}
    return table(shown.rename(columns=_NAMES), formats=formats)


def _bars(groups: pd.DataFrame, what: str) -> list[dict[str, Any]]:
    most = max(float(groups["support"].max()), float(-groups["opposition"].min()), 1e-12)
    return [
        {
            "name": str(row[what]),
            "cells": int(row["cells"]),
            "share": float(row["share"]),
            "support": float(row["support"]),
            "opposition": float(row["opposition"]),
            "wide": 100 * float(row["support"]) / most,
            "narrow": -100 * float(row["opposition"]) / most,
        }
        for _, row in groups.head(_MOST_ROWS).iterrows()
    ]
