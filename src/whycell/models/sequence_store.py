"""A network on DNA in a folder, and its card."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from whycell.errors import ModelError
from whycell.models.folder import read_folder, write_folder

if TYPE_CHECKING:
    from whycell.models.sequence import SequenceModel

__all__ = ["KIND", "card_of", "load_model", "save_model"]

KIND = "whycell.SequenceModel"


def card_of(model: SequenceModel, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What ``model`` learned from, with which ``parameters``, and how right it was; plain values."""
    return {
        "parameters": dict(parameters),
        "tasks": list(model.tasks_),
        "length": model.length_,
        "out_length": model.out_length_,
        "held_out_by": model.held_out_by_,
        "sequences": model.n_,
        "scores": model.scores_,
        "curve": {name: [one[name] for one in model.curve_] for name in ("training", "held_out")},
        "versions": {name: version(name) for name in ("whycell", "numpy", "torch", "scikit-learn")},
    }


def save_model(
    model: SequenceModel, folder: Path | str, *, about: Mapping[str, Any] | None = None, force: bool = False
) -> Path:
    """Write ``model`` to a folder; parameters as of ``SequenceModel.save``."""
    tensors = {f"net.{name}": value.detach().cpu().numpy() for name, value in model.net_.state_dict().items()}
    tensors |= {"scale": model.scale_, "shift": model.shift_}
    return write_folder(Path(folder), tensors, kind=KIND, about={**model.card(), **(about or {})}, force=force)


def load_model(cls: type[SequenceModel], folder: Path | str) -> SequenceModel:
    """Read back what ``save_model`` wrote, as a ``cls``.

    Raises
    ------
    ModelError
        It is damaged, edited, of another kind, or its weights do not fit the network.
    """
    tensors, card = read_folder(Path(folder), kind=KIND)
    try:
        model = _as_told(cls, card)
    except (KeyError, TypeError) as error:
        raise ModelError(_other_version(folder, card, f"a card that this version cannot read ({error})")) from error
    model.scale_, model.shift_ = tensors.pop("scale"), tensors.pop("shift")
    model.net_ = model.network_as_set()
    try:
        model.net_.load_state_dict({k.removeprefix("net."): torch.from_numpy(v) for k, v in tensors.items()})
    except RuntimeError as error:
        what = f"weights of other shapes than this version's {model.network!r} network"
        raise ModelError(_other_version(folder, card, what)) from error
    model.net_.eval()
    return model


def _as_told(cls: type[SequenceModel], card: Mapping[str, Any]) -> SequenceModel:
    """All but the weights."""
    model = cls(**card["parameters"])
    model.tasks_, model.length_ = tuple(card["tasks"]), card["length"]
    model.out_length_ = card.get("out_length")
    model.held_out_by_, model.n_ = card["held_out_by"], card["sequences"]
    model.scores_, curve = card["scores"], card["curve"]
    if isinstance(curve, Mapping):
        curve = [{"training": t, "held_out": h} for t, h in zip(curve["training"], curve["held_out"], strict=True)]
    model.curve_ = curve
    return model


def _other_version(folder: Path | str, card: Mapping[str, Any], what: str) -> str:
    by = card.get("versions", {}).get("whycell", "another version")
    return f"{folder} has {what}; it was written by whycell {by}: train it again, or read it with that version."
