"""The answer to ``motifs compare``: how much each motif counts in two contexts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from whycell.results.motifs import Motif

__all__ = ["Contexts"]


@dataclass(frozen=True)
class Contexts:
    """Motifs at the same places under two outputs.

    Parameters
    ----------
    motifs
        One row a motif and pair of tasks: ``task``, ``other_task``, ``motif`` and ``other`` (its names in either; empty
        where it was found in one only), ``called``, ``consensus``, ``likeness``, ``found_in`` (``"both"``, ``"first"``
        or ``"second"``), ``n`` (instances), ``sequences``, ``mean_a``, ``mean_b``, ``difference`` (b - a), ``low``,
        ``high``, ``p``, ``q``, ``differs``, and how many instances count in ``both``, ``only_a``, ``only_b``,
        ``neither``, or are ``unclear``. Means are in units of what a sequence's contributions typically add up to.
    instances
        One row an instance: ``task``, ``other_task``, ``motif``, ``other``, ``name``, ``sequence``, ``other_sequence``,
        ``chromosome`` (empty where unknown), ``start``, ``stop``, ``strand``, ``hit_in``, ``contribution_a``,
        ``contribution_b`` (as the scores have them), ``p_a``, ``p_b``, ``used``.
    drawn
        The motif of either side of each row of ``motifs``; ``None`` where it was not found.
    scales
        One row a pair of tasks: ``task``, ``other_task``, ``scale_a``, ``scale_b``, by which contributions are divided.
    notes
        What was left out, a sentence each.
    provenance
        Plain values: inputs, seed, options.
    """

    motifs: pd.DataFrame
    instances: pd.DataFrame
    drawn: tuple[tuple[Motif | None, Motif | None], ...]
    scales: pd.DataFrame
    notes: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
