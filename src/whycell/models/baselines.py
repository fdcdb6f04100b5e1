"""The models that a report must be read against: majority, logistic regression, nearest neighbours.

They get what ours gets: the same folds, the same label map, and the same back-off over their summed probabilities.
What they cannot do stays as it is: a gene that one study did not measure is left out for all, since none of them can
mask it, and a coarse label is one more class beside its subtypes.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy import sparse

from whycell.errors import GeneError
from whycell.knowledge.terms import Ontology
from whycell.models.backoff import BackOff, class_term

__all__ = ["Baseline", "EstimatorBaseline", "KNearest", "Logistic", "Majority"]

PER_CELL = 1e4


class Baseline(ABC):
    """What the baselines share: genes lined up, log of counts per 10,000, back-off.

    Parameters
    ----------
    threshold
        Probability that a node must reach to be called.
    seed, threads
        Of whatever is drawn, and cores to use.
    """

    name = "baseline"

    def __init__(self, *, threshold: float = 0.95, seed: int = 0, threads: int = 1) -> None:
        self.threshold, self.seed, self.threads = threshold, seed, threads

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
        """See :class:`whycell.models.protocol.TypingModel`; labels of one term are one class."""
        masks = (
            [] if measured is None or studies is None else [measured[s] for s in np.unique(studies) if s in measured]
        )
        shared = np.logical_and.reduce(masks) if masks else np.ones(len(genes), dtype=bool)
        if not shared.any():
            msg = f"the {len(masks)} studies share none of their {len(genes)} genes; {self.name} needs shared genes"
            raise GeneError(msg)
        self.genes_ = np.asarray(genes)[shared]
        terms = np.array([class_term(str(x), label_ids.get(str(x), "")) for x in labels], dtype=object)
        frame = pd.DataFrame({"term": terms, "label": np.asarray(labels).astype(object)})
        name_of = frame.groupby("term")["label"].agg(lambda names: names.value_counts().sort_index().idxmax())
        self.classes_ = name_of.index.to_numpy()
        self.backoff_ = BackOff(list(name_of), label_ids=label_ids, ontology=ontology)
        codes = np.searchsorted(self.classes_, terms)
        self._fit(self._first_seen(X, genes, codes), codes)
        return self

    def predict_proba(self, X: sparse.csr_matrix, *, genes: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """(n, k) probabilities, and the labels of the columns."""
        return self._proba(self._normalised(X, genes)), list(self.backoff_.labels)

    def call(self, X: sparse.csr_matrix, *, genes: np.ndarray) -> pd.DataFrame:
        """Calls by the generic back-off; novelty is 1 - the largest probability."""
        return self.call_from(self.predict_proba(X, genes=genes)[0])

    def call_from(self, probabilities: np.ndarray) -> pd.DataFrame:
        """Calls from probabilities that are known already, so that a cell is not asked for twice."""
        return self.backoff_.call(probabilities, threshold=self.threshold)

    def _first_seen(self, X: sparse.csr_matrix, genes: np.ndarray, codes: np.ndarray) -> sparse.csr_matrix:
        """The training cells as the model sees cells; a representation that is itself learned is learned here."""
        return self._normalised(X, genes)

    @abstractmethod
    def _fit(self, X: sparse.csr_matrix, codes: np.ndarray) -> None: ...

    @abstractmethod
    def _proba(self, X: sparse.csr_matrix) -> np.ndarray: ...

    def _aligned(self, X: sparse.csr_matrix, genes: np.ndarray) -> sparse.csr_matrix:
        """(n, model genes) float32 counts; a gene not measured is 0."""
        position = pd.Index(genes).get_indexer(pd.Index(self.genes_))
        X = sparse.csr_matrix(X)
        found = position >= 0
        if not found.any():
            msg = f"none of the {len(self.genes_)} genes of {self.name} is among the {len(genes)} given; check the ids"
            raise GeneError(msg)
        if len(genes) != len(self.genes_) or (position != np.arange(len(position))).any():
            place = sparse.csr_matrix(
                (np.ones(found.sum(), dtype=X.dtype), (position[found], np.flatnonzero(found))),
                shape=(X.shape[1], len(position)),
            )
            X = X @ place
        return X.astype(np.float32)

    def _normalised(self, X: sparse.csr_matrix, genes: np.ndarray) -> sparse.csr_matrix:
        """(n, model genes) log1p of counts per 10,000 over the model's genes."""
        X = self._aligned(X, genes)
        totals = np.asarray(X.sum(axis=1)).ravel()
        scale = np.divide(PER_CELL, totals, out=np.zeros_like(totals), where=totals > 0)
        X = (sparse.diags(scale) @ X).tocsr().astype(np.float32)
        X.data = np.log1p(X.data)
        return X


