"""DeepLIFT through the typer's own network, in numpy: multipliers of its coordinates, from two forward passes.

The network is ``z = mean over members of  x A + a + GELU(LayerNorm(x B + b)) C`` and what is explained is the contrast

    f(z) = logsumexp of z over some leaves  -  logsumexp of z over others

(of single leaves: the difference of two logits; of a term's leaves against all others: the log-odds of the term).
Members enter through their mean logits: the constants by which log-probabilities differ from them cancel in f.

Rules, for Δ = value - value at the reference (Shrikumar, Greenside and Kundaje, ICML 2017):

linear       m_in = W m_out
product u·v  Δ(uv) = ½ Δu (v + v⁰) + ½ (u + u⁰) Δv, so that LayerNorm, centred values times 1/σ, loses nothing
GELU, 1/σ    m = Δout / Δin (Rescale), and the derivative at the reference where Δin vanishes; or RevealCancel
logsumexp    m_k = L_k / ΣL, with L the logarithmic mean (p - q) / log(p / q) of the softmax p and the reference's q

Summed over its inputs, multiplier times difference is the difference of f, whatever the network.
"""

# n - cell, d - direction, h - hidden unit, k - leaf

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import erf

from whycell.encode.kernels import compiled
from whycell.models.rfm_head import is_machine, machine_gradient, machine_logits

__all__ = ["contrast", "gradient", "mean_logits", "rescale", "reveal_cancel"]

Head = Mapping[str, np.ndarray]
_SMALL = 1e-7
_EPSILON = 1e-5  # of LayerNorm, as torch has it
_STEPS = 20  # of the way that gradients of a kernel machine are averaged over


def mean_logits(x: np.ndarray, heads: Sequence[Head]) -> np.ndarray:
    """(n, k) float64 mean logits of the members at coordinates ``x`` (n, d)."""
    return np.asarray(np.mean([_logits(x, head) for head in heads], axis=0))


def contrast(z: np.ndarray, leaves: np.ndarray, others: np.ndarray) -> np.ndarray:
    """f of each cell.

    Parameters
    ----------
    z
        (n, k) logits.
    leaves, others
        (n, k) bool, what speaks for and what against; neither empty.

    Returns
    -------
    (n,) float64
    """
    return _log_sum(z, leaves) - _log_sum(z, others)


