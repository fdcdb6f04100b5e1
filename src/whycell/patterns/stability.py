"""Whether rows of weights fall into groups, and into how many: what half of the models and half of the samples say of
the other half, against data of one piece.

Half of the samples, with weights from half of the models, are clustered; the other half of the samples, with weights
from the other models, are clustered by themselves and also put into the first clustering's groups. The adjusted Rand
index of the two is the stability (prediction strength of Tibshirani & Walther 2005, with fresh masks beside fresh
samples). What a cloud without groups would score is measured on clouds: normal ones with the mean, the covariance and
the noise of the weights, estimated from two halves of the models, and brought to unit length as the weights are. A
number of groups counts as found if no cloud does as well, over all numbers tried, and if it is a good part of the way
from a cloud's stability to perfect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from whycell.patterns.partition import Clustering, adjusted_rand, centres, nearest, partitions
from whycell.patterns.teaching import unit_rows

__all__ = ["Curve", "Halves", "stability_curve"]

#: Rows beyond this many are left out of the curve, not of the groups: Ward's tree is quadratic.
MOST_ROWS = 600
#: Directions that a cloud without groups has.
_DIRECTIONS = 30

#: Two (n, d) views of the same samples, each from one half of the models.
Halves = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Curve:
    """Stability by number of groups.

    Parameters
    ----------
    counts
        (k,) numbers of groups tried.
    stability, error
        (k,) mean adjusted Rand index over the rounds, and its standard error.
    expected, spread
        (k,) mean and standard deviation over the clouds without groups.
    p_value
        Share of the clouds, this data counted among them, whose best number stands out as much.
    """

    counts: np.ndarray
    stability: np.ndarray
    error: np.ndarray
    expected: np.ndarray
    spread: np.ndarray
    p_value: float

    @property
    def excess(self) -> np.ndarray:
        """(k,) stability beyond that of clouds, in their standard deviations."""
        return (self.stability - self.expected) / self.spread

    @property
    def gain(self) -> np.ndarray:
        """(k,) how far stability has come from a cloud's towards 1."""
        return (self.stability - self.expected) / np.maximum(1 - self.expected, 1e-3)

    def choose(self, *, level: float, least: float) -> int:
        """The number of groups, that of the largest :attr:`gain`; 1 where nothing stands out.

        Parameters
        ----------
        level
            Largest p-value.
        least
            Smallest :attr:`gain` that is worth the name.
        """
        worth = self.gain >= least
        if self.p_value > level or not worth.any():
            return 1
        return int(self.counts[int(self.gain.argmax())])


def stability_curve(
    halves: Sequence[Halves],
    counts: Sequence[int],
    *,
    method: Clustering = "ward",
    n_clouds: int = 99,
    rng: np.random.Generator,
    told: Callable[[], None] | None = None,
) -> Curve:
    """Stability of each number of groups, and that of clouds without any.

    Parameters
    ----------
    halves
        One pair a round: (n, d) weights by a random half of the models, and by the other half.
    counts
        Numbers of groups to try, from 2.
    method
        How to cluster; clouds are clustered the same way.
    n_clouds
        Clouds without groups.
    rng
        Source of randomness.
    told
        Called after each cloud.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # thousands of small products: threads would wait for one another
        return _curve(halves, counts, method, n_clouds, rng, told)


def _curve(
    halves: Sequence[Halves],
    counts: Sequence[int],
    method: Clustering,
    n_clouds: int,
    rng: np.random.Generator,
    told: Callable[[], None] | None,
) -> Curve:
    n = len(halves[0][0])
    kept = np.sort(rng.choice(n, MOST_ROWS, replace=False)) if n > MOST_ROWS else np.arange(n)
    halves = [(first[kept], second[kept]) for first, second in halves]
    counts = [k for k in counts if k <= len(kept) // 4]
    clouds = _Clouds(halves[0])
    rounds = np.array([_one_round((unit_rows(a), unit_rows(b)), counts, method, rng) for a, b in halves])
    scores = np.empty((n_clouds, len(counts)))
    for c in range(n_clouds):
        cloud = clouds.draw(rng)
        scores[c] = np.mean([_one_round(cloud.halves(rng), counts, method, rng) for _ in halves], axis=0)
        if told is not None:
            told()
    stability, expected = rounds.mean(axis=0), scores.mean(axis=0)
    spread = np.maximum(scores.std(axis=0, ddof=min(1, n_clouds - 1)), 1e-3)
    best = ((stability - expected) / spread).max()
    of_clouds = ((scores - expected) / spread).max(axis=1)
    return Curve(
        counts=np.asarray(counts),
        stability=stability,
        error=rounds.std(axis=0, ddof=1) / np.sqrt(len(rounds)) if len(rounds) > 1 else np.zeros(len(counts)),
        expected=expected,
        spread=spread,
        p_value=float((1 + (of_clouds >= best).sum()) / (1 + n_clouds)),
    )


def _one_round(pair: Halves, counts: Sequence[int], method: Clustering, rng: np.random.Generator) -> np.ndarray:
    """(k,) agreement of the two halves of the samples, each seen through its own half of the models."""
    first, second = pair
    order = rng.permutation(len(first))
    middle = len(order) // 2
    teach, test = first[order[:middle]], second[order[middle:]]
    seed = int(rng.integers(2**31))
    taught = partitions(teach, counts, method=method, seed=seed)
    own = partitions(test, counts, method=method, seed=seed)
    return np.array([adjusted_rand(nearest(test, centres(teach, taught[:, k])), own[:, k]) for k in range(len(counts))])


class _Clouds:
    """Normal clouds with the mean and covariance that two views share, and noise as far apart as theirs."""

    def __init__(self, pair: Halves) -> None:
        first, second = (np.asarray(view, dtype=np.float64) for view in pair)
        n = len(first)
        _, _, directions = np.linalg.svd((first + second) / 2, full_matrices=False)
        directions = directions[: max(2, min(_DIRECTIONS, n // 4))].T
        first, second = first @ directions, second @ directions
        self.n = n
        self.mean = (first + second).mean(axis=0) / 2
        apart = first - second
        first, second = first - first.mean(axis=0), second - second.mean(axis=0)
        shared = first.T @ second / n
        self.signal = _root((shared + shared.T) / 2)
        self.noise = _root(apart.T @ apart / (2 * n))

    def draw(self, rng: np.random.Generator) -> _Cloud:
        return _Cloud(self.mean + rng.standard_normal((self.n, len(self.signal))) @ self.signal, self.noise)


@dataclass(frozen=True)
class _Cloud:
    points: np.ndarray
    noise: np.ndarray

    def halves(self, rng: np.random.Generator) -> Halves:
        first, second = (self.points + rng.standard_normal(self.points.shape) @ self.noise for _ in range(2))
        return unit_rows(first), unit_rows(second)


def _root(covariance: np.ndarray) -> np.ndarray:
    """A matrix whose square is the covariance; what is negative, which noise makes it, is 0."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
