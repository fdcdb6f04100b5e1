"""The training loop of networks that read DNA: fresh negatives every pass, both strands, the best pass kept."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from whycell.compute import Talk, n_threads
from whycell.encode.sequences import dinucleotide_shuffle
from whycell.models.nets.dna import reverse_complement

__all__ = ["LOSSES", "Loss", "Rows", "outputs", "torch_threads", "train_network"]

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
_AT_ONCE = 1024


def _class_loss(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="none")


def _counts_loss(log_rate: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return nn.functional.poisson_nll_loss(log_rate, y, log_input=True, reduction="none")


#: What a task may be: two classes, or counts whose logarithm is predicted.
LOSSES: dict[str, Loss] = {"class": _class_loss, "counts": _counts_loss}


@dataclass(frozen=True)
class Rows:
    """Sequences and what is known of them.

    Parameters
    ----------
    x
        (n, 4, length) uint8 one-hot.
    y
        (n, n_tasks) float32, NaN where a task says nothing.
    shuffled
        (n,) bool: each pass adds a fresh dinucleotide shuffle of these, whose every known label is 0.
    """

    x: np.ndarray
    y: np.ndarray
    shuffled: np.ndarray

    def with_shuffles(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """``x`` and ``y`` with one shuffle of each row that asks for it."""
        if not self.shuffled.any():
            return self.x, self.y
        other = dinucleotide_shuffle(self.x[self.shuffled], 1, seed=seed)[:, 0].astype(np.uint8)
        zero = np.where(np.isnan(self.y[self.shuffled]), np.nan, 0).astype(np.float32)
        return np.concatenate([self.x, other]), np.concatenate([self.y, zero])


def train_network(
    net: nn.Module,
    rows: Rows,
    watched: tuple[np.ndarray, np.ndarray],
    *,
    loss: Loss,
    epochs: int,
    least_steps: int,
    batch: int,
    learning_rate: float,
    weight_decay: float,
    seed: int,
    threads: int = 0,
    device: str = "cpu",
    talk: Talk | None = None,
) -> list[dict[str, float]]:
    """Train ``net`` in place; it ends with the weights of the pass whose loss on ``watched`` was least.

    Parameters
    ----------
    net
        Takes (n, 4, length), gives (n, n_tasks); one strand of each sequence is shown, drawn at random.
    rows
        What is learned from.
    watched
        ``x`` and ``y`` of sequences held out.
    loss
        Of outputs and labels, element by element; NaN labels are left out.
    epochs, least_steps, batch
        Passes; more where they would be fewer than ``least_steps`` steps of ``batch`` sequences.
    learning_rate, weight_decay
        Of AdamW, one cycle.
    seed, threads, device, talk
        As everywhere.

    Returns
    -------
    One dict a pass: ``training`` and ``held_out`` loss.
    """
    generator = torch.Generator().manual_seed(seed)
    a_pass = -(-(len(rows.x) + int(rows.shuffled.sum())) // batch)
    epochs = max(epochs, -(-least_steps // a_pass))
    net.to(device)
    optimiser = torch.optim.AdamW(net.parameters(), lr=learning_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=epochs * a_pass + 1)
    best, kept, curve = np.inf, copy.deepcopy(net.state_dict()), []
    with torch_threads(threads), (talk or Talk()).progress("training", epochs) as bar:
        for epoch in range(epochs):
            x, y = (torch.as_tensor(a) for a in rows.with_shuffles(seed * 100_003 + epoch))
            net.train()
            total = 0.0
            for at in torch.randperm(len(x), generator=generator).split(batch):
                shown = x[at].to(device=device, dtype=torch.float32)
                if int(torch.randint(2, (1,), generator=generator)):
                    shown = reverse_complement(shown)
                found = _masked(loss, net(shown), y[at].to(device))
                optimiser.zero_grad(set_to_none=True)
                found.backward()
                optimiser.step()
                schedule.step()
                total += float(found.detach()) * len(at)
            held = float(_masked(loss, outputs(net, watched[0], device=device), torch.as_tensor(watched[1])))
            curve.append({"training": total / len(x), "held_out": held})
            if held < best:
                best, kept = held, copy.deepcopy(net.state_dict())
            bar.advance()
    net.load_state_dict(kept)
    net.eval()
    return curve


def outputs(net: nn.Module, x: np.ndarray, *, device: str = "cpu") -> torch.Tensor:
    """(n, n_tasks) float32 outputs on the CPU, the mean over both strands."""
    net.eval()
    parts = []
    with torch.inference_mode():
        for part in np.split(x, range(_AT_ONCE, len(x), _AT_ONCE)):
            shown = torch.as_tensor(part).to(device=device, dtype=torch.float32)
            parts.append(((net(shown) + net(reverse_complement(shown))) / 2).cpu())
    return torch.cat(parts)


def _masked(loss: Loss, found: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    known = ~torch.isnan(y)
    return (loss(found, torch.where(known, y, 0)) * known).sum() / known.sum().clamp(min=1)


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Cores that torch uses inside the block; the setting is put back."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads(threads))
    try:
        yield
    finally:
        torch.set_num_threads(before)