def gradient(x: np.ndarray, heads: Sequence[Head], leaves: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(n, d) gradient of f at ``x``: what the multipliers become where the reference meets the cell."""
    return rescale(x, x, heads, leaves, others)


def rescale(
    x: np.ndarray, reference: np.ndarray, heads: Sequence[Head], leaves: np.ndarray, others: np.ndarray
) -> np.ndarray:
    """Multipliers by Rescale.

    Parameters
    ----------
    x, reference
        (n, d) coordinates of the cells and of what each is compared with.
    heads
        Weights of the members.
    leaves, others
        (n, k) bool, as in :func:`contrast`.

    Returns
    -------
    (n, d) float64
    """
    if is_machine(heads[0]):
        return _through_machines(x, reference, heads, leaves, others)
    states = [(_State.at(x, head), _State.at(reference, head)) for head in heads]
    of_logits = _of_contrast(x, reference, heads, states, leaves, others)
    total = np.zeros(x.shape)
    for head, (here, there) in zip(heads, states, strict=True):
        of_active = of_logits @ head["out"].T.astype(np.float64)
        of_normed = of_active * _quotient(here.active - there.active, here.normed - there.normed, _slope(there.normed))
        total += of_logits @ head["linear"].T + _through_norm(of_normed, here, there, head)
    return total


def reveal_cancel(
    x: np.ndarray,
    reference: np.ndarray,
    heads: Sequence[Head],
    leaves: np.ndarray,
    others: np.ndarray,
    *,
    rising: np.ndarray,
    falling: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Multipliers by RevealCancel at the GELU, of what raised each coordinate and of what lowered it.

    Parameters
    ----------
    x, reference, heads, leaves, others
        As in :func:`rescale`.
    rising, falling
        (n, d) positive and negative parts of ``x - reference``: sums over the genes that pushed up, and down.

    Returns
    -------
    (n, d) float64 multipliers of the rising parts, and of the falling ones
    """
    if is_machine(heads[0]):  # a kernel has no unit at which parts could be kept apart
        both = _through_machines(x, reference, heads, leaves, others)
        return both, both
    states = [(_State.at(x, head), _State.at(reference, head)) for head in heads]
    of_logits = _of_contrast(x, reference, heads, states, leaves, others)
    up, down = np.zeros(x.shape), np.zeros(x.shape)
    for head, (here, there) in zip(heads, states, strict=True):
        weights = np.ascontiguousarray(head["hidden"], dtype=np.float64)
        inverse, slope, middle = _norm_terms(here, there)
        along = (2 * middle @ weights.T) * (slope / middle.shape[1])
        norm = (
            weights - weights.mean(axis=1, keepdims=True),
            head["gain"].ravel().astype(np.float64),
            inverse.ravel(),
            middle,
            along,
        )
        plus, minus = np.zeros(middle.shape), np.zeros(middle.shape)
        _push_parts(rising, falling, *norm, plus, minus)
        of_plus, of_minus = _reveal(there.normed, plus, minus)
        of_active = of_logits @ head["out"].T.astype(np.float64)
        _pull_parts(of_active * of_plus, of_active * of_minus, *norm, up, down)
        skip = of_logits @ head["linear"].T
        up += skip
        down += skip
    return up, down


def _logits(x: np.ndarray, head: Head) -> np.ndarray:
    return machine_logits(x, head) if is_machine(head) else _State.at(x, head).logits(x, head)


def _through_machines(
    x: np.ndarray, reference: np.ndarray, heads: Sequence[Head], leaves: np.ndarray, others: np.ndarray
) -> np.ndarray:
    """(n, d) multipliers of kernel machines: the mean gradient on the straight way, made to add up.

    No rule takes a kernel apart as Rescale does a hidden unit; what the steps leave is shared by squared difference.
    """
    step = (x - reference).astype(np.float64)
    moved = (step**2).sum(axis=1, keepdims=True)
    steps = _STEPS if moved.any() else 1
    total = np.zeros(x.shape)
    for t in (np.arange(steps) + 0.5) / steps:
        point = reference + t * step
        z = mean_logits(point, heads)
        of_logits = (_of_log_sum(z, z, leaves) - _of_log_sum(z, z, others)) / len(heads)
        total += sum(machine_gradient(point, of_logits, head) for head in heads) / steps
    here, there = (contrast(mean_logits(at, heads), leaves, others) for at in (x, reference))
    rest = (here - there)[:, None] - (total * step).sum(axis=1, keepdims=True)
    return np.asarray(total + np.where(moved > 0, rest / np.where(moved > 0, moved, 1.0), 0.0) * step)


@dataclass(frozen=True)
class _State:
    """One member at some coordinates: centred (n, h), 1/σ and variance (n, 1), after the norm and after GELU (n, h)."""

    centred: np.ndarray
    inverse: np.ndarray
    variance: np.ndarray
    normed: np.ndarray
    active: np.ndarray

    @classmethod
    def at(cls, x: np.ndarray, head: Head) -> _State:
        hidden = x.astype(np.float64) @ head["hidden"] + head["hidden_bias"].ravel()
        centred = hidden - hidden.mean(axis=1, keepdims=True)
        variance = (centred**2).mean(axis=1, keepdims=True)
        inverse = 1.0 / np.sqrt(variance + _EPSILON)
        normed = centred * inverse * head["gain"].ravel() + head["shift"].ravel()
        return cls(centred, inverse, variance, normed, _gelu(normed))

    def logits(self, x: np.ndarray, head: Head) -> np.ndarray:
        straight = x.astype(np.float64) @ head["linear"]
        return np.asarray(straight + head["bias"].ravel() + self.active @ head["out"])


def _of_contrast(
    x: np.ndarray,
    reference: np.ndarray,
    heads: Sequence[Head],
    states: Sequence[tuple[_State, _State]],
    leaves: np.ndarray,
    others: np.ndarray,
) -> np.ndarray:
    """(n, k) multipliers of each member's logits: those of f, shared among the members."""
    z = np.mean([here.logits(x, head) for head, (here, _) in zip(heads, states, strict=True)], axis=0)
    at = np.mean([there.logits(reference, head) for head, (_, there) in zip(heads, states, strict=True)], axis=0)
    return (_of_log_sum(z, at, leaves) - _of_log_sum(z, at, others)) / len(heads)


def _of_log_sum(z: np.ndarray, at: np.ndarray, leaves: np.ndarray) -> np.ndarray:
    """Multipliers of log(sum(exp)): logarithmic means of the softmax within the leaves, here and at the reference."""
    here, there = (np.where(leaves, logits, -np.inf) for logits in (z, at))
    log_p, log_q = (logits - _log_sum(logits, leaves)[:, None] for logits in (here, there))
    p, q = np.exp(log_p), np.exp(log_q)
    change = np.where(leaves, log_p, 0.0) - np.where(leaves, log_q, 0.0)
    means = _quotient(p - q, change, q)
    return np.asarray(means / means.sum(axis=1, keepdims=True))


def _log_sum(z: np.ndarray, leaves: np.ndarray) -> np.ndarray:
    kept = np.where(leaves, z, -np.inf)
    top = kept.max(axis=1, keepdims=True)
    return np.asarray((top + np.log(np.exp(kept - top).sum(axis=1, keepdims=True))).ravel())


def _quotient(rise: np.ndarray, run: np.ndarray, limit: np.ndarray) -> np.ndarray:
    flat = np.abs(run) < _SMALL
    return np.where(flat, limit, rise / np.where(flat, 1.0, run))


def _slope(x: np.ndarray) -> np.ndarray:
    """Derivative of GELU."""
    return 0.5 * (1.0 + erf(x / np.sqrt(2.0))) + x * np.exp(-0.5 * x**2) / np.sqrt(2.0 * np.pi)


def _norm_terms(here: _State, there: _State) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean 1/σ (n, 1), Δ(1/σ) by Δ variance (n, 1), and mean centred value (n, h)."""
    run = here.variance - there.variance
    slope = _quotient(here.inverse - there.inverse, run, -0.5 * there.inverse**3)
    return 0.5 * (here.inverse + there.inverse), slope, 0.5 * (here.centred + there.centred)


def _through_norm(of_normed: np.ndarray, here: _State, there: _State, head: Head) -> np.ndarray:
    """(n, d) from the multipliers of what LayerNorm gives: one term through its mean, one through its variance."""
    scaled = of_normed * head["gain"].ravel()
    inverse, slope, middle = _norm_terms(here, there)
    of_variance = (scaled * middle).sum(axis=1, keepdims=True) * slope
    of_centred = scaled * inverse + of_variance * 2.0 * middle / middle.shape[1]
    of_hidden = of_centred - of_centred.mean(axis=1, keepdims=True)
    return np.asarray(of_hidden @ head["hidden"].T.astype(np.float64))


def _gelu(x: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * x * (1.0 + erf(x / np.sqrt(2.0))))


def _reveal(at: np.ndarray, plus: np.ndarray, minus: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Multipliers of GELU for its positive and negative parts: each part's share, mean over the two orders."""
    start, both = _gelu(at), _gelu(at + plus + minus)
    alone, other = _gelu(at + plus), _gelu(at + minus)
    slope = _slope(at)
    of_plus = _quotient(0.5 * (alone - start + both - other), plus, slope)
    return of_plus, _quotient(0.5 * (other - start + both - alone), minus, slope)


@compiled
def _push_parts(
    rising: Any, falling: Any, weights: Any, gain: Any, inverse: Any, middle: Any, along: Any, plus: Any, minus: Any
) -> None:
    """Positive and negative parts (n, h) of the change of what LayerNorm gives, from those (n, d) of the inputs."""
    for c in range(len(rising)):
        for d in range(rising.shape[1]):
            up, down, slant = rising[c, d], falling[c, d], along[c, d]
            for j in range(len(gain)):
                m = gain[j] * (inverse[c] * weights[d, j] + middle[c, j] * slant)
                positive = max(m, 0.0)
                negative = m - positive
                plus[c, j] += positive * up + negative * down
                minus[c, j] += positive * down + negative * up


@compiled
def _pull_parts(
    of_plus: Any, of_minus: Any, weights: Any, gain: Any, inverse: Any, middle: Any, along: Any, up: Any, down: Any
) -> None:
    """The way back: multipliers (n, d) of rising and falling inputs from those (n, h) of the two parts."""
    for c in range(len(up)):
        for d in range(up.shape[1]):
            slant, first, second = along[c, d], 0.0, 0.0
            for j in range(len(gain)):
                m = gain[j] * (inverse[c] * weights[d, j] + middle[c, j] * slant)
                positive = max(m, 0.0)
                negative = m - positive
                first += positive * of_plus[c, j] + negative * of_minus[c, j]
                second += positive * of_minus[c, j] + negative * of_plus[c, j]
            up[c, d] += first
            down[c, d] += second
