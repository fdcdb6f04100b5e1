"""Answer on types never trained on: what a map from cells to definitions is worth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

__all__ = ["Unseen"]


@dataclass(frozen=True)
class Unseen:
    """What the map answers for types left out, beside what the typer answers without it.

    Parameters
    ----------
    summary
        One row a way of answering (``map``, ``map below the call``, ``call``, ``deepest seen ancestor``): means over
        the types left out of ``top1``, ``top5``, ``on_branch`` (the answer is the type, above it or below it) and
        ``lin`` (likeness to it, 0..1), each with ``_low`` and ``_high``; ``beyond_call, beyond_low, beyond_high``:
        likeness less that of the call.
    left_out
        The same for every type: ``left_out, name, way, cells, top1, top5, on_branch, lin``.
    helps
        The way that is better than the call beyond its interval, most answers on the right branch; "" for none, and
        then the map stays off.
    seen
        Types the final map was learned on.
    penalty, start
        As chosen by types left out.
    warnings
        Sentences that a reader must see.
    about
        The map's card.
    """

    summary: pd.DataFrame
    left_out: pd.DataFrame
    helps: str
    seen: tuple[str, ...]
    penalty: float
    start: float
    warnings: tuple[str, ...] = ()
    about: dict[str, Any] = field(default_factory=dict)
