"""What a screen of pairs must beat: how often a gene was tried, and four standard learners on the same features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from whycell.models.pair_features import GeneFeatures, pair_features
from whycell.models.pair_history import record_of

__all__ = ["BASELINES", "DegreeBaseline", "FeatureBaseline"]


class DegreeBaseline:
    """Score of a pair: log(1 + d_a) + log(1 + d_b), d = pairs of training that name the gene. Sees no feature."""

    def fit(
        self,
        of: GeneFeatures,
        pairs: tuple[np.ndarray, np.ndarray],
        *,
        label: np.ndarray,
        weight: np.ndarray | None = None,
    ) -> DegreeBaseline:
        """Count; see ``PairScreener.fit`` for the parameters ``of``, ``pairs``, ``label`` and ``weight``."""
        self.log_ = np.log1p(record_of(*pairs, label, n_genes=len(of.genes)).tried)
        return self

    def score(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """(n_pairs,) of the pairs ``first``, ``second`` (positions of genes)."""
        return np.asarray(self.log_[first] + self.log_[second])


class FeatureBaseline:
    """A scikit-learn classifier on :func:`~whycell.models.pair_features.pair_features`, columns standardised.

    Parameters
    ----------
    make
        Makes the classifier, given a seed.
    seed
        Of its random choices.
    """

    def __init__(self, make: Callable[[int], Any], *, seed: int = 0) -> None:
        self.make, self.seed = make, seed

    def fit(
        self,
        of: GeneFeatures,
        pairs: tuple[np.ndarray, np.ndarray],
        *,
        label: np.ndarray,
        weight: np.ndarray | None = None,
    ) -> FeatureBaseline:
        """Learn; see ``PairScreener.fit`` for the parameters ``of``, ``pairs``, ``label`` and ``weight``."""
        X = pair_features(of, *pairs)
        self.features_ = of
        self.mean_, spread = X.mean(axis=0), X.std(axis=0)
        self.spread_ = np.where(spread > 0, spread, 1)
        self.model_ = self.make(self.seed).fit((X - self.mean_) / self.spread_, label, sample_weight=weight)
        return self

    def score(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """(n_pairs,) probability, of the pairs ``first``, ``second`` (positions of genes)."""
        X = pair_features(self.features_, first, second)
        return np.asarray(self.model_.predict_proba((X - self.mean_) / self.spread_)[:, 1])


def _logistic(seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=0.01, max_iter=300, random_state=seed)


class _ElasticNet:
    """Least squares on the labels with both penalties; ``predict_proba`` has its value in the second column."""

    def fit(self, X: np.ndarray, label: np.ndarray, sample_weight: np.ndarray | None = None) -> _ElasticNet:
        from sklearn.linear_model import ElasticNet

        self.model_ = ElasticNet(alpha=0.02, l1_ratio=0.3, max_iter=300, tol=1e-3)
        self.model_.fit(X, label, sample_weight=sample_weight)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        value = self.model_.predict(X)
        return np.column_stack([1 - value, value])


def _forest(seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(n_estimators=100, min_samples_leaf=3, max_features="sqrt", random_state=seed)


def _boosting(seed: int) -> Any:
    from lightgbm import LGBMClassifier

    return LGBMClassifier(
        n_estimators=300,
        learning_rate=0.05,
        num_leaves=31,
        colsample_bytree=0.3,
        subsample=0.8,
        subsample_freq=1,
        max_bin=63,
        n_jobs=1,
        random_state=seed,
        verbose=-1,
    )


#: Name of each baseline and how to make it, given a seed.
BASELINES: dict[str, Callable[[int], Any]] = {
    "degree": lambda seed: DegreeBaseline(),
    "logistic regression": lambda seed: FeatureBaseline(_logistic, seed=seed),
    "elastic net": lambda seed: FeatureBaseline(lambda _: _ElasticNet(), seed=seed),
    "random forest": lambda seed: FeatureBaseline(_forest, seed=seed),
    "gradient boosting": lambda seed: FeatureBaseline(_boosting, seed=seed),
}
