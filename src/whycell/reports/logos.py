"""Sequence logos as SVG, written by hand: four outlines a page, placed as often as needed.

Drawing each letter anew by matplotlib takes a second for a page of ten motifs and a megabyte to keep it.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from markupsafe import Markup, escape
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

__all__ = ["letter_shapes", "logo_svg"]

_WIDE, _HIGH, _LEFT = 16, 62, 38
_PAD = 5
_ROOM = 12  # below the line, for a number to stand there
_LEAST = 0.004  # of the height: a letter lower than this is no more than a line


def logo_svg(heights: np.ndarray, *, label: str) -> Markup:
    """A sequence logo: letters stacked by height, the largest outermost; negative ones below the line.

    Parameters
    ----------
    heights
        (4, width) height of A, C, G and T at each position.
    label
        What it shows, read aloud in its place.
    """
    width = heights.shape[1]
    top = float(np.where(heights > 0, heights, 0).sum(axis=0).max(initial=0))
    bottom = float(np.where(heights < 0, heights, 0).sum(axis=0).min(initial=0))
    unit = _HIGH / max(top - bottom, 1e-9)
    zero = _PAD + top * unit
    total = _LEFT + _WIDE * width + 4
    parts = [
        f'<svg class="logo" viewBox="0 0 {total} {_HIGH + 2 * _PAD}" width="{total}" height="{_HIGH + 2 * _PAD}" '
        f'role="img" aria-label="{escape(label)}">',
        f'<path class="logo-axis" d="M{_LEFT} {_PAD}V{_PAD + _HIGH}M{_LEFT} {zero:.1f}h{_WIDE * width}"/>',
        f'<text x="{_LEFT - 4}" y="{_PAD + 4}" text-anchor="end">{_tick(top)}</text>',
    ]
    if -bottom * unit > _ROOM:
        parts.append(f'<text x="{_LEFT - 4}" y="{_PAD + _HIGH + 3}" text-anchor="end">{_tick(bottom)}</text>')
    for at in range(width):
        parts += _stack(heights[:, at] * unit, _LEFT + at * _WIDE, zero)
    return Markup("".join([*parts, "</svg>"]))


def _stack(heights: np.ndarray, x: float, zero: float) -> list[str]:
    parts = []
    for sign in (1, -1):
        base = zero
        for letter in np.argsort(sign * heights, kind="stable"):
            high = sign * heights[letter]
            if high > _LEAST * _HIGH:
                low = base if sign > 0 else base + high
                parts.append(
                    f'<use href="#letter-{"ACGT"[letter]}" '
                    f'transform="matrix({_WIDE - 1} 0 0 {high:.2f} {x + 0.5:.1f} {low:.2f})"/>'
                )
                base -= sign * high
    return parts


@cache
def letter_shapes() -> Markup:
    """The outlines that the logos of a page refer to; once a page, ahead of them."""
    parts = []
    for letter in "ACGT":
        path = TextPath((0, 0), letter, size=1, prop=FontProperties(family="DejaVu Sans", weight="bold"))
        box = path.get_extents()
        words = []
        for points, code in path.iter_segments(curves=True):
            xy = points.reshape(-1, 2)
            fitted = [((px - box.x0) / box.width, (py - box.y0) / -box.height) for px, py in xy]
            numbers = " ".join(f"{px:.3f} {py:.3f}" for px, py in fitted)
            words.append({1: f"M{numbers}", 2: f"L{numbers}", 3: f"Q{numbers}", 4: f"C{numbers}"}.get(int(code), "Z"))
        parts.append(f'<path id="letter-{letter}" class="logo-{letter}" d="{"".join(words)}"/>')
    return Markup(f'<svg width="0" height="0" aria-hidden="true" class="hidden"><defs>{"".join(parts)}</defs></svg>')


def _tick(value: float) -> str:
    return f"{value:.2g}" if abs(value) < 10 else f"{value:.0f}"
