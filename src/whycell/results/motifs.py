"""The answer to ``motifs``: patterns, where they stand, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["Motif", "MotifFindings"]


@dataclass(frozen=True)
class Motif:
    """A pattern and the sites it was found in.

    Parameters
    ----------
    name
        ``"positive_1"``, ``"negative_1"`` and so on, by number of sites.
    letters
        (4, width) share of each letter; of what ``motifs`` wrote, over the places where it stands.
    contribution
        (4, width) mean contribution of each letter where it stands.
    hypothetical
        (4, width) mean contribution that each letter would have.
    sites
        One row a site: ``sequence`` (row), ``start``, ``stop`` (letters, from 0, not included), ``strand``.
    """

    name: str
    letters: np.ndarray
    contribution: np.ndarray
    hypothetical: np.ndarray
    sites: pd.DataFrame

    @property
    def width(self) -> int:
        """Positions."""
        return int(self.letters.shape[1])

    @property
    def consensus(self) -> str:
        """The likeliest letter at each position, small where its share is below a half."""
        best = self.letters.argmax(axis=0)
        return "".join("ACGT"[b] if self.letters[b, at] >= 0.5 else "acgt"[b] for at, b in enumerate(best))

    def turned(self) -> Motif:
        """The same on the other strand."""
        strand = self.sites["strand"].map({"+": "-", "-": "+"})
        tables = (self.letters, self.contribution, self.hypothetical)
        letters, contribution, hypothetical = (t[::-1, ::-1].copy() for t in tables)
        return replace(
            self,
            letters=letters,
            contribution=contribution,
            hypothetical=hypothetical,
            sites=self.sites.assign(strand=strand),
        )


@dataclass(frozen=True)
class MotifFindings:
    """What was found in the scores of one file.

    Parameters
    ----------
    motifs
        Those of each task, by its name, the commonest first.
    hits
        One row a hit: ``task, motif, sequence, start, stop, strand, score, q, contribution, name``, and ``chromosome``
        where places are known; ``start``, ``stop`` and ``strand`` are then those of the chromosome.
        ``start_in_sequence`` (from 0) and ``strand_in_sequence`` are those of the sequence always.
    matches
        One row a motif and known motif: ``task, motif, known, name, p, q, offset, strand, likeness``.
    left_out
        One row a pattern that is not reported: ``task, motif, consensus, sites, reason``.
    summary
        One row a motif: ``task, motif, consensus, sites, hits, sequences`` (that hold a hit), ``contribution`` (mean
        over its hits, or over its sites where it has none) and, of a motif that is told without places, ``held`` and
        ``held_by_chance``: sequences that hold it, and those of their shuffles that do.
    provenance
        Plain values: inputs, versions, seed.
    """

    motifs: dict[str, list[Motif]]
    hits: pd.DataFrame
    matches: pd.DataFrame
    left_out: pd.DataFrame
    summary: pd.DataFrame
    provenance: dict[str, Any] = field(default_factory=dict)
