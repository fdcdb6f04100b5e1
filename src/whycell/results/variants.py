"""The answer to ``sequences variants``: what was looked at, what was left out, and the largest effects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["EFFECT_COLUMNS", "MOTIF_COLUMNS", "DrawnVariant", "VariantFindings"]

#: Columns of the table of effects; where motifs were given, those of ``MOTIF_COLUMNS`` follow.
EFFECT_COLUMNS = (
    *("chromosome", "position", "id", "ref", "alt", "kind", "task", "effect", "spread"),
    *("ref_value", "alt_value", "p", "q", "rank"),
)
MOTIF_COLUMNS = (
    *("motif", "motif_name", "what", "motif_start", "motif_stop", "motif_strand", "score_ref", "score_alt"),
    *("motif_contribution_ref", "motif_contribution_alt", "agrees", "further_motifs"),
)


@dataclass(frozen=True)
class DrawnVariant:
    """The bases about one variant and what they contribute, in either allele.

    Parameters
    ----------
    title
        Place, alleles and task.
    ref, alt
        Letters about it, of one length.
    contribution_ref, contribution_alt
        (letters,) contributions, log odds of the task.
    change
        First letter of the change, and the one behind its last in the longer allele; counted in ``ref``.
    motif
        First letter of the motif and the one behind its last, or ``None``.
    facts
        What a reader is told beside the tracks, by name.
    """

    title: str
    ref: str
    alt: str
    contribution_ref: np.ndarray
    contribution_alt: np.ndarray
    change: tuple[int, int]
    motif: tuple[int, int] | None
    facts: dict[str, Any]


@dataclass(frozen=True)
class VariantFindings:
    """What became of a file of variants.

    Parameters
    ----------
    n
        Alleles answered, of ``kinds`` (kind to number).
    kinds
        See above.
    tasks
        Of the model, those answered for.
    unit
        What an effect is in: ``"log odds"`` or ``"log2 fold"``.
    left_out
        One row a reason: ``reason, alleles, first``.
    top
        The rows of the table with the largest effects of each task.
    drawn
        The first of them with their tracks; empty where no page was asked for.
    provenance
        Plain values: inputs, seed, null, thresholds, notes.
    """

    n: int
    kinds: dict[str, int]
    tasks: tuple[str, ...]
    unit: str
    left_out: pd.DataFrame
    top: pd.DataFrame
    drawn: tuple[DrawnVariant, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
