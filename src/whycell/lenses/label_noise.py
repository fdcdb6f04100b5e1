"""How often labels are wrong, and which with which, learned from labels alone.

A model that did not see a cell gives it probabilities of the classes. The label written beside the cell is taken as
drawn from them, blurred by a noise that is learned too:

    P(label m | cell) = sum over classes c of p_c^b / sum p^b * T_cm ,    T_cm = 1 - e_c where m allows c, else r_cm

``b`` makes the probabilities fit (a calibrating temperature), so that a cell between two types is expected to carry
either label and is no evidence; ``r_cm`` is the rate at which cells of class c carry a label that excludes c, and
``e_c`` the sum of its row. Both are found by EM. The rates of rare pairs are drawn towards the common rate, as strongly
as cells set aside ask for: flips that spread over all labels share one rate, flips among kin get their own.

The score of a cell is the share of its likelihood that lies on classes its label excludes: the probability that the
label is wrong, under this model (Natarajan et al. 2013 and Patrini et al. 2017 train with such a matrix; here it is
read backwards). Noise is believed in only where it explains labels set aside better than none does, by more than a
standard error and by odds of a thousand to one; else every rate, and every score, is as good as zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar

__all__ = ["Noise", "fit_noise", "softmax"]

_STRENGTHS = (5.0, 20.0, 80.0, 320.0, 1280.0, 1e5)
_ROUNDS, _STEPS = 4, 25
_MOST = 20_000  # cells that rates are learned from
_START = 0.02
_BELIEVED, _LEAST_GAIN = 1.0, 7.0  # standard errors; and nats, odds of a thousand to one


@dataclass(frozen=True)
class Noise:
    """Labels blurred: what was found, and what it says of every cell.

    Parameters
    ----------
    odds
        (n,) log-odds that the label is wrong.
    rates
        (K, M) T: row a class, column a label; rates of labels that exclude the class, 1 - their sum elsewhere.
    share
        Mean probability of a wrong label: the estimated share of mislabelled cells.
    sharpness
        b, by which log-probabilities were multiplied.
    strength
        Cells that the common rate weighs beside a class's own.
    other
        (n,) the class, among those that the label excludes, that explains the cell best.
    """

    odds: np.ndarray
    rates: np.ndarray
    share: float
    sharpness: float
    strength: float
    other: np.ndarray

    @property
    def score(self) -> np.ndarray:
        """(n,) probability that the label is wrong."""
        return np.asarray(1 / (1 + np.exp(-np.clip(self.odds, -50, 50))))


def fit_noise(probabilities: np.ndarray, codes: np.ndarray, allows: np.ndarray, *, seed: int = 0) -> Noise:
    """Learn how labels are blurred.

    Parameters
    ----------
    probabilities
        (n, K) of the classes, by models that did not see the cell.
    codes
        (n,) the label of each cell, 0..M-1.
    allows
        (M, K) bool: the classes that a label may stand for.
    seed
        Of the halves on which the strength is chosen.

    Returns
    -------
    :class:`Noise`
    """
    n = len(codes)
    logs_of_all, codes_of_all = np.log(np.clip(probabilities, 1e-7, 1.0)), codes
    rng = np.random.default_rng(seed)
    some = np.arange(n) if n <= _MOST else np.sort(rng.choice(n, _MOST, replace=False))
    logs, codes = logs_of_all[some], codes_of_all[some]
    right = allows.T
    floor = 1.0 / (max(n, 1) * max(right.shape[1], 1))
    rates = _matrix(np.where(right, 0.0, _START / np.maximum((~right).sum(1, keepdims=True), 1)), right)
    half = rng.random(len(some)) < 0.5
    common, strength, sharpness = _START, _STRENGTHS[1], 1.0
    for _ in range(_ROUNDS):
        sharpness = _sharpness(logs, codes, rates)
        p = softmax(sharpness * logs)
        strength = max(
            _STRENGTHS, key=lambda s: float(_held_out(p, codes, rates, half, (right, common, s, floor)).sum())
        )
        rates = _em(p, codes, rates, right=right, common=common, strength=strength, steps=4 * _STEPS)
        common = max(float(_wrong(p, codes, rates, right)[0].mean()), floor)
    floored = _matrix(np.where(right, 0.0, np.maximum(rates, floor)), right)
    nothing = _matrix(np.where(right, 0.0, floor), right)
    plain = _sharpness(logs, codes, nothing)
    gain = _held_out(p, codes, rates, half, (right, common, strength, floor)) - _each(
        softmax(plain * logs), codes, nothing
    )
    if gain.sum() <= max(_BELIEVED * gain.std() * np.sqrt(len(gain)), _LEAST_GAIN):
        rates = floored = nothing
        sharpness, common = plain, floor
    odds, other = _odds(softmax(sharpness * logs_of_all), codes_of_all, floored, right)
    return Noise(odds, rates, common, sharpness, strength, other)


def softmax(z: np.ndarray) -> np.ndarray:
    """(n, k) -> rows that sum to one."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def _matrix(wrong: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Rates of wrong labels (0 where right) -> T."""
    return np.where(right, 1.0 - wrong.sum(axis=1, keepdims=True), wrong)