class Majority(Baseline):
    """The shares of the classes in training, whatever the cell."""

    name = "majority"

    def _fit(self, X: sparse.csr_matrix, codes: np.ndarray) -> None:
        counts = np.bincount(codes, minlength=len(self.classes_))
        self.shares_ = counts / counts.sum()

    def _proba(self, X: sparse.csr_matrix) -> np.ndarray:
        return np.tile(self.shares_, (X.shape[0], 1))


class EstimatorBaseline(Baseline):
    """A baseline around an estimator with ``fit`` and ``predict_proba``."""

    def __init__(self, *, n_genes: int | None = None, threshold: float = 0.95, seed: int = 0, threads: int = 1) -> None:
        super().__init__(threshold=threshold, seed=seed, threads=threads)
        self.n_genes = n_genes

    @abstractmethod
    def _estimator(self) -> Any: ...

    def _columns(self, X: sparse.csr_matrix) -> np.ndarray:
        """The most variable genes, all of them where ``n_genes`` is not given."""
        if self.n_genes is None or self.n_genes >= X.shape[1]:
            return np.arange(X.shape[1])
        mean = np.asarray(X.mean(axis=0)).ravel()
        variance = np.asarray(X.multiply(X).mean(axis=0)).ravel() - mean**2
        return np.sort(np.argsort(-variance, kind="stable")[: self.n_genes])

    def _fit(self, X: sparse.csr_matrix, codes: np.ndarray) -> None:
        self.columns_ = self._columns(X)
        self.seen_ = np.unique(codes)
        self.estimator_ = None if len(self.seen_) < 2 else self._estimator()
        if self.estimator_ is not None:
            with warnings.catch_warnings():
                # Stopping at max_iter is a choice here, and the score shows what it costs.
                warnings.filterwarnings("ignore", message="lbfgs failed to converge")
                self.estimator_.fit(X[:, self.columns_], codes)

    def _proba(self, X: sparse.csr_matrix) -> np.ndarray:
        found = np.zeros((X.shape[0], len(self.classes_)))
        if self.estimator_ is None:
            found[:, self.seen_] = 1.0
        else:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="X does not have valid feature names")
                found[:, self.estimator_.classes_] = self.estimator_.predict_proba(X[:, self.columns_])
        return found


class Logistic(EstimatorBaseline):
    """Multinomial logistic regression on log-normalised genes, L2 with strength 1 / ``C``."""

    name = "logistic"

    def __init__(
        self,
        *,
        C: float = 1.0,
        max_iter: int = 200,
        n_genes: int | None = None,
        threshold: float = 0.95,
        seed: int = 0,
        threads: int = 1,
    ) -> None:
        super().__init__(n_genes=n_genes, threshold=threshold, seed=seed, threads=threads)
        self.C, self.max_iter = C, max_iter

    def _estimator(self) -> Any:
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=self.C, max_iter=self.max_iter)


class KNearest(EstimatorBaseline):
    """Votes of the nearest training cells on principal components of log-normalised genes."""

    name = "knn"

    def __init__(
        self,
        *,
        neighbours: int = 15,
        components: int = 50,
        n_genes: int | None = None,
        threshold: float = 0.95,
        seed: int = 0,
        threads: int = 1,
    ) -> None:
        super().__init__(n_genes=n_genes, threshold=threshold, seed=seed, threads=threads)
        self.neighbours, self.components = neighbours, components

    def _fit(self, X: sparse.csr_matrix, codes: np.ndarray) -> None:
        self._most = min(*X.shape)
        super()._fit(X, codes)

    def _estimator(self) -> Any:
        from sklearn.decomposition import PCA
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.pipeline import make_pipeline

        components = max(1, min(self.components, self._most - 1))
        return make_pipeline(
            PCA(components, svd_solver="arpack", random_state=self.seed),
            KNeighborsClassifier(min(self.neighbours, self._most), n_jobs=self.threads),
        )
