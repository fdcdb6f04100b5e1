"""Several views of a cell, pooled: expression, gene texts, embeddings from elsewhere.

    p(leaf | cell)  ~  prod_v p_v(leaf | cell)^w_v          (a logarithmic opinion pool)

The weights are learned on donors, or studies, that no view was trained on; where the views disagree is kept as an
uncertainty. A class that is coarser than the leaves is shared out among them as the first view sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy import optimize, sparse

from whycell.errors import UsageError
from whycell.knowledge.terms import Ontology
from whycell.models.backoff import BackOff
from whycell.models.protocol import TypingModel

__all__ = ["Ensemble", "pool", "pool_weights"]

_FLOOR = 1e-4
_SHRINK = 1e-3


def pool(log_p: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The pooled probabilities.

    Parameters
    ----------
    log_p
        (n_views, n_cells, n_leaves) log-probabilities.
    weights
        (n_views,) not negative.

    Returns
    -------
    (n_cells, n_leaves), rows sum to one
    """
    mixed = np.tensordot(weights, log_p, axes=1)
    mixed -= mixed.max(axis=1, keepdims=True)
    p = np.exp(mixed)
    return np.asarray(p / p.sum(axis=1, keepdims=True))


def pool_weights(log_p: np.ndarray, meaning: np.ndarray, *, cell_weights: np.ndarray) -> np.ndarray:
    """Weights that make held-out cells most probable, pulled gently towards equal ones.

    Parameters
    ----------
    log_p
        (n_views, n_cells, n_leaves) of cells that the views did not see.
    meaning
        (n_cells, n_leaves) bool, the leaves that the cell's label may stand for.
    cell_weights
        (n_cells,) so that every donor counts the same.

    Returns
    -------
    (n_views,) not negative
    """
    n_views = len(log_p)
    share = cell_weights / cell_weights.sum()

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        p = pool(log_p, w)
        right = np.maximum((p * meaning).sum(axis=1), 1e-12)
        inside = p * meaning / right[:, None]
        gradient = np.array([share @ ((inside - p) * view).sum(axis=1) for view in log_p])
        pull = w - 1.0 / n_views
        return float(-share @ np.log(right) + _SHRINK * pull @ pull), -gradient + 2 * _SHRINK * pull

    start = np.full(n_views, 1.0 / n_views)
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0.0, 5.0)] * n_views)
    return np.asarray(found.x)


