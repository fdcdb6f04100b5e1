"""Why a cell was typed as it was, gene by gene: the typer's whole way from counts to log-odds, walked back.

    counts -> v = log(1 + 1e4 · share · count / sum)  ->  x = (v - mean) W  ->  logits  ->  f / temperature

f is a contrast of leaves (`models.multipliers`). The multipliers m of the coordinates, by DeepLIFT, reach the genes
through the projection, which is linear:

    contribution of g = (v_g - reference_g) · (W m)_g,       sum over g = f(cell) - f(reference), exactly

The reference is a vector of normalised expression: the mean of some cells, or zeros. A gene that the file does not
measure has no row in W here and contributes nothing. The expression is what is explained: that a count more in one
gene lowers the share of all others is the normalisation's doing, and is not passed on.
"""

# n - cell, g - gene of the model, d - direction, k - leaf

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from whycell.encode.kernels import compiled
from whycell.errors import UsageError
from whycell.models.answer import BLOCK, Answerer
from whycell.models.calibrate import temperature_at
from whycell.models.multipliers import contrast, gradient, mean_logits, rescale, reveal_cancel
from whycell.models.rfm_head import is_machine

__all__ = ["METHODS", "Pipeline"]

#: Ways to share f among the genes: two of DeepLIFT, and what they are compared with.
METHODS = ("rescale", "reveal-cancel", "integrated-gradients", "gradient-x-input", "gradient-x-difference")
_STEPS = 20
_LAST = ("linear", "bias", "out", "coefficients")  # weights that end in the logits


