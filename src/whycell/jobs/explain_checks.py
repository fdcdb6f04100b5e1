"""Is an explanation true? It is put to the test on some of the cells, by asking the model itself.

*completeness*  what the contributions leave of the difference that they explain, in units of its spread;
*deletion, insertion*  the probability of the call as the strongest genes become the reference's, or come into the
reference, beside gradient x input, integrated gradients and random genes: mean height of the curve up to 50 genes;
*perturbation*  rank correlation with what the log-odds do when one gene at a time becomes the reference's;
*randomised*  rank correlation with the explanation of a network whose weights were shuffled: an explanation that stays
the same explains no model, and fails;
*references*  rank correlation with the explanations by other references.
"""

# n - cell, g - gene of the model, m - method

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from whycell.jobs.explain_targets import Sides
from whycell.metrics.fidelity import (
    RANDOM,
    Curve,
    completeness,
    deletion_curve,
    insertion_curve,
    random_scores,
    rank_agreement,
    top_overlap,
)
from whycell.models.explaining import Pipeline
from whycell.models.multipliers import contrast, mean_logits

__all__ = ["ALL", "COMPARATORS", "COUNTS", "LIMIT", "Checked", "Tested", "check"]

ALL = "all types"
#: Genes deleted or inserted at each point of the curves.
COUNTS = (1, 2, 5, 10, 20, 50)
COMPARATORS = ("integrated-gradients", "gradient-x-input")
#: Mean rank correlation with the explanations of shuffled networks from which on an explanation fails.
LIMIT = 0.5
_DRAWS = 3
_MOST_PERTURBED = 40
_CHUNK = 600


@dataclass(frozen=True)
class Tested:
    """The cells on which an explanation is tested.

    Parameters
    ----------
    expression, reference
        (n, g) normalised values.
    sides
        What is explained.
    types
        (n,) call of each cell.
    others
        By kind, (n, g) other references.
    """

    expression: np.ndarray
    reference: np.ndarray
    sides: Sides
    types: np.ndarray
    others: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Checked:
    """What came of it.

    Parameters
    ----------
    of_cells
        One row a cell: ``completeness, fall`` (of the probability without the ten strongest genes), ``fall_random,
        deletion, insertion, perturbation, randomised, references, top_references`` (share of the ten strongest in
        common).
    of_types
        Their means by type and over all, ``cells``, the areas of the comparators, and ``passed``.
    curves
        ``method, genes, deletion, insertion``: means over all cells.
    """

    of_cells: pd.DataFrame
    of_types: pd.DataFrame
    curves: pd.DataFrame


def check(pipeline: Pipeline, tested: Tested, *, method: str, seed: int) -> Checked:
    """Put an explanation to the test.

    Parameters
    ----------
    pipeline
        The model for this file.
    tested
        The cells.
    method
        Of the explanation.
    seed
        Of random genes and shuffled weights.
    """
    found = _scores(pipeline, tested, method)
    scores = {method: found}
    scores |= {name: _scores(pipeline, tested, name) for name in COMPARATORS if name != method}
    scores[RANDOM] = random_scores(tested.expression, like=found, reference=tested.reference, seed=seed)
    curves = {name: _curves(pipeline, tested, values) for name, values in scores.items()}
    sides = (tested.sides.leaves, tested.sides.others)
    difference = pipeline.log_odds(tested.expression, *sides) - pipeline.log_odds(tested.reference, *sides)
    whole = completeness(found, difference)
    shuffled = [
        rank_agreement(found, _scores(_shuffled(pipeline, seed + draw), tested, method)) for draw in range(_DRAWS)
    ]
    elsewhere = [_scores(pipeline, tested, method, other) for other in tested.others.values()]
    ten = min(COUNTS.index(10), len(curves[method][0].counts) - 1)
    of_cells = pd.DataFrame(
        {
            "completeness": np.abs(whole.residual) / whole.spread,
            "fall": curves[method][0].change[:, ten],
            "fall_random": curves[RANDOM][0].change[:, ten],
            "deletion": curves[method][0].area,
            "insertion": curves[method][1].area,
            "perturbation": _perturbation(pipeline, tested, found),
            "randomised": _mean(shuffled),
            "references": _mean([rank_agreement(found, other) for other in elsewhere]),
            "top_references": _mean([top_overlap(found, other) for other in elsewhere]),
        }
    )
    beside = {
        f"{kind}_{name}": curves[name][k].area
        for k, kind in enumerate(("deletion", "insertion"))
        for name in curves
        if name != method
    }
    table = pd.concat([of_cells, pd.DataFrame(beside)], axis=1)
    return Checked(of_cells, _by_type(table, tested.types), _curve_table(curves))


