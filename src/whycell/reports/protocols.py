"""Tables of an evaluation's further protocols: files made worse, and types left out of training."""

from __future__ import annotations

from typing import Any

import pandas as pd

from whycell.reports.page import table
from whycell.reports.text import DASH, decimal, percent, words

__all__ = ["calibration_notes", "left_out_table", "stress_table"]

_SHARES = ("gene_dropout", "depth", "doublets", "ambient", "columns_reordered", "columns_mislabelled")


def stress_table(frame: pd.DataFrame | None) -> dict[str, Any] | None:
    """The stress table as ``jobs.stress`` gives it, a verdict in words at the end of each row; ``None`` for none."""
    if frame is None or frame.empty:
        return None
    shown = pd.DataFrame(
        {
            "model": frame["model"],
            "stress": frame["stress"].map(words),
            "level": [_level(*row) for row in frame[["stress", "level"]].itertuples(index=False)],
            "cells answered": frame["n"],
            "right": frame["accuracy"],
            "mean confidence": frame["confidence"],
            "confidence − right": [_gap(*row) for row in frame[["gap", "low", "high"]].itertuples(index=False)],
            "unknown": frame["unknown"],
            "calls on a wrong branch": frame["wrong_branch_of_calls"],
            "verdict": [_verdict(row) for row in frame.to_dict("records")],
        }
    )
    return table(shown, formats=dict.fromkeys(("right", "mean confidence", "unknown", "calls on a wrong branch"), _3))


def left_out_table(frame: pd.DataFrame | None) -> dict[str, Any] | None:
    """Types left out of training, as ``jobs.novelty`` gives them; ``None`` for none."""
    if frame is None or frame.empty:
        return None
    shown = frame.rename(
        columns={
            "left_out": "left out of training",
            "n_novel": "cells of it",
            "n_seen": "cells of trained types",
            "unknown": "called unknown",
            "on_branch": "called an ancestor",
            "wrong_branch": "called something else",
        }
    ).rename(columns=words)
    return table(shown, formats={str(c): _3 for c in shown if shown[c].dtype.kind == "f"})


def calibration_notes(scores: dict[str, dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Of every model its name, its ece and the ece that perfect calibration would show on as many cells."""
    found = []
    for model, own in scores.items():
        ece, floor = (_value(own.get(key)) for key in ("ece", "ece_noise_floor"))
        if decimal(ece) != DASH and decimal(floor) != DASH:
            found.append((model, decimal(ece, 3), decimal(floor, 3)))
    return found


def _value(score: Any) -> Any:
    return score.get("value") if isinstance(score, dict) else score


def _3(value: Any) -> str:
    return decimal(value, 3)


def _level(stress: str, level: float) -> str:
    if stress == "none":
        return DASH
    if stress in _SHARES:
        return percent(level)
    return f"{level:g} genes" if stress == "panel" else f"{level:g} ×"


def _gap(value: float, low: float, high: float) -> str:
    if decimal(value) == DASH:
        return DASH
    inner = "" if decimal(low) == DASH else f" ({decimal(low, 3)} to {decimal(high, 3)})"
    return f"{decimal(value, 3)}{inner}".replace("-", "−")


def _verdict(row: dict[str, Any]) -> str:
    if row["refused"] and not row["n"]:
        return f"refused: {row['said']}"
    part = f"; refused in {row['refused']} folds" if row["refused"] else ""
    return ("honest" if row["honest"] else "too sure of itself") + part
