"""Which samples each of many models is trained on: random subsets, seeded, checked, and how many of them are needed.

A mask is a row of booleans over the training samples. Its expected share is ``alpha``; small shares (0.1) show which
samples a prediction cannot do without and separate subgroups, one half gives the smallest standard error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from whycell.errors import GroupError, UsageError

__all__ = ["Balance", "MaskKind", "check_balance", "draw_masks", "models_needed", "smallest_effect"]

MaskKind = Literal["bernoulli", "fixed"]

#: An effect is called seen when it lies this many standard errors from zero.
SEEN = 3.0


@dataclass(frozen=True)
class Balance:
    """Whether masks are what was asked for.

    Parameters
    ----------
    share
        Mean share of samples in a mask.
    least_often, most_often
        Share of the masks that hold the rarest and the commonest sample.
    worst_z
        Largest distance of a sample's count from the mean count, in standard deviations of a fair draw.
    worst_pair
        Largest absolute correlation between two samples' presence, among (at most 500) samples looked at.
    empty
        Masks that hold nothing.
    balanced
        Whether the worst sample lies where chance would put it (5 standard deviations) and no mask is empty.
    """

    share: float
    least_often: float
    most_often: float
    worst_z: float
    worst_pair: float
    empty: int
    balanced: bool


def draw_masks(
    n: int,
    n_models: int,
    *,
    alpha: float = 0.5,
    kind: MaskKind = "bernoulli",
    strata: Any = None,
    groups: Any = None,
    seed: int = 0,
) -> np.ndarray:
    """Random subsets of ``n`` samples, one for each of ``n_models`` models.

    Parameters
    ----------
    n
        Training samples.
    n_models
        Masks to draw.
    alpha
        Expected share of the units in a mask, between 0 and 1.
    kind
        ``"bernoulli"``: every unit by its own coin; ``"fixed"``: ``round(alpha * units)`` units in every mask.
    strata
        (n,) class, or whatever must keep its share: units are drawn within each stratum. With ``kind="fixed"`` every
        mask holds ``round(alpha * size)`` of each stratum, one at least.
    groups
        (n,) donor, study, batch or cluster: a group goes in or out as a whole and is the unit drawn. ``strata`` must
        then be constant within a group.
    seed
        See docs/parameters.md.

    Returns
    -------
    (n_models, n) bool. Row k depends on ``seed`` and k alone, so that more models extend fewer.

    Raises
    ------
    UsageError
        A share outside 0..1, or nothing to draw from.
    GroupError
        Labels of another length than ``n``, or a group that lies in two strata.
    """
    if not 0 < alpha < 1 or n < 1 or n_models < 1:
        msg = f"alpha {alpha}, {n} samples, {n_models} models: wanted a share between 0 and 1, and one of each at least"
        raise UsageError(msg)
    if kind not in ("bernoulli", "fixed"):
        msg = f"kind {kind!r}: wanted 'bernoulli' or 'fixed'"
        raise UsageError(msg)
    unit_of = np.arange(n) if groups is None else _codes(groups, n, "groups")
    n_units = int(unit_of.max()) + 1
    stratum = np.zeros(n_units, int) if strata is None else _stratum_of_units(_codes(strata, n, "strata"), unit_of)
    drawn = np.empty((n_models, n_units), dtype=bool)
    parts = [np.flatnonzero(stratum == s) for s in range(int(stratum.max()) + 1)]
    for k in range(n_models):
        rng = np.random.default_rng((seed, k))
        if kind == "bernoulli":
            drawn[k] = rng.random(n_units) < alpha
            continue
        ranks = rng.random(n_units)
        drawn[k] = False
        for part in parts:
            most = max(1, round(alpha * len(part)))
            drawn[k, part[np.argpartition(ranks[part], most - 1)[:most]]] = True
    return drawn[:, unit_of]


def check_balance(masks: np.ndarray) -> Balance:
    """Whether every sample is in about as many masks as every other, and samples come and go independently.

    ``masks`` (n_models, n) bool. Masks drawn by group are checked group by group when each group is given as one
    column; columns that always agree count as a correlation of one.
    """
    masks = np.asarray(masks, dtype=bool)
    n_models = len(masks)
    often = masks.mean(axis=0, dtype=np.float64)
    share = float(often.mean())
    spread = np.sqrt(max(share * (1 - share), 1e-12) / n_models)
    looked_at = masks[:, np.linspace(0, masks.shape[1] - 1, min(500, masks.shape[1])).astype(int)].astype(np.float32)
    looked_at = looked_at[:, looked_at.std(axis=0) > 0]
    worst_pair = 0.0
    if looked_at.shape[1] > 1 and n_models > 1:
        correlation = np.corrcoef(looked_at.T)
        np.fill_diagonal(correlation, 0)
        worst_pair = float(np.abs(correlation).max())
    worst = float(np.abs(often - share).max() / spread)
    empty = int((~masks.any(axis=1)).sum())
    return Balance(share, float(often.min()), float(often.max()), worst, worst_pair, empty, worst < 5.0 and empty == 0)


def smallest_effect(n_models: int, *, spread: float, alpha: float = 0.5) -> float:
    """The smallest effect of one sample on the output that ``n_models`` models will show, three standard errors wide.

    The standard error of an effect is ``s = spread / sqrt(n_models * alpha * (1 - alpha))``: of the difference in
    means, and of least squares when models are many more than units. ``spread`` is the standard deviation of the output
    over models, in the unit of the output.
    """
    return SEEN * spread / float(np.sqrt(n_models * alpha * (1 - alpha)))


def models_needed(effect: float, *, spread: float, alpha: float = 0.5) -> int:
    """How many show an ``effect`` at three standard errors: :func:`smallest_effect` inverted, ``spread`` as there."""
    if effect <= 0:
        msg = f"effect {effect}: wanted a positive size"
        raise UsageError(msg)
    return int(np.ceil((SEEN * spread / effect) ** 2 / (alpha * (1 - alpha))))


def _codes(labels: Any, n: int, what: str) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.shape != (n,):
        msg = f"{what} of shape {labels.shape}: wanted one for each of the {n} samples"
        raise GroupError(msg)
    return np.unique(labels.astype(str), return_inverse=True)[1]


def _stratum_of_units(stratum: np.ndarray, unit_of: np.ndarray) -> np.ndarray:
    pairs = np.unique(np.stack([unit_of, stratum]), axis=1)
    if pairs.shape[1] != int(unit_of.max()) + 1:
        msg = "a group lies in several strata: wanted strata that are constant within a group (leave strata out)"
        raise GroupError(msg)
    return pairs[1]
