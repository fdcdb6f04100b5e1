"""The page of ``motifs compare``: what each motif adds in one context and in the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup, escape

from whycell.reports.logos import letter_shapes, logo_svg
from whycell.reports.page import json_block, render, table
from whycell.reports.text import decimal, tsv
from whycell.results import Contexts, Motif

__all__ = ["contexts_page"]

_MOST_DRAWN = 40
_MOST_POINTS = 400
_SIZE = 190
_SHOWN = {
    "task": "first",
    "other_task": "second",
    "called": "motif",
    "n": "instances",
    "sequences": "sequences",
    "mean_a": "adds in first",
    "mean_b": "in second",
    "difference": "difference",
    "low": "low",
    "high": "high",
    "q": "q",
}
_COLOURS = {"both": "var(--accent)", "first": "#e69f00", "second": "#2f8fd0"}


def contexts_page(result: Contexts) -> str:
    """One self-contained HTML page; the same ``result`` gives the same text."""
    rows = result.motifs.to_dict(orient="records")
    scales = {(r["task"], r["other_task"]): r for r in result.scales.to_dict(orient="records")}
    instances = dict(list(result.instances.groupby(["task", "other_task", "motif", "other"])))
    cards = []
    for row, drawn in list(zip(rows, result.drawn, strict=True))[:_MOST_DRAWN]:
        own = instances.get((row["task"], row["other_task"], row["motif"], row["other"]), result.instances[:0])
        cards.append(_card(row, drawn, own, scales[row["task"], row["other_task"]]))
    shown = result.motifs[list(_SHOWN)].rename(columns=_SHOWN)
    context: dict[str, Any] = {
        "title": "Motifs in two contexts",
        "shapes": letter_shapes(),
        "n_motifs": len(result.motifs),
        "n_differ": int(result.motifs["differs"].sum()) if len(result.motifs) else 0,
        "n_instances": len(result.instances),
        "notes": result.notes,
        "motifs": table(shown, formats={"q": _small}) if len(shown) else None,
        "cards": cards,
        "more": max(0, len(rows) - _MOST_DRAWN),
        "least": result.provenance.get("least", 0.0),
        "scaled": result.provenance.get("scaled", True),
        "provenance": result.provenance,
        "block": json_block("contexts-tsv", tsv(result.motifs)),
    }
    return render("motif_contexts.html", scripts=("common.js",), context=context)


def _card(
    row: dict[str, Any], drawn: tuple[Motif | None, Motif | None], instances: pd.DataFrame, scale: dict[str, Any]
) -> dict[str, Any]:
    sides = (row["task"], row["other_task"])
    if sides[0] == sides[1]:
        sides = (f"{sides[0]}, first", f"{sides[1]}, second")
    logos = [
        {"what": f"contribution in {side}", "svg": logo_svg(motif.contribution, label=f"{row['called']} in {side}")}
        for side, motif in zip(sides, drawn, strict=True)
        if motif is not None
    ]
    return {
        "name": row["called"],
        "consensus": row["consensus"],
        "sides": sides,
        "found_in": {"both": "both", "first": sides[0] + " only", "second": sides[1] + " only"}[row["found_in"]],
        "differs": bool(row["differs"]),
        "more_in": sides[int(abs(row["mean_b"]) > abs(row["mean_a"]))],
        "n": int(row["n"]),
        "sequences": int(row["sequences"]),
        "mean_a": decimal(row["mean_a"]),
        "mean_b": decimal(row["mean_b"]),
        "difference": f"{decimal(row['difference'])} ({decimal(row['low'])} to {decimal(row['high'])})",
        "q": _small(row["q"]),
        "uses": [
            ("both", int(row["both"])),
            (f"{sides[0]} only", int(row["only_a"])),
            (f"{sides[1]} only", int(row["only_b"])),
            ("neither", int(row["neither"])),
            ("unclear", int(row["unclear"])),
        ],
        "logos": logos,
        "scatter": _scatter(instances, sides, (float(scale["scale_a"]), float(scale["scale_b"]))),
    }


def _scatter(instances: pd.DataFrame, sides: tuple[str, str], scales: tuple[float, float]) -> Markup | None:
    """What each instance adds on either side, an even sample of them."""
    if not len(instances):
        return None
    some = instances.iloc[np.linspace(0, len(instances) - 1, min(len(instances), _MOST_POINTS)).astype(int)]
    a, b = (some[f"contribution_{s}"].to_numpy(float) / scale for s, scale in zip("ab", scales, strict=True))
    low, high = min(0.0, a.min(), b.min()), max(0.0, a.max(), b.max(), 1e-9)
    unit = (_SIZE - 30) / (high - low)

    def x(value: float) -> float:
        return 24 + (value - low) * unit

    def y(value: float) -> float:
        return _SIZE - 24 - (value - low) * unit

    colours = [_COLOURS.get(use, "var(--muted)") for use in some["used"]]
    points = "".join(
        f'<circle cx="{x(float(one)):.1f}" cy="{y(float(other)):.1f}" r="2" fill="{colour}"/>'
        for one, other, colour in zip(a, b, colours, strict=True)
    )
    ends = f"M{x(low):.1f} {y(0):.1f}H{x(high):.1f}M{x(0):.1f} {y(low):.1f}V{y(high):.1f}"
    label = f"What instances add in {sides[0]} and in {sides[1]}"
    return Markup(
        f'<svg class="scatter" viewBox="0 0 {_SIZE} {_SIZE}" width="{_SIZE}" height="{_SIZE}" role="img" '
        f'aria-label="{escape(label)}"><path class="logo-axis" d="{ends}"/>'
        f'<path class="equal" d="M{x(low):.1f} {y(low):.1f}L{x(high):.1f} {y(high):.1f}"/><g opacity=".6">{points}</g>'
        f'<text x="{_SIZE - 4}" y="{_SIZE - 6}" text-anchor="end">{escape(sides[0])}</text>'
        f'<text x="10" y="6" text-anchor="end" transform="rotate(-90 10 6)">{escape(sides[1])}</text></svg>'
    )


def _small(value: float) -> str:
    return f"{value:.1e}" if value < 0.001 else decimal(value, 3)
