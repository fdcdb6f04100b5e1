"""Deletion and insertion: does the output follow when the features of highest score go, or come?

*Features* are the elements of an array of scores (n, ...), one row a sample. Scores may be coarser than the input where
they broadcast to it: scores (n, 1, length) of one-hot sequences (n, 4, length) make each position one feature, deleted
as a whole.

What these names mean in every function here:

predict
    Takes inputs (m, ...) of the shape of ``x`` and gives the (m,) outputs that are explained.
x
    (n, ...) inputs; dense.
scores
    (n, ...) contributions as an explanation gives them: positive speaks for the output.
reference
    What a deleted feature becomes: a number, or an array that broadcasts to ``x``.
counts
    How many features go or come at each point of the curve, rising.
chunk
    Inputs given to ``predict`` at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from whycell.errors import UsageError
from whycell.metrics.intervals import Interval, bootstrap_sums

__all__ = ["RANDOM", "Curve", "compare_curves", "deletion_curve", "insertion_curve", "random_scores"]

#: The name under which random features stand beside the methods compared.
RANDOM = "random features"

Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Curve:
    """What the output does as the features of highest score go or come.

    Parameters
    ----------
    counts
        (c,) how many features.
    change
        (n, c) for deletion the fall f(x) - f(x without them), for insertion the rise f(with only them) - f(reference).
    area
        (n,) mean height of the curve from 0 to the last count, by trapezia. Larger is better, for either curve.
    """

    counts: np.ndarray
    change: np.ndarray
    area: np.ndarray


def deletion_curve(
    predict: Predict, x: Any, *, scores: Any, reference: Any, counts: Sequence[int], chunk: int = 2048
) -> Curve:
    """Set the features of highest score to their reference, and see how far the output falls.

    The curve of Petsiuk et al. (BMVC 2018), as a fall from f(x), so that larger is better.
    """
    x, scores, reference, points = _checked(x, scores, reference, counts)
    outputs = _outputs(predict, x, reference, scores=scores, counts=points, chunk=chunk)
    return _curve(points[1:], outputs[:, :1] - outputs[:, 1:])


def insertion_curve(
    predict: Predict, x: Any, *, scores: Any, reference: Any, counts: Sequence[int], chunk: int = 2048
) -> Curve:
    """Bring the features of highest score into the reference, and see how far the output rises.

    The counterpart of :func:`deletion_curve`, from the same paper.
    """
    x, scores, reference, points = _checked(x, scores, reference, counts)
    outputs = _outputs(predict, reference, x, scores=scores, counts=points, chunk=chunk)
    return _curve(points[1:], outputs[:, 1:] - outputs[:, :1])


def random_scores(x: Any, *, like: Any, reference: Any, seed: int = 0) -> np.ndarray:
    """Scores that put the features in random order, those that differ from the reference first.

    A feature at its reference cannot change the output: drawing such features too would make chance look worse than
    it is. ``like`` is an array of scores whose shape to take.
    """
    x, shape = np.asarray(x), np.shape(like)
    moved = _folded((x != np.broadcast_to(reference, x.shape)).astype(np.float64), shape) > 0
    order: np.ndarray = np.random.default_rng(seed).random(shape) + moved
    return order


def compare_curves(curves: Mapping[str, Curve], *, best: str, groups: Any = None) -> dict[str, tuple[Interval, ...]]:
    """Methods' curves side by side, each with what ``best`` gains over it on the same samples.

    Parameters
    ----------
    curves
        By method, on the same samples with the same counts; :data:`RANDOM` names that of :func:`random_scores`.
    best
        The method that the others are compared with.
    groups
        (n,) donor of each sample; without them every sample is a group of its own.

    Returns
    -------
    For each method its mean area, and the mean of (area of ``best`` minus its own): both with a 95 % interval over
    groups, a group drawn with all its samples.
    """
    if best not in curves:
        msg = f"no curve named {best!r}: wanted one of {', '.join(curves)}"
        raise UsageError(msg)
    own = curves[best].area
    return {
        name: (_mean_interval(curve.area, groups), _mean_interval(own - curve.area, groups))
        for name, curve in curves.items()
    }


def _checked(
    x: Any, scores: Any, reference: Any, counts: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All as arrays, ``reference`` in the shape of ``x``, ``counts`` behind a zero: the point where nothing went."""
    x, scores, points = np.asarray(x), np.asarray(scores), np.array([0, *counts], dtype=np.int64)
    wide = len(scores) == len(x) and scores.ndim == x.ndim
    if not wide or np.broadcast_shapes(scores.shape, x.shape) != x.shape:
        msg = f"scores of shape {scores.shape} for inputs of shape {x.shape}: wanted one a feature of each input"
        raise UsageError(msg)
    if len(points) < 2 or (np.diff(points) <= 0).any():
        msg = f"counts={points[1:].tolist()}: wanted rising numbers of features, from 1"
        raise UsageError(msg)
    return x, scores, np.broadcast_to(np.asarray(reference, dtype=x.dtype), x.shape), points


def _outputs(
    predict: Predict, start: np.ndarray, end: np.ndarray, *, scores: np.ndarray, counts: np.ndarray, chunk: int
) -> np.ndarray:
    """(n, c) outputs with the ``counts`` features of highest score taken from ``end`` and all others from ``start``."""
    found = np.empty((len(start), len(counts)))
    step = max(1, chunk // len(counts))
    for at in range(0, len(start), step):
        part = slice(at, at + step)
        flat = scores[part].reshape(len(scores[part]), -1)
        rank = np.empty(flat.shape, dtype=np.int64)
        np.put_along_axis(rank, np.argsort(-flat, axis=1, kind="stable"), np.arange(flat.shape[1])[None], 1)
        taken = rank.reshape(scores[part].shape)[:, None] < counts.reshape(-1, *[1] * (scores.ndim - 1))
        mixed = np.where(taken, end[part, None], start[part, None])
        outputs = predict(mixed.reshape(-1, *mixed.shape[2:]))
        found[part] = np.asarray(outputs, dtype=np.float64).reshape(-1, len(counts))
    return found


def _curve(counts: np.ndarray, change: np.ndarray) -> Curve:
    heights = np.concatenate([np.zeros((len(change), 1)), change], axis=1)
    area = np.trapezoid(heights, np.concatenate([[0], counts]), axis=1) / counts[-1]
    return Curve(counts, change, np.asarray(area))


def _mean_interval(values: np.ndarray, groups: Any) -> Interval:
    names = np.arange(len(values)) if groups is None else np.asarray(groups)
    codes = np.unique(names, return_inverse=True)[1]
    sums = np.stack([np.bincount(codes, weights=values), np.bincount(codes)], axis=1)
    return bootstrap_sums(sums, lambda s: s[:, 0] / s[:, 1])


def _folded(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Summed over the axes along which ``shape`` has one element."""
    axes = tuple(axis for axis, (wide, narrow) in enumerate(zip(x.shape, shape, strict=True)) if narrow < wide)
    return np.asarray(x.sum(axis=axes, keepdims=True)) if axes else x
