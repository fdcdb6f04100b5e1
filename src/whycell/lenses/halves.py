"""Whether scores foretell the outputs of models they were not made from: what every ridge here is tuned by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whycell.metrics.attribution import spearman

__all__ = ["cross_checked"]


def cross_checked(told: Sequence[np.ndarray], observed: np.ndarray, *, half_of: np.ndarray) -> tuple[float, float]:
    """The linear datamodeling score of two halves of the models, each on the models it was not made from.

    Parameters
    ----------
    told
        For each half (m, t): what its scores, summed over each model's samples, foretell of that model's outputs.
    observed
        (m, t) the outputs.
    half_of
        (m,) the half that each model belongs to; -1 for neither.

    Returns
    -------
    score : mean rank correlation over targets
    slope : observed over foretold change
    """
    scores, slopes = [], []
    for half, each in enumerate(told):
        fresh = half_of != half
        scores.append(float(spearman(each[fresh], observed[fresh]).mean()))
        a, b = (v[fresh] - v[fresh].mean(axis=0) for v in (each, observed))
        slopes.append(float((a * b).sum() / max(float((a**2).sum()), 1e-12)))
    return float(np.mean(scores)), float(np.mean(slopes))