class Ensemble:
    """A pool of models that each see a cell in their own way.

    Parameters
    ----------
    views
        Name of each view and a function that gives a new, untrained model; the first one's classes are the leaves.
    inner_folds
        Folds over donors, or studies, in which the weights are learned.
    threshold
        Probability that a node must reach to be called.
    seed, threads
        Of what is drawn, and cores.

    Attributes
    ----------
    weights_
        (n_views,) what each view counts for.
    """

    name = "ensemble"

    def __init__(
        self,
        *,
        views: Mapping[str, Callable[[], TypingModel]],
        inner_folds: int = 3,
        threshold: float = 0.95,
        seed: int = 0,
        threads: int = 1,
    ) -> None:
        if len(views) < 2:
            msg = f"An ensemble pools at least two views; got {', '.join(views) or 'none'}."
            raise UsageError(msg)
        self.views, self.inner_folds = dict(views), inner_folds
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
        """Learn; see the protocol. Every view is trained ``inner_folds`` + 1 times."""
        labels = np.asarray(labels)
        given = {"genes": genes, "ontology": ontology, "label_ids": label_ids, "measured": measured}

        def train(rows: np.ndarray) -> list[TypingModel]:
            of = {
                "donors": None if donors is None else np.asarray(donors)[rows],
                "studies": None if studies is None else np.asarray(studies)[rows],
            }
            return [make().fit(X[rows], labels[rows], **given, **of) for make in self.views.values()]

        group = self._groups(donors, studies, len(labels))
        self.models_ = train(np.arange(len(labels)))
        self._settle(X[:1], genes, ontology, label_ids)
        rows, parts = [], []
        for fold in np.unique(group):
            out = np.flatnonzero(group == fold)
            rows.append(out)
            parts.append(self._log_p(train(np.flatnonzero(group != fold)), X[out], genes))
        at = np.concatenate(rows)
        meaning = self._meaning(labels[at])
        known = meaning.any(axis=1)
        _, codes, counts = np.unique(group[at[known]], return_inverse=True, return_counts=True)
        held = np.concatenate(parts, axis=1)
        self.weights_ = pool_weights(held[:, known], meaning[known], cell_weights=1.0 / counts[codes])
        return self

    def predict_proba(self, X: sparse.csr_matrix, *, genes: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """(n, k) pooled probabilities of the leaves, and their labels."""
        return pool(self._log_p(self.models_, X, genes), self.weights_), list(self.leaves_)

    def call(self, X: sparse.csr_matrix, *, genes: np.ndarray) -> pd.DataFrame:
        """Calls by the generic back-off over the pooled probabilities."""
        return self.backoff_.call(self.predict_proba(X, genes=genes)[0], threshold=self.threshold)

    def disagreement(self, X: sparse.csr_matrix, *, genes: np.ndarray) -> np.ndarray:
        """(n,) how far the views lie apart: their Jensen-Shannon divergence, 0 to 1 (log base: number of views)."""
        p = np.exp(self._log_p(self.models_, X, genes))
        mean = p.mean(axis=0)
        entropy = [-(q * np.log(np.maximum(q, 1e-12))).sum(axis=-1) for q in (mean, p)]
        return np.asarray((entropy[0] - entropy[1].mean(axis=0)) / np.log(len(p)))

    def _groups(self, donors: np.ndarray | None, studies: np.ndarray | None, n: int) -> np.ndarray:
        """(n,) fold of every cell: whole studies where there are several, else whole donors, else random cells."""
        rng = np.random.default_rng(self.seed)
        for names in (studies, donors):
            if names is not None and len(np.unique(names)) > 1:
                _, codes = np.unique(names, return_inverse=True)
                order = rng.permutation(codes.max() + 1)
                return np.asarray(order[codes] % min(self.inner_folds, codes.max() + 1))
        return rng.integers(self.inner_folds, size=n)

    def _settle(
        self, some: sparse.csr_matrix, genes: np.ndarray, ontology: Ontology, label_ids: Mapping[str, str]
    ) -> None:
        """The leaves are the first view's classes; every other class is a set of them."""
        self.leaves_ = [str(label) for label in self.models_[0].predict_proba(some, genes=genes)[1]]
        self.backoff_ = BackOff(self.leaves_, label_ids=label_ids, ontology=ontology)
        terms = [label_ids.get(label, "") for label in self.leaves_]
        self._leaves_of = {}
        for label, term in label_ids.items():
            if str(label) in self.leaves_:  # a leaf means itself, though the ontology may put another leaf below it
                found = [leaf == str(label) for leaf in self.leaves_]
            else:
                found = [bool(term and t and ontology.is_ancestor(term, t)) for t in terms]
            self._leaves_of[str(label)] = np.array(found)

    def _meaning(self, labels: np.ndarray) -> np.ndarray:
        none = np.zeros(len(self.leaves_), dtype=bool)
        return np.stack([self._leaves_of.get(str(label), none) for label in labels])

    def _log_p(self, models: Sequence[Any], X: sparse.csr_matrix, genes: np.ndarray) -> np.ndarray:
        """(n_views, n_cells, n_leaves) log-probabilities, no smaller than the logarithm of a floor."""
        answers = [model.predict_proba(X, genes=genes) for model in models]
        first = self._on_leaves(*answers[0], within=None)
        parts = [first, *(self._on_leaves(p, names, within=first) for p, names in answers[1:])]
        return np.log(np.stack([(1 - _FLOOR) * p + _FLOOR / p.shape[1] for p in parts]))

    def _on_leaves(self, p: np.ndarray, names: Sequence[str], *, within: np.ndarray | None) -> np.ndarray:
        """(n, n_leaves): a class that is a set of leaves is shared out as ``within`` has them, evenly where None."""
        base = np.full((len(p), len(self.leaves_)), 1.0) if within is None else within + 1e-9
        out = np.zeros_like(base)
        for column, name in zip(p.T, names, strict=True):
            leaves = self._leaves_of.get(str(name), np.zeros(len(self.leaves_), dtype=bool))
            if leaves.any():
                inside = base * leaves
                out += column[:, None] * inside / inside.sum(axis=1, keepdims=True)
        total = out.sum(axis=1, keepdims=True)
        return np.where(total > 1e-12, out / np.maximum(total, 1e-12), 1.0 / out.shape[1])
