"""The page of ``features``: along which genes and programs a model decides every type, and how sure that is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from whycell.reports.feature_figures import gene_matrix, gene_network
from whycell.reports.page import inline_svg, json_block, render, table
from whycell.reports.text import DASH, decimal, percent, term_url, tsv
from whycell.results import TypeFeatures

__all__ = ["features_page"]

_IN_FIGURES, _IN_TABLE, _DRAWN = 25, 15, 12


def features_page(result: TypeFeatures) -> str:
    """One self-contained HTML page.

    Parameters
    ----------
    result
        As ``jobs.features`` returns it; nothing else is needed.

    Returns
    -------
    str
        The page; the same result gives the same text.
    """
    provenance = result.provenance
    order = np.argsort(-result.types["cells"].to_numpy(), kind="stable")
    frame = result.frame()
    context = {
        "title": f"{provenance.get('input', 'cells')} – features",
        "name": provenance.get("input", "cells"),
        "model": provenance.get("model", ""),
        "n_types": len(result.types),
        "n_genes": int(result.genes["measured"].sum()),
        "n_donors": int(result.types["donors"].max()) if len(result.types) else 0,
        "top": result.top,
        "overview": _overview(result),
        "types": [_type_part(result, frame, int(t), draw=place < _DRAWN) for place, t in enumerate(order)],
        "n_drawn": min(_DRAWN, len(order)),
        "provenance": provenance,
        "genes_tsv": json_block("genes-tsv", tsv(frame)),
        "programs_tsv": json_block("programs-tsv", tsv(_plain_programs(result.programs))),
    }
    return render("features.html", scripts=("common.js",), context=context)


def _overview(result: TypeFeatures) -> dict[str, Any]:
    firsts = [", ".join(result.genes["symbol"].iloc[result.top_genes(t)[:5]]) for t in range(len(result.types))]
    shown = pd.DataFrame(
        {
            "type": result.types["type"],
            "cells": result.types["cells"],
            "first genes": firsts,
            "directions": result.types["participation"],
            "kept": result.types["kept"],
        }
    )
    return table(shown, formats={"directions": lambda v: decimal(v, 1), "kept": percent})


def _type_part(result: TypeFeatures, frame: pd.DataFrame, t: int, *, draw: bool) -> dict[str, Any]:
    facts = result.types.iloc[t]
    name = str(facts["type"])
    genes = result.top_genes(t)
    shown = genes[:_IN_FIGURES]
    symbols = result.genes["symbol"].to_numpy(dtype=object)
    mine = frame[(frame["type"] == name) & (frame["rank"] <= _IN_TABLE)][["gene", "score", "standard_error", "pull"]]
    values = result.matrix(t, shown)
    steady = result.stability[result.stability["type"] == name]
    return {
        "name": name,
        "url": term_url(str(facts["term_id"])),
        "facts": [
            ("cells", f"{int(facts['cells']):,}"),
            ("directions that share the matrix", decimal(facts["participation"], 1)),
            (f"part of it on the {result.top} genes kept", percent(facts["kept"])),
        ],
        "genes": table(
            mine.rename(columns={"standard_error": "error over donors", "pull": "log-odds per deviation"}),
            formats={"score": percent, "error over donors": lambda v: percent(v) if np.isfinite(v) else DASH},
        ),
        "programs": _programs(result, name, steady),
        "network": inline_svg(
            gene_network(symbols[shown], values), label=f"Genes of {name} as a network", prefix=f"net{t}"
        )
        if draw
        else None,
        "heat": inline_svg(gene_matrix(symbols[shown], values), label=f"Genes by genes of {name}", prefix=f"heat{t}")
        if draw
        else None,
    }


def _programs(result: TypeFeatures, name: str, steady: pd.DataFrame) -> list[dict[str, Any]]:
    mine = result.programs[result.programs["type"] == name] if len(result.programs) else result.programs
    angle = dict(zip(steady["directions"], steady["angle"], strict=True))
    chance = dict(zip(steady["directions"], steady["chance"], strict=True))
    out = []
    for number, sides in mine.groupby("program", sort=True):
        turned = angle.get(number)
        out.append(
            {
                "number": int(number),
                "share": percent(sides["share"].iloc[0]),
                "turned": None if turned is None else f"{decimal(turned)} (chance {decimal(chance[number])})",
                "sides": [
                    {"sign": str(side.side), "genes": ", ".join(side.genes), "near": ", ".join(side.near)}
                    for side in sides.itertuples()
                ],
            }
        )
    return out


def _plain_programs(programs: pd.DataFrame) -> pd.DataFrame:
    """Tuples as text: a table of text is what a spreadsheet opens."""
    out = programs.copy()
    for column in ("genes", "near"):
        if column in out:
            out[column] = [", ".join(values) for values in out[column]]
    if "weights" in out:
        out["weights"] = [", ".join(f"{v:.4g}" for v in values) for values in out["weights"]]
    return out
