"""CellTyper behind the protocol that evaluations speak."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy import sparse

from whycell.knowledge.terms import Ontology
from whycell.models.pooled import OBSM
from whycell.models.representations import names_of
from whycell.models.typer import CellTyper

__all__ = ["WhycellModel"]


class WhycellModel:
    """See :class:`whycell.models.protocol.TypingModel`.

    Parameters
    ----------
    seed, threads, device
        Of the training.
    parameters
        Other parameters of `CellTyper`.

    Attributes
    ----------
    obsm_keys
        Embeddings that ``fit`` and the answers need.
    """

    name = "whycell"

    def __init__(
        self,
        *,
        seed: int = 0,
        threads: int = 1,
        device: str = "auto",
        parameters: Mapping[str, Any] | None = None,
    ) -> None:
        self.seed, self.threads, self.device = seed, threads, device
        self.parameters = dict(parameters or {})
        self.typer = CellTyper(random_state=seed, device=device, **self.parameters)
        names = names_of(self.typer.representation, self.typer.views, described=self.typer.gene_vectors is not None)
        self.obsm_keys = tuple(name.removeprefix(OBSM) for name in names if name.startswith(OBSM))

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
        obsm: Mapping[str, np.ndarray] | None = None,
    ) -> Self:
        """Learn; see the protocol. ``obsm`` holds (n, width) vectors for the keys in ``obsm_keys``."""
        self.typer = CellTyper(
            **{"normalise": "cp10k", **self.parameters}, random_state=self.seed, device=self.device
        ).fit(
            X,
            labels,
            genes=list(genes),
            groups=donors,
            studies=studies,
            label_ids=label_ids,
            measured=measured,
            obsm=obsm,
            ontology=ontology,
        )
        return self

    def predict_proba(
        self, X: sparse.csr_matrix, *, genes: np.ndarray, obsm: Mapping[str, np.ndarray] | None = None
    ) -> tuple[np.ndarray, list[str]]:
        """(n, k) probabilities of the leaves, and their labels."""
        return self.typer.predict_proba(X, genes=list(genes), obsm=obsm), [str(c) for c in self.typer.classes_]

    def call(
        self, X: sparse.csr_matrix, *, genes: np.ndarray, obsm: Mapping[str, np.ndarray] | None = None
    ) -> pd.DataFrame:
        """One row a cell."""
        return self.typer.call(X, genes=list(genes), obsm=obsm)
