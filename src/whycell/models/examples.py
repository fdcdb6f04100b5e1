"""The training cells that a model keeps, so that it can say which of them taught a call.

A third file of the model's folder, ``examples.safetensors``: coordinates, what each label may mean, names, donors and
studies of the cells, and a few heads trained on random halves of them. Nothing in it can run code; its digest stands in
``about.json``. Expression is not kept: coordinates are about fifty numbers a cell.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors
from threadpoolctl import threadpool_limits

from whycell.compute import Talk
from whycell.encode.cells import Gaps
from whycell.errors import ModelError
from whycell.lenses.halves import cross_checked
from whycell.lenses.masks import draw_masks
from whycell.models.example_influence import Lessons, Taught, last_layer, log_odds
from whycell.models.lessons import Cells, Learned, Lesson
from whycell.models.projection import balance

__all__ = ["FILE", "MOST", "Examples", "gather", "load_examples", "pack"]

#: Name of the file in the model's folder.
FILE = "examples.safetensors"
#: Cells kept where nothing else is said.
MOST = 50_000

RIDGES = (0.3, 1.0, 3.0, 10.0, 30.0)
_HALVES = 8
_TARGETS = 64
_FEWEST_OF_A_KIND = 20
_MOST_STEPS = 600
_TEXTS = ("cell", "label", "donor", "study")


@dataclass(frozen=True)
class Examples:
    """Training cells, and what is needed to ask them.

    Parameters
    ----------
    coordinates
        (n, n_inputs) float16.
    kind, meanings
        (n,) int16 row of ``meanings``; (n_kinds, n_leaves) bool, the leaves that a label may stand for.
    weight
        (n,) float32 weight in training; a cell that stands for several weighs as much as they.
    cell, label, donor, study
        (n,) text.
    heads
        Heads trained on halves of the cells.
    halves
        (n_heads, n) bool.
    ridge
        The one that best foretells what heads of other halves answer.
    quality
        ``lds`` and ``lds_gradient_dot``: rank correlation of foretold and observed log-odds over halves, on cells
        that no half holds; ``slope``: observed over foretold.
    of
        Training cells that there were.
    """

    coordinates: np.ndarray
    kind: np.ndarray
    meanings: np.ndarray
    weight: np.ndarray
    cell: np.ndarray
    label: np.ndarray
    donor: np.ndarray
    study: np.ndarray
    heads: list[dict[str, np.ndarray]]
    halves: np.ndarray
    ridge: float
    quality: dict[str, float]
    of: int

    def taught(self) -> Taught:
        """As ``example_influence`` asks them."""
        return Taught(self.coordinates.astype(np.float32), self.meanings[self.kind], self.weight)

    def influences(self, x: np.ndarray, may: np.ndarray, *, group: np.ndarray | None = None) -> np.ndarray:
        """How much each cell moves the log-odds of what was called, to first order; negative where it speaks against.

        Parameters
        ----------
        x
            (t, n_inputs) coordinates.
        may
            (t, n_leaves) bool, the leaves of each call.
        group
            (t,) int, 0..g-1: the mean over each group of targets, in place of each target.

        Returns
        -------
        (t or g, n) float32
        """
        with threadpool_limits(1):
            found = Lessons(self.taught(), self.heads).influences(x, may, ridges=(self.ridge,), group=group)
        return np.asarray(sum(each[0] for each in found) / np.float32(len(found) / self.quality["slope"]))


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
        **{what: np.asarray(names[what])[rows].astype(str).astype(object) for what in _TEXTS},  # type: ignore[arg-type]
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


def pack(examples: Examples) -> tuple[bytes, dict[str, Any]]:
    """The bytes of the file, and what the card says of it."""
    tensors: dict[str, np.ndarray] = {
        "coordinates": examples.coordinates,
        "kind": examples.kind,
        "meanings": examples.meanings,
        "weight": examples.weight,
        "halves": np.packbits(examples.halves, axis=1),
    }
    for what in _TEXTS:
        words, codes = np.unique(getattr(examples, what).astype(str), return_inverse=True)
        if what == "cell":  # names differ from cell to cell; the others repeat
            words, codes = getattr(examples, what).astype(str), np.zeros(0, dtype=np.int32)
        tensors[f"{what}.codes"] = codes.astype(np.int32)
        text = "\n".join(str(word).replace("\n", " ") for word in words)
        tensors[f"{what}.words"] = np.frombuffer(text.encode(), dtype=np.uint8)
    for name in examples.heads[0]:
        tensors[f"head.{name}"] = np.stack([head[name] for head in examples.heads])
    packed = save_tensors({name: np.ascontiguousarray(value) for name, value in tensors.items()})
    told = {
        "sha256": hashlib.sha256(packed).hexdigest(),
        "cells": len(examples.kind),
        "of": int(examples.of),
        "heads": len(examples.heads),
        "ridge": float(examples.ridge),
        "quality": {name: round(float(value), 4) for name, value in examples.quality.items()},
    }
    return packed, told


def load_examples(folder: Path, card: Mapping[str, Any]) -> Examples:
    """Read the training cells of a saved model.

    Parameters
    ----------
    folder
        Of the model.
    card
        Its card, as ``store.read_card`` checked it.

    Raises
    ------
    ModelError
        The model keeps none, or the file is missing, truncated or another's.
    """
    told = card.get("examples")
    if told is None:
        msg = (
            f"The model {card.get('name', folder.name)!r} keeps no training cells, so it cannot say which "
            "of them taught a call; train it without --no-examples."
        )
        raise ModelError(msg)
    packed = (folder / FILE).read_bytes() if (folder / FILE).is_file() else b""
    if hashlib.sha256(packed).hexdigest() != told["sha256"]:
        msg = (
            f"{folder / FILE} is not what its about.json was written with: truncated, missing or replaced. Copy the "
            "model again, or train it anew."
        )
        raise ModelError(msg)
    tensors = load_tensors(packed)
    n = int(told["cells"])
    texts = {}
    for what in _TEXTS:
        words = np.array(tensors[f"{what}.words"].tobytes().decode().split("\n"), dtype=object)
        texts[what] = words if what == "cell" else words[tensors[f"{what}.codes"]]
    stacked = {name.removeprefix("head."): value for name, value in tensors.items() if name.startswith("head.")}
    return Examples(
        coordinates=tensors["coordinates"],
        kind=tensors["kind"],
        meanings=tensors["meanings"],
        weight=tensors["weight"],
        **texts,
        heads=[{name: value[m] for name, value in stacked.items()} for m in range(int(told["heads"]))],
        halves=np.unpackbits(tensors["halves"], axis=1, count=n).astype(bool),
        ridge=float(told["ridge"]),
        quality=dict(told["quality"]),
        of=int(told["of"]),
    )


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
