"""How unlike everything learned a cell is.

Three pieces of evidence, each standardised on cells of known types from held-out groups:

*chimera*: log-odds of a network trained to tell real cells from chimeras of two kinds. It knows which programmes go
together, and a type never seen breaks that order even where a softmax is sure.

*distance*: log of the mean distance to the five nearest of a few thousand training cells.

*rest*: log of what the directions leave unexplained, counted in full only beyond five standard deviations; cells from
another tissue express genes along which no training cell varied.

*far*: by how many standard deviations the share of its counts on the model's genes is too low (`models.outside`).

    score = chimera + 0.5 distance + 0.15 rest + max(0, rest - 5)
    novelty = max( logistic(4 (score - q99) / (q99 - q50)), logistic(far - 6) )

with the quantiles those of held-out cells of known types: 0.5 is passed by one known cell in a hundred.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from whycell.encode.kernels import nearest
from whycell.models.forward import head_logits
from whycell.models.outside import FOREIGN

__all__ = ["NoveltyModel", "chimera_evidence", "evidence", "standardise"]

_NEIGHBOURS = 5
_WEIGHTS = np.array([1.0, 0.5, 0.15])
_FAR = 5.0


@dataclass(frozen=True)
class NoveltyModel:
    """What it takes to score cells.

    Parameters
    ----------
    head
        Weights of the network that tells real cells from chimeras.
    known
        (n_known, n_directions) float32 coordinates of training cells.
    levels
        (n_levels,) shares of what the model reads.
    centre, width
        (n_levels, 3) mean and standard deviation of the evidence on held-out known cells.
    q50, q99
        (n_levels,) quantiles of the score on held-out known cells.
    """

    head: Mapping[str, np.ndarray]
    known: np.ndarray
    levels: np.ndarray
    centre: np.ndarray
    width: np.ndarray
    q50: np.ndarray
    q99: np.ndarray

    def score(self, x: np.ndarray, rest: np.ndarray, far: np.ndarray, *, coverage: float) -> np.ndarray:
        """Novelty in 0..1.

        Parameters
        ----------
        x
            (n_cells, n_directions) coordinates.
        rest
            (n_cells,) squared distance from the mean outside the directions.
        far
            (n_cells,) standard deviations by which the share of counts on the model's genes is too low.
        coverage
            Share of what the model reads that the file measures.
        """
        at = [_interpolate(coverage, self.levels, table) for table in (self.centre, self.width, self.q50, self.q99)]
        raw = standardise(evidence(x, rest, head=self.head, known=self.known), at[0], at[1])
        z = 4.0 * (raw - at[2]) / np.maximum(at[3] - at[2], 1e-6) - 4.0
        z = np.maximum(z, far - FOREIGN)
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(z, -30, 30))))


def chimera_evidence(x: np.ndarray, head: Mapping[str, np.ndarray]) -> np.ndarray:
    """(n_cells,) log-odds of being a chimera."""
    logits = head_logits(x, head)
    return np.asarray(np.clip(logits[:, 1] - logits[:, 0], -12, 12), dtype=np.float64)


def evidence(x: np.ndarray, rest: np.ndarray, *, head: Mapping[str, np.ndarray], known: np.ndarray) -> np.ndarray:
    """(n_cells, 3) chimera, distance and rest, not yet standardised."""
    return np.column_stack([chimera_evidence(x, head), _distance(x, known), np.log(np.maximum(rest, 1e-6))])


def standardise(values: np.ndarray, centre: np.ndarray, width: np.ndarray) -> np.ndarray:
    """(n_cells,) score from evidence (n_cells, 3)."""
    z = (values - centre) / np.maximum(width, 1e-6)
    return np.asarray(z @ _WEIGHTS + np.maximum(z[:, 2] - _FAR, 0.0))


def _distance(x: np.ndarray, known: np.ndarray) -> np.ndarray:
    squares = (known.astype(np.float64) ** 2).sum(axis=1).astype(np.float32)
    k = min(_NEIGHBOURS, len(known))
    gaps = np.empty((len(x), k), dtype=np.float32)
    nearest(x @ known.T, (x**2).sum(axis=1), squares, k, gaps)
    return np.asarray(np.log(np.sqrt(np.maximum(gaps, 1e-6)).mean(axis=1)), dtype=np.float64)


def _interpolate(coverage: float, levels: np.ndarray, table: np.ndarray) -> np.ndarray:
    order = np.argsort(levels)
    at = np.log(levels[order])
    flat = table.reshape(len(levels), -1)[order]
    values = np.array([np.interp(np.log(coverage), at, flat[:, j]) for j in range(flat.shape[1])])
    return values.reshape(table.shape[1:])
