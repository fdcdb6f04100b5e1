"""The shell that every page shares: one file, no network, nothing unescaped, the same bytes for the same result."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np
import pandas as pd
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from whycell.reports.palette import ACCENT, INK, MUTED, RULE
from whycell.reports.text import DASH, count, decimal, percent, plain, sentence, term_url, tsv, words

__all__ = ["inline_svg", "json_block", "pack_uint16", "render", "table"]


def json_block(name: str, data: Any) -> Markup:
    """``data`` in a ``<script type="application/json">`` of id ``name`` that no string inside can leave.

    ``<``, ``>`` and ``&`` become ``\\u003c`` and the like: the JSON means the same, and HTML sees no tag.
    """
    text = json.dumps(plain(data), ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(f'<script type="application/json" id="{name}">{text}</script>')


def pack_uint16(values: np.ndarray, low: float, high: float) -> str:
    """``values`` in [``low``, ``high``] as base64 of little-endian uint16: 0 to 65534, and 65535 for no number."""
    values = np.asarray(values, dtype=np.float64)
    share = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    packed = np.where(np.isfinite(share), np.rint(np.nan_to_num(share) * 65534), 65535).astype("<u2")
    return base64.b64encode(packed.tobytes()).decode("ascii")


def table(frame: pd.DataFrame, *, formats: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A ``frame`` as ``macros.html`` draws it: every cell has the text shown and the value sorted by.

    ``formats`` turn the values of a column, by its name, into text.
    """
    formats = formats or {}
    columns = [{"name": str(c), "number": pd.api.types.is_numeric_dtype(frame[c])} for c in frame.columns]
    rows = []
    for values in frame.itertuples(index=False):
        cells = []
        for column, value in zip(frame.columns, values, strict=True):
            show = formats.get(column, decimal if isinstance(value, (float, np.floating)) else count)
            cells.append({"text": DASH if value is None or value is pd.NA else show(value), "sort": plain(value)})
        rows.append(cells)
    return {"columns": columns, "rows": rows, "tsv": tsv(frame)}


def inline_svg(figure: Figure, *, label: str, prefix: str) -> Markup:
    """A matplotlib figure as SVG that lives inside the page and takes its colours and font.

    Parameters
    ----------
    figure
        Not changed but for being drawn.
    label
        What the figure shows, read aloud in its place.
    prefix
        Set before every id, so that two figures of a page never share one.
    """
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": prefix, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg, count=2)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    for ours, theirs in (
        (INK, "var(--ink)"),
        (MUTED, "var(--muted)"),
        (RULE, "var(--rule)"),
        (ACCENT, "var(--accent)"),
    ):
        svg = svg.replace(ours, theirs)
    head = f'<svg class="figure" role="img" aria-label="{escape(label)}"'
    return Markup(svg.replace("<svg", head, 1))


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("whycell.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": count,
        "decimal": decimal,
        "percent": percent,
        "sentence": sentence,
        "term_url": term_url,
        "words": words,
    }
    return environment


def _text(name: str) -> str:
    return resources.files("whycell.reports").joinpath("templates", name).read_text(encoding="utf-8")


def render(template: str, *, scripts: Sequence[str], context: Mapping[str, Any]) -> str:
    """Fill a ``template`` of this package with ``context``; style and ``scripts`` go inside the page.

    The page's content security policy forbids every connection and every script but the ones named here, by hash: even
    a label that got through unescaped could not run.
    """
    bodies = [_text(name) for name in scripts]
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(b.encode()).digest()).decode()}'" for b in bodies)
    return (
        _environment()
        .get_template(template)
        .render(
            **context,
            style=Markup(_text("page.css")),
            scripts=[Markup(b) for b in bodies],
            script_hashes=hashes,
        )
    )
