"""What training pairs say of a gene: how often it was tried and how often it was found, seen as a new pair would.

A gene's own record is the strongest sign of all in the pair-new setting and absent in the both-new one. For a gene
without a record, what its features let expect stands in: a forest of small trees maps a gene's features to its record,
and training genes are judged by a forest that did not see them, so that training rows look as new ones will.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from whycell.models.pair_features import GeneFeatures

__all__ = ["Record", "expected_records", "record_of", "records_without_own", "setting_columns"]

_EXPECT: dict[str, Any] = {
    "n_estimators": 150,
    "learning_rate": 0.05,
    "num_leaves": 15,
    "colsample_bytree": 0.3,
    "subsample": 0.8,
    "subsample_freq": 1,
    "min_child_samples": 30,
    "max_bin": 63,
    "verbose": -1,
}


@dataclass(frozen=True)
class Record:
    """Of each gene: pairs tried and pairs found positive, (n_genes,) each."""

    tried: np.ndarray
    found: np.ndarray

    @property
    def columns(self) -> np.ndarray:
        """(n_genes, 2): log(1 + found), and the share found with one success and one failure added."""
        return np.column_stack([np.log1p(self.found), (self.found + 1) / (self.tried + 2)])


def record_of(first: np.ndarray, second: np.ndarray, label: np.ndarray, *, n_genes: int) -> Record:
    """Count pairs by gene; ``label`` (n_pairs,) is 0 or 1."""
    both = np.concatenate([first, second])
    tried = np.bincount(both, minlength=n_genes).astype(float)
    return Record(tried, np.bincount(both, weights=np.tile(label, 2), minlength=n_genes))


def records_without_own(
    first: np.ndarray, second: np.ndarray, label: np.ndarray, *, n_genes: int, folds: int = 10, seed: int = 0
) -> np.ndarray:
    """(n_pairs, 2, 2) columns of the record of both genes, counted on the other folds and scaled up to all of them.

    Leaving out the pair alone would tell its label: the count that is lower by one had the positive taken away.
    """
    fold = np.random.default_rng(seed).integers(folds, size=len(first))
    out = np.empty((len(first), 2, 2))
    for k in range(folds):
        rest, own = fold != k, fold == k
        counted = record_of(first[rest], second[rest], label[rest], n_genes=n_genes)
        scale = folds / (folds - 1)
        columns = Record(counted.tried * scale, counted.found * scale).columns
        out[own, 0], out[own, 1] = columns[first[own]], columns[second[own]]
    return out


def expected_records(
    of: GeneFeatures, record: Record, *, folds: int = 5, seed: int = 0, threads: int = 1
) -> np.ndarray:
    """(n_genes, 2) what features let expect of the record's columns, by trees that did not see the gene's own."""
    from lightgbm import LGBMRegressor

    X, truth = of.matrix, record.columns
    seen = record.tried > 0
    fold = np.random.default_rng(seed).integers(folds, size=len(X))
    out = np.zeros((len(X), 2))
    for k in range(folds):
        train = seen & (fold != k)
        for column, weight in ((0, np.ones(len(X))), (1, np.minimum(record.tried, 20))):
            trees = LGBMRegressor(**_EXPECT, random_state=seed, n_jobs=threads)
            told = trees.fit(X[train], truth[train, column], sample_weight=weight[train]).predict(X)
            own = seen & (fold == k)
            out[own, column] = told[own]
            out[~seen, column] += told[~seen] / folds
    return out


def setting_columns(own: np.ndarray, expected: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """(n_pairs, 16) symmetric columns: of each number the smaller, the larger and the sum; and with one gene new, whose
    is whose.

    Parameters
    ----------
    own
        (n_pairs, 2 genes, 2 numbers) the genes' records.
    expected
        (n_pairs, 2, 2) what their features let expect.
    hidden
        (n_pairs, 2) True for a gene without a record: what is expected stands in for it.
    """
    best = np.where(hidden[:, :, None], expected, own)
    columns = [
        part for values in (best, expected) for part in (values.min(axis=1), values.max(axis=1), values.sum(axis=1))
    ]
    # With one gene new, the two are not alike: say which number is whose.
    one = hidden.sum(axis=1) == 1
    of_known = np.where(hidden[:, :1], own[:, 1], own[:, 0])
    of_new = np.where(hidden[:, :1], expected[:, 0], expected[:, 1])
    sides = np.where(one[:, None], np.hstack([of_known, of_new]), np.nan)
    return np.hstack([*columns, sides])
