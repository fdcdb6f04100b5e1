"""How far to trust a feature's importance: errors over groups, what chance would give, and stable directions.

*Errors.* Delete-a-group jackknife of the score (share of the AGOP's diagonal), for groups of any size (Busing, Meijer
and van der Leeden, Statistics and Computing 1999). Exact where a function re-fits the model without each group; cheap,
from sums of gradients by group, where the model stays as it is: then only the points that slopes are averaged over
vary, and the error is too small by what the fit would have moved.

*Chance.* The model is fitted on permuted labels, and the largest score of every draw is kept: a feature beyond them is
beyond chance for all features together (Westfall and Young 1993: family-wise error).

*Directions.* Largest principal angle between the space of the first k eigenvectors and that of each resample, beside
the same for spaces drawn at random.
"""

# d - feature, g - group, b - draw

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from scipy.linalg import subspace_angles

from whycell.errors import DataError, UsageError
from whycell.lenses.features import outer_products_by
from whycell.lenses.features_ways import way_of
from whycell.lenses.outer_products import OuterProducts
from whycell.results.features import Agop, Importance

__all__ = ["group_sums", "importance", "jackknife", "max_null", "resampled_sums", "score_of", "stability"]

_BLOCKS = 20
_HALVES = 50

#: From positions of rows, kept or in permuted order, to an AGOP: (d, d), (d,), or the result of ``agop``.
Fit = Callable[[np.ndarray], Any]


def importance(
    found: Agop | np.ndarray,
    *,
    n: int = 0,
    names: Sequence[str] | None = None,
    groups: np.ndarray | None = None,
    refit: Fit | None = None,
    by_group: Sequence[OuterProducts] | None = None,
    permuted: Fit | None = None,
    strata: np.ndarray | None = None,
    draws: int = 100,
    k: int = 5,
    seed: int = 0,
) -> Importance:
    """Scores of features with standard errors, a null and stable directions, each where its means are handed in.

    With neither ``refit`` nor ``by_group`` there are no errors, without ``permuted`` no p-values; ``notes`` say so.

    Parameters
    ----------
    found
        AGOP of the model on all data: the result of ``agop``, (d, d), or its diagonal (d,).
    n
        Rows that the model was fitted on; needed where a function is handed in and ``groups`` are not.
    names
        (d,) names of the features; those of ``found`` where it has them.
    groups
        (n,) whose each row is (donor, patient, study): deleted whole. Twenty random blocks of rows where ``None``.
    refit
        ``refit(rows)`` fits a model as the first one was, on these rows (positions, ascending) alone, and gives its
        AGOP: exact errors. Fitted once a group.
    by_group
        Sums of gradients of the *one* model by group (:func:`group_sums`): cheap errors. Not used where ``refit`` is.
    permuted
        ``permuted(order)`` fits a model on labels ``y[order]`` and gives its AGOP. Fitted ``draws`` times.
    strata
        (n,) within which labels are permuted; anywhere where ``None``.
    draws
        Permutations. The smallest p-value is 1 / (draws + 1).
    k
        Directions whose stability is told; 0 for none.
    seed
        Of blocks and permutations.

    Returns
    -------
    Importance

    Raises
    ------
    UsageError
        Neither ``n`` nor ``groups`` says how many rows there are.
    """
    matrix = _matrix(found)
    score = score_of(matrix)
    labels = _labels(names, found, len(score))
    notes: list[str] = []
    error, (lower, upper) = np.full(len(score), np.nan), (np.full(len(score), np.nan),) * 2
    resamples: list[np.ndarray] = []
    sizes = np.zeros(0)
    if refit is not None:
        codes, sizes, what = _groups(groups, n, seed)
        resamples = [_matrix(refit(np.flatnonzero(codes != g))) for g in range(len(sizes))]
        notes.append(f"Errors: exact jackknife, the model fitted again without each of {len(sizes)} {what}.")
    elif by_group is not None:
        sizes = np.array([each.weight for each in by_group])
        resamples = [_without(by_group, g) for g in range(len(sizes))]
        notes.append(
            f"Errors: cheap jackknife over {len(sizes)} groups with the model held fixed; they leave out what a new "
            "fit would change."
        )
    else:
        notes.append("Errors: none; neither a function that fits again nor sums by group were handed in.")
    if resamples:
        error, lower, upper = jackknife(score, np.stack([score_of(each) for each in resamples]), sizes=sizes)
    null = np.zeros((0, len(score)))
    if permuted is not None:
        rows = n or (0 if groups is None else len(groups))
        null = np.stack([score_of(_matrix(permuted(order))) for order in _orders(rows, strata, draws, seed)])
        notes.append(f"Null: {draws} fits on permuted labels; p-values are family-wise, by the largest score of each.")
    else:
        notes.append("Null: none; no function that fits on permuted labels was handed in.")
    directions, steady = None, pd.DataFrame(columns=["directions", "angle", "angle_90", "chance"])
    if matrix.ndim == 2 and k > 0:
        k = min(k, len(matrix))
        directions = _spectrum(matrix, k)
        spaces = resamples if refit is not None or by_group is None else resampled_sums(by_group, seed=seed)
        if spaces:
            steady = stability(matrix, spaces, k=k, seed=seed)
            kind = "fits without a group each" if refit is not None else "halves of the groups, the model held fixed"
            notes.append(f"Directions: angles to those of {len(spaces)} resamples ({kind}).")
    table = pd.DataFrame(
        {
            "feature": labels,
            "score": score,
            "standard_error": error,
            "lower": lower,
            "upper": upper,
            "p_value": max_null(score, null),
            "null": null.mean(axis=0) if len(null) else np.nan,
        }
    ).sort_values("score", ascending=False, kind="stable")
    provenance = {"groups": len(sizes), "draws": len(null), "seed": seed}
    maxima = null.max(axis=1) if len(null) else np.zeros(0)
    return Importance(table.reset_index(drop=True), directions, steady, maxima, tuple(notes), provenance)


