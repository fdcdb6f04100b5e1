"""Tests over ranges of gaps: is a profile higher or lower over some of its gaps than chance between backgrounds makes?

A preference may be for one gap or for a range of them, and it is not known beforehand which. Every range is looked at:
the statistic is that of the box that fits the mean profile best, and the null is the same statistic, over all ranges,
of profiles whose sign is drawn anew background by background. Were there no preference, a background would deviate this
way or the other alike; what it does at neighbouring gaps stays together, which shuffling the gaps would tear apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Scan", "helix", "mean_of", "ranges", "scan", "signs"]

_WIDTHS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50)
_AT_ONCE = 8192
_TURN = 10.5  # letters to a turn of the double helix


@dataclass(frozen=True)
class Scan:
    """The range of gaps that fits best.

    Parameters
    ----------
    start, stop
        First gap of the range, and the one behind its last, by position.
    effect
        Mean over the range, less the mean outside it where the profile was centred.
    p
        Against the best range of profiles with drawn signs.
    explained
        Squares of the mean profile that a box over the range explains.
    """

    start: int
    stop: int
    effect: float
    p: float
    explained: float


def signs(n: int, draws: int, *, seed: int) -> np.ndarray:
    """(``draws``, ``n``) float32 of 1 and -1."""
    drawn = np.random.default_rng(seed).integers(0, 2, (draws, n), dtype=np.int8)
    return (2 * drawn - 1).astype(np.float32)


def ranges(n_gaps: int, *, whole: bool) -> np.ndarray:
    """(n_ranges, 2) starts and stops: of many widths up to a half, and with ``whole`` that of all gaps as well."""
    found = [(at, at + w) for w in _WIDTHS if w <= max(1, n_gaps // 2) for at in range(n_gaps - w + 1)]
    return np.array(found + ([(0, n_gaps)] if whole else []))


def scan(profiles: np.ndarray, flips: np.ndarray, *, centred: bool) -> Scan:
    """Whether the mean profile departs from zero, or from its own mean, over a range of gaps.

    Parameters
    ----------
    profiles
        (n, n_gaps) a profile each background.
    flips
        From ``signs``.
    centred
        Whether each profile's own mean is taken off: then the question is whether the gap matters.
    """
    n_gaps = profiles.shape[1]
    taken = profiles - profiles.mean(axis=1, keepdims=True) if centred else profiles
    spans = ranges(n_gaps, whole=not centred)
    width = spans[:, 1] - spans[:, 0]
    totals = np.concatenate([np.zeros((len(taken), 1)), np.cumsum(taken, axis=1)], axis=1)
    inside = totals[:, spans[:, 1]] - totals[:, spans[:, 0]]
    # The part of the squared mean profile that a box of this width explains, as a root.
    weight = np.sqrt(width * (1 - width / n_gaps)) if centred else np.sqrt(width)
    fits = inside / weight
    seen = np.abs(fits.mean(axis=0))
    best = int(seen.argmax())
    effect = inside[:, best].mean() / width[best]
    if centred:
        effect *= n_gaps / (n_gaps - width[best])  # the mean outside is the other way
    p = _share_beyond(fits, flips, float(seen[best]))
    return Scan(int(spans[best, 0]), int(spans[best, 1]), float(effect), p, float(seen[best] ** 2))


def mean_of(values: np.ndarray, flips: np.ndarray) -> tuple[float, float]:
    """Mean of (n,) values and the p-value of its being zero."""
    return float(values.mean()), _share_beyond(values[:, None], flips, abs(float(values.mean())))


def helix(profiles: np.ndarray, flips: np.ndarray) -> tuple[int, float, float]:
    """Whether the profile comes again at every turn of the double helix.

    One preferred range has a part of every wave, that of the helix too: where a box explains more of the mean profile
    than the wave does, there is no sign of the helix, and p is 1.

    Parameters
    ----------
    profiles
        (n, n_gaps) at every gap from the first on.
    flips
        From ``signs``.

    Returns
    -------
    The first gap of the best phase by position, amplitude of the wave of 10.5 letters, and p.
    """
    n_gaps = profiles.shape[1]
    at = np.arange(n_gaps)
    level = profiles - _projected(profiles, np.stack([np.ones(n_gaps), at - at.mean()]))
    turn = 2 * np.pi * at / _TURN
    waves = level @ np.stack([np.cos(turn), np.sin(turn)], axis=1) * 2 / n_gaps
    cosine, sine = waves.mean(axis=0)
    first = min(round(np.arctan2(sine, cosine) / (2 * np.pi) * _TURN % _TURN), int(_TURN))
    seen = float(np.hypot(cosine, sine))
    mean = level.mean(axis=0, keepdims=True)
    by_wave = (_projected(mean, np.stack([np.cos(turn), np.sin(turn)])) ** 2).sum()
    by_box = scan(mean, np.ones((1, 1), dtype=np.float32), centred=True).explained
    if by_wave <= by_box or seen < 1e-9:
        return first, seen, 1.0
    null = np.hypot(*(flips @ (waves / len(waves)).astype(np.float32)).T)
    return first, seen, float((1 + (null >= seen * (1 - 1e-5)).sum()) / (len(flips) + 1))


def _projected(rows: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """Each row's least-squares fit by the rows of ``onto``."""
    basis = np.linalg.qr(onto.T)[0]
    return np.asarray(rows @ basis @ basis.T)


def _share_beyond(fits: np.ndarray, flips: np.ndarray, seen: float) -> float:
    """Share of draws whose largest mean is at least what was seen, the seen one counted among them."""
    scale = float(np.abs(fits).max())
    if scale < 1e-9:
        return 1.0
    shown = (fits / scale).astype(np.float32)
    least = len(fits) * seen / scale * (1 - 1e-5)
    parts = np.array_split(flips, -(-len(flips) // _AT_ONCE))
    beyond = sum(int((np.abs(part @ shown).max(axis=1) >= least).sum()) for part in parts)
    return (1 + beyond) / (len(flips) + 1)
