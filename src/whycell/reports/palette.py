"""Colours that stay the same: a name keeps its colour from report to report, and colour-blind readers can follow.

The qualitative colours begin with four of Okabe and Ito's (https://jfly.uni-koeln.de/color/) and were extended
greedily, each new one as far as possible in OKLab from all before it, from the grey of ``unknown`` and from white,
under normal vision and under Machado's (2009) protanopia, deuteranopia and tritanopia.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

__all__ = ["ACCENT", "BRANCH", "INK", "MUTED", "QUALITATIVE", "RULE", "UNKNOWN_GREY", "colours_by_name"]

QUALITATIVE: tuple[str, ...] = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#6a4d01",
    "#46acfc",
    "#8a1c6b",
    "#e25d1d",
    "#69e189",
    "#885b60",
    "#3042b4",
    "#846eea",
    "#94b788",
    "#a64092",
    "#a0c6ff",
    "#bb4d2f",
    "#e87ce0",
    "#e4c217",
    "#9e78c6",
    "#653a8c",
    "#cd98b8",
    "#d86c72",
    "#c2964d",
    "#a26b95",
)

# Types that many reports hold keep one colour whatever else is there: kin are near in hue, neighbours on a map are not
# alike. Slots of QUALITATIVE; all other names are placed by their hash.
_KEPT: dict[str, int] = {
    "CD4-positive, alpha-beta T cell": 0,
    "CD8-positive, alpha-beta T cell": 5,
    "T cell": 11,
    "regulatory T cell": 10,
    "CD4-positive, CD25-positive, alpha-beta regulatory T cell": 10,
    "CD4-positive, alpha-beta memory T cell": 18,
    "naive thymus-derived CD4-positive, alpha-beta T cell": 14,
    "naive thymus-derived CD8-positive, alpha-beta T cell": 19,
    "CD8-positive, alpha-beta cytotoxic T cell": 5,
    "B cell": 2,
    "naive B cell": 8,
    "memory B cell": 12,
    "plasma cell": 17,
    "plasmablast": 20,
    "natural killer cell": 6,
    "CD14-positive monocyte": 7,
    "classical monocyte": 7,
    "monocyte": 1,
    "CD14-low, CD16-positive monocyte": 4,
    "non-classical monocyte": 4,
    "macrophage": 15,
    "dendritic cell": 3,
    "conventional dendritic cell": 3,
    "plasmacytoid dendritic cell": 16,
    "megakaryocyte": 9,
    "platelet": 9,
    "hematopoietic stem cell": 13,
    "CD34-positive, CD38-negative hematopoietic stem cell": 13,
    "erythrocyte": 21,
    "neutrophil": 22,
    "fibroblast": 20,
    "endothelial cell": 21,
    "epithelial cell": 22,
}

UNKNOWN_GREY = "#b9bec4"

#: Where a call stands on the ontology with respect to the truth; dark to light follows "right" to "no answer".
BRANCH: dict[str, str] = {
    "exact": "#00573f",
    "under": "#4fae8b",
    "over": "#e6b34d",
    "wrong_branch": "#b5391d",
    "unknown": UNKNOWN_GREY,
}

# The colours of figures; ``page.inline_svg`` turns them into the page's own, so that figures follow dark mode.
INK = "#1d2429"
MUTED = "#5d6971"
RULE = "#e3dfd6"
ACCENT = "#0b6068"


def colours_by_name(names: Iterable[str], *, grey: Iterable[str] = ()) -> dict[str, str]:
    """Give every name a colour, by the name alone.

    Parameters
    ----------
    names
        Any order, repeats allowed; the answer does not depend on either.
    grey
        Names that stand for no type (``unknown``); they get the grey.

    Returns
    -------
    dict
        ``{name: "#rrggbb"}``. The commonest types have a colour of their own; any other name prefers the slot that its
        SHA-256 points to and takes the next free one otherwise. Few names share the first and most distinct slots.
        Past 24 names colours repeat.
    """
    grey = set(grey)
    wanted = sorted(set(names) - grey)
    slots: dict[str, int] = {}
    for name in wanted:
        if name in _KEPT and _KEPT[name] not in slots.values():
            slots[name] = _KEPT[name]
    size = min(max(len(wanted), 12), len(QUALITATIVE))
    free = set(range(size)) - set(slots.values())
    for name in wanted:
        if name in slots:
            continue
        free = free or set(range(size))
        slot = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % size
        while slot not in free:
            slot = (slot + 1) % size
        free.discard(slot)
        slots[name] = slot
    return dict.fromkeys(sorted(grey), UNKNOWN_GREY) | {name: QUALITATIVE[slot] for name, slot in slots.items()}
