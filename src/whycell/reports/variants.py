"""The page of variants: the largest effects, with what every letter contributes in either allele."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup, escape

from whycell.reports.logos import letter_shapes
from whycell.reports.page import render, table
from whycell.reports.text import decimal
from whycell.results.variants import DrawnVariant, VariantFindings

__all__ = ["variants_page"]

_WIDE, _HIGH, _LEFT, _GAP = 11, 46, 38, 16
_SHOWN = ("chromosome", "position", "id", "ref", "alt", "task", "effect", "q", "motif_name", "what", "agrees")


def variants_page(result: VariantFindings) -> str:
    """One self-contained HTML page; the same ``result`` gives the same text."""
    shown = [name for name in _SHOWN if name in result.top]
    formats = {"q": _small, "position": lambda value: f"{value:,}"}
    context: dict[str, Any] = {
        "title": "Variants",
        "shapes": letter_shapes(),
        "n": result.n,
        "kinds": [{"name": kind, "n": n} for kind, n in result.kinds.items()],
        "unit": result.unit,
        "tasks": list(result.tasks),
        "top": table(result.top[shown], formats=formats),
        "cards": [{"title": v.title, "facts": _facts(v, result.unit), "svg": _tracks(v)} for v in result.drawn],
        "left_out": table(result.left_out) if len(result.left_out) else None,
        "provenance": {k: v for k, v in result.provenance.items() if not isinstance(v, dict)},
    }
    return render("variants.html", scripts=("common.js",), context=context)


def _facts(variant: DrawnVariant, unit: str) -> str:
    facts = variant.facts
    said = [f"{facts['effect']:+.2f} {unit}"]
    if np.isfinite(facts.get("spread", np.nan)):
        said.append(f"spread over windows {decimal(facts['spread'])}")
    said.append(f"{decimal(facts['ref_value'])} with the reference, {decimal(facts['alt_value'])} with the alternative")
    if np.isfinite(facts.get("q", np.nan)):
        said.append(f"q = {_small(facts['q'])}")
    if facts.get("what"):
        scores = f"{facts['score_ref']} bits with the reference, {facts['score_alt']} with the alternative"
        said.append(f"{facts['motif_name']} {facts['what']}, {scores}")
    return "; ".join(said) + "."


def _tracks(variant: DrawnVariant) -> Markup:
    """The reference above the alternative, to one scale; the motif shaded, the change between two lines."""
    both = (variant.contribution_ref, variant.contribution_alt)
    top = max(float(max(c.max(initial=0), 0)) for c in both)
    bottom = min(float(min(c.min(initial=0), 0)) for c in both)
    unit = _HIGH / max(top - bottom, 1e-9)
    total = _LEFT + _WIDE * len(variant.ref) + 4
    height = 2 * _HIGH + _GAP + 8
    parts = [
        f'<svg class="logo" viewBox="0 0 {total} {height}" width="{total}" height="{height}" role="img" '
        f'aria-label="{escape(variant.title)}: contributions in the reference above, in the alternative below">'
    ]
    if variant.motif is not None:
        x, width = (_LEFT + variant.motif[0] * _WIDE, (variant.motif[1] - variant.motif[0]) * _WIDE)
        parts.append(f'<rect class="variant-motif" x="{x}" y="0" width="{max(width, 0)}" height="{height}"/>')
    for edge in variant.change:
        parts.append(f'<path class="variant-edge" d="M{_LEFT + edge * _WIDE} 0v{height}"/>')
    for row, (letters, contribution) in enumerate(zip((variant.ref, variant.alt), both, strict=True)):
        zero = 4 + row * (_HIGH + _GAP) + top * unit
        parts.append(f'<path class="logo-axis" d="M{_LEFT} {zero:.1f}h{_WIDE * len(letters)}"/>')
        parts.append(f'<text x="{_LEFT - 4}" y="{zero + 3:.1f}" text-anchor="end">{("ref", "alt")[row]}</text>')
        parts += [_letter(*each, zero, unit) for each in zip(range(len(letters)), letters, contribution, strict=True)]
    return Markup("".join([*parts, "</svg>"]))


def _letter(at: int, letter: str, contribution: float, zero: float, unit: float) -> str:
    high = abs(contribution) * unit
    if letter not in "ACGT" or high < 0.2:
        return ""
    low = zero if contribution > 0 else zero + high
    x = _LEFT + at * _WIDE + 0.5
    return f'<use href="#letter-{letter}" transform="matrix({_WIDE - 1} 0 0 {high:.2f} {x:.1f} {low:.2f})"/>'


def _small(value: float) -> str:
    return f"{value:.1e}" if value < 0.001 else decimal(value)