def _joint(p: np.ndarray, codes: np.ndarray, rates: np.ndarray) -> np.ndarray:
    return np.asarray(p * rates[:, codes].T)


def _each(p: np.ndarray, codes: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """(n,) log-likelihood of each label."""
    return np.asarray(np.log(np.maximum(_joint(p, codes, rates).sum(axis=1), 1e-12)))


def _sharpness(logs: np.ndarray, codes: np.ndarray, rates: np.ndarray) -> float:
    def loss(log_b: float) -> float:
        return -float(_each(softmax(np.exp(log_b) * logs), codes, rates).sum())

    return float(np.exp(minimize_scalar(loss, bounds=(-4.0, 1.6), method="bounded", options={"xatol": 0.01}).x))


def _em(
    p: np.ndarray,
    codes: np.ndarray,
    rates: np.ndarray,
    *,
    right: np.ndarray,
    common: float,
    strength: float,
    steps: int = _STEPS,
) -> np.ndarray:
    prior = strength * common * ~right / np.maximum((~right).sum(axis=1, keepdims=True), 1)
    for _ in range(steps):
        joint = _joint(p, codes, rates)
        joint /= np.maximum(joint.sum(axis=1, keepdims=True), 1e-300)
        counts = np.stack([np.bincount(codes, weights=column, minlength=right.shape[1]) for column in joint.T])
        wrong = (counts * ~right + prior) / (counts.sum(axis=1, keepdims=True) + strength)
        rates = _matrix(wrong, right)
    return rates


def _held_out(
    p: np.ndarray,
    codes: np.ndarray,
    rates: np.ndarray,
    half: np.ndarray,
    how: tuple[np.ndarray, float, float, float],
) -> np.ndarray:
    """(n,) log-likelihood of each label under rates of the other half."""
    right, common, strength, floor = how
    out = np.empty(len(codes))
    for own in (half, ~half):
        learned = _em(p[own], codes[own], rates, right=right, common=common, strength=strength)
        learned = _matrix(np.where(right, 0.0, np.maximum(learned, floor)), right)
        out[~own] = _each(p[~own], codes[~own], learned)
    return out


def _wrong(
    p: np.ndarray, codes: np.ndarray, rates: np.ndarray, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n,) probability that the label is wrong; and the likelihoods of classes excluded (n, K) and allowed (n,)."""
    joint = _joint(p, codes, rates)
    allowed = (joint * right[:, codes].T).sum(axis=1)
    excluded = joint * ~right[:, codes].T
    against = excluded.sum(axis=1)
    return against / np.maximum(against + allowed, 1e-300), excluded, allowed


def _odds(p: np.ndarray, codes: np.ndarray, rates: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    _, excluded, allowed = _wrong(p, codes, rates, right)
    odds = np.log(np.maximum(excluded.sum(axis=1), 1e-300)) - np.log(np.maximum(allowed, 1e-300))
    return odds, excluded.argmax(axis=1)
