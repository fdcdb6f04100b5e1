"""The state of a training on DNA between two passes, in one file that is there whole or not at all."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from whycell.models.state_file import read_state, write_state

__all__ = ["Progress", "load_state", "save_state"]

_NUMBERS = ("epoch", "without", "best", "stopped", "curve")


@dataclass
class Progress:
    """A training under way.

    Parameters
    ----------
    net, optimiser, cycle
        The network, what moves its weights, and how fast.
    averaged
        The same network, its weights the running mean of those of ``net``.
    best_weights
        Of ``averaged`` in the pass whose held-out loss was least, ``best``.
    epoch, without, stopped
        Passes done; those since the best one that count; whether they are too many.
    curve
        Losses of every pass.
    """

    net: nn.Module
    optimiser: torch.optim.Optimizer
    cycle: torch.optim.lr_scheduler.LRScheduler
    averaged: nn.Module
    best_weights: dict[str, torch.Tensor]
    best: float = float("inf")
    epoch: int = 0
    without: int = 0
    stopped: bool = False
    curve: list[dict[str, float]] = field(default_factory=list)

    def end_of_pass(self, losses: dict[str, float], *, counting: bool, patience: int) -> None:
        """Keep the weights if they are the best so far; stop where ``patience`` passes that count were none better."""
        self.epoch += 1
        self.curve.append(losses)
        if losses["held_out"] < self.best:
            self.best, self.without = losses["held_out"], 0
            self.best_weights = copy.deepcopy(self.averaged.state_dict())
        elif counting:
            self.without += 1
            self.stopped = self.without >= patience


def save_state(folder: Path, run: Progress, *, mark: str) -> None:
    """Write the state of a training.

    Parameters
    ----------
    folder
        Where to; made if need be.
    run
        The training, between two passes.
    mark
        What identifies it.
    """
    tensors = {f"net.{name}": value for name, value in run.net.state_dict().items()}
    tensors |= {f"averaged.{name}": value for name, value in run.averaged.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in run.best_weights.items()}
    state = run.optimiser.state_dict()
    for number, moments in state["state"].items():
        tensors |= {f"moment.{number}.{name}": torch.as_tensor(value) for name, value in moments.items()}
    told = {
        "numbers": json.dumps({name: getattr(run, name) for name in _NUMBERS}),
        "groups": json.dumps(state["param_groups"]),
        "steps": json.dumps(run.cycle.last_epoch),
    }
    write_state(folder, tensors, mark=mark, told=told)


def load_state(folder: Path, run: Progress, *, mark: str) -> bool:
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
    state = read_state(folder, mark=mark)
    if state is None:
        return False
    told, tensors = state
    parts: dict[str, dict[str, torch.Tensor]] = {"net": {}, "averaged": {}, "best": {}, "moment": {}}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = value
    run.net.load_state_dict(parts["net"])
    run.averaged.load_state_dict(parts["averaged"])
    run.best_weights = parts["best"]
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in parts["moment"].items():
        number, _, what = name.partition(".")
        moments.setdefault(int(number), {})[what] = value
    run.optimiser.load_state_dict({"state": moments, "param_groups": json.loads(told["groups"])})
    run.cycle.last_epoch = json.loads(told["steps"])
    for name, value in json.loads(told["numbers"]).items():
        setattr(run, name, value)
    return True