def score_of(matrix: np.ndarray) -> np.ndarray:
    """(d,) shares of the diagonal of an AGOP ``matrix``, (d, d) or (d,); nought where all is."""
    diagonal = np.maximum(np.diagonal(matrix) if matrix.ndim == 2 else matrix, 0)
    total = float(diagonal.sum())
    return np.asarray(diagonal / total) if total > 0 else np.zeros_like(diagonal)


def jackknife(
    value: np.ndarray, left_out: np.ndarray, *, sizes: np.ndarray, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standard errors and intervals from the values without each group.

    Parameters
    ----------
    value
        (d,) on everything.
    left_out
        (g, d) without each group.
    sizes
        (g,) of the groups; with equal ones it is the ordinary delete-a-group jackknife.
    level
        Of the intervals (Student's t with g - 1 degrees of freedom, cut off at 0 and 1).

    Returns
    -------
    standard error, lower, upper : (d,) each; NaN with fewer than two groups
    """
    count = len(left_out)
    if count < 2:
        nothing = np.full(value.shape, np.nan)
        return nothing, nothing, nothing
    times = (sizes.sum() / sizes)[:, None]
    centre = count * value - ((1 - 1 / times) * left_out).sum(axis=0)
    pseudo = times * value - (times - 1) * left_out
    error = np.sqrt((((pseudo - centre) ** 2) / (times - 1)).mean(axis=0))
    wide = stats.t.ppf(0.5 + level / 2, count - 1) * error
    return error, np.clip(value - wide, 0, 1), np.clip(value + wide, 0, 1)


def max_null(score: np.ndarray, null: np.ndarray) -> np.ndarray:
    """(d,) family-wise p-values: share of draws, the data's own among them, whose largest score is as large.

    Parameters
    ----------
    score
        (d,)
    null
        (b, d) scores under permutation; NaN where there are none.
    """
    if not len(null):
        return np.full(score.shape, np.nan)
    maxima = np.sort(null.max(axis=1))
    beyond = len(maxima) - np.searchsorted(maxima, score, side="left")
    return np.asarray((1 + beyond) / (1 + len(maxima)))


def stability(matrix: np.ndarray, resamples: Sequence[np.ndarray], *, k: int = 5, seed: int = 0) -> pd.DataFrame:
    """How far the first directions turn from resample to resample.

    Parameters
    ----------
    matrix
        (d, d) on everything.
    resamples
        (d, d) each.
    k
        Spaces of 1 to k directions.
    seed
        Of the random spaces.

    Returns
    -------
    DataFrame
        ``directions, angle, angle_90, chance``: median and 90th percentile of the largest principal angle, and the
        median for spaces drawn at random, in radians.
    """
    own, theirs = _spectrum(matrix, k).T, [_spectrum(each, k).T for each in resamples]
    rng = np.random.default_rng(seed)
    drawn = [np.linalg.qr(rng.standard_normal((len(matrix), k)))[0] for _ in range(20)]
    rows = []
    for j in range(1, k + 1):
        angles = [subspace_angles(own[:, :j], each[:, :j]).max() for each in theirs]
        chance = [subspace_angles(own[:, :j], each[:, :j]).max() for each in drawn]
        rows.append((j, float(np.median(angles)), float(np.quantile(angles, 0.9)), float(np.median(chance))))
    return pd.DataFrame(rows, columns=["directions", "angle", "angle_90", "chance"])


def group_sums(
    model: Any,
    X: Any,
    *,
    groups: np.ndarray,
    at: str | None = None,
    targets: Any = None,
    ask: str | None = None,
    step: np.ndarray | float | None = None,
    chunk: int = 128,
    diagonal: bool = False,
) -> tuple[list[OuterProducts], np.ndarray]:
    """Sums of gradients of one model by group: what the cheap jackknife and half-samples are made of.

    Parameters
    ----------
    model, X, at, targets, ask, step, chunk, diagonal
        As in ``agop``.
    groups
        (n,) whose each row is.

    Returns
    -------
    sums of each group, and the groups' names in their order
    """
    names, codes = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    way = way_of(model, X, at=at, targets=targets, patches=None, ask=ask, step=step, chunk=chunk)
    return outer_products_by(way, codes, diagonal=diagonal), names


def resampled_sums(by_group: Sequence[OuterProducts], *, draws: int = _HALVES, seed: int = 0) -> list[np.ndarray]:
    """AGOPs over random halves of the groups, of one model.

    Parameters
    ----------
    by_group
        Sums by group.
    draws
        Halves drawn.
    seed
        Of the draws.
    """
    rng = np.random.default_rng(seed)
    half = max(1, len(by_group) // 2)
    out = []
    for _ in range(draws):
        some = rng.permutation(len(by_group))[:half]
        out.append(_merged([by_group[g] for g in np.sort(some)]))
    return out


def _without(by_group: Sequence[OuterProducts], left_out: int) -> np.ndarray:
    return _merged([each for g, each in enumerate(by_group) if g != left_out])


def _merged(sums: Sequence[OuterProducts]) -> np.ndarray:
    total = sums[0]
    for each in sums[1:]:
        total = total + each
    return _matrix(total.matrix())


def _matrix(found: Any) -> np.ndarray:
    given = found.matrix if isinstance(found, Agop) else found
    return np.asarray(given.detach().cpu() if hasattr(given, "detach") else given, dtype=np.float64)


def _labels(names: Sequence[str] | None, found: Any, d: int) -> np.ndarray:
    if names is None:
        names = list(found.names) if isinstance(found, Agop) else [f"x{i}" for i in range(d)]
    if len(names) != d:
        msg = f"Got {len(names)} names for {d} features; one each is needed."
        raise UsageError(msg)
    return np.array([str(name) for name in names], dtype=object)


def _groups(groups: np.ndarray | None, n: int, seed: int) -> tuple[np.ndarray, np.ndarray, str]:
    """(n,) code of each row's group, sizes, and what they are."""
    if groups is not None:
        _, codes, sizes = np.unique(np.asarray(groups).astype(str), return_inverse=True, return_counts=True)
        if len(sizes) < 2:
            msg = "All rows are of one group; a jackknife over groups needs two or more."
            raise DataError(msg)
        return codes, sizes.astype(np.float64), "groups"
    if n < 2:
        msg = "Neither groups nor n says how many rows there are; give one of them."
        raise UsageError(msg)
    blocks = min(_BLOCKS, n)
    codes = np.random.default_rng(seed).permutation(n) % blocks
    return codes, np.bincount(codes).astype(np.float64), "random blocks of rows"


def _orders(n: int, strata: np.ndarray | None, draws: int, seed: int) -> Iterator[np.ndarray]:
    if n < 2:
        msg = "Neither groups nor n says how many rows there are; give one of them."
        raise UsageError(msg)
    rng = np.random.default_rng([seed, 1])
    codes = np.zeros(n, dtype=np.int64) if strata is None else np.unique(np.asarray(strata), return_inverse=True)[1]
    for _ in range(draws):
        order = np.arange(n)
        for stratum in range(int(codes.max()) + 1):
            rows = np.flatnonzero(codes == stratum)
            order[rows] = rng.permutation(rows)
        yield order


def _spectrum(matrix: np.ndarray, k: int) -> np.ndarray:
    """(k, d) first eigenvectors, the entry of most weight positive."""
    rows = np.linalg.eigh(matrix)[1][:, ::-1][:, :k].T
    strongest = rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)]
    return np.asarray(rows * np.where(strongest < 0, -1.0, 1.0)[:, None])
