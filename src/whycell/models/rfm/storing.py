"""A saved machine: a folder of ``weights.safetensors`` and ``about.json``. Nothing in it can run code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from whycell.models.folder import read_folder, write_folder
from whycell.models.rfm import estimator as estimators
from whycell.models.rfm.choosing import Chain
from whycell.models.rfm.encoding import Encoding
from whycell.models.rfm.fitting import FeatureMachine
from whycell.models.rfm.geometry import Shape
from whycell.models.rfm.learning import Trial
from whycell.models.rfm.machine import Machine
from whycell.models.rfm.scale import Grown, Split

__all__ = ["KIND", "load", "save"]

KIND = "whycell.RecursiveFeatureMachine"
_TASKS = {
    "classification": estimators.RecursiveFeatureMachineClassifier,
    "regression": estimators.RecursiveFeatureMachineRegressor,
}


def save(machine: FeatureMachine, folder: Path, *, about: Mapping[str, Any], force: bool = False) -> Path:
    """Write a fitted machine, whole or not at all.

    Parameters
    ----------
    machine
        Fitted.
    folder
        Where to; one that is there is replaced only with ``force``, and only if it is such a folder.
    about
        Further plain values for its card.

    Raises
    ------
    OutputError
        The folder is there and may not be replaced.
    """
    inner = getattr(machine, "machine_", machine)
    tensors, card = _packed(inner)
    return write_folder(folder, tensors, kind=KIND, about={**about, **card}, force=force)


def load(folder: Path | str) -> tuple[FeatureMachine, dict[str, Any]]:
    """Read a machine back.

    Parameters
    ----------
    folder
        Written by :func:`save`.

    Returns
    -------
    the machine, fitted, and its card

    Raises
    ------
    ModelError
        The folder is missing, foreign, truncated or edited.
    """
    tensors, card = read_folder(Path(folder), kind=KIND, cure="Give a folder written by `whycell rfm fit`.")
    return _unpacked(tensors, card), card


def _packed(machine: FeatureMachine) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    encoding, grown = machine.encoding_, machine._model
    tensors = {
        "encoding.mean": encoding.mean,
        "encoding.scale": encoding.scale,
        "encoding.owner": encoding.owner,
        "held_out": grown.held_out,
        "agop": machine.agop_,
        "loo": machine.loo_,
    }
    for i, leaf in enumerate(grown.leaves):
        for name in ("centres", "weights", "coefficients", "intercept", "root"):
            value = getattr(leaf, name)
            if value is not None:
                tensors[f"leaf.{i}.{name}"] = value.cpu().numpy()
    for i, split in enumerate(grown.splits):
        tensors[f"split.{i}.direction"] = split.direction
    card: dict[str, Any] = {
        "task": "classification" if hasattr(machine, "classes_") else "regression",
        "parameters": machine.get_params(deep=False),  # type: ignore[attr-defined]
        "features": list(encoding.features),
        "named": hasattr(machine, "feature_names_in_"),
        "coordinates": list(encoding.names),
        "levels": {str(f): list(held) for f, held in encoding.levels.items()},
        "gaps": list(encoding.gaps),
        "leaves": [{**asdict(leaf.shape), "bandwidth": leaf.bandwidth} for leaf in grown.leaves],
        "splits": [{"cut": s.cut, "band": s.band, "left": s.left, "right": s.right} for s in grown.splits],
        "trials": [asdict(trial) for trial in grown.trials],
        "loo_score": machine.loo_score_,
    }
    if card["task"] == "classification":
        card |= {"classes": machine.classes_.tolist(), "class_type": machine.classes_.dtype.kind}
        card["sharpness"] = machine.sharpness_
    else:
        card |= {"flat": machine._flat, "middle": machine._middle.tolist(), "spread": machine._spread.tolist()}
    return {name: np.ascontiguousarray(value) for name, value in tensors.items()}, card


def _unpacked(tensors: Mapping[str, np.ndarray], card: Mapping[str, Any]) -> FeatureMachine:
    parameters = dict(card["parameters"])
    if isinstance(parameters["kernel"], list):
        parameters["kernel"] = tuple(parameters["kernel"])
    machine: Any = _TASKS[card["task"]](**parameters)
    machine.encoding_ = Encoding(
        features=tuple(card["features"]),
        mean=tensors["encoding.mean"],
        scale=tensors["encoding.scale"],
        levels={int(f): tuple(held) for f, held in card["levels"].items()},
        gaps=tuple(card["gaps"]),
        owner=tensors["encoding.owner"],
        names=tuple(card["coordinates"]),
    )
    machine.n_features_in_ = len(card["features"])
    if card["named"]:
        machine.feature_names_in_ = np.array(card["features"], dtype=object)
    machine._model = Grown(
        leaves=tuple(_leaf(tensors, i, about) for i, about in enumerate(card["leaves"])),
        splits=tuple(Split(tensors[f"split.{i}.direction"], **about) for i, about in enumerate(card["splits"])),
        held_out=tensors["held_out"],
        trials=tuple(_trial(about) for about in card["trials"]),
    )
    machine._agop, machine.loo_, machine.loo_score_ = tensors["agop"], tensors["loo"], card["loo_score"]
    if card["task"] == "classification":
        kind = {"O": object, "U": str, "S": str}.get(card["class_type"])
        machine.classes_, machine.sharpness_ = np.array(card["classes"], dtype=kind), card["sharpness"]
    else:
        machine._flat = card["flat"]
        machine._middle, machine._spread = np.array(card["middle"]), np.array(card["spread"])
    return machine


def _leaf(tensors: Mapping[str, np.ndarray], i: int, about: Mapping[str, float]) -> Machine:
    names = ("centres", "weights", "coefficients", "intercept")
    parts = {name: torch.from_numpy(tensors[f"leaf.{i}.{name}"]) for name in names}
    root = tensors.get(f"leaf.{i}.root")
    return Machine(
        **parts,
        root=None if root is None else torch.from_numpy(root),
        shape=Shape(about["norm"], about["exponent"]),
        bandwidth=about["bandwidth"],
    )


def _trial(about: Mapping[str, Any]) -> Trial:
    chain = dict(about["chain"])
    return Trial(**{**about, "chain": Chain(**{**chain, "shape": Shape(**chain["shape"])})})