def _scores(pipeline: Pipeline, tested: Tested, method: str, reference: np.ndarray | None = None) -> np.ndarray:
    return pipeline.contributions(
        tested.expression,
        tested.reference if reference is None else reference,
        leaves=tested.sides.leaves,
        others=tested.sides.others,
        method=method,
    )


def _curves(pipeline: Pipeline, tested: Tested, scores: np.ndarray) -> tuple[Curve, Curve]:
    # Each cell has its own target, so that its row travels along as one more feature, which is never taken.
    row = np.arange(len(scores), dtype=np.float32)[:, None]

    def predict(x: np.ndarray) -> np.ndarray:
        return pipeline.probability(x[:, :-1], tested.sides.leaves[x[:, -1].astype(np.int64)])

    x, reference = (np.concatenate([values, row], axis=1) for values in (tested.expression, tested.reference))
    ranked = np.where(pipeline.measured, scores, -np.inf)
    ranked = np.concatenate([ranked, np.full_like(row, -np.inf)], axis=1)
    counts = [k for k in COUNTS if k <= pipeline.measured.sum()] or [1]
    return (
        deletion_curve(predict, x, scores=ranked, reference=reference, counts=counts, chunk=_CHUNK),
        insertion_curve(predict, x, scores=ranked, reference=reference, counts=counts, chunk=_CHUNK),
    )


def _perturbation(pipeline: Pipeline, tested: Tested, scores: np.ndarray) -> np.ndarray:
    """(n,) agreement with one gene at a time; NaN beyond the cells that there is time for."""
    found = np.full(len(scores), np.nan)
    x = pipeline.coordinates(tested.expression)
    for i in range(min(len(scores), _MOST_PERTURBED)):
        gone = (tested.expression[i] - tested.reference[i])[:, None] * pipeline.directions
        sides = [np.repeat(mask[i][None], len(gone) + 1, axis=0) for mask in (tested.sides.leaves, tested.sides.others)]
        f = contrast(mean_logits(np.concatenate([x[i][None], x[i] - gone]), pipeline.heads), *sides)
        found[i] = rank_agreement(scores[i][None], (f[0] - f[1:])[None])[0]
    return found


def _shuffled(pipeline: Pipeline, seed: int) -> Pipeline:
    """The same, every array of the network's weights in random order."""
    rng = np.random.default_rng(seed)
    heads = [
        {name: rng.permutation(head[name].ravel()).reshape(head[name].shape) for name in sorted(head)}
        for head in pipeline.heads
    ]
    return pipeline.with_heads(heads)


def _mean(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.mean(arrays, axis=0) if len(arrays) else np.array(np.nan)


def _by_type(table: pd.DataFrame, types: np.ndarray) -> pd.DataFrame:
    rows = [(ALL, np.ones(len(types), dtype=bool))] + [(str(name), types == name) for name in np.unique(types)]
    found = []
    for name, mine in rows:
        means = table[mine].mean()
        passed = not abs(means["randomised"]) >= LIMIT
        found.append({"type": name, "cells": int(mine.sum()), **means.to_dict(), "passed": passed})
    return pd.DataFrame(found)


def _curve_table(curves: Mapping[str, tuple[Curve, Curve]]) -> pd.DataFrame:
    rows = []
    for name, (deletion, insertion) in curves.items():
        for at, genes in enumerate(deletion.counts):
            rows.append((name, int(genes), deletion.change[:, at].mean(), insertion.change[:, at].mean()))
    return pd.DataFrame(rows, columns=["method", "genes", "deletion", "insertion"])
