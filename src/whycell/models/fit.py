"""The training loop: members with data of their own, one optimiser, one schedule, the same seed the same weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from whycell.compute import Talk
from whycell.models.lessons import Lesson
from whycell.models.nets.heads import Heads

__all__ = ["NEVER", "Dropout", "one_core", "train_heads"]

#: Log of a leaf that the label cannot mean; exp is ten times slower where it leaves its usual range.
NEVER = -50.0


def train_heads(
    lessons: Sequence[Lesson],
    *,
    n_hidden: int,
    dropout: float,
    weight_decay: float,
    learning_rate: float,
    epochs: float,
    batch: int,
    max_steps: int,
    seed: int,
    device: str = "cpu",
    talk: Talk | None = None,
) -> list[dict[str, np.ndarray]]:
    """Train one member a lesson, all at once.

    The loss of a cell is ``-log sum of softmax over the leaves its label may mean`` (hierarchical cross-entropy; a
    coarse label is never a negative for what lies below it).

    Parameters
    ----------
    lessons
        One a member; ``n_inputs`` and ``n_outputs`` must be alike, cells may differ.
    n_hidden, dropout, weight_decay, learning_rate
        Of the network and AdamW.
    epochs, batch, max_steps
        Passes over the largest lesson, cells a step, and the most steps taken whatever the size.
    seed
        Fixes weights, order and dropout.
    device
        ``"cpu"`` or ``"cuda"``.
    talk
        Told of progress.

    Returns
    -------
    One dict of float32 arrays a member: ``linear, bias, hidden, hidden_bias, gain, shift, out``.
    """
    generator = torch.Generator().manual_seed(seed)
    n_inputs, n_outputs = lessons[0].views.shape[2], lessons[0].meanings.shape[1]
    heads = Heads(len(lessons), n_inputs, n_hidden, n_outputs, generator=generator).to(device)
    views = [torch.as_tensor(lesson.views, device=device).flatten(0, 1) for lesson in lessons]
    meaning = [torch.as_tensor(lesson.meaning, device=device) for lesson in lessons]
    allowed = [
        torch.where(torch.as_tensor(lesson.meanings), 0.0, NEVER).to(device=device, dtype=torch.float32)
        for lesson in lessons
    ]
    weights = [torch.as_tensor(lesson.weights, dtype=torch.float32, device=device) for lesson in lessons]
    most = max(len(m) for m in meaning)
    batch = min(batch, most)
    steps = int(min(max_steps, max(60, np.ceil(epochs * most / batch))))
    optimiser = torch.optim.AdamW(heads.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps, pct_start=0.2)
    orders = [_Order(len(m), batch, generator) for m in meaning]
    masks = Dropout(len(lessons), batch, n_hidden, dropout, generator, device)
    with one_core(), (talk or Talk()).progress("training", steps) as bar:
        for _ in range(steps):
            cells = [order.next() for order in orders]
            seen = [
                torch.randint(len(v) // len(m), (batch,), generator=generator)
                for v, m in zip(views, meaning, strict=True)
            ]
            at = [(s * len(m) + c).to(device) for s, c, m in zip(seen, cells, meaning, strict=True)]
            x = torch.stack([v.index_select(0, a) for v, a in zip(views, at, strict=True)])
            log_p = torch.log_softmax(heads(x, masks.next()), dim=-1)
            at = [c.to(device) for c in cells]
            kinds = [m.index_select(0, c) for m, c in zip(meaning, at, strict=True)]
            may = torch.stack([a.index_select(0, k) for a, k in zip(allowed, kinds, strict=True)])
            w = torch.stack([w.index_select(0, c) for w, c in zip(weights, at, strict=True)])
            loss = -(torch.logsumexp(log_p + may, dim=-1) * w).mean(dim=1).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            bar.advance()
    state = {name: value.detach().cpu().numpy() for name, value in heads.named_parameters()}
    return [{name: np.ascontiguousarray(value[m]) for name, value in state.items()} for m in range(len(lessons))]


@contextmanager
def one_core() -> Iterator[None]:
    """Tensors this small are slower on two cores; the setting is the calling thread's own and is put back."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Order:
    """Batches of one member: a fresh permutation each pass, never a short batch."""

    def __init__(self, n: int, batch: int, generator: torch.Generator) -> None:
        self.n, self.batch, self.generator = n, batch, generator
        self.queue = torch.empty(0, dtype=torch.long)

    def next(self) -> torch.Tensor:
        while len(self.queue) < self.batch:
            self.queue = torch.cat([self.queue, torch.randperm(self.n, generator=self.generator)])
        taken, self.queue = self.queue[: self.batch], self.queue[self.batch :]
        return taken


class Dropout:
    """Dropout masks cut at random places from one bank; drawing fresh ones took longer than the products they mask."""

    def __init__(
        self, n_members: int, batch: int, n_hidden: int, dropout: float, generator: torch.Generator, device: str
    ) -> None:
        bank = (torch.rand((16 * batch + 4099, n_hidden), generator=generator) >= dropout).float() / (1 - dropout)
        self.bank, self.batch, self.n_members, self.generator = bank.to(device), batch, n_members, generator

    def next(self) -> torch.Tensor:
        """(n_members, batch, n_hidden) masks of one step."""
        starts = torch.randint(len(self.bank) - self.batch, (self.n_members,), generator=self.generator).tolist()
        return torch.stack([self.bank[start : start + self.batch] for start in starts])
