"""Which of many scored places are sites: ranks that know where to expect one, false shares and q-values.

Places are of two kinds: real ones, sites and chance matches together, and null ones, from shuffles, which are chance
matches all. Everything here is said of both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression

__all__ = ["Both", "expected_ranks", "false_share", "q_values"]

_CAUTION = 5.0  # false places of average odds that are added to every bin
_ROUNDS = 4


class Both(NamedTuple):
    """Something of every place, and the same of every null place."""

    real: np.ndarray
    null: np.ndarray


def expected_ranks(scores: Both, bins: Both, halves: Both, *, shuffles: int, rising: bool) -> Both:
    """Scores plus log prior odds of the bin, in bits, counted in the other half.

    How many sites a bin holds for each false place: sites are places weighed by the probability that they are one,
    which the ranks of the round before give; false places are counted in the shuffles.

    Parameters
    ----------
    scores
        Log odds of the letters, in bits.
    bins
        0, 1 and so on, in the order of what the bins stand for.
    halves
        0 or 1.
    shuffles
        How many times as many null places there are as false ones.
    rising
        Whether odds may only rise with the bin, or only fall.
    """
    n_bins = int(max(bins.real.max(initial=0), bins.null.max(initial=0))) + 1
    ranks = scores
    for _ in range(_ROUNDS):
        site = 1 - false_share(ranks, shuffles=shuffles)
        prior = np.empty((2, n_bins))
        for half in (0, 1):
            real, null = halves.real != half, halves.null != half
            sites = np.bincount(bins.real[real], weights=site[real], minlength=n_bins)
            false = np.bincount(bins.null[null], minlength=n_bins) / shuffles
            prior[half] = _log_prior(sites, false, rising=rising)
        ranks = Both(*(s + prior[half, at] for s, half, at in zip(scores, halves, bins, strict=True)))
    return ranks


def _log_prior(sites: np.ndarray, false: np.ndarray, *, rising: bool) -> np.ndarray:
    """Bits by which sites are commoner in each bin, a false place, than on average."""
    average = max(sites.sum(), 1e-9) / max(false.sum(), 1e-9)
    odds = (sites / average + _CAUTION) / (false + _CAUTION)
    bits: np.ndarray = np.log2(isotonic_regression(odds, weights=false + _CAUTION, increasing=rising).x)
    return bits


def false_share(ranks: Both, *, shuffles: int) -> np.ndarray:
    """Share of false ones among real places of the same rank; it falls with the rank.

    Parameters
    ----------
    ranks
        Of the places.
    shuffles
        How many times as many null places there are as false ones.
    """
    every = np.concatenate(ranks)
    is_null = np.arange(len(every)) >= len(ranks.real)
    order = np.argsort(-every, kind="stable")
    share = np.empty(len(every))
    share[order] = isotonic_regression(is_null[order].astype(np.float64)).x
    odds = share[: len(ranks.real)] / np.maximum(1 - share[: len(ranks.real)], 1e-9)
    return np.minimum(odds / shuffles, 1)


def q_values(ranks: Both, *, shuffles: int) -> np.ndarray:
    """Share of false hits at each real place's rank or above: null places a shuffle over real places, monotone.

    Parameters
    ----------
    ranks
        Of the places.
    shuffles
        How many times as many null places there are as false ones.
    """
    order = np.argsort(-ranks.real, kind="stable")
    above = len(ranks.null) - np.searchsorted(np.sort(ranks.null), ranks.real[order], side="left")
    shares = (above / shuffles + 1) / np.arange(1, len(order) + 1)
    q = np.empty(len(order))
    q[order] = np.minimum(np.minimum.accumulate(shares[::-1])[::-1], 1)
    return q
