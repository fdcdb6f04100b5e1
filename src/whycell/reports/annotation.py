"""The report of one annotation: what the cells are, how sure that is, and what to check."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from whycell._keys import FLAGS, UNKNOWN
from whycell.reports.card import card_parts
from whycell.reports.cellmap import map_data
from whycell.reports.page import json_block, render, table
from whycell.reports.palette import UNKNOWN_GREY, colours_by_name
from whycell.reports.text import count, decimal, natural, percent, term_url, tsv
from whycell.reports.tree import nested_tree
from whycell.results import Annotation, Finding

__all__ = ["annotation_page", "type_table"]

_MAX_DONORS = 60
_LEVELS = {"error": 0, "warning": 1, "info": 2}


def annotation_page(result: Annotation) -> str:
    """One self-contained HTML page for an annotation.

    Parameters
    ----------
    result
        As ``jobs.annotate`` returns it; nothing else is needed, the model least of all.

    Returns
    -------
    str
        The page. It opens from disk without a network, its tables show without JavaScript, and the same result gives
        the same text: no date and no random number enters it.
    """
    types = type_table(result.calls)
    colours = colours_by_name(types["type"], grey=(UNKNOWN,))
    cells = map_data(result)
    context = {
        "title": f"{_title(result)} – cell types",
        "name": _title(result),
        "headline": _headline(result, types),
        "map_method": result.map_method,
        "n_mapped": cells["n"],
        "has_donors": result.donors is not None,
        "has_novelty": "novelty" in cells["numbers"],
        "types": [row | {"colour": colours[row["type"]], "url": term_url(row["id"])} for row in _records(types)],
        "composition": _composition(result, types, colours),
        "tree": nested_tree(result.tree, colours),
        "findings": _sorted_findings(result.findings),
        "flags": _flags(result.calls["flag"]),
        "clusters": _clusters(result.calls),
        "card": card_parts(result.card, name=_model_name(result)),
        "provenance": result.provenance,
        "data": json_block("cells", cells),
        "types_tsv": json_block("types-tsv", tsv(types)),
    }
    return render("annotation.html", scripts=("common.js", "annotation.js"), context=context)


def type_table(calls: pd.DataFrame) -> pd.DataFrame:
    """Count the types called.

    Parameters
    ----------
    calls
        As in :class:`whycell.results.Annotation`.

    Returns
    -------
    pandas.DataFrame
        One row a (call, term), most cells first and ``unknown`` last: ``type, id, cells, share`` (of all cells),
        ``mean_confidence, mean_novelty, flagged`` (cells with any flag) and ``often_second`` (commonest runner-up).
    """
    frame = pd.DataFrame(
        {
            "type": calls["call"].astype(str).to_numpy(),
            "id": calls["call_term_id"].astype(object).fillna("").astype(str).to_numpy(),
            "confidence": pd.to_numeric(calls["confidence"], errors="coerce").to_numpy(),
            "novelty": pd.to_numeric(calls["novelty"], errors="coerce").to_numpy(),
            "flagged": calls["flag"].astype(object).fillna("").astype(str).to_numpy() != "",
            "second": calls["runner_up"].astype(object).fillna("").astype(str).to_numpy(),
        }
    )
    groups = frame.groupby(["type", "id"], sort=True)
    answer = groups.agg(
        cells=("flagged", "size"),
        mean_confidence=("confidence", "mean"),
        mean_novelty=("novelty", "mean"),
        flagged=("flagged", "sum"),
        often_second=("second", _commonest),
    ).reset_index()
    answer.insert(3, "share", answer["cells"] / max(len(frame), 1))
    last = answer["type"] == UNKNOWN
    order = np.lexsort((answer["type"].to_numpy(dtype=str), -answer["cells"].to_numpy(), last.to_numpy()))
    return answer.iloc[order].reset_index(drop=True)


def _commonest(values: pd.Series) -> str:
    kept = values[values != ""]
    return "" if kept.empty else str(kept.value_counts().sort_index().idxmax())


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict(orient="records")]


def _title(result: Annotation) -> str:
    given = result.provenance.get("input") or result.provenance.get("query") or "cells"
    if isinstance(given, dict):
        given = given.get("name") or given.get("path") or "cells"
    return re.split(r"[\\/]", str(given))[-1] or "cells"


def _model_name(result: Annotation) -> str:
    model = result.provenance.get("model")
    model = model.get("name") or model.get("path") if isinstance(model, dict) else model
    return re.split(r"[\\/]", str(model or "").rstrip("\\/"))[-1] or "an unnamed model"


def _has_flag(flags: pd.Series, word: str) -> np.ndarray:
    return np.array([word in str(f).split(";") for f in flags.astype(object).fillna("")], dtype=bool)


def _headline(result: Annotation, types: pd.DataFrame) -> dict[str, Any]:
    calls, n = result.calls, len(result.calls)
    unknown = (calls["call"].astype(str) == UNKNOWN).to_numpy()
    novel = _has_flag(calls["flag"], "novel")
    confidence = pd.to_numeric(calls["confidence"], errors="coerce").to_numpy()[~unknown]
    share = n or 1
    return {
        "n": n,
        "typed": int((~unknown).sum()),
        "unknown": int(unknown.sum()),
        "novel": int(novel.sum()),
        "typed_share": float((~unknown).sum() / share),
        "unknown_share": float(unknown.sum() / share),
        "novel_share": float(novel.sum() / share),
        "types": int((types["type"] != UNKNOWN).sum()),
        "donors": None if result.donors is None else len({str(d) for d in result.donors}),
        "confidence": float(np.nanmean(confidence)) if np.isfinite(confidence).any() else None,
    }


def _composition(result: Annotation, types: pd.DataFrame, colours: dict[str, str]) -> dict[str, Any]:
    calls = result.calls["call"].astype(str).to_numpy()
    donors = np.array(["all cells"] * len(calls)) if result.donors is None else np.asarray(result.donors).astype(str)
    order = list(dict.fromkeys(types["type"]))
    counts = pd.crosstab(pd.Series(donors, name="donor"), pd.Series(calls, name="call")).reindex(columns=order)
    counts = counts.loc[counts.sum(axis=1).sort_values(ascending=False, kind="stable").index[:_MAX_DONORS]]
    counts = counts.loc[sorted(counts.index, key=natural)]
    bars = []
    for donor, row in counts.iterrows():
        n = int(row.sum())
        parts = [
            {"type": t, "n": int(k), "share": k / n, "colour": colours.get(str(t), UNKNOWN_GREY)}
            for t, k in row.items()
            if k
        ]
        bars.append({"donor": str(donor), "n": n, "parts": parts})
    left_out = len(set(donors)) - len(bars)
    legend = [{"type": t, "colour": colours[t]} for t in order]
    wide = counts.reset_index()
    return {"bars": bars, "left_out": left_out, "legend": legend, "table": table(wide)}


def _sorted_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Errors first, then warnings, then remarks; otherwise in the doctor's order."""
    return sorted(findings, key=lambda f: _LEVELS.get(f.level, 3))


def _flags(flags: pd.Series) -> list[dict[str, Any]]:
    counts = {flag: int(_has_flag(flags, flag).sum()) for flag in FLAGS}
    n = max(len(flags), 1)
    return [{"flag": f, "meaning": FLAGS[f], "cells": k, "share": k / n} for f, k in counts.items() if k]


def _clusters(calls: pd.DataFrame) -> dict[str, Any] | None:
    if "cluster" not in calls or "cluster_call" not in calls:
        return None
    frame = calls.assign(cluster=calls["cluster"].astype(str))
    rows = []
    for cluster in sorted(frame["cluster"].unique(), key=natural):
        part = frame[frame["cluster"] == cluster]
        consensus = str(part["cluster_call"].iloc[0])
        confidence = part["cluster_confidence"].iloc[0] if "cluster_confidence" in part else float("nan")
        same = float((part["call"].astype(str) == consensus).mean())
        rows.append((cluster, len(part), consensus, confidence, same))
    columns = ["cluster", "cells", "consensus call", "confidence", "cells with that very call"]
    answer = pd.DataFrame(rows, columns=columns)
    return table(answer, formats={"confidence": decimal, "cells": count, columns[-1]: percent})
