"""The units of a layer, scored sequences by sequences into a file; and the letters that drive each of its channels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from torch import nn

from whycell.errors import UsageError
from whycell.jobs.sequences_opened import opened_model
from whycell.jobs.sequences_scores import UnitPlaces, UnitScores, layer_names, unit_places, unit_scores
from whycell.patterns.filters import TopWindows, meme_of

__all__ = ["LayerWriter", "known_layer", "layers_of_model"]


def layers_of_model(model: Path) -> pd.DataFrame:
    """A row a layer of the model in a folder: ``layer``, ``channels``, ``positions``, and ``reads``, letters a unit.

    ``positions`` and ``reads`` are missing where units have no place.
    """
    trained = opened_model(model)
    rows = []
    for name, shape in layer_names(trained.module, trained.length_).items():
        try:
            reads = unit_places(trained.module, trained.length_, layer=name).width
        except UsageError:
            reads = None
        rows.append((name, shape[0], shape[1] if len(shape) > 1 else None, reads))
    frame = pd.DataFrame(rows, columns=["layer", "channels", "positions", "reads"])
    return frame.astype({"positions": "Int64", "reads": "Int64"})


def known_layer(name: str, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """``name``, if the network has it.

    Parameters
    ----------
    name
        A layer.
    shapes
        What there is; see ``jobs.sequences_scores.layer_names``.

    Raises
    ------
    UsageError
        It does not; the message lists those there are.
    """
    if name in shapes:
        return name
    there = ", ".join(f"{each} {shape}" for each, shape in shapes.items())
    msg = f"the network has no layer {name!r}; it has {there}."
    raise UsageError(msg)


class LayerWriter:
    """Writes ``layers/NAME`` into a group of scores.

    Parameters
    ----------
    group
        Of a task.
    layer
        Its name.
    module
        ``SequenceModel.module``.
    n, length
        Sequences, and letters of each.
    """

    def __init__(self, group: h5py.Group, layer: str, module: nn.Module, n: int, length: int) -> None:
        self.module, self.layer, self.n = module, layer, n
        self.group = group.require_group("layers").create_group(layer)
        try:
            self.places: UnitPlaces | None = unit_places(module, length, layer=layer)
        except UsageError:  # of a dense layer the units have no place
            self.places = None
        else:
            self.group.create_dataset("centre", data=self.places.centre)
            self.group.attrs["width"] = self.places.width
        self.windows: TopWindows | None = None

    def add(self, rows: slice, x: np.ndarray, *, target: int, rule: str, references: int, seed: int) -> None:
        """Score the sequences ``x`` of ``rows``; see ``jobs.sequences_scores.unit_scores`` for the rest."""
        found = unit_scores(
            self.module, x, layer=self.layer, target=target, rule=rule, references=references, seed=seed
        )
        if "contributions" not in self.group:
            self._room(found)
        self.group["contributions"][rows] = found.values
        self.group["totals"][rows] = found.totals
        self.group["residual"][rows] = found.residual
        if self.windows is not None:
            self.windows.add(x, found.values[:, 0])
            self.windows.add(x[:, ::-1, ::-1], found.values[:, 1])

    def filters(self, task: str) -> str:
        """What drives each channel as motifs in MEME's format; also kept in the file, as ``filters``."""
        if self.windows is None:
            return ""
        letters, sites = self.windows.letters()
        kept = self.group.create_group("filters")
        kept.create_dataset("letters", data=letters)
        kept.create_dataset("sites", data=sites)
        return meme_of(letters, sites, names=[f"{task}/{self.layer}/{channel}" for channel in range(len(letters))])

    def _room(self, found: UnitScores) -> None:
        shape = found.values.shape[1:]
        self.group.create_dataset(
            "contributions",
            (self.n, *shape),
            "f4",
            chunks=(1, *shape),
            compression="gzip",
            compression_opts=1,
            shuffle=True,
        )
        self.group.create_dataset("totals", (self.n, shape[1]), "f4")
        self.group.create_dataset("residual", (self.n,), "f4")
        if self.places is not None:
            self.windows = TopWindows(shape[1], self.places.first, self.places.width)
