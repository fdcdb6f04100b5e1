"""Choosing the training cells that a model keeps, training heads on halves of them, and finding the ridge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from whycell.compute import Talk
from whycell.encode.cells import Gaps
from whycell.lenses.halves import cross_checked
from whycell.lenses.masks import draw_masks
from whycell.models.example_influence import Lessons, last_layer, log_odds
from whycell.models.examples import TEXTS, Examples
from whycell.models.lessons import Cells, Learned, Lesson
from whycell.models.projection import balance

__all__ = ["MOST", "gather"]

#: Cells kept where nothing else is said.
MOST = 50_000

RIDGES = (0.3, 1.0, 3.0, 10.0, 30.0)
_HALVES = 8
_TARGETS = 64
_FEWEST_OF_A_KIND = 20
_MOST_STEPS = 600


def gather(
    cells: Cells,
    learned: Learned,
    *,
    names: Mapping[str, np.ndarray],
    most: int = MOST,
    seed: int = 0,
    device: str = "cpu",
    talk: Talk | None = None,
) -> Examples:
    """Choose the cells to keep, train heads on halves of them, and find the ridge.

    Parameters
    ----------
    cells, learned
        Of the training.
    names
        (n_cells,) text under ``cell``, ``label``, ``donor``, ``study``.
    most
        Cells kept at most: of every donor and kind alike, and twenty of each where there are.
    seed
        Of the choice, the halves and the heads.
    device
        Where the heads are trained.
    talk
        Told of progress.
    """
    with threadpool_limits(1):  # sums are rounded the same way on any number of cores
        return _gather(cells, learned, names=names, most=most, seed=seed, device=device, talk=talk)


def _gather(
    cells: Cells,
    learned: Learned,
    *,
    names: Mapping[str, np.ndarray],
    most: int,
    seed: int,
    device: str,
    talk: Talk | None,
) -> Examples:
    rng = np.random.default_rng([seed, 5])
    rows, stands_for = _pick(cells.kind, cells.donor, most, rng)
    weight = balance(cells.study, cells.donor, cells.kind)[rows] * stands_for
    x, _ = learned.encoder.encode(
        cells.values,
        np.arange(cells.values.shape[1], dtype=np.int32),
        gaps=Gaps(cells.measured),
        pattern=cells.study[rows],
        rows=rows,
    )
    found = Examples(
        coordinates=x.astype(np.float16),
        kind=cells.kind[rows].astype(np.int16),
        meanings=cells.meanings,
        weight=(weight / weight.mean()).astype(np.float32),
        **{what: np.asarray(names[what])[rows].astype(str).astype(object) for what in TEXTS},  # type: ignore[arg-type]
        heads=[],
        halves=np.zeros((0, len(rows)), dtype=bool),
        ridge=1.0,
        quality={"slope": 1.0},
        of=len(cells.kind),
    )
    targets = _targets(found, learned, rng)
    rest = np.setdiff1d(np.arange(len(rows)), targets)
    halves = np.zeros((_HALVES, len(rows)), dtype=bool)
    halves[:, rest] = draw_masks(len(rest), _HALVES, kind="fixed", strata=found.kind[rest], seed=seed)
    found = replace(found, halves=halves, heads=_train(found, halves, learned, seed=seed, device=device, talk=talk))
    ridge, quality = _tune(found, targets)
    return replace(found, ridge=ridge, quality=quality)


def _pick(kind: np.ndarray, donor: np.ndarray, most: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows to keep, sorted, and how many cells each stands for."""
    n = len(kind)
    if n <= most:
        return np.arange(n), np.ones(n)
    _, stratum = np.unique(np.stack([kind, donor]), axis=1, return_inverse=True)
    sizes = np.bincount(stratum.ravel())
    kept = np.clip((sizes * (most / n)).astype(int), np.minimum(sizes, _FEWEST_OF_A_KIND), sizes)
    shuffled = rng.permutation(n)
    by_stratum = shuffled[np.argsort(stratum.ravel()[shuffled], kind="stable")]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    rows = np.concatenate([by_stratum[a : a + k] for a, k in zip(starts, kept, strict=True)])
    rows.sort()
    return rows, (sizes / kept)[stratum.ravel()[rows]]


