"""Which training samples taught each prediction, from models trained on random subsets: one row of weights a target.

The weights are those of ridge regression of a target's margins on who was in the subset (datamodels, Ilyas et al.
2022), for all targets at once. Rows are compared by their direction: two samples share causes if the same training
samples help and harm them, however strongly.
"""

from __future__ import annotations

import numpy as np

from whycell.errors import DataError

__all__ = ["Teaching", "unit_rows"]


class Teaching:
    """Masks and margins, ready to give the weights that any part of the models would have found.

    Parameters
    ----------
    masks
        (m, n) bool: what each model was trained on.
    margins
        (m, t) float32: what each model answered on each target.
    own
        (t,) the training sample that a target is itself, -1 where it is none. Its effect on itself is taken out first,
        and its weight is set to 0: that a sample is known by heart says nothing of its kin.
    ridge
        Penalty, in units of the mean squared column of the design.
    """

    def __init__(
        self, masks: np.ndarray, margins: np.ndarray, *, own: np.ndarray | None = None, ridge: float = 0.5
    ) -> None:
        masks, margins = np.asarray(masks, dtype=bool), np.asarray(margins, dtype=np.float32)
        if masks.ndim != 2 or margins.ndim != 2 or len(masks) != len(margins) or len(masks) < 4:
            msg = (
                f"masks {masks.shape} and margins {margins.shape}: wanted a row of each for each of four models or more"
            )
            raise DataError(msg)
        own = np.full(margins.shape[1], -1) if own is None else np.asarray(own)
        if own.shape != (margins.shape[1],) or (own >= masks.shape[1]).any():
            msg = f"own {own.shape}: wanted, for each of {margins.shape[1]} targets, a column of the masks or -1"
            raise DataError(msg)
        self.masks, self.margins, self.own, self.ridge = masks, margins, own, ridge

    @property
    def n_models(self) -> int:
        """How many models there are."""
        return len(self.masks)

    def weights(self, models: np.ndarray | None = None) -> np.ndarray:
        """The weights that these models find.

        Parameters
        ----------
        models
            (k,) positions of the models to use; all without.

        Returns
        -------
        (t, n) float32; the weight of a sample is the change of the target's margin when it joins the training.
        """
        chosen = slice(None) if models is None else np.asarray(models)
        design = self.masks[chosen].astype(np.float32)
        answers = self.margins[chosen]
        design -= design.mean(axis=0)
        answers = answers - answers.mean(axis=0)
        squares = np.einsum("mn,mn->n", design, design)
        at = np.flatnonzero(self.own >= 0)
        for start in range(0, len(at), 1000):  # a copy of the design's columns, not of all of them at once
            part = at[start : start + 1000]
            mine = design[:, self.own[part]]
            effect = np.einsum("mt,mt->t", mine, answers[:, part]) / np.maximum(squares[self.own[part]], 1e-9)
            answers[:, part] -= mine * effect
        found = _ridge(design, answers, self.ridge)
        found[at, self.own[at]] = 0
        return found

    def halves(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The weights found by a random half of the models, and by the other half."""
        order = rng.permutation(self.n_models)
        middle = self.n_models // 2
        return self.weights(np.sort(order[:middle])), self.weights(np.sort(order[middle:]))


def _ridge(design: np.ndarray, answers: np.ndarray, ridge: float) -> np.ndarray:
    """Through whichever of the two Gram matrices is the smaller."""
    from scipy.linalg import cho_factor, cho_solve

    m, n = design.shape
    penalty = ridge * float(np.einsum("mn,mn->", design, design)) / n
    wide = n > m
    gram = (design @ design.T if wide else design.T @ design).astype(np.float64)
    gram[np.diag_indices_from(gram)] += max(penalty, 1e-9)
    factor = cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
    if wide:
        return np.ascontiguousarray((design.T @ cho_solve(factor, answers.astype(np.float64))).T, dtype=np.float32)
    return np.ascontiguousarray(cho_solve(factor, (design.T @ answers).astype(np.float64)).T, dtype=np.float32)


def unit_rows(weights: np.ndarray) -> np.ndarray:
    """(t, n) -> rows of length one, so that distance is a matter of direction; a row of zeros stays one."""
    weights = np.asarray(weights, dtype=np.float32)
    return weights / np.maximum(np.linalg.norm(weights, axis=1, keepdims=True), 1e-12)
