"""The file that the state of a training is in: tensors, and words about them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors

__all__ = ["STATE", "read_state"]

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
