"""Do scores of training samples foretell what models trained on other subsets answer?

``values`` (t, n) are effects of n samples (or groups) on the outputs of t targets; ``masks`` (m, n) say what each model
was trained on, ``outputs`` (m, t) what it answered. Masks that a score was fitted or tuned on flatter it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from whycell.errors import UsageError

__all__ = ["Ceiling", "Counterfactual", "brittleness", "counterfactual", "lds", "noise_ceiling", "spearman"]


@dataclass(frozen=True)
class Ceiling:
    """The most that any score can reach against noisy outputs.

    Parameters
    ----------
    between_seeds
        Rank correlation of the outputs of one seed with those of another, mean over targets.
    between_halves
        The same of means over half of the seeds each.
    reliability
        ``2 r / (1 + r)`` of ``between_halves``: the share of the mean output's variance that the mask decides.
    ceiling
        Its square root: the score of a foreteller that knows the mean output of every mask exactly.
    """

    between_seeds: float
    between_halves: float
    reliability: float
    ceiling: float


@dataclass(frozen=True)
class Counterfactual:
    """Foretold against observed changes of outputs when samples are taken away.

    Parameters
    ----------
    correlation
        Pearson's, over targets.
    slope
        Observed over foretold change, least squares through zero.
    mean_foretold, mean_observed
        In the outputs' unit.
    flipped
        Share of the targets whose output changed its sign; NaN where the outputs before are not given.
    """

    correlation: float
    slope: float
    mean_foretold: float
    mean_observed: float
    flipped: float


def spearman(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(t,) rank correlation over rows of ``first`` and ``second`` (m, t); zero where a column has no spread."""
    ranks = [rankdata(each, axis=0) for each in (first, second)]
    ranks = [each - each.mean(axis=0) for each in ranks]
    size = np.sqrt((ranks[0] ** 2).sum(axis=0) * (ranks[1] ** 2).sum(axis=0))
    return np.asarray((ranks[0] * ranks[1]).sum(axis=0) / np.maximum(size, 1e-12))


def lds(values: np.ndarray, masks: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """(t,) linear datamodeling score of each target (Park et al. 2023): Spearman of foretold and observed outputs.

    Parameters
    ----------
    values
        (t, n) effects.
    masks
        (m, n) bool, not used for fitting.
    outputs
        (m, t) what the models answered, best the mean over several seeds.
    """
    return spearman(np.asarray(masks, dtype=np.float32) @ np.asarray(values, dtype=np.float32).T, outputs)


def noise_ceiling(outputs: np.ndarray) -> Ceiling:
    """How far outputs repeat when only the seed of the training changes.

    ``outputs`` (s, m, t): s seeds of the same masks, two at least. Up to six seeds every way to halve them is used;
    beyond, the even against the odd ones.
    """
    outputs = np.asarray(outputs, dtype=np.float64)
    if outputs.ndim != 3 or len(outputs) < 2:
        msg = f"outputs of shape {outputs.shape}: wanted (seeds, models, targets) with two seeds at least"
        raise UsageError(msg)
    n_seeds = len(outputs)
    pairs = [(a, b) for a in range(n_seeds) for b in range(a)]
    single = float(np.mean([spearman(outputs[a], outputs[b]).mean() for a, b in pairs]))
    halves = float(np.mean([spearman(outputs[a].mean(0), outputs[b].mean(0)).mean() for a, b in _halves(n_seeds)]))
    reliability = 2 * halves / (1 + halves)
    return Ceiling(single, halves, reliability, float(np.sqrt(max(reliability, 0.0))))


def counterfactual(foretold: np.ndarray, observed: np.ndarray, *, before: np.ndarray | None = None) -> Counterfactual:
    """Compare changes: foretold by the scores, and observed in models trained without the samples.

    Parameters
    ----------
    foretold
        (t,) minus the sum of the effects of the samples taken away.
    observed
        (t,) output after, minus output before, both means over seeds.
    before
        (t,) output before.
    """
    foretold, observed = np.asarray(foretold, np.float64), np.asarray(observed, np.float64)
    centred = foretold - foretold.mean(), observed - observed.mean()
    size = np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum())
    flipped = float("nan") if before is None else float((np.sign(before + observed) != np.sign(before)).mean())
    return Counterfactual(
        float((centred[0] * centred[1]).sum() / max(size, 1e-12)),
        float((foretold * observed).sum() / max((foretold**2).sum(), 1e-12)),
        float(foretold.mean()),
        float(observed.mean()),
        flipped,
    )


def brittleness(values: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """(t,) the least number of samples whose absence is foretold to turn a target's output negative.

    Parameters
    ----------
    values
        (t, n) effects.
    outputs
        (t,) outputs of a model of all samples; margins, say.

    Returns
    -------
    Integers; 0 where the output is negative already, n + 1 where taking away all supporters is not foretold to do.
    """
    values, outputs = np.asarray(values, np.float64), np.asarray(outputs, np.float64)
    supporters = np.sort(np.maximum(values, 0), axis=1)[:, ::-1]
    left = outputs[:, None] - np.cumsum(supporters, axis=1)
    least = np.where((left < 0).any(axis=1), (left < 0).argmax(axis=1) + 1, values.shape[1] + 1)
    return np.where(outputs < 0, 0, least)


def _halves(n_seeds: int) -> list[tuple[list[int], list[int]]]:
    if n_seeds > 6:
        return [(list(range(0, n_seeds, 2)), list(range(1, n_seeds, 2)))]
    half = n_seeds // 2
    chosen = [[i for i in range(n_seeds) if code >> i & 1] for code in range(1 << n_seeds)]
    found = []
    for first in (c for c in chosen if len(c) == half):
        second = [i for i in range(n_seeds) if i not in first][:half]
        if first < second:
            found.append((first, second))
    return found
