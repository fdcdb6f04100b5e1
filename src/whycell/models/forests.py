"""Forests as baselines: on small panels of well-known types they are the ones to beat."""

from __future__ import annotations

from typing import Any

from whycell.errors import MissingExtraError
from whycell.models.baselines import EstimatorBaseline

__all__ = ["LightGBM", "RandomForest"]


class RandomForest(EstimatorBaseline):
    """Random forest on the most variable log-normalised genes."""

    name = "random_forest"

    def __init__(
        self,
        *,
        trees: int = 300,
        n_genes: int | None = 2000,
        threshold: float = 0.95,
        seed: int = 0,
        threads: int = 1,
    ) -> None:
        super().__init__(n_genes=n_genes, threshold=threshold, seed=seed, threads=threads)
        self.trees = trees

    def _estimator(self) -> Any:
        from sklearn.ensemble import RandomForestClassifier

        return RandomForestClassifier(self.trees, random_state=self.seed, n_jobs=self.threads)


class LightGBM(EstimatorBaseline):
    """Gradient-boosted trees on the most variable log-normalised genes; needs the package ``lightgbm``."""

    name = "lightgbm"

    def __init__(
        self,
        *,
        rounds: int = 100,
        leaves: int = 31,
        rate: float = 0.1,
        n_genes: int | None = 2000,
        threshold: float = 0.95,
        seed: int = 0,
        threads: int = 1,
    ) -> None:
        super().__init__(n_genes=n_genes, threshold=threshold, seed=seed, threads=threads)
        self.rounds, self.leaves, self.rate = rounds, leaves, rate

    def _estimator(self) -> Any:
        try:
            from lightgbm import LGBMClassifier
        except ImportError as error:
            msg = "the baseline 'lightgbm' needs the package lightgbm; install it with: pip install lightgbm"
            raise MissingExtraError(msg) from error
        return LGBMClassifier(
            n_estimators=self.rounds,
            num_leaves=self.leaves,
            learning_rate=self.rate,
            colsample_bytree=0.3,
            random_state=self.seed,
            n_jobs=self.threads,
            deterministic=True,
            force_row_wise=True,
            verbosity=-1,
        )
