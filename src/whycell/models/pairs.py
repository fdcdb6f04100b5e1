"""Which pairs of genes have a property, learned from labelled pairs: synthetic lethality above all.

The model answers in three settings and is another one in each, because what tells differs: with both genes known, their
records in training decide; with one, its record and whether the other looks like its partners; with none, only what is
written and measured of the two genes. Each is a committee of boosted trees on symmetric features, trained on pairs
whose genes were treated as that setting will find them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from whycell.errors import DataError
from whycell.models.pair_features import GeneFeatures, pair_features, pair_names
from whycell.models.pair_history import (
    expected_records,
    record_of,
    records_without_own,
    setting_columns,
)

__all__ = ["PairScreener", "setting_of"]

_TREES: dict[str, Any] = {
    "n_estimators": 300,
    "learning_rate": 0.05,
    "num_leaves": 31,
    "colsample_bytree": 0.3,
    "subsample": 0.8,
    "subsample_freq": 1,
    "min_child_samples": 20,
    "verbose": -1,
}
SETTINGS = ("pair_new", "one_new", "both_new")


def setting_of(tried: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n_pairs,) 0, 1 or 2: how many of the two genes no training pair names; ``tried`` (n_genes,)."""
    return (tried[first] == 0).astype(int) + (tried[second] == 0)


@dataclass(frozen=True)
class _Rows:
    own: np.ndarray
    expected: np.ndarray
    pair: np.ndarray


class PairScreener:
    """Scores pairs of genes.

    Parameters
    ----------
    seed
        Of every random choice.
    members
        Boosted forests that are averaged in each setting.
    threads
        Processor cores.
    trees
        What to change of the trees' settings (LightGBM's names).
    """

    def __init__(
        self, *, seed: int = 0, members: int = 1, threads: int = 1, trees: Mapping[str, Any] | None = None
    ) -> None:
        self.seed, self.members, self.threads, self.trees = seed, members, threads, dict(trees or {})

    def fit(
        self,
        of: GeneFeatures,
        pairs: tuple[np.ndarray, np.ndarray],
        *,
        label: np.ndarray,
        weight: np.ndarray | None = None,
    ) -> PairScreener:
        """Learn from labelled pairs.

        Parameters
        ----------
        of
            Features of all genes, new ones too.
        pairs
            Positions of the first and of the second gene, (n_pairs,) each.
        label
            (n_pairs,) 0 or 1.
        weight
            (n_pairs,) how much each pair counts; all alike where not given.
        """
        from lightgbm import LGBMClassifier

        first, second = pairs
        if len(np.unique(label)) < 2:
            msg = f"all {len(label)} training pairs have one label; wanted pairs with the property and pairs without."
            raise DataError(msg)
        n = len(of.genes)
        self.features_ = of
        self.record_ = record_of(first, second, label, n_genes=n)
        self.expected_ = expected_records(of, self.record_, seed=self.seed, threads=self.threads)
        own = records_without_own(first, second, label, n_genes=n, seed=self.seed)
        rows = _Rows(own, self._expected(first, second), pair_features(of, first, second))
        self.forests_ = {}
        for n_new, setting in enumerate(SETTINGS):
            X = _columns(rows, self._hidden(len(first), n_new))
            self.forests_[setting] = [
                LGBMClassifier(**{**_TREES, **self.trees}, random_state=self.seed + member, n_jobs=self.threads).fit(
                    X, label, sample_weight=weight
                )
                for member in range(self.members)
            ]
        return self

    def score(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """(n_pairs,) probability of the property among pairs like those of training."""
        return self._over_settings(first, second, lambda forest, X: forest.predict_proba(X)[:, 1])

    def drivers(self, first: np.ndarray, second: np.ndarray) -> tuple[list[str], np.ndarray]:
        """Kinds of features, and (n_pairs, kinds) what each adds to the log-odds (SHAP values of the trees, summed)."""
        kinds = ["record", *dict.fromkeys(pair_names(self.features_))]
        names = np.array(["record"] * 16 + pair_names(self.features_))

        def by_kind(forest: Any, X: np.ndarray) -> np.ndarray:
            each = forest.booster_.predict(X, pred_contrib=True)[:, :-1]
            return np.column_stack([each[:, names == kind].sum(axis=1) for kind in kinds])

        return kinds, self._over_settings(first, second, by_kind)

    def _over_settings(self, first: np.ndarray, second: np.ndarray, ask: Any) -> np.ndarray:
        setting = setting_of(self.record_.tried, first, second)
        parts: dict[int, np.ndarray] = {}
        for n_new in np.unique(setting).tolist():
            at = np.flatnonzero(setting == n_new)
            a, b = first[at], second[at]
            own = np.stack([self.record_.columns[a], self.record_.columns[b]], axis=1)
            hidden = np.column_stack([self.record_.tried[a] == 0, self.record_.tried[b] == 0])
            X = _columns(_Rows(own, self._expected(a, b), pair_features(self.features_, a, b)), hidden)
            parts[n_new] = np.mean([ask(forest, X) for forest in self.forests_[SETTINGS[n_new]]], axis=0)
        some = next(iter(parts.values()))
        out = np.empty((len(first), *some.shape[1:]))
        for n_new, values in parts.items():
            out[setting == n_new] = values
        return out

    def _expected(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.stack([self.expected_[first], self.expected_[second]], axis=1)

    def _hidden(self, n: int, n_new: int) -> np.ndarray:
        """(n, 2) which genes to treat as new; with one, either at random."""
        hidden = np.full((n, 2), n_new == 2)
        if n_new == 1:
            side = np.random.default_rng(self.seed).integers(2, size=n)
            hidden[np.arange(n), side] = True
        return hidden


def _columns(rows: _Rows, hidden: np.ndarray) -> np.ndarray:
    return np.hstack([setting_columns(rows.own, rows.expected, hidden), rows.pair]).astype(np.float32)
