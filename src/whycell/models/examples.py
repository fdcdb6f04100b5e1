"""The training cells that a model keeps, so that it can say which of them taught a call.

A third file of the model's folder, ``examples.safetensors``: coordinates, what each label may mean, names, donors and
studies of the cells, and a few heads trained on random halves of them. Nothing in it can run code; its digest stands in
``about.json``. Expression is not kept: coordinates are about fifty numbers a cell.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors
from threadpoolctl import threadpool_limits

from whycell.errors import ModelError
from whycell.models.example_influence import Lessons, Taught

__all__ = ["FILE", "TEXTS", "Examples", "load_examples", "pack"]

#: Name of the file in the model's folder.
FILE = "examples.safetensors"
#: What is told of each cell in words.
TEXTS = ("cell", "label", "donor", "study")


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


def pack(examples: Examples) -> tuple[bytes, dict[str, Any]]:
    """The bytes of the file, and what the card says of it."""
    tensors: dict[str, np.ndarray] = {
        "coordinates": examples.coordinates,
        "kind": examples.kind,
        "meanings": examples.meanings,
        "weight": examples.weight,
        "halves": np.packbits(examples.halves, axis=1),
    }
    for what in TEXTS:
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
    if told is None and "pool" in card:
        msg = (
            f"The model {card.get('name', folder.name)!r} pools several views and keeps no training cells: who taught "
            "a call is reckoned within one network; train with --representation expression or genept-w."
        )
        raise ModelError(msg)
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
    for what in TEXTS:
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
