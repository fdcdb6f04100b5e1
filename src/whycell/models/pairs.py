"""Which pairs of genes have a property, learned from labelled pairs: synthetic lethality above all.

The model answers in three settings and is another one in each, because what tells differs: with both genes known,
their records in training decide; with one, its record and whether the other looks like its partners; with none, only
what is written and measured of the two genes. Each is a committee of boosted trees, trained on pairs whose genes were
treated as that setting will find them. Some members read sums, differences and products; one reads the genes side by
side, in both orders, and is averaged over them: the answer never depends on which gene comes first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from whycell.data.pair_splits import SETTINGS
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
    "min_child_samples": 20,
    "colsample_bytree": 0.3,
    "subsample": 0.8,
    "subsample_freq": 1,
    "max_bin": 63,
    "verbose": -1,
}
_ORDERED = {"colsample_bytree": 0.15}
_N_RECORD = 16


def setting_of(tried: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(n_pairs,) 0, 1 or 2: how many of the two genes no training pair names; ``tried`` (n_genes,)."""
    return (tried[first] == 0).astype(int) + (tried[second] == 0)


@dataclass(frozen=True)
class _Rows:
    """Pairs as a setting shows them: records (n, 16), symmetric columns, and the genes' own side by side."""

    record: np.ndarray
    together: np.ndarray
    first: np.ndarray
    second: np.ndarray

    @property
    def symmetric(self) -> np.ndarray:
        return np.hstack([self.record, self.together]).astype(np.float32)

    @property
    def orders(self) -> tuple[np.ndarray, np.ndarray]:
        return tuple(
            np.hstack([self.record, *sides]).astype(np.float32)
            for sides in ((self.first, self.second), (self.second, self.first))
        )


@dataclass(frozen=True)
class _Committee:
    """Members that read symmetric columns, and one that reads both orders."""

    symmetric: list[Any]
    ordered: Any

    def log_odds(self, rows: _Rows) -> np.ndarray:
        told = [forest.predict(rows.symmetric, raw_score=True) for forest in self.symmetric]
        told.append(np.mean([self.ordered.predict(X, raw_score=True) for X in rows.orders], axis=0))
        return np.asarray(np.mean(told, axis=0))


class PairScreener:
    """Scores pairs of genes.

    Parameters
    ----------
    seed
        Of every random choice.
    members
        Boosted forests on symmetric columns in each setting.
    trees
        Trees of each.
    threads
        Processor cores.
    """

    def __init__(self, *, seed: int = 0, members: int = 2, trees: int = 300, threads: int = 1) -> None:
        self.seed, self.members, self.trees, self.threads = seed, members, trees, threads

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
        first, second = pairs
        if len(np.unique(label)) < 2:
            msg = f"all {len(label)} training pairs have one label; wanted pairs with the property and pairs without."
            raise DataError(msg)
        n = len(of.genes)
        self.features_ = of
        self.record_ = record_of(first, second, label, n_genes=n)
        self.expected_ = expected_records(of, self.record_, seed=self.seed, threads=self.threads)
        own = records_without_own(first, second, label, n_genes=n, seed=self.seed)
        self.committees_ = {}
        for n_new, setting in enumerate(SETTINGS):
            rows = self._rows(first, second, own=own, hidden=self._hidden(len(first), n_new))
            self.committees_[setting] = self._committee(rows, label, weight)
        return self

    def score(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """(n_pairs,) probability of the property among pairs like those of training."""
        odds = self._over_settings(first, second, lambda committee, rows: committee.log_odds(rows))
        return np.asarray(1 / (1 + np.exp(-odds)))

    def drivers(self, first: np.ndarray, second: np.ndarray) -> tuple[list[str], np.ndarray]:
        """Kinds of features, and (n_pairs, kinds) what each adds to the log-odds of the symmetric members (SHAP values
        of their trees, summed)."""
        names = np.array(["record"] * _N_RECORD + pair_names(self.features_))
        kinds = list(dict.fromkeys(names.tolist()))

        def by_kind(committee: _Committee, rows: _Rows) -> np.ndarray:
            each = np.mean([f.predict(rows.symmetric, pred_contrib=True) for f in committee.symmetric], axis=0)
            return np.column_stack([each[:, :-1][:, names == kind].sum(axis=1) for kind in kinds])

        return kinds, self._over_settings(first, second, by_kind)

    def _committee(self, rows: _Rows, label: np.ndarray, weight: np.ndarray | None) -> _Committee:
        symmetric = [
            self._forest(rows.symmetric, label, weight, seed=self.seed + member, changed={})
            for member in range(self.members)
        ]
        both = np.vstack(rows.orders)
        twice = None if weight is None else np.tile(weight, 2)
        return _Committee(symmetric, self._forest(both, np.tile(label, 2), twice, seed=self.seed, changed=_ORDERED))

    def _forest(
        self, X: np.ndarray, label: np.ndarray, weight: np.ndarray | None, *, seed: int, changed: dict[str, Any]
    ) -> Any:
        from lightgbm import LGBMClassifier

        settings = {**_TREES, **changed, "n_estimators": self.trees, "random_state": seed, "n_jobs": self.threads}
        return LGBMClassifier(**settings).fit(X, label, sample_weight=weight).booster_

    def _rows(self, first: np.ndarray, second: np.ndarray, *, own: np.ndarray, hidden: np.ndarray) -> _Rows:
        expected = np.stack([self.expected_[first], self.expected_[second]], axis=1)
        genes = self.features_.matrix
        return _Rows(
            setting_columns(own, expected, hidden),
            pair_features(self.features_, first, second),
            genes[first],
            genes[second],
        )

    def _over_settings(
        self, first: np.ndarray, second: np.ndarray, ask: Callable[[_Committee, _Rows], np.ndarray]
    ) -> np.ndarray:
        setting = setting_of(self.record_.tried, first, second)
        parts: dict[int, np.ndarray] = {}
        for n_new in np.unique(setting).tolist():
            at = setting == n_new
            a, b = first[at], second[at]
            own = np.stack([self.record_.columns[a], self.record_.columns[b]], axis=1)
            hidden = np.column_stack([self.record_.tried[a] == 0, self.record_.tried[b] == 0])
            parts[n_new] = ask(self.committees_[SETTINGS[n_new]], self._rows(a, b, own=own, hidden=hidden))
        out = np.empty((len(first), *next(iter(parts.values())).shape[1:]))
        for n_new, values in parts.items():
            out[setting == n_new] = values
        return out

    def _hidden(self, n: int, n_new: int) -> np.ndarray:
        """(n, 2) which genes to treat as new; with one, either at random."""
        hidden = np.full((n, 2), n_new == 2)
        if n_new == 1:
            side = np.random.default_rng(self.seed).integers(2, size=n)
            hidden[np.arange(n), side] = True
        return hidden
