"""The report of an explanation: which genes speak for every type and cell, and whether that is true of the model."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from whycell.reports.examples import taught_part
from whycell.reports.page import inline_svg, json_block, pack_uint16, render, table
from whycell.reports.reasons import AGAINST, FOR, curves
from whycell.reports.text import DASH, decimal, percent, term_url, tsv
from whycell.results import Explanation, TopGenes

__all__ = ["explanation_page"]

_GENES_A_TYPE, _MOST_IN_HEAT = 3, 48
_BARS, _MOST_CELLS, _CELLS_A_TYPE = 10, 30, 2
_METHODS = {"rescale": "DeepLIFT, rule Rescale", "reveal-cancel": "DeepLIFT, rule RevealCancel"}
_REFERENCES = {
    "against": "the mean of sure cells of the alternative in the same file",
    "others": "the mean of all other cells of the same file",
    "training": "the mean of the training cells",
    "zeros": "no expression at all",
}
_CHECKS = {
    "completeness": "unexplained",
    "fall": "fall",
    "fall_random": "random genes",
    "deletion": "deletion",
    "deletion_integrated-gradients": "integrated gradients",
    "deletion_gradient-x-input": "gradient × input",
    "insertion": "insertion",
    "perturbation": "perturbation",
    "randomised": "shuffled networks",
    "references": "other references",
}


def explanation_page(result: Explanation) -> str:
    """One self-contained HTML page for an explanation.

    Parameters
    ----------
    result
        As ``jobs.explain`` returns it; nothing else is needed.

    Returns
    -------
    str
        The page. It opens from disk without a network; all but the map shows without JavaScript; and the same result
        gives the same text.
    """
    provenance = result.provenance
    name = re.split(r"[\\/]", str(provenance.get("input") or "cells"))[-1] or "cells"
    context = {
        "title": f"{name} – why these types",
        "name": name,
        "headline": _headline(result),
        "method": _METHODS.get(str(provenance.get("method")), str(provenance.get("method"))),
        "against": provenance.get("against", ""),
        "reference": _REFERENCES.get(str(provenance.get("reference")), str(provenance.get("reference"))),
        "failures": _failures(result),
        "heat": _heat(result),
        "types": [_type_part(result, t) for t in range(len(result.by_type.types))],
        "cells": _cell_parts(result),
        "checks": _checks(result),
        "curves": inline_svg(curves(result.curves), label="Deletion and insertion curves", prefix="curves")
        if len(result.curves)
        else None,
        "taught": taught_part(result.taught),
        "map_method": result.map_method,
        "n_mapped": len(result.map_rows) if len(result.cells) > 1 else 0,
        "map_genes": result.genes["symbol"].to_numpy(dtype=object)[result.map_genes].tolist(),
        "model": provenance.get("model", ""),
        "provenance": provenance,
        "colours": {"for": FOR, "against": AGAINST},
        "data": json_block("reasons", _map_data(result)),
        "types_tsv": json_block("types-tsv", tsv(result.type_frame())),
    }
    return render("explanation.html", scripts=("common.js", "explanation.js"), context=context)


def _headline(result: Explanation) -> dict[str, Any]:
    cells = result.cells
    spread = float(cells["log_odds"].sub(cells["reference_log_odds"]).std()) if len(cells) > 1 else 1.0
    whole = result.checks.iloc[0] if len(result.checks) else None
    return {
        "n": len(cells),
        "types": len(result.by_type.types),
        "genes": int(result.genes["measured"].sum()),
        "worst": float(cells["residual"].abs().max() / (spread or 1.0)),
        "checked": 0 if whole is None else int(whole["cells"]),
        "fall": None if whole is None else float(whole["fall"]),
        "fall_random": None if whole is None else float(whole["fall_random"]),
    }


def _failures(result: Explanation) -> list[str]:
    return [] if not len(result.checks) else result.checks.loc[~result.checks["passed"], "type"].astype(str).tolist()


def _heat(result: Explanation) -> dict[str, Any]:
    """Types by the strongest genes of each; a cell is tinted by its share of the strongest in the table."""
    mean = result.by_type.mean
    strongest = np.argsort(-mean, axis=1, kind="stable")[:, :_GENES_A_TYPE]
    genes = list(dict.fromkeys(strongest.ravel().tolist()))[:_MOST_IN_HEAT]
    most = max(float(np.abs(mean[:, genes]).max(initial=0)), 1e-9)
    symbols = result.genes["symbol"].to_numpy(dtype=object)
    less = result.speaks_by_absence()
    rows = []
    for t, name in enumerate(result.by_type.types["type"]):
        cells = [
            {
                "value": float(mean[t, g]),
                "tint": round(min(abs(float(mean[t, g])) / most, 1.0) * 100),
                "side": "for" if mean[t, g] >= 0 else "against",
                "marker": int(result.by_type.marker[t, g]),
                "less": bool(less[t, g]),
            }
            for g in genes
        ]
        rows.append({"type": str(name), "cells": cells})
    return {"genes": [str(symbols[g]) for g in genes], "rows": rows}


def _type_part(result: Explanation, t: int) -> dict[str, Any]:
    facts = result.by_type.types.iloc[t]
    name = str(facts["type"])
    frame = result.type_frame()
    mine = frame[frame["type"] == name]
    known = result.markers[(result.markers["type"] == name) & (result.markers["sign"] > 0)]
    symbol = dict(zip(result.genes["id"], result.genes["symbol"], strict=True))
    measured = set(result.genes.loc[result.genes["measured"], "id"])
    shown = [
        {"name": str(symbol[gene]), "source": str(source)}
        for gene, source in zip(known["gene"], known["source"], strict=True)
        if gene in measured
    ]
    check = result.checks[result.checks["type"] == name].iloc[0] if len(result.checks) and _has(result, name) else None
    most = max(float(mine["contribution"].abs().max()) if len(mine) else 0.0, 1e-9)
    return {
        "type": name,
        "url": term_url(facts["term_id"]),
        "term_id": str(facts["term_id"]),
        "cells": int(facts["cells"]),
        "donors": int(facts["donors"]),
        "agreement": decimal(facts["donor_agreement"]),
        "known": int(facts["markers"]),
        "known_for": int(facts["markers_for"]),
        "known_top": int(facts["markers_in_top"]),
        "markers": shown,
        "check": None if check is None else _check_words(check),
        "genes": [
            {
                "side": row.side,
                "gene": f"less {row.gene}" if row.less else str(row.gene),
                "id": str(row.gene_id),
                "value": float(row.contribution),
                "width": round(100 * abs(row.contribution) / most, 1),
                "share": percent(row.share),
                "same_sign": percent(row.same_sign) if facts["donors"] >= 2 else DASH,
                "marker": int(row.marker),
            }
            for row in mine.itertuples()
        ],
    }


def _has(result: Explanation, name: str) -> bool:
    return bool((result.checks["type"] == name).any())


def _check_words(check: pd.Series) -> dict[str, Any]:
    words = {key: decimal(check[key]) for key in _CHECKS if key in check and key != "completeness"}
    words["completeness"] = f"{float(check['completeness']):.0e}"
    return {
        **words,
        "passed": bool(check["passed"]) if "passed" in check else None,
        "cells": int(check.get("cells", 1)),
    }


def _checks(result: Explanation) -> dict[str, Any] | None:
    if not len(result.checks):
        return None
    columns = [key for key in _CHECKS if key in result.checks]
    shown = result.checks[["type", "cells", "passed", *columns]].rename(columns=_CHECKS)
    shown["passed"] = np.where(shown["passed"], "passed", "fails")
    return table(shown, formats={_CHECKS["completeness"]: lambda value: f"{value:.0e}"})


def _cell_parts(result: Explanation) -> list[dict[str, Any]]:
    """A few cells of every type, those that were checked first."""
    checked = set(result.cell_checks.index)
    position = pd.Series(np.arange(len(result.cells)), index=result.cells.index)
    parts: list[dict[str, Any]] = []
    for name in result.by_type.types["type"]:
        mine = position[(result.cells["call"].astype(str) == str(name)).to_numpy()]
        first = [at for cell, at in mine.items() if cell in checked] or mine.tolist()
        parts += [_cell_part(result, int(at)) for at in first[:_CELLS_A_TYPE]]
    return parts[:_MOST_CELLS]


def _cell_part(result: Explanation, at: int) -> dict[str, Any]:
    row = result.cells.iloc[at]
    name = str(result.cells.index[at])
    types = result.by_type.types["type"].astype(str).tolist()
    marker = result.by_type.marker[types.index(str(row["call"]))]
    both = [bar for top in (result.speaking_for, result.speaking_against) for bar in _bars(result, top, at, marker)]
    most = max((abs(bar["value"]) for bar in both), default=1e-9) or 1e-9
    for bar in both:
        bar["width"] = round(100 * abs(bar["value"]) / most, 1)
    check = None
    if name in result.cell_checks.index:
        found = result.cell_checks.loc[name]
        check = _check_words(found if isinstance(found, pd.Series) else found.iloc[0])
    return {
        "name": name,
        "call": str(row["call"]),
        "rationale": str(row["rationale"]),
        "donor": None if result.donors is None else str(result.donors[at]),
        "confidence": decimal(row["confidence"]),
        "bars": both,
        "difference": decimal(row["log_odds"] - row["reference_log_odds"]),
        "check": check,
    }


def _bars(result: Explanation, top: TopGenes, at: int, marker: np.ndarray) -> list[dict[str, Any]]:
    symbols = result.genes["symbol"].to_numpy(dtype=object)
    return [
        {
            "gene": str(symbols[gene]),
            "value": float(top.contribution[at, t]),
            "marker": int(marker[gene]),
            "side": "for" if top.contribution[at, t] >= 0 else "against",
            "expression": float(top.expression[at, t]),
            "reference": float(top.reference[at, t]),
        }
        for t, gene in enumerate(top.gene[at][:_BARS])
        if gene >= 0
    ]


def _map_data(result: Explanation) -> dict[str, Any]:
    xy = np.asarray(result.map_xy, dtype=np.float64)
    usable = np.isfinite(xy).all(axis=1)
    xy, values = xy[usable], np.asarray(result.map_values, dtype=np.float64)[usable]
    rows = result.map_rows[usable]
    low = xy.min(axis=0) if len(xy) else np.zeros(2)
    span = float((xy.max(axis=0) - low).max()) if len(xy) else 1.0
    symbols = result.genes["symbol"].to_numpy(dtype=object)
    genes = []
    for k, gene in enumerate(result.map_genes):
        most = max(float(np.quantile(np.abs(values[:, k]), 0.99)) if len(values) else 0.0, 1e-6)
        genes.append({"name": str(symbols[gene]), "most": most, "values": pack_uint16(values[:, k], -most, most)})
    return {
        "n": len(rows),
        "x": pack_uint16(xy[:, 0], low[0], low[0] + span),
        "y": pack_uint16(xy[:, 1], low[1], low[1] + span),
        "names": [str(name) for name in result.cells.index.to_numpy()[rows]],
        "calls": result.cells["call"].astype(str).to_numpy()[rows].tolist(),
        "genes": genes,
        "colours": [AGAINST, "#c9c4b8", FOR],
    }
