"""The answer to ``grammar``: what motifs do together, by gap, order and strand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

__all__ = ["GrammarFindings", "PairGrammar"]


@dataclass(frozen=True)
class PairGrammar:
    """What two motifs do together in a network's eyes.

    ``order`` and ``strands`` are read with the first motif on its own strand: ``"AB"`` has the second behind it,
    ``"BA"`` ahead of it; ``"++"`` has both on one strand, ``"+-"`` on opposite ones (and of a motif with itself
    ``"+-"`` is face to face, ``"-+"`` back to back).

    Parameters
    ----------
    first, second
        Names of the motifs; the same for a motif beside itself.
    interactions
        One row an arrangement and gap: ``order``, ``strands``, ``gap``, ``interaction`` (mean over the backgrounds of
        what both do beyond the sum of what each does alone at the same place), ``low`` and ``high`` (its 95 %
        interval), ``together`` (mean of what both do).
    tests
        One row a question: ``question`` (``"gap"``, ``"order"``, ``"strand"``, ``"helix"``, ``"together"``), ``order``,
        ``strands``, ``best``, ``gaps`` (the range that the effect speaks of), ``effect`` and ``p``.
    alone
        One row each of ``first``, ``second``: ``motif``, ``effect``, ``low``, ``high``.
    scale
        What effects are measured against: the larger of what the two do alone, but no less than how much the network's
        answers differ between backgrounds.
    """

    first: str
    second: str
    interactions: pd.DataFrame
    tests: pd.DataFrame
    alone: pd.DataFrame
    scale: float


@dataclass(frozen=True)
class GrammarFindings:
    """Grammar of the motifs of one folder.

    Parameters
    ----------
    motifs
        One row a motif: ``task, motif, label, core, width, cut, hits``; ``label`` is what it is called in sentences,
        ``core`` its letters without uninformative ends, ``cut`` how many letters those have on the left.
    interactions
        As of ``PairGrammar``, with ``task, first, second``.
    tests
        As of ``PairGrammar``, with ``task, first, second, share, q, reported, seen``; ``share`` is the effect over the
        scale, ``seen`` how many pairs of places in real sequences stand so (of two arrangements, the commoner).
    alone
        One row a motif: ``task, motif, effect, low, high``, in log odds.
    gaps_counted
        One row an arrangement and gap, in real sequences: ``task, first, second, order, strands, gap, n, expected, p,
        q``.
    ranges_counted
        One row an arrangement: ``task, first, second, order, strands, gaps, n, expected, p, q``: the range of gaps most
        in excess of hits dealt anew.
    provenance
        Plain values: inputs, backgrounds, seed.
    """

    motifs: pd.DataFrame
    interactions: pd.DataFrame
    tests: pd.DataFrame
    alone: pd.DataFrame
    gaps_counted: pd.DataFrame
    ranges_counted: pd.DataFrame
    provenance: dict[str, Any] = field(default_factory=dict)
