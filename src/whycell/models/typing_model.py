"""Our typer behind the protocol that every evaluated model follows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy import sparse

from whycell.knowledge.terms import Ontology
from whycell.models.protocol import CALL_COLUMNS
from whycell.models.typer import CellTyper

__all__ = ["WhycellModel"]


class WhycellModel:
    """:class:`whycell.models.typer.CellTyper` as a :class:`whycell.models.protocol.TypingModel`.

    Parameters
    ----------
    seed, device
        Handed on.
    threads
        Cores for training; 0 leaves the choice to torch.
    parameters
        Of ``CellTyper``, such as ``n_members`` or ``epochs``.
    """

    name = "whycell"

    def __init__(
        self, *, seed: int = 0, threads: int = 0, device: str = "auto", parameters: Mapping[str, Any] | None = None
    ) -> None:
        self.threads = threads
        self.typer = CellTyper(**{"random_state": seed, "device": device, "normalise": "cp10k", **(parameters or {})})

    def fit(
        self,
        X: sparse.csr_matrix,
        labels: np.ndarray,
        *,
        genes: np.ndarray,
        donors: np.ndarray | None = None,
        studies: np.ndarray | None = None,
        ontology: Ontology,
        label_ids: Mapping[str, str],
        measured: Mapping[str, np.ndarray] | None = None,
    ) -> Self:
        """See the protocol."""
        if self.threads > 0:
            import torch

            torch.set_num_threads(self.threads)
        self.typer.fit(
            X,
            np.asarray(labels).astype(str),
            genes=list(genes),
            groups=donors,
            studies=studies,
            label_ids=dict(label_ids),
            measured=measured,
            ontology=ontology,
        )
        return self

    def predict_proba(self, X: sparse.csr_matrix, *, genes: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """See the protocol."""
        return self.typer.predict_proba(X, genes=list(genes)), [str(label) for label in self.typer.classes_]

    def call(self, X: sparse.csr_matrix, *, genes: np.ndarray) -> pd.DataFrame:
        """See the protocol."""
        return self.typer.call(X, genes=list(genes))[list(CALL_COLUMNS)]
