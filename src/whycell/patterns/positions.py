"""Where in a sequence the event lies: from what its bases, or the units that look at them, add to the output.

Every method first gives a *profile*, a weight for each letter of the sequence: the positive contributions of the bases,
of saturation mutagenesis, or of the units of a layer, each at the middle of what it reads. The profile is smoothed
over about a motif's width; the event is where it is highest, and its place the weighted mean of what lies under that
peak. The weighted mean of *everything*, which the authors of DeepLIFT showed for the neurons of the last layer, lies
between the events where there are two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Events", "mean_position", "profile_of_units", "strongest_events"]


@dataclass(frozen=True)
class Events:
    """Places in n sequences, in letters from 0 (the middle of a letter is a whole number).

    Parameters
    ----------
    position
        (n, most) float64: the strongest event first; NaN where a sequence has no further one.
    weight
        (n, most) float64: the share of the profile that lies under each.
    spread
        (n,) float64: standard deviation of the whole profile; wide where it holds two events, or none.
    lower, upper
        (n,) float64: between them lie the middle nine tenths of the profile.
    """

    position: np.ndarray
    weight: np.ndarray
    spread: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def mean_position(profile: np.ndarray) -> np.ndarray:
    """(n,) weighted mean position of profiles (n, length); the middle of a sequence whose profile is empty."""
    total = profile.sum(axis=1)
    letters = np.arange(profile.shape[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, profile @ letters / total, (profile.shape[1] - 1) / 2)


def profile_of_units(values: np.ndarray, centre: np.ndarray, *, length: int) -> np.ndarray:
    """(n, length) positive contributions of units at the letters that they look at.

    Parameters
    ----------
    values
        (n, strands, channels, positions) contributions.
    centre
        (strands, positions) where each looks, in letters; between two letters its weight is shared by nearness.
    length
        Letters of a sequence; what looks beyond its ends is counted at the end.
    """
    weights = np.maximum(values, 0).sum(axis=2).reshape(len(values), -1).astype(np.float64)
    at = np.clip(centre.ravel(), 0, length - 1)
    left = np.floor(at).astype(np.int64)
    share = at - left
    onto = np.zeros((at.size, length))
    np.add.at(onto, (np.arange(at.size), left), 1 - share)
    np.add.at(onto, (np.arange(at.size), np.minimum(left + 1, length - 1)), share)
    return weights @ onto


def strongest_events(profile: np.ndarray, *, width: int = 11, most: int = 1, least: float = 0.25) -> Events:
    """The highest peaks of smoothed profiles.

    Parameters
    ----------
    profile
        (n, length), none below zero.
    width
        Letters smoothed over, with weights that fall off to both sides (a triangle of twice the width at its foot).
        Events nearer than ``2 * width`` are one.
    most
        Peaks told for each sequence.
    least
        A further peak is told where it is at least this share of the highest.
    """
    profile = profile.astype(np.float64)
    n, length = profile.shape
    kernel = np.bartlett(2 * width + 1)[1:-1]
    smooth = np.stack([np.convolve(row, kernel, mode="full")[width - 1 : width - 1 + length] for row in profile])
    total = np.maximum(profile.sum(axis=1), np.finfo(np.float64).tiny)
    position, weight = np.full((n, most), np.nan), np.full((n, most), np.nan)
    letters, rows = np.arange(length), np.arange(n)
    highest = smooth.max(axis=1)
    for event in range(most):
        peak = smooth.argmax(axis=1)
        height = smooth[rows, peak]
        told = (highest > 0) & (height >= least * highest) if event else highest > 0
        under = np.where(np.abs(letters - peak[:, None]) <= width, profile, 0)
        found = mean_position(np.where(under.sum(axis=1, keepdims=True) > 0, under, letters == peak[:, None]))
        position[told, event] = found[told]
        weight[told, event] = (under.sum(axis=1) / total)[told]
        smooth[np.abs(letters - peak[:, None]) <= 2 * width] = -1
    position[highest <= 0, 0], weight[highest <= 0, 0] = (length - 1) / 2, 0
    mean = mean_position(profile)
    spread = np.sqrt((profile * (letters - mean[:, None]) ** 2).sum(axis=1) / total)
    spread = np.where(highest > 0, spread, np.sqrt((length**2 - 1) / 12))
    lower, upper = (_quantile(profile, share) for share in (0.05, 0.95))
    return Events(position, weight, spread, lower, upper)


def _quantile(profile: np.ndarray, share: float) -> np.ndarray:
    """(n,) letter up to which so much of a profile lies; of an empty one, of a flat one."""
    filled = np.where(profile.sum(axis=1, keepdims=True) > 0, profile, 1)
    below = filled.cumsum(axis=1)
    return (below < share * below[:, -1:]).sum(axis=1).astype(np.float64)
