"""Answers of the typer and of evaluations: findings, calls, scores."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["Annotation", "Evaluation", "Finding", "TreeNode"]


@dataclass(frozen=True)
class Finding:
    """One thing the doctor saw.

    Parameters
    ----------
    code
        A short fixed word, for machines: ``duplicated_genes``.
    level
        ``"info"``, ``"warning"`` or ``"error"``; an error means the file cannot be used as it is.
    message
        What was got, and what was wanted.
    cure
        What to do, or what was done.
    mended
        Whether whycell mends it by itself while reading.
    """

    code: str
    level: str
    message: str
    cure: str = ""
    mended: bool = False


@dataclass(frozen=True)
class TreeNode:
    """One ontology term in the tree of a report.

    Parameters
    ----------
    term_id, name
        Cell Ontology id and name; a class without an id has its label as both.
    parents
        Ids of its nearest ancestors among the nodes shown.
    n_called
        Cells whose call is this very term.
    n_below
        Cells whose call is this term or one below it.
    """

    term_id: str
    name: str
    parents: tuple[str, ...]
    n_called: int
    n_below: int


@dataclass(frozen=True)
class Annotation:
    """The answer to ``annotate``.

    Parameters
    ----------
    calls
        One row a cell, index = cell names; columns ``call, call_term_id, confidence, leaf, leaf_term_id,
        leaf_confidence, runner_up, novelty, flag``; ``disagreement`` of a model that pools views; and, where asked,
        ``cluster, cluster_call, cluster_confidence``.
        ``call`` is ``"unknown"`` and ``call_term_id`` empty where the evidence supports no term.
    donors
        Donor of each cell, or ``None``.
    map_rows, map_xy, map_method
        Rows of ``calls`` that the map shows (m,), their coordinates (m, 2) float32, and ``"UMAP"`` or ``"PCA"``.
    tree
        The terms that carry calls, and their ancestors.
    findings
        The doctor's.
    card
        The model's card, as in its ``about.json``.
    provenance
        Plain values: input, fingerprint, model, versions, seed, gene overlap, thresholds.
    """

    calls: pd.DataFrame
    donors: np.ndarray | None
    map_rows: np.ndarray
    map_xy: np.ndarray
    map_method: str
    tree: tuple[TreeNode, ...]
    findings: tuple[Finding, ...]
    card: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """The answer to ``evaluate``: several models on the same folds.

    Parameters
    ----------
    scores
        ``{model: {metric: {"value", "low", "high", "n", "unit"}}}``; the keys of ``scores.json``.
    comparisons
        Rows ``model, against, metric, difference, low, high, n_groups`` of paired differences.
    per_class, per_donor
        One row a (model, class) or (model, donor).
    calls
        One row a (model, cell): ``model, cell, donor, study, fold, truth_label, truth_id, call_id, confidence,
        leaf_label, leaf_id, leaf_confidence, novelty``.
    curves
        ``{model: {"reliability": DataFrame, "risk_coverage": DataFrame}}``.
    confusion
        ``{model: DataFrame}`` truth term x called term, counts.
    warnings
        Sentences that a reader must see: leaking split, fewer than five groups.
    provenance
        Split (kind, hash), inputs, versions, seed, ontology release.
    tables
        Of the further protocols that were asked for: ``"stress"``, ``"novelty"``.
    """

    scores: dict[str, dict[str, dict[str, Any]]]
    comparisons: pd.DataFrame
    per_class: pd.DataFrame
    per_donor: pd.DataFrame
    calls: pd.DataFrame
    curves: dict[str, dict[str, pd.DataFrame]]
    confusion: dict[str, pd.DataFrame]
    warnings: tuple[str, ...]
    provenance: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
