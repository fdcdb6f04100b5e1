"""The training loop of networks that read DNA: fresh negatives every pass, both strands, the best pass kept.

Every pass starts its random draws from the seed and its own number, so that a training that was killed and goes on from
the last pass on disk ends with the same weights as one that was not.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn

from whycell.compute import Talk, n_threads
from whycell.encode.sequences import dinucleotide_shuffle
from whycell.errors import DataError
from whycell.models.nets.dna import reverse_complement
from whycell.models.sequence_losses import Objective
from whycell.models.sequence_state import Progress, load_state, save_state

__all__ = ["EVERY", "PassLogger", "Resume", "Rows", "Schedule", "outputs", "torch_threads", "train_network"]

#: Seconds between two states on disk, at least; each is written at the end of a pass.
EVERY = 20.0
_AT_ONCE = 128  # more at once do not stay in a core's cache
_MEMORY = 0.99  # of the running mean of the weights, a step: less noise than the last weights have
_RISING = 0.3  # part of the passes before the learning rate is largest


class PassLogger(Protocol):
    """Told of the losses of every pass; see ``models.loggers``."""

    def log(self, step: int, values: dict[str, float]) -> None:
        """``values`` of the pass ``step``."""
        ...


@dataclass(frozen=True)
class Rows:
    """Sequences and what is known of them.

    Parameters
    ----------
    x
        (n, 4, length) uint8 one-hot.
    y
        (n, n_tasks) float32, or (n, n_tasks, out_length) counts of a profile; NaN where a task says nothing.
    shuffled
        (n,) bool: each pass adds a fresh dinucleotide shuffle of these, whose every known label is 0.
    """

    x: np.ndarray
    y: np.ndarray
    shuffled: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> Rows:
        return Rows(self.x[rows], self.y[rows], self.shuffled[rows])

    def with_shuffles(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """``x`` and ``y`` with one shuffle of each row that asks for it."""
        if not self.shuffled.any():
            return self.x, self.y
        other = dinucleotide_shuffle(self.x[self.shuffled], 1, seed=seed)[:, 0].astype(np.uint8)
        zero = np.where(np.isnan(self.y[self.shuffled]), np.nan, 0).astype(np.float32)
        return np.concatenate([self.x, other]), np.concatenate([self.y, zero])


@dataclass(frozen=True)
class Schedule:
    """How long and how fast.

    Parameters
    ----------
    epochs, least_steps, most_steps, batch
        Passes; more where they would be fewer than ``least_steps`` steps of ``batch`` sequences, fewer (one at least)
        where they would be more than ``most_steps``, which is no limit where it is ``None`` or 0.
    learning_rate, weight_decay
        Of AdamW, one cycle.
    patience
        Passes past the largest rate without a better held-out loss, after which training stops; half of the passes
        where it is ``None``, as the loss often falls last, when the rate does.
    """

    epochs: int
    least_steps: int
    batch: int
    learning_rate: float
    weight_decay: float
    patience: int | None = None
    most_steps: int | None = None

    def passes(self, n: int) -> tuple[int, int]:
        """Passes, and steps of each, over ``n`` sequences."""
        steps = -(-n // self.batch)
        passes = max(self.epochs, -(-self.least_steps // steps))
        return (min(passes, max(self.most_steps // steps, 1)) if self.most_steps else passes), steps


@dataclass(frozen=True)
class Resume:
    """Where the state of a training is kept, so that a killed one goes on.

    Parameters
    ----------
    folder
        Of the state.
    mark
        What identifies the training: another one's state is not taken up.
    """

    folder: Path
    mark: str


def train_network(
    net: nn.Module,
    rows: Rows,
    watched: tuple[np.ndarray, np.ndarray],
    *,
    objective: Objective,
    schedule: Schedule,
    seed: int,
    resume: Resume | None = None,
    logger: PassLogger | None = None,
    threads: int = 0,
    device: str = "cpu",
    talk: Talk | None = None,
) -> list[dict[str, float]]:
    """Train ``net`` in place; it ends with the running mean of its weights after the best pass.

    The best is that whose loss on ``watched`` was least.

    Parameters
    ----------
    net
        Takes (n, 4, length); one strand of each sequence is shown, drawn at random.
    rows
        What is learned from.
    watched
        ``x`` and ``y`` of sequences held out.
    objective
        What the outputs should be; NaN labels are left out.
    schedule
        Passes, steps and rates.
    resume
        Where the state is kept.
    logger
        Told of the losses of every pass.
    seed, threads, device, talk
        As everywhere.

    Returns
    -------
    One dict a pass: ``training`` and ``held_out`` loss.
    """
    epochs, steps = schedule.passes(len(rows.x) + int(rows.shuffled.sum()))
    net.to(device)
    rate = schedule.learning_rate
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=schedule.weight_decay)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=epochs * steps + 1, pct_start=_RISING)
    run = Progress(net, optimiser, cycle, copy.deepcopy(net), best_weights=copy.deepcopy(net.state_dict()))
    if resume is not None and load_state(resume.folder, run, mark=resume.mark):
        (talk or Talk()).note(f"going on after pass {run.epoch} of a training that was broken off")
    patience = schedule.patience if schedule.patience is not None else -(-epochs // 2)
    saved = time.monotonic()
    with torch_threads(threads), _own_draws(device), (talk or Talk()).progress("training", epochs) as bar:
        bar.advance(run.epoch)
        while run.epoch < epochs and not run.stopped:
            training = _one_pass(run, rows, objective, batch=schedule.batch, seed=seed, device=device)
            seen = outputs(run.averaged, watched[0], objective=objective, device=device)
            held = float(objective.mean(seen, watched[1]))
            losses = {"training": training, "held_out": held}
            if logger is not None:
                logger.log(run.epoch, losses)
            run.end_of_pass(losses, counting=run.epoch + 1 > _RISING * epochs, patience=patience)
            bar.advance()
            if resume is not None and time.monotonic() - saved >= EVERY:
                save_state(resume.folder, run, mark=resume.mark)
                saved = time.monotonic()
    if not np.isfinite(run.best):
        last = run.curve[-1]["held_out"]
        msg = f"the held-out loss is {last} after every pass; wanted a number. Try a lower learning_rate."
        raise DataError(msg)
    net.load_state_dict(run.best_weights)
    net.eval()
    return run.curve


def _one_pass(run: Progress, rows: Rows, objective: Objective, *, batch: int, seed: int, device: str) -> float:
    """The mean loss of a pass over all rows."""
    start = seed * 100_003 + run.epoch
    x, y = (torch.as_tensor(a) for a in rows.with_shuffles(start))
    torch.manual_seed(start)  # of dropout
    generator = torch.Generator().manual_seed(start)
    run.net.train()
    total = 0.0
    for at in torch.randperm(len(x), generator=generator).split(batch):
        shown, wanted = x[at].to(device=device, dtype=torch.float32), y[at].to(device)
        turned = (torch.rand(len(at), generator=generator) < 0.5).to(device)
        shown = torch.where(turned[:, None, None], reverse_complement(shown), shown)
        wanted = torch.where(turned.view(-1, *[1] * (wanted.ndim - 1)), objective.turn_labels(wanted), wanted)
        found = objective.mean(objective.forward(run.net, shown), wanted)
        run.optimiser.zero_grad(set_to_none=True)
        found.backward()
        run.optimiser.step()
        run.cycle.step()
        _follow(run.averaged, run.net, step=run.cycle.last_epoch)
        total += float(found.detach()) * len(at)
    return total / len(x)


def _follow(averaged: nn.Module, net: nn.Module, *, step: int) -> None:
    """Move the running mean of the weights towards ``net``, further while few steps are behind it."""
    part = 1 - min(_MEMORY, (step + 1) / (step + 10))
    with torch.no_grad():
        old, new = averaged.state_dict(), net.state_dict()
        moving = [name for name, value in old.items() if value.is_floating_point()]
        torch._foreach_lerp_([old[name] for name in moving], [new[name] for name in moving], part)


def outputs(net: nn.Module, x: np.ndarray, *, objective: Objective, device: str = "cpu") -> torch.Tensor:
    """What ``objective.forward`` gives, float32 on the CPU, the mean over both strands.

    Parameters
    ----------
    net
        The network.
    x
        (n, 4, length) one-hot.
    objective
        Which outputs, and how those of the other strand are turned.
    """
    net.to(device).eval()
    parts = []
    with torch.inference_mode():
        for part in np.split(x, range(_AT_ONCE, len(x), _AT_ONCE)):
            shown = torch.as_tensor(part).to(device=device, dtype=torch.float32)
            other = objective.turn_outputs(objective.forward(net, reverse_complement(shown)))
            parts.append(((objective.forward(net, shown) + other) / 2).cpu())
    return torch.cat(parts)


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Cores that torch uses inside the block; the setting is put back."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads(threads))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _own_draws(device: str) -> Iterator[None]:
    """torch's generators are as they were when the block ends."""
    at = torch.device(device)
    with torch.random.fork_rng(devices=[at.index or 0] if at.type == "cuda" else []):
        yield
