"""Which patterns are told as motifs: those that say something, are no repeat, and are borne out by their places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from whycell.patterns.enriched import Enrichment, enrichment
from whycell.patterns.hits import hits_and_letters
from whycell.patterns.motifs import distinct, motif_bits
from whycell.results.motifs import Motif

__all__ = ["FEWEST_SITES", "Told", "told_motifs"]

#: A pattern of fewer sites, or of fewer places, is not told.
FEWEST_SITES = 20
_LEAST_BITS = 4.0
_ENRICHED = 1e-4  # p-value; some tens of patterns are asked about


class Told(NamedTuple):
    """Motifs with the letters of their places, their hits, what is left out and why, and what is enriched only.

    ``enriched`` holds, by name, motifs that are told without places: no single one is sure, yet the sequences hold them
    more often than their shuffles do.
    """

    motifs: list[Motif]
    hits: pd.DataFrame
    left_out: pd.DataFrame
    enriched: dict[str, Enrichment]


def told_motifs(
    patterns: Sequence[Motif], x: np.ndarray, hypothetical: np.ndarray, *, fdr: float = 0.05, seed: int = 0
) -> Told:
    """Judge patterns of one task, and find the places of those that are told.

    Left out is a pattern whose letters hold under 4 bits beyond chance; one that is an earlier one again or a part of
    it, by its sites or by its places; one of fewer than 20 places, unless 20 sequences more hold it than shuffles of
    them do, beyond chance; and one whose places contribute against its sign.

    Parameters
    ----------
    patterns
        From ``find_motifs``, those of each sign with most sites first.
    x, hypothetical, fdr, seed
        As of ``patterns.hits.find_hits``.

    Returns
    -------
    ``left_out`` has a row a pattern: ``motif, consensus, sites, reason``.
    """
    left: list[tuple[str, str, int, str]] = []

    def without(motifs: Sequence[Motif], reasons: Mapping[str, str]) -> list[Motif]:
        left.extend((m.name, m.consensus, len(m.sites), reasons[m.name]) for m in motifs if m.name in reasons)
        return [m for m in motifs if m.name not in reasons]

    clear = without(
        patterns, {m.name: f"{b:.1f} bits say too little" for m in patterns if (b := motif_bits(m)) < _LEAST_BITS}
    )
    apart = without(clear, _again(clear))
    hits, read = hits_and_letters(apart, x, hypothetical, fdr=fdr, seed=seed)
    found = {str(name): table for name, table in hits.groupby("motif")}
    unseen = {m.name: why for m in read if (why := _unseen(m, found.get(m.name)))}
    covered = _covered(hits[~hits["motif"].isin(unseen)], x)
    few = [m for m in apart if len(found.get(m.name, ())) < FEWEST_SITES]
    enriched = {m.name: e for m in few if (e := _enriched(m, x, covered, seed))}
    # Letters read off a handful of places are not those of a motif that is told by its sites.
    as_told = [first if first.name in enriched else again for first, again in zip(apart, read, strict=True)]
    borne_out = without(as_told, {name: why for name, why in unseen.items() if name not in enriched})
    kept = without(borne_out, _again(borne_out))
    names = [m.name for m in kept]
    hits = hits[hits["motif"].isin(names)].reset_index(drop=True)
    columns = ["motif", "consensus", "sites", "reason"]
    alone = {name: e for name, e in enriched.items() if name in names}
    return Told(kept, hits, pd.DataFrame(left, columns=columns), alone)


def _again(motifs: Sequence[Motif]) -> dict[str, str]:
    _, same = distinct(motifs)
    return {name: f"{other} again, or a part of it" for name, other in same.items()}


def _covered(hits: pd.DataFrame, x: np.ndarray) -> np.ndarray:
    """(n, length) bool: letters of places."""
    covered = np.zeros((len(x), x.shape[2]), dtype=bool)
    for row, start, stop in hits[["sequence", "start", "stop"]].itertuples(index=False):
        covered[row, start:stop] = True
    return covered


def _enriched(motif: Motif, x: np.ndarray, covered: np.ndarray, seed: int) -> Enrichment | None:
    found = enrichment(motif, x, covered=covered, seed=seed)
    beyond = found.held - found.by_chance >= FEWEST_SITES and found.p <= _ENRICHED
    return found if beyond else None


def _unseen(motif: Motif, hits: pd.DataFrame | None) -> str | None:
    """Why the places of a motif do not bear it out, or none."""
    if hits is None or len(hits) < FEWEST_SITES:
        return f"{0 if hits is None else len(hits)} places beyond what shuffled sequences hold"
    mean = float(hits["contribution"].mean())
    if (mean > 0) != motif.name.startswith("positive"):
        return f"its places contribute {mean:+.2g}, against its sign"
    return None
