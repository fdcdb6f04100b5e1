"""From columns of numbers and categories to the coordinates of a kernel, and back to the columns.

- A number is centred and divided by its standard deviation; a missing one is put at the mean, and where training had
  any missing in a column, one more coordinate says so with 0 or 1.
- A category of k levels becomes k coordinates of 0 or 1: two samples of different levels are then as far apart, in
  square, as two samples are on average in a number. A level unseen in training, and a missing one, is 0 in all of them.
- A column of training that never changes becomes a coordinate that is 0.
"""

# n - row, f - feature as given, d - coordinate

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from whycell.errors import DataError

__all__ = ["Encoding", "as_columns"]

#: Levels of a category kept at most; the rarest beyond are treated as unseen.
_MOST_LEVELS = 256


@dataclass(frozen=True)
class Encoding:
    """What was learned of the columns.

    Parameters
    ----------
    features
        (f,) their names.
    mean, scale
        (f,) of the numbers; 0 and 1 for categories.
    levels
        Position of each category and its levels.
    gaps
        Positions of the numbers with missing values in training.
    owner
        (d,) position of the feature that each coordinate came from.
    names
        (d,) names of the coordinates.
    """

    features: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    levels: dict[int, tuple[str, ...]]
    gaps: tuple[int, ...]
    owner: np.ndarray
    names: tuple[str, ...]

    @classmethod
    def learn(cls, columns: Any, features: Sequence[str], weights: np.ndarray) -> Encoding:
        """Learn from training rows.

        Parameters
        ----------
        columns
            (n, f) array of float64 with NaN where missing, or a table with categories (:func:`as_columns`).
        features
            (f,) names.
        weights
            (n,) weights of the rows.
        """
        levels = _levels(columns)
        numbers = _numbers(columns, levels)
        known = ~np.isnan(numbers)
        total = np.maximum(weights @ known, np.finfo(float).tiny)
        filled = np.where(known, numbers, 0.0)
        mean = weights @ filled / total
        spread = np.sqrt(weights @ np.where(known, filled - mean, 0.0) ** 2 / total)
        flat = spread <= 1e-12 * np.maximum(1.0, np.abs(mean))
        gaps = tuple(int(f) for f in np.flatnonzero(~known.all(axis=0)) if f not in levels)
        numeric = [f for f in range(len(features)) if f not in levels]
        owner = [*numeric, *gaps, *(f for f, held in levels.items() for _ in held)]
        names = [
            *(features[f] for f in numeric),
            *(f"{features[f]} is missing" for f in gaps),
            *(f"{features[f]}={level}" for f, held in levels.items() for level in held),
        ]
        scale = np.where(flat, 1.0, spread)
        return cls(tuple(features), mean, scale, levels, gaps, np.array(owner, dtype=np.int64), tuple(names))

    def transform(self, columns: Any) -> np.ndarray:
        """(n, d) float64 coordinates of rows with the same columns."""
        if not self.levels and not self.gaps and isinstance(columns, np.ndarray):
            out = (columns - self.mean) / self.scale
            return np.nan_to_num(out, copy=False, nan=0.0) if np.isnan(out).any() else out
        numbers = _numbers(columns, self.levels)
        numeric = [f for f in range(len(self.features)) if f not in self.levels]
        scaled = ((numbers - self.mean) / self.scale)[:, numeric]
        parts = [np.nan_to_num(scaled, nan=0.0), np.isnan(numbers[:, list(self.gaps)]).astype(np.float64)]
        for f, held in self.levels.items():
            codes = pd.Categorical(columns.iloc[:, f], categories=list(held)).codes
            parts.append((codes[:, None] == np.arange(len(held))).astype(np.float64))
        return np.concatenate(parts, axis=1)

    def by_feature(self, scores: np.ndarray) -> np.ndarray:
        """(f,) sums of (d,) scores over the coordinates of each feature."""
        return np.bincount(self.owner, weights=scores, minlength=len(self.features))


def as_columns(X: Any) -> Any:
    """A table with words in it as float64 columns and text columns; anything else as it is."""
    if not isinstance(X, pd.DataFrame) or all(_is_number(X[c]) for c in X.columns):
        return X
    out = {}
    for name in X.columns:
        column = X[name]
        if _is_number(column):
            out[name] = column.astype("float64")
        else:
            words = column.astype(object)
            out[name] = words.where(words.notna(), None).map(lambda v: v if v is None else str(v))
    return pd.DataFrame(out, index=X.index)


def _is_number(column: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column))


def _levels(columns: Any) -> dict[int, tuple[str, ...]]:
    if not isinstance(columns, pd.DataFrame):
        return {}
    out = {}
    for f, name in enumerate(columns.columns):
        if not _is_number(columns[name]):
            counts = columns[name].value_counts()
            order = sorted(counts.index, key=lambda level: (-counts[level], level))
            out[f] = tuple(sorted(order[:_MOST_LEVELS]))
    return out


def _numbers(columns: Any, levels: dict[int, tuple[str, ...]]) -> np.ndarray:
    """(n, f) float64, 0 in the place of categories."""
    if isinstance(columns, np.ndarray):
        return columns
    out = np.zeros(columns.shape)
    for f, name in enumerate(columns.columns):
        if f not in levels:
            if not _is_number(columns[name]):
                msg = f"column {name!r} held numbers in training and holds words now; give the same kind of column."
                raise DataError(msg)
            out[:, f] = columns[name].to_numpy(dtype=np.float64)
    return out
