"""When may one say "this sample matters"? Permuted outputs for q-values, half-samples for stability, out of bag.

With thousands of samples and targets some effects are large by chance. The null is made of the same masks with the
outputs handed to other models, which keeps everything but the link between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whycell.errors import DataError, UsageError
from whycell.lenses.estimators import Effects, difference_in_means, ridge
from whycell.lenses.lasso import lasso_fit

__all__ = [
    "Significance",
    "out_of_bag_effects",
    "out_of_bag_outputs",
    "q_values",
    "selection_stability",
    "significance",
]


@dataclass(frozen=True)
class Significance:
    """Evidence for every effect.

    Parameters
    ----------
    z
        (t, n) difference in means over its standard error.
    p, q
        (t, n) share of the null's effects that are as large, and the false discovery rate (Benjamini and Hochberg) of
        calling this one and all larger ones of the same target.
    n_null
        Null effects that each p-value was counted among.
    """

    z: np.ndarray
    p: np.ndarray
    q: np.ndarray
    n_null: int


def significance(masks: np.ndarray, outputs: np.ndarray, *, draws: int = 20, seed: int = 0) -> Significance:
    """Each sample's difference in means against those of outputs handed to other models.

    Null effects of all samples of a target are pooled, since under the null they are alike, which makes ``draws * n``
    of them: the smallest p-value is one over that.

    Parameters
    ----------
    masks, outputs
        (M, n) and (M, t), see :mod:`whycell.lenses.estimators`.
    draws, seed
        Permutations, and where they start.
    """
    if draws < 1:
        msg = f"draws {draws}: wanted one permutation at least"
        raise UsageError(msg)
    z = _z(difference_in_means(masks, outputs))
    rng = np.random.default_rng(seed)
    null = np.sort(
        np.concatenate(
            [np.abs(_z(difference_in_means(masks, outputs[rng.permutation(len(outputs))]))) for _ in range(draws)],
            axis=1,
        ),
        axis=1,
    )
    beyond = np.stack([null.shape[1] - np.searchsorted(row, np.abs(each)) for row, each in zip(null, z, strict=True)])
    p = (1 + beyond) / (1 + null.shape[1])
    return Significance(z, p, np.stack([q_values(row) for row in p]), null.shape[1])


def q_values(p: np.ndarray) -> np.ndarray:
    """(n,) false discovery rates of p-values (Benjamini and Hochberg 1995); what is NaN was not tested, and stays."""
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # NaN is sorted last
    raised = p[order] * len(order) / np.arange(1, len(order) + 1)
    out = np.full_like(p, np.nan)
    out[order] = np.minimum(np.minimum.accumulate(raised[::-1])[::-1], 1.0)
    return out


def selection_stability(
    masks: np.ndarray, outputs: np.ndarray, *, draws: int = 20, seed: int = 0, threads: int = 1
) -> np.ndarray:
    """(t, n) share of half-samples of the models in which the Lasso selects the sample.

    After Meinshausen and Buehlmann (2010), with lambda chosen on the other half. Values above 0.8 or so stand for
    samples that no single draw of the models made important.

    Parameters
    ----------
    masks, outputs
        (M, n) and (M, t), see :mod:`whycell.lenses.estimators`.
    draws, seed, threads
        Half-samples, and see docs/parameters.md.
    """
    rng = np.random.default_rng(seed)
    masks, outputs = np.asarray(masks), np.asarray(outputs)
    share = np.zeros((outputs.shape[1], masks.shape[1]))
    for _ in range(draws):
        order = rng.permutation(len(masks))
        one, other = order[: len(order) // 2], order[len(order) // 2 :]
        fit = lasso_fit(masks[one], outputs[one], held_masks=masks[other], held_outputs=outputs[other], threads=threads)
        share += (fit.values != 0) / draws
    return share


def out_of_bag_outputs(masks: np.ndarray, outputs: np.ndarray) -> np.ndarray:
    """(n,) mean output of each training sample over the models that did not see it; NaN where all did.

    ``outputs`` (M, n): the targets are the training samples themselves, in the order of the masks' columns.
    """
    outside = ~np.asarray(masks, dtype=bool)
    if outside.shape != np.shape(outputs):
        msg = f"masks {outside.shape} and outputs {np.shape(outputs)}: wanted one target for each training sample"
        raise DataError(msg)
    times = outside.sum(axis=0)
    return np.where(times > 0, (outputs * outside).sum(axis=0) / np.maximum(times, 1), np.nan)


def out_of_bag_effects(masks: np.ndarray, outputs: np.ndarray, *, penalty: float | None = None) -> Effects:
    """Effects within a small cohort: those on patient i come from the models that were not trained on i.

    So a cohort needs no separate targets: nobody is explained by a model that has seen the answer.

    Parameters
    ----------
    masks, outputs
        (M, n) and (M, n): every sample is a target.
    penalty
        See :func:`whycell.lenses.estimators.ridge`.

    Returns
    -------
    :class:`Effects` (n, n), with zeros on the diagonal.
    """
    masks = np.asarray(masks, dtype=bool)
    n = masks.shape[1]
    if masks.shape != np.shape(outputs):
        msg = f"masks {masks.shape} and outputs {np.shape(outputs)}: wanted one target for each training sample"
        raise DataError(msg)
    values, errors, intercept = np.zeros((n, n)), np.zeros((n, n)), np.zeros(n)
    for i in range(n):
        unseen, others = ~masks[:, i], np.arange(n) != i
        one = ridge(masks[unseen][:, others], outputs[unseen, i : i + 1], penalty=penalty)
        values[i, others], intercept[i] = one.values[0], one.intercept[0]
        errors[i, others] = 0.0 if one.standard_errors is None else one.standard_errors[0]
    return Effects(values, intercept, errors, {})


def _z(effects: Effects) -> np.ndarray:
    errors = effects.standard_errors
    if errors is None:
        return effects.values
    return np.asarray(effects.values / np.where(errors > 0, errors, np.inf))