@dataclass(frozen=True)
class Pipeline:
    """A model and the genes that one file measures: from its counts to log-odds, and back.

    Parameters
    ----------
    genes
        (g,) the model's genes.
    columns
        (n_columns,) int32 the model's gene of each column of the file, below 0 for none.
    measured
        (g,) bool, genes that some column holds.
    mean
        (g,) float32 mean of the normalised values in training; 0 where not measured.
    directions
        (g, d) float32; 0 where not measured.
    heads
        Weights of the members, those that end in the logits divided by the temperature at this file's coverage: the
        log-odds are then those of the calibrated probabilities.
    target, share
        Size to which cells are scaled (0: values are taken as they are), and the part of a typical cell's counts that
        the measured genes hold.
    """

    genes: np.ndarray
    columns: np.ndarray
    measured: np.ndarray
    mean: np.ndarray
    directions: np.ndarray
    heads: Sequence[Mapping[str, np.ndarray]]
    target: float
    share: float

    @classmethod
    def of(cls, answerer: Answerer, columns: np.ndarray) -> Pipeline:
        """The pipeline of a model for a file.

        Parameters
        ----------
        answerer
            The model.
        columns
            (n_columns,) int32, as ``Answerer.align`` gives them.

        Raises
        ------
        UsageError
            The model's calls rest in part on vectors that are no sums over genes.
        """
        directions, heads = _of_genes(answerer)
        encoder = answerer.learned.encoder
        measured = np.zeros(len(answerer.genes), dtype=bool)
        measured[columns[columns >= 0]] = True
        calibration = answerer.calibration
        temperature = temperature_at(answerer.learned.coverage(measured), calibration.levels, calibration.temperatures)
        return cls(
            genes=answerer.genes,
            columns=np.maximum(columns, -1).astype(np.int32),
            measured=measured,
            mean=np.where(measured, encoder.mean, 0).astype(np.float32),
            directions=np.ascontiguousarray(np.where(measured[:, None], directions, 0), dtype=np.float32),
            heads=[_cooled(head, temperature) for head in heads],
            target=float(encoder.target),
            share=float(encoder.share[measured].sum()),
        )

    def with_heads(self, heads: Sequence[Mapping[str, np.ndarray]]) -> Pipeline:
        """The same with other weights of the network: for the check against random ones."""
        return replace(self, heads=heads)

    def expression(self, values: sp.csr_matrix) -> np.ndarray:
        """(n, g) float32 normalised expression of ``values`` (n, n_columns), linear; 0 where not measured."""
        out = np.zeros((values.shape[0], len(self.genes)), dtype=np.float32)
        _gather(values.indptr, values.indices, values.data, self.columns, out)
        if self.target > 0:
            totals = out.sum(axis=1, dtype=np.float64)
            factor = np.divide(self.target * self.share, totals, out=np.ones_like(totals), where=totals > 0)
            out *= factor[:, None].astype(np.float32)
            np.log1p(out, out=out)
        return out

    def coordinates(self, expression: np.ndarray) -> np.ndarray:
        """(n, d) float32 coordinates of ``expression`` (n, g)."""
        return np.asarray((expression - self.mean) @ self.directions)

    def log_odds(self, expression: np.ndarray, leaves: np.ndarray, others: np.ndarray) -> np.ndarray:
        """f of every cell.

        Parameters
        ----------
        expression
            (n, g) normalised values.
        leaves, others
            (n, k) bool, what speaks for and what against; disjoint, neither empty.

        Returns
        -------
        (n,) float64
        """
        out = np.empty(len(expression))
        for start in range(0, len(expression), BLOCK):
            part = slice(start, start + BLOCK)
            values, mine, theirs = (_padded(a[part]) for a in (expression, leaves, others))
            f = contrast(mean_logits(self.coordinates(values), self.heads), mine, theirs)
            out[part] = f[: len(out[part])]
        return out

    def probability(self, expression: np.ndarray, leaves: np.ndarray) -> np.ndarray:
        """(n,) calibrated probability of ``leaves`` (n, k) bool together, for ``expression`` (n, g)."""
        odds = self.log_odds(expression, leaves, ~leaves)
        return np.asarray(1.0 / (1.0 + np.exp(-odds)))

    def contributions(
        self,
        expression: np.ndarray,
        reference: np.ndarray,
        *,
        leaves: np.ndarray,
        others: np.ndarray,
        method: str = "rescale",
    ) -> np.ndarray:
        """What every gene of every cell adds to f, against a reference.

        Parameters
        ----------
        expression, reference
            (n, g) normalised values of the cells, and of what each is compared with.
        leaves, others
            (n, k) bool, what speaks for and what against; disjoint, neither empty.
        method
            One of :data:`METHODS`. By the first two the contributions of a cell sum to ``f(cell) - f(reference)``, by
            integrated gradients nearly.

        Returns
        -------
        (n, g) float32; 0 where not measured

        Raises
        ------
        UsageError
            There is no such method.
        """
        if method not in METHODS:
            msg = f"There is no method {method!r}; there are {', '.join(METHODS)}."
            raise UsageError(msg)
        out = np.empty(expression.shape, dtype=np.float32)
        for start in range(0, len(expression), BLOCK):
            part = slice(start, start + BLOCK)
            padded = [_padded(a[part]) for a in (expression, reference, leaves, others)]
            out[part] = self._block(*padded, method)[: len(out[part])]
        return out

    def _block(
        self, expression: np.ndarray, reference: np.ndarray, leaves: np.ndarray, others: np.ndarray, method: str
    ) -> np.ndarray:
        """One block of one fixed size, so that a cell's sums are rounded the same way whatever its neighbours are."""
        difference = (expression - reference) * self.measured
        if method == "reveal-cancel":
            return self._revealed(expression, reference, difference, leaves, others)
        x, at = self.coordinates(expression), self.coordinates(reference)
        if method == "rescale":
            m = rescale(x, at, self.heads, leaves, others)
        elif method == "integrated-gradients":
            m = _along(x, at, lambda point: gradient(point, self.heads, leaves, others))
        else:
            m = gradient(x, self.heads, leaves, others)
        of_genes = m.astype(np.float32) @ self.directions.T
        return np.asarray(of_genes * (expression if method == "gradient-x-input" else difference))

    def _revealed(
        self,
        expression: np.ndarray,
        reference: np.ndarray,
        difference: np.ndarray,
        leaves: np.ndarray,
        others: np.ndarray,
    ) -> np.ndarray:
        """Genes that raise a coordinate and genes that lower it get multipliers of their own."""
        positive = np.maximum(self.directions, 0)
        negative = self.directions - positive
        more, less = np.maximum(difference, 0), np.minimum(difference, 0)
        up, down = reveal_cancel(
            self.coordinates(expression),
            self.coordinates(reference),
            self.heads,
            leaves,
            others,
            rising=(more @ positive + less @ negative).astype(np.float64),
            falling=(more @ negative + less @ positive).astype(np.float64),
        )
        up, down = up.astype(np.float32), down.astype(np.float32)
        return np.asarray(more * (up @ positive.T + down @ negative.T) + less * (down @ positive.T + up @ negative.T))


