"""What the numbers of a matrix are: raw counts, a logarithm of some kind, or something that cannot be undone.

Two pieces of evidence, for each transform a person may have applied, after undoing it:

*Constant sums.* Every cell sums to the same size. True of whole normalised matrices, false once genes were dropped.

*Whole ratios.* Within one cell all values are ``k * s`` with whole ``k`` (its counts) and one ``s`` (its scale), so
divided by the smallest they are whole. True of any subset of the genes, and of cells each normalised by its own factor.

The judgement is made on a sample, so ``to_linear`` checks every block against it while the file streams.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from whycell.errors import ExpressionError

__all__ = ["KINDS", "ValueKind", "judge_values", "to_linear"]

#: Every kind, and the words for it after "X holds".
KINDS: dict[str, str] = {
    "counts": "raw counts",
    "log1p_cp10k": "log1p of counts per 10,000",
    "log1p": "log1p of normalised counts",
    "log2": "log2(x + 1) values",
    "cpm": "normalised values, not logged",
    "double_log": "values log-transformed twice",
    "scaled": "scaled values (z-scores)",
    "negative": "negative values",
    "not_finite": "NaN or infinite values",
    "empty": "only zeros",
    "unknown": "values of no kind we know",
}
_USABLE = ("counts", "log1p_cp10k", "log1p", "log2", "cpm", "double_log")

_WHOLE = 1e-3  # a count written as float32 and read back is this near to whole
_SUM_SPREAD = 0.02  # central 90 % of the cell sums within 2 % of their median: "constant"
_RATIO_ERROR = 0.05  # mean distance to the nearest whole number; chance gives 0.25
_MAX_RATIO = 30.0  # beyond this, values rounded to three decimals no longer tell k from k + 1
_MAX_ROWS = 400
_STRETCH = 1 << 15


@dataclass(frozen=True)
class ValueKind:
    """What a matrix holds.

    Parameters
    ----------
    kind
        One of ``KINDS``.
    target_sum
        The size to which every cell was normalised, in counts; ``None`` where cells differ or genes were dropped.
    log_base
        Base of the logarithm (e, 2 or 10); ``None`` where there is none.
    reason
        The evidence, as a clause that can follow "because".
    guess
        Whether only the range of the values speaks for it.
    """

    kind: str
    target_sum: float | None = None
    log_base: float | None = None
    reason: str = ""
    guess: bool = False

    @property
    def usable(self) -> bool:
        """Whether ``to_linear`` can give counts back, up to one factor a cell."""
        return self.kind in _USABLE

    @property
    def name(self) -> str:
        """The kind in words, with its size where that is known."""
        if self.kind == "log1p" and self.log_base == 10.0:
            words = "log10(x + 1) of normalised counts"
        else:
            words = KINDS[self.kind]
        shows_size = self.kind in ("log1p", "log2", "cpm", "double_log")
        return f"{words}, {self.target_sum:,.0f} a cell" if shows_size and self.target_sum else words

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Transform:
    """One thing a person may have done to counts, and how to undo it."""

    kind: str
    log_base: float | None
    undo: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    limit: float  # a larger value would stand for more than 1e9 counts in one gene of one cell


_TRANSFORMS = (
    _Transform("cpm", None, lambda x: x, np.inf),
    _Transform("log1p", float(np.e), np.expm1, 20.7),
    _Transform("log2", 2.0, lambda x: np.expm1(x * np.log(2.0)), 29.9),
    _Transform("log1p", 10.0, lambda x: np.expm1(x * np.log(10.0)), 9.0),
    _Transform("double_log", float(np.e), lambda x: np.expm1(np.expm1(x)), 3.08),
    _Transform("unknown", None, np.square, 3.2e4),  # recognised so that it is not taken for something else
)


def judge_values(sample: sp.csr_matrix) -> ValueKind:
    """Judge what a matrix holds from some of its cells.

    Parameters
    ----------
    sample
        (n_cells, n_genes), some rows of the matrix; any subset of the genes will do.

    Returns
    -------
    ValueKind
        ``unknown`` rather than a guess, where the evidence is missing.
    """
    sample = sp.csr_matrix(sample)
    values = sample.data[sample.data != 0]
    if values.size == 0:
        return ValueKind("empty", reason="no value looked at differs from zero")
    n_bad = int(values.size - np.isfinite(values).sum())
    if n_bad:
        return ValueKind(
            "not_finite", reason=f"{n_bad:,} of {values.size:,} values looked at {_are(n_bad)} NaN or infinite"
        )
    if values.min() < 0:
        return _judge_negative(sample, values)
    rows = _nonzero_rows(sample)
    if values.min() > 0.5 and _all_whole(values):
        return ValueKind(
            "counts", reason=f"all {values.size:,} values looked at are whole, the largest {values.max():,.0f}"
        )
    if (mixed := _mixture(rows)) is not None:
        return mixed
    return _judge_fractional(sample, rows, float(values.max()))


def to_linear(values: sp.csr_matrix, kind: ValueKind, *, first_row: int = 0) -> sp.csr_matrix:
    """Undo the transform: counts, or values proportional to the counts within each cell.

    Parameters
    ----------
    values
        (n_cells, n_genes), one block of the matrix. Not changed.
    kind
        The judgement of ``judge_values``.
    first_row
        Row of the file at which the block starts, so that an error can name the cell.

    Returns
    -------
    scipy.sparse.csr_matrix
        (n_cells, n_genes) float32, same places as ``values``; the very same object for counts and linear values.

    Raises
    ------
    ExpressionError
        If the kind cannot be undone, or the block contradicts it.
    """
    if not kind.usable:
        msg = f"The matrix holds {kind.name}: {kind.reason}. Wanted raw counts or a logarithm of them."
        raise ExpressionError(msg)
    transform = _transform_of(kind)
    _verify(values, kind, transform, first_row)
    if transform.log_base is None:
        return values
    linear = transform.undo(values.data.astype(np.float64)).astype(np.float32)
    return sp.csr_matrix((linear, values.indices, values.indptr), shape=values.shape)


def _judge_negative(sample: sp.csr_matrix, values: NDArray[Any]) -> ValueKind:
    """Z-scores are negative in most genes; a few stray negatives are damage or a batch correction."""
    n_negative = int((values < 0).sum())
    columns_negative = np.count_nonzero(np.bincount(sample.indices[sample.data < 0]))
    columns_used = np.count_nonzero(np.bincount(sample.indices))
    share = f"{n_negative:,} of {values.size:,} values looked at {_are(n_negative)}"
    reason = f"{share} negative, the smallest {values.min():.3g}"
    if n_negative >= 0.1 * values.size and columns_negative >= 0.5 * columns_used:
        clipped = " and the largest is clipped at 10" if abs(float(values.max()) - 10.0) < 1e-3 else ""
        return ValueKind("scaled", reason=f"{reason}{clipped}")
    return ValueKind("negative", reason=reason)


def _are(n: int) -> str:
    return "is" if n == 1 else "are"


def _judge_fractional(sample: sp.csr_matrix, rows: list[NDArray[np.float64]], largest: float) -> ValueKind:
    """Not negative and not whole: try every transform, and believe the best evidence."""
    possible = [t for t in _TRANSFORMS if largest <= t.limit]
    errors = [_ratio_error(rows, t) for t in possible]
    targets = [_constant_sum(rows, t) for t in possible]
    # Ratios first: they tell the transforms apart to float precision, where sums can be near-constant by accident.
    best = min(range(len(possible)), key=lambda i: round(errors[i], 5))
    if errors[best] < _RATIO_ERROR and possible[best].kind == "unknown":
        return ValueKind("unknown", reason="the squares of the values are whole multiples: square roots of counts")
    if errors[best] < _RATIO_ERROR:
        undone = "" if possible[best].log_base is None else "once the logarithm is undone, "
        reason = f"{undone}the values of each cell are whole multiples of its smallest one"
        return _as_kind(possible[best], targets[best], reason)
    constant = [i for i, target in enumerate(targets) if target is not None and possible[i].kind != "unknown"]
    if constant:
        i = constant[0]
        return _as_kind(possible[i], targets[i], "once this is undone, every cell sums to the same size")
    if (deviation := _unit_deviation(sample)) is not None:
        return ValueKind("scaled", reason=f"{100 * deviation:.0f} % of genes have a standard deviation of 1")
    zeros = 1.0 - sample.nnz / max(sample.shape[0] * sample.shape[1], 1)
    if largest > _TRANSFORMS[2].limit and zeros > 0.2:
        reason = f"values are fractional and reach {largest:,.0f}, too large for any logarithm"
        return ValueKind("cpm", reason=reason, guess=True)
    reason = f"values are fractional, reach {largest:.3g}, and no logarithm or normalisation explains them"
    return ValueKind("unknown", reason=reason)


def _as_kind(transform: _Transform, target: float | None, reason: str) -> ValueKind:
    if target is not None:
        reason = f"{reason}, and cells sum to {target:,.0f}" if "multiples" in reason else f"{reason}, {target:,.0f}"
    is_cp10k = transform.kind == "log1p" and transform.log_base != 10.0 and target and abs(target / 1e4 - 1) < 0.02
    return ValueKind("log1p_cp10k" if is_cp10k else transform.kind, target, transform.log_base, reason)


def _transform_of(kind: ValueKind) -> _Transform:
    name = {"counts": "cpm", "log1p_cp10k": "log1p"}.get(kind.kind, kind.kind)
    return next(t for t in _TRANSFORMS if t.kind == name and t.log_base == kind.log_base)


def _nonzero_rows(sample: sp.csr_matrix) -> list[NDArray[np.float64]]:
    """Sorted non-zero values of up to ``_MAX_ROWS`` cells, spread evenly over the sample."""
    picked = np.unique(np.linspace(0, sample.shape[0] - 1, min(sample.shape[0], _MAX_ROWS)).astype(np.int64))
    rows = (sample.data[sample.indptr[i] : sample.indptr[i + 1]] for i in picked)
    kept = (np.sort(row[row != 0]).astype(np.float64) for row in rows)
    return [row for row in kept if row.size]


def _all_whole(values: NDArray[Any]) -> bool:
    # Stretches that stay in the cache: a third of the time of going over all values once a step.
    stretches = (values[start : start + _STRETCH] for start in range(0, values.size, _STRETCH))
    return all(bool(np.abs(part - np.rint(part)).max() <= _WHOLE) for part in stretches)


def _mixture(rows: list[NDArray[np.float64]]) -> ValueKind | None:
    """Some cells whole and some not: two matrices of different kinds were concatenated."""
    telling = [row for row in rows if np.unique(row).size >= 4]
    # Some cells are whole by accident: CPM where the total divides a million (but then the smallest value is not 1),
    # log2 of counts that are all 1 or 3 (but then they differ little).
    n_whole = sum(0.5 < row[0] < 1.5 and _all_whole(row) for row in telling)
    if not 0.05 * len(telling) < n_whole < 0.95 * len(telling):
        return None
    reason = (
        f"{n_whole:,} of {len(telling):,} cells looked at hold whole counts and the others do not: cells of two kinds"
    )
    return ValueKind("unknown", reason=reason)


def _ratio_error(rows: list[NDArray[np.float64]], transform: _Transform) -> float:
    """Median over cells of the mean distance of value / smallest value to a whole number; inf where nothing tells."""
    distinct = [np.unique(transform.undo(row)) for row in rows]
    for least in (2, 1):  # very shallow cells hold two values only: one ratio each, but many cells
        errors = [e for values in distinct if (e := _row_ratio_error(values, least)) is not None]
        if errors and len(errors) >= min(5 if least == 2 else 20, len(rows)):
            return float(np.median(errors) if least == 2 else np.mean(errors))
    return float("inf")


def _row_ratio_error(distinct: NDArray[np.float64], least: int) -> float | None:
    """``distinct``: the distinct values of one cell, rising. ``None`` where they give fewer than ``least`` ratios."""
    units = [distinct[0]]
    # Where the smallest count is not 1 (few, strongly expressed genes), neighbours still differ by one count.
    gaps = np.diff(distinct)
    gaps = gaps[gaps > 0.1 * distinct[0]]
    if gaps.size and least > 1:  # with two values the gap always divides one of them well enough
        units.append(gaps.min())
    errors = []
    for unit in units:
        ratios = distinct / unit
        ratios = ratios[(ratios > 1.02) & (ratios <= _MAX_RATIO)]
        if ratios.size >= least:
            errors.append(float(np.abs(ratios - np.rint(ratios)).mean()))
    return min(errors) if errors else None


def _constant_sum(rows: list[NDArray[np.float64]], transform: _Transform) -> float | None:
    """The size of a cell after undoing ``transform``, where nearly all cells share one."""
    if len(rows) < 5:
        return None
    sums = np.array([transform.undo(row).sum() for row in rows])
    low, middle, high = np.quantile(sums, [0.05, 0.5, 0.95])
    return float(middle) if high - low <= _SUM_SPREAD * middle else None


def _unit_deviation(sample: sp.csr_matrix) -> float | None:
    """Share of genes whose deviation is 1, where that is nearly all: scaled without centring."""
    n = sample.shape[0]
    if n < 50:
        return None
    mean = np.asarray(sample.mean(axis=0)).ravel()
    square = np.asarray(sample.multiply(sample).mean(axis=0)).ravel()
    often = np.asarray((sample != 0).sum(axis=0)).ravel() >= 0.1 * n
    deviations = np.sqrt(np.maximum(square - mean**2, 0.0))[often]
    share = float(np.mean(np.abs(deviations - 1.0) < 0.2)) if deviations.size >= 10 else 0.0
    return share if share >= 0.9 else None


def _verify(values: sp.csr_matrix, kind: ValueKind, transform: _Transform, first_row: int) -> None:
    """Hold a block against the judgement; two reductions in the good case, so that streaming stays fast."""
    data = values.data
    if data.size == 0:
        return
    smallest, largest = float(data.min()), float(data.max())
    wrong: NDArray[np.bool_] | None = None
    what = ""
    if not (np.isfinite(smallest) and np.isfinite(largest)):
        wrong, what = ~np.isfinite(data), "NaN or infinite values"
    elif smallest < 0:
        wrong, what = data < 0, f"negative values (down to {smallest:.3g})"
    elif kind.kind == "counts" and not _all_whole(data):
        wrong, what = np.abs(data - np.rint(data)) > _WHOLE, "fractional values"
    elif largest > (limit := _limit(kind, transform)):
        wrong, what = data > limit, f"values up to {largest:,.6g}, too large for a logarithm (at most {limit:.3g})"
    elif transform.log_base is not None and data.size >= 50 and largest > 1.5 and _all_whole(data):
        wrong, what = np.ones(data.size, dtype=bool), "whole numbers only, like raw counts"
    if wrong is None:
        return
    places = np.unique(np.searchsorted(values.indptr, np.flatnonzero(wrong), side="right") - 1) + first_row
    shown = ", ".join(str(i) for i in places[:3]) + (", …" if places.size > 3 else "")
    msg = (
        f"{places.size:,} cell(s) contradict the rest of the file, which was judged to hold {kind.name}: {what}, "
        f"in row(s) {shown} (counting from 0). Were cells of two files joined? "
        "Give one kind of values for all cells, best raw counts."
    )
    raise ExpressionError(msg)


def _limit(kind: ValueKind, transform: _Transform) -> float:
    """The largest value that can be, with 5 % in hand: no gene holds more than the whole cell."""
    if kind.target_sum is None or transform.log_base is None:
        return transform.limit
    whole_cell = np.log1p(kind.target_sum)
    if kind.kind == "double_log":
        return min(transform.limit, 1.05 * float(np.log1p(whole_cell)))
    return min(transform.limit, 1.05 * float(whole_cell / np.log(transform.log_base)))
