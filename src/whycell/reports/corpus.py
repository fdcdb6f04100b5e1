"""The page of a catalogue: what the files hold, how deeply each was read, and how their words were understood."""

from __future__ import annotations

from typing import Any

import pandas as pd

from whycell.reports.page import json_block, render, table
from whycell.reports.text import DASH, count, percent, tsv
from whycell.results.corpus import CorpusSummary

__all__ = ["corpus_page"]

_MOST_FILES = 240  # small multiples drawn
_MOST_ROWS = 300
_BINS = 48  # of 64: six decades, which hold every depth there is
_NAMES = {"cell_type_id": "Cell Ontology", "name": "cell type", "column": "column", "value": "label"}


def corpus_page(result: CorpusSummary) -> str:
    """One self-contained HTML page for a catalogue; the same ``result`` gives the same text."""
    shown = result.files.head(_MOST_FILES)
    context = {
        "title": "Corpus",
        "told": result.summary,
        "share_read": percent(result.summary["bytes_read"] / max(1, result.summary["bytes"])),
        "multiples": [_multiple(row) for row in shown.to_dict("records")],
        "n_files": len(result.files),
        "n_outliers": int((result.files["outlier"] != "").sum()),
        "unreadable": table(result.unreadable.head(_MOST_ROWS)) if len(result.unreadable) else None,
        "n_unreadable": len(result.unreadable),
        "types": _some(result.types),
        "n_types": len(result.types),
        "rules": _some(result.rules),
        "unmapped": _some(result.unmapped),
        "n_unmapped": len(result.unmapped),
        "columns": _some(result.columns),
        "provenance": result.provenance,
        "files_tsv": json_block("files-tsv", tsv(_plain_files(result.files))),
    }
    return render("corpus.html", scripts=("common.js",), context=context)


def _some(frame: pd.DataFrame) -> dict[str, Any] | None:
    return table(frame.head(_MOST_ROWS).rename(columns=_NAMES)) if len(frame) else None


def _plain_files(files: pd.DataFrame) -> pd.DataFrame:
    return files.drop(columns=["counts_histogram", "genes_histogram"])


def _multiple(file: dict[str, Any]) -> dict[str, Any]:
    """One file: its name, its numbers and its two distributions as outlines."""
    return {
        "name": file["name"],
        "address": file["address"],
        "outlier": file["outlier"],
        "cells": count(file["n_cells"]),
        "about": f"{file['matrix']}, {file['encoding']}",
        "depths": [
            {
                "what": what,
                "outline": _outline(file[f"{what}_histogram"]),
                "median": DASH if pd.isna(file[what]) else count(round(file[what])),
                "sampled": bool(file[f"{what}_sampled"]),
            }
            for what in ("counts", "genes")
        ],
    }


def _outline(histogram: list[int] | None) -> str:
    """The steps of a histogram as an SVG path, 48 wide and 24 high; empty where nothing is known."""
    if not histogram or not sum(histogram):
        return ""
    bins = [*histogram[: _BINS - 1], sum(histogram[_BINS - 1 :])]
    top = max(bins)
    steps = "".join(f"V{24 - 23 * n / top:.1f}H{i + 1}" for i, n in enumerate(bins))
    return f"M0 24{steps}V24Z"