def _of_genes(answerer: Answerer) -> tuple[np.ndarray, list[Mapping[str, np.ndarray]]]:
    """Directions (g, d) and heads of all that a model makes of genes.

    A pool of views of genes is one network on their coordinates side by side: the mean of members that each read their
    own, with logits times the view's weight.
    """
    pool = answerer.pool
    if pool is None:
        return answerer.learned.encoder.directions, list(answerer.learned.heads)
    strange = [v.name for v, w in zip(pool.views, pool.weights[1:], strict=True) if w > 0 and not v.of_genes]
    if strange:
        msg = (
            f"The model types cells in part by {', '.join(strange)}, of which no gene has a share, so its calls cannot "
            "be explained by genes; train one with --representation expression, genept-w or ensemble without --view."
        )
        raise UsageError(msg)
    learned = [answerer.learned, *(view.learned for view in pool.views)]
    used = [(one, w) for one, w in zip(learned, pool.weights, strict=True) if w > 0]
    n_heads, width = sum(len(one.heads) for one, _ in used), sum(one.encoder.directions.shape[1] for one, _ in used)
    heads: list[Mapping[str, np.ndarray]] = []
    start = 0
    for one, weight in used:
        own = slice(start, start + one.encoder.directions.shape[1])
        for head in one.heads:
            share = weight * n_heads / len(one.heads)
            wide = {name: head[name] * np.float32(share if name in _LAST else 1) for name in head}
            for name in ("factor",) if is_machine(head) else ("linear", "hidden"):
                rows = np.zeros((width, wide[name].shape[1]), dtype=np.float32)
                rows[own] = wide[name]
                wide[name] = rows
            heads.append(wide)
        start = own.stop
    return np.hstack([one.encoder.directions for one, _ in used]), heads


def _cooled(head: Mapping[str, np.ndarray], temperature: float) -> dict[str, np.ndarray]:
    """Weights whose logits are those of ``head`` over the temperature."""
    return {name: value / temperature if name in _LAST else value for name, value in head.items()}


def _padded(rows: np.ndarray) -> np.ndarray:
    """Some rows and, up to a whole block, the first of them again."""
    return np.concatenate([rows, np.repeat(rows[:1], BLOCK - len(rows), axis=0)]) if len(rows) < BLOCK else rows


def _along(x: np.ndarray, at: np.ndarray, slope: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Mean gradient on the straight way from ``at`` to ``x``, by the midpoints of equal steps."""
    middles = (np.arange(_STEPS) + 0.5) / _STEPS
    return np.asarray(sum(slope(at + t * (x - at)) for t in middles) / _STEPS)


@compiled
def _gather(indptr: Any, indices: Any, data: Any, columns: Any, out: Any) -> None:
    """Values of the model's genes, densely; columns of one gene are summed."""
    for c in range(len(indptr) - 1):
        for k in range(indptr[c], indptr[c + 1]):
            g = columns[indices[k]]
            if g >= 0:
                out[c, g] += data[k]
