"""Numbers and values as a reader sees them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

__all__ = [
    "DASH",
    "count",
    "decimal",
    "interval",
    "natural",
    "percent",
    "plain",
    "sentence",
    "term_url",
    "tsv",
    "words",
]

DASH = "–"
_ABBREVIATIONS = {w.lower(): w for w in ("F1", "ECE", "AURC", "AUROC", "FPR95", "hP", "hR", "hF", "MRR", "NDCG", "ID")}
_TERM = re.compile(r"CL:\d{7}")


def _absent(value: Any) -> bool:
    return isinstance(value, str) or value is None or value is pd.NA or not math.isfinite(value)


def count(value: Any) -> str:
    """A whole number ``value`` as ``12,345``; anything else comes back as text."""
    return f"{value:,}" if isinstance(value, (int, np.integer)) and not isinstance(value, bool) else str(value)


def decimal(value: Any, digits: int = 2) -> str:
    """A number ``value`` with fixed ``digits``; a dash where there is none, so that no reader sees ``nan``."""
    return DASH if _absent(value) else f"{round(float(value), digits) + 0.0:.{digits}f}"  # + 0.0: no "-0.00"


def percent(value: Any) -> str:
    """A share ``value`` in [0, 1] as ``91.2 %``; never rounded to a whole 0 or 100 that is not true."""
    if _absent(value):
        return DASH
    if 0 < value < 0.001:
        return "< 0.1 %"
    if 0.999 < value < 1:
        return "> 99.9 %"
    return f"{100 * float(value):.1f} %" if 0 < value < 1 else f"{100 * float(value):.0f} %"


def interval(score: Any) -> str:
    """A number, or a ``score`` of ``{"value", "low", "high"}`` with its interval in brackets."""
    if not isinstance(score, Mapping):
        number = isinstance(score, (float, np.floating))
        return decimal(score, 3) if number else sentence(score)
    if score.get("unit") == "cells" and not _absent(score.get("value")):
        return count(round(score["value"]))
    text = decimal(score.get("value"), 3)
    if _absent(score.get("low")) or _absent(score.get("high")):
        return text
    return f"{text} ({decimal(score['low'], 3)} to {decimal(score['high'], 3)})"


def sentence(value: Any) -> str:
    """Any ``value`` a card or a provenance may hold, as one readable line."""
    if isinstance(value, Mapping):
        return "; ".join(f"{words(k)}: {sentence(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple, np.ndarray)):
        return ", ".join(sentence(v) for v in value)
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (float, np.floating)):
        return f"{value:.4g}"
    # Seeds and sizes: a year or a seed of four digits reads better without a comma.
    if isinstance(value, (int, np.integer)) and abs(int(value)) < 10_000:
        return str(value)
    return DASH if value is None else count(value)


def words(key: Any) -> str:
    """A ``key`` such as ``held_out_donors`` as ``held out donors``."""
    return " ".join(_ABBREVIATIONS.get(word, word) for word in str(key).split("_"))


def natural(text: Any) -> list[Any]:
    """Sort key of ``text`` that puts ``donor 2`` before ``donor 10``."""
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in re.split(r"(\d+)", str(text)) if p]


def term_url(term_id: str) -> str:
    """The permanent address of the Cell Ontology term ``term_id``; empty for anything else, so no label is a link."""
    return f"https://purl.obolibrary.org/obo/{term_id.replace(':', '_')}" if _TERM.fullmatch(str(term_id)) else ""


def plain(value: Any) -> Any:
    """A ``value`` with NumPy's and pandas' types made plain; not-a-number as ``None``; the unheard-of as its text."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset, np.ndarray)):
        return [plain(v) for v in (sorted(value, key=str) if isinstance(value, (set, frozenset)) else value)]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def tsv(frame: pd.DataFrame) -> str:
    """A ``frame`` as tab-separated text; tabs and line breaks inside a value become spaces."""
    clean = frame.map(lambda v: re.sub(r"[\t\r\n]+", " ", v) if isinstance(v, str) else v)
    return str(clean.to_csv(sep="\t", index=False, lineterminator="\n", float_format="%.6g"))
