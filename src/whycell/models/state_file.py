"""The file that the state of a training is in: tensors, and words about them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from whycell.data.whole import write_whole

__all__ = ["STATE", "read_state", "write_state"]

#: What the file is called.
STATE = "state.safetensors"


def read_state(folder: Path, *, mark: str) -> tuple[dict[str, str], dict[str, torch.Tensor]] | None:
    """Words and tensors of a saved state; ``None`` where there is none, or it is cut short, or of another training.

    Parameters
    ----------
    folder
        Where it is.
    mark
        What identifies the training.
    """
    try:
        raw = (folder / STATE).read_bytes()
        told: dict[str, str] = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])["__metadata__"]
        tensors = load_tensors(raw)
    except (OSError, ValueError, KeyError, SafetensorError):
        return None
    return (told, tensors) if told.get("mark") == mark else None


def write_state(folder: Path, tensors: Mapping[str, torch.Tensor], *, mark: str, told: Mapping[str, str]) -> None:
    """Write the state of a training: there whole, or not at all.

    Parameters
    ----------
    folder
        Where to; made if need be.
    tensors, told
        What :func:`read_state` gives back, words without the mark.
    mark
        What identifies the training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    write_whole(folder / STATE, save_tensors(whole, metadata={"mark": mark, **told}))
