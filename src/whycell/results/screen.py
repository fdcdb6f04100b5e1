"""The answers to ``screen``: candidate pairs of genes in order, and knockouts with what they depend on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

__all__ = ["KnockoutScreen", "PairScreen"]


@dataclass(frozen=True)
class PairScreen:
    """Candidate pairs of genes, the likeliest first, and how far such an order is to be trusted.

    Parameters
    ----------
    ranked
        What the table holds: ``gene_a, gene_b, score, setting, label, evidence, drivers, alike, drugs_a, drugs_b``.
    scores, gaps
        ``setting, model, measure, value, low, high, rounds``: every model, and by how much ours is better than each;
        empty where nothing was scored.
    matched_scores, matched_gaps
        The same with negatives in which each gene occurs as often as in the positives.
    summary
        Plain values: counts, what was dropped, which baselines are not beaten.
    provenance
        Plain values: inputs, versions, seed, hash of the split.
    """

    ranked: pd.DataFrame
    scores: pd.DataFrame
    gaps: pd.DataFrame
    matched_scores: pd.DataFrame
    matched_gaps: pd.DataFrame
    summary: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class KnockoutScreen:
    """Knockouts, how well each is predicted, and the features that the best-predicted ones depend on.

    Parameters
    ----------
    ranked
        What the table holds: ``gene_a`` (knocked out), ``gene_b, kind, score, p, q, slope, correlation, elastic_net,
        r2``, the strongest first.
    knockouts
        Every knockout: ``gene, r2, null_r2, p, q, penalty, r2_without_own_locus, partners``.
    rivals
        How far the orders agree: ``method, top, shared``, shares of the leading pairs that the methods have in common.
    summary
        Plain values: lines, knockouts, features, what was dropped, whether own loci are out by position or by name.
    provenance
        Plain values: inputs, versions, seed.
    """

    ranked: pd.DataFrame
    knockouts: pd.DataFrame
    rivals: pd.DataFrame
    summary: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)
