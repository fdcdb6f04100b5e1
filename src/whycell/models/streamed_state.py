"""The state of a training on disk: all that decides the next step, in one file that is there whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from whycell.models.state_file import read_state, write_state
from whycell.models.streamed_batches import Rest

if TYPE_CHECKING:
    from whycell.models.streamed import _Run

__all__ = ["load_state", "save_state"]

_NUMBERS = ("step", "epoch", "place", "best_step", "without", "best", "stopped")


def save_state(folder: Path, run: _Run, *, mark: str) -> None:
    """Write the state of a training.

    Parameters
    ----------
    folder
        Where to; made if need be.
    run
        The training, between two blocks.
    mark
        What identifies it.
    """
    tensors = {f"net.{name}": value.detach() for name, value in run.net.named_parameters()}
    tensors |= {f"best.{name}": torch.from_numpy(value) for name, value in run.best_weights.items()}
    for (name, _), state in zip(run.net.named_parameters(), run.optimiser.state_dict()["state"].values(), strict=False):
        tensors |= {f"adam.{what}.{name}": torch.as_tensor(value) for what, value in state.items()}
    tensors["generator"] = run.generator.get_state()
    tensors["rest.vectors"], tensors["rest.rows"] = run.rest.vectors, run.rest.rows
    tensors["sums"] = run.sums
    numbers = {name: getattr(run, name) for name in _NUMBERS}
    curves = {"step": run.curves.step, "train": run.curves.train, "held_out": run.curves.held_out}
    told = {"numbers": json.dumps(numbers), "curves": json.dumps(curves)}
    write_state(folder, tensors, mark=mark, told=told)


def load_state(folder: Path, run: _Run, *, mark: str) -> bool:
    """Put a training into a saved state; one of another mark, or cut short, is left alone.

    Parameters
    ----------
    folder
        Where it is.
    run
        The training, fresh.
    mark
        What identifies it.

    Returns
    -------
    Whether there was a state to go on from.
    """
    saved = read_state(folder, mark=mark)
    if saved is None:
        return False
    told, tensors = saved
    names = [name for name, _ in run.net.named_parameters()]
    with torch.no_grad():
        for name, value in run.net.named_parameters():
            value.copy_(tensors[f"net.{name}"])
    run.best_weights = {name: np.array(tensors[f"best.{name}"].numpy()) for name in names}
    state = run.optimiser.state_dict()
    state["state"] = {
        i: {what: tensors[f"adam.{what}.{name}"] for what in ("step", "exp_avg", "exp_avg_sq")}
        for i, name in enumerate(names)
        if f"adam.step.{name}" in tensors
    }
    run.optimiser.load_state_dict(state)
    run.generator.set_state(tensors["generator"])
    run.rest = Rest(tensors["rest.vectors"], tensors["rest.rows"])
    run.sums = tensors["sums"]
    for name, value in json.loads(told["numbers"]).items():
        setattr(run, name, value)
    curves: dict[str, Any] = json.loads(told["curves"])
    run.curves.step, run.curves.train, run.curves.held_out = curves["step"], curves["train"], curves["held_out"]
    return True