def _targets(examples: Examples, learned: Learned, rng: np.random.Generator) -> np.ndarray:
    """Cells to tune on: half of them drawn at random, half among the least sure; a kind keeps most of its cells."""
    n = len(examples.kind)
    some = np.sort(rng.permutation(n)[: min(n, 4_000)])
    x, may = examples.coordinates[some].astype(np.float32), examples.meanings[examples.kind[some]]
    odds = np.mean([log_odds(last_layer(x, head)[1], may) for head in learned.heads], axis=0)
    sizes = np.bincount(examples.kind)
    able = np.flatnonzero((sizes[examples.kind[some]] >= _FEWEST_OF_A_KIND) & ~may.all(axis=1))
    k = min(_TARGETS, n // 10, len(able)) // 2
    unsure = able[np.argsort(np.abs(odds[able]), kind="stable")][:k]
    others = np.setdiff1d(able, unsure)
    return np.sort(some[np.concatenate([unsure, others[rng.permutation(len(others))[:k]]])])


def _train(
    examples: Examples, halves: np.ndarray, learned: Learned, *, seed: int, device: str, talk: Talk | None
) -> list[dict[str, np.ndarray]]:
    from whycell.models.fit import train_heads

    x = examples.coordinates.astype(np.float32)
    lessons = [
        Lesson(x[None, half], examples.kind[half].astype(np.int64), examples.meanings, _mean_one(examples.weight[half]))
        for half in halves
    ]
    return train_heads(
        lessons,
        n_hidden=learned.heads[0]["hidden"].shape[1],
        dropout=0.3,
        weight_decay=1e-2,
        learning_rate=2e-3,
        epochs=10,
        batch=256,
        max_steps=_MOST_STEPS,
        seed=seed,
        device=device,
        talk=talk,
    )


def _tune(examples: Examples, targets: np.ndarray) -> tuple[float, dict[str, float]]:
    """The ridge at which half of the heads best foretell what the others say of cells that none was trained on."""
    if not len(targets):  # too few cells of every kind to set any aside
        return 1.0, {"slope": 1.0}
    x, may = examples.coordinates[targets].astype(np.float32), examples.meanings[examples.kind[targets]]
    observed = np.stack([log_odds(last_layer(x, head)[1], may) for head in examples.heads])
    lessons = Lessons(examples.taught(), examples.heads)
    found = lessons.sums(x, may, ridges=RIDGES, masks=examples.halves)
    masks = examples.halves.astype(np.float32)
    told = np.zeros((len(RIDGES) + 1, 2, len(masks), len(targets)))
    for m, (by_ridge, dot) in enumerate(zip(found, lessons.dots(x, may), strict=True)):
        told[:-1, m % 2] += by_ridge
        told[-1, m % 2] += masks @ dot.T
    told /= len(masks) / 2
    half_of = np.arange(len(masks)) % 2
    scores = [cross_checked(list(each), observed, half_of=half_of) for each in told]
    # A parabola through the scores: eight halves tell neighbours apart only together.
    bend = np.polyfit(np.log(RIDGES), [score for score, _ in scores[:-1]], 2)
    best = int(np.argmax(np.polyval(bend, np.log(RIDGES))))
    slope = scores[best][1]
    quality = {
        "lds": scores[best][0],
        "lds_gradient_dot": scores[-1][0],
        # Scores that foretell nothing keep their own scale: a slope of chance would only hide it.
        "slope": slope if scores[best][0] > 0.05 and slope > 0 else 1.0,
    }
    return RIDGES[best], quality


def _mean_one(weight: np.ndarray) -> np.ndarray:
    return weight / weight.mean()
