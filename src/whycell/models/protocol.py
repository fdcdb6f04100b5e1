"""What every model that types cells can do, so that ours, the baselines and anybody's run through the same folds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, Self, runtime_checkable

import numpy as np
import pandas as pd
from scipy import sparse

from whycell.knowledge.terms import Ontology

__all__ = ["CALL_COLUMNS", "TypingModel"]

#: Columns of what ``TypingModel.call`` gives; the same as in ``results.Annotation.calls``, without the flag.
CALL_COLUMNS = (
    "call",
    "call_term_id",
    "confidence",
    "leaf",
    "leaf_term_id",
    "leaf_confidence",
    "runner_up",
    "novelty",
)


@runtime_checkable
class TypingModel(Protocol):
    """Learns types from linear expression (counts, or values proportional to counts) and calls them on new cells."""

    name: str

    def fit(
        self,
        X: sparse.csr_matrix,
        labels: np.ndarray,
        *,
        genes: np.ndarray,
        donors: np.ndarray | None,
        studies: np.ndarray | None,
        ontology: Ontology,
        label_ids: Mapping[str, str],
        measured: Mapping[str, np.ndarray] | None,
    ) -> Self:
        """Learn.

        Parameters
        ----------
        X, labels, genes
            (n, g) linear expression, (n,) labels, (g,) gene ids.
        donors, studies
            (n,) group of every cell.
        label_ids
            Term id of every label, ``""`` where it maps to none.
        measured
            Of every study the (g,) genes that it measured; the others are unknown there, not zero.
        """
        ...

    def predict_proba(self, X: sparse.csr_matrix, *, genes: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """(n, k) probabilities of the classes, and the k labels."""
        ...

    def call(self, X: sparse.csr_matrix, *, genes: np.ndarray) -> pd.DataFrame:
        """One row a cell, with :data:`CALL_COLUMNS`."""
        ...
