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

__all__ = ["Columns", "Encoding"]

#: Levels of a category kept at most; the rarest beyond are treated as unseen.
_MOST_LEVELS = 256


@dataclass(frozen=True)
class Columns:
    """A table taken apart.

    Parameters
    ----------
    numbers
        (n, f) float64, NaN where missing, 0 in the place of words.
    words
        Position of each column of words: (n,) codes, -1 where missing, and the levels that they stand for.
    """

    numbers: np.ndarray
    words: dict[int, tuple[np.ndarray, tuple[str, ...]]]

    @classmethod
    def of(cls, X: Any) -> Columns | None:
        """Of a table with words in it; ``None`` of anything else."""
        if not isinstance(X, pd.DataFrame):
            return None
        kinds = [_is_number(dtype) for dtype in X.dtypes]
        if all(kinds):
            return None
        numbers = np.zeros(X.shape)
        places = [f for f, number in enumerate(kinds) if number]
        if places:
            numbers[:, places] = X.iloc[:, places].to_numpy(dtype=np.float64, na_value=np.nan)
        return cls(numbers, {f: _words(X.iloc[:, f]) for f, number in enumerate(kinds) if not number})

    def __len__(self) -> int:
        return len(self.numbers)


def _is_number(dtype: Any) -> bool:
    return bool(pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_bool_dtype(dtype))


def _words(column: pd.Series) -> tuple[np.ndarray, tuple[str, ...]]:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return np.asarray(column.cat.codes, dtype=np.int64), tuple(map(str, column.cat.categories))
    codes, levels = pd.factorize(column)
    return np.asarray(codes, dtype=np.int64), tuple(map(str, levels))


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
    def learn(cls, columns: np.ndarray | Columns, features: Sequence[str], weights: np.ndarray) -> Encoding:
        """Learn from training rows.

        Parameters
        ----------
        columns
            (n, f) array of float64 with NaN where missing, or a table taken apart.
        features
            (f,) names.
        weights
            (n,) weights of the rows.
        """
        numbers = columns.numbers if isinstance(columns, Columns) else columns
        levels = _levels(columns)
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

    def transform(self, columns: np.ndarray | Columns) -> np.ndarray:
        """(n, d) float64 coordinates of rows with the same columns."""
        numbers = columns.numbers if isinstance(columns, Columns) else columns
        out = (numbers - self.mean) / self.scale
        gaps = np.isnan(out)
        if not self.levels and not self.gaps:
            return np.where(gaps, 0.0, out) if gaps.any() else out
        numeric = [f for f in range(len(self.features)) if f not in self.levels]
        parts = [np.where(gaps, 0.0, out)[:, numeric], gaps[:, list(self.gaps)].astype(np.float64)]
        for f, held in self.levels.items():
            if not isinstance(columns, Columns) or f not in columns.words:
                msg = f"column {self.features[f]!r} held words in training and holds numbers now; give the same kind."
                raise DataError(msg)
            codes, levels = columns.words[f]
            place = {level: at for at, level in enumerate(held)}
            of_level = np.array([*(place.get(level, -1) for level in levels), -1], dtype=np.int64)
            parts.append((of_level[codes][:, None] == np.arange(len(held))).astype(np.float64))
        return np.concatenate(parts, axis=1)

    def by_feature(self, scores: np.ndarray) -> np.ndarray:
        """(f,) sums of (d,) scores over the coordinates of each feature."""
        return np.bincount(self.owner, weights=scores, minlength=len(self.features))


def _levels(columns: np.ndarray | Columns) -> dict[int, tuple[str, ...]]:
    """Levels that occur, sorted; the most frequent where there are too many."""
    if not isinstance(columns, Columns):
        return {}
    out = {}
    for f, (codes, levels) in columns.words.items():
        counts = np.bincount(codes[codes >= 0], minlength=len(levels))
        there = [at for at in range(len(levels)) if counts[at]]
        often = sorted(there, key=lambda at: (-counts[at], levels[at]))[:_MOST_LEVELS]
        out[f] = tuple(sorted(levels[at] for at in often))
    return out
