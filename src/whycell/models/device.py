"""Where torch computes: what was asked for, and whether it is there."""

from __future__ import annotations

from whycell.errors import UsageError

__all__ = ["torch_device"]


def torch_device(device: str) -> str:
    """What was asked for (``"cpu"``, ``"cuda"``, ``"cuda:1"``); ``"auto"`` takes a GPU where torch has one.

    Raises
    ------
    UsageError
        Another word, or ``"cuda"`` where torch has no GPU.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind = device.partition(":")[0]
    if kind not in ("cpu", "cuda"):
        msg = f"device is {device!r}; 'auto', 'cpu' or 'cuda' is needed."
        raise UsageError(msg)
    if kind == "cuda" and not torch.cuda.is_available():
        msg = f"device is {device!r}, and torch finds no GPU here; use 'cpu' or 'auto'."
        raise UsageError(msg)
    return device
