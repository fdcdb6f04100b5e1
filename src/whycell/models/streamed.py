"""Training from a shuffled corpus, with bounded memory, that a kill does not hurt.

The network and its loss are those of the typer: minus the log of the probability of all leaves that a label may mean.
Two thirds of a step are cells of the corpus as they are; one third are cells of the encoder's sample seen through gaps
and other laboratories, so that small panels are met in training although the corpus holds finished vectors.

Everything that decides the next step is in the checkpoint: weights, moments, the generator, the place in the epoch and
the cells left over, so that a training that was killed ends with the same bytes as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from whycell.compute import Talk
from whycell.models.corpus_encoder import CorpusEncoder, corpus_encoder
from whycell.models.fit import NEVER, Dropout, one_core
from whycell.models.nets.heads import Heads
from whycell.models.streamed_batches import Batches, Rest
from whycell.models.streamed_state import load_state, save_state

__all__ = ["CorpusEncoder", "Curves", "Gapped", "Streaming", "Trained", "corpus_encoder", "loss_of", "train_streamed"]

_WARM = 0.2
_FROM, _TO = 1 / 25, 1e-4  # the rate at the first and the last step, as shares of the largest


@dataclass(frozen=True)
class Streaming:
    """The numbers of a training; what is ``None`` follows from the corpus.

    Parameters
    ----------
    epochs
        Passes over the corpus.
    batch
        Cells of the corpus a step.
    n_hidden, dropout, weight_decay, learning_rate
        Of the network and AdamW.
    looks
        How often held-out cells are looked at.
    patience
        Looks without a better loss, past the largest rate, after which training stops.
    gapped
        Cells seen through gaps, for each cell of the corpus in a step.
    """

    epochs: float | None = None
    batch: int | None = None
    n_hidden: int | None = None
    dropout: float = 0.3
    weight_decay: float = 1e-2
    learning_rate: float = 2e-3
    looks: int = 40
    patience: int = 8
    gapped: float = 0.5

    def settled(self, n_cells: int, n_leaves: int) -> Streaming:
        """With every number filled in.

        Parameters
        ----------
        n_cells, n_leaves
            Cells that train, and leaves told apart.
        """
        batch = self.batch or (256 if n_cells < 200_000 else 1024 if n_cells < 5_000_000 else 4096)
        return Streaming(
            epochs=self.epochs or float(np.clip(4e6 / max(n_cells, 1), 1.0, 14.0)),
            batch=int(max(1, min(batch, n_cells))),
            n_hidden=self.n_hidden or int(np.clip(8 * n_leaves, 128, 1024)),
            dropout=self.dropout,
            weight_decay=self.weight_decay,
            learning_rate=self.learning_rate,
            looks=self.looks,
            patience=self.patience,
            gapped=self.gapped,
        )


@dataclass(frozen=True)
class Gapped:
    """Cells of the sample that train, seen through gaps.

    Parameters
    ----------
    views
        (n_views, n_cells, d) float32.
    kind
        (n_cells,) int, row of the meanings.
    weights
        (n_cells,).
    """

    views: np.ndarray
    kind: np.ndarray
    weights: np.ndarray


@dataclass
class Curves:
    """Losses as the training went: means since the last look, and of held-out cells at the look.

    Parameters
    ----------
    step
        Steps done at each look.
    train, held_out
        By study, one number a look; ``None`` where no cell of the study was met.
    """

    step: list[int] = field(default_factory=list)
    train: dict[str, list[float | None]] = field(default_factory=dict)
    held_out: dict[str, list[float | None]] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """For JSON, four digits."""
        return {"step": self.step, "train": _rounded(self.train), "held_out": _rounded(self.held_out)}


@dataclass(frozen=True)
class Trained:
    """A trained network.

    Parameters
    ----------
    head
        Its weights, those of the look at which the held-out loss was least.
    curves
        Losses by study.
    steps, best_step
        Taken, and of the weights kept.
    stopped
        Whether held-out cells stopped it before its time.
    settings
        As settled.
    """

    head: dict[str, np.ndarray]
    curves: Curves
    steps: int
    best_step: int
    stopped: bool
    settings: Streaming


def train_streamed(
    batches: Callable[[int], Batches],
    *,
    meanings: np.ndarray,
    settings: Streaming,
    held: tuple[np.ndarray, np.ndarray],
    gapped: Gapped | None,
    checkpoint: Path | None = None,
    mark: str = "",
    every: float = 20.0,
    seed: int = 0,
    device: str = "cpu",
    talk: Talk | None = None,
) -> Trained:
    """Train one network.

    Parameters
    ----------
    batches
        Given the cells a step, the batches of the corpus.
    meanings
        (n_kinds, n_leaves) bool.
    settings
        Numbers of the training.
    held
        (n, d) float32 and (n,) rows of the kinds' table: held-out cells that stop the training.
    gapped
        Cells of the sample seen through gaps.
    checkpoint
        Folder of the state; what is there of the same ``mark`` goes on.
    mark
        What identifies the training: another one's checkpoint is not taken up.
    every
        Seconds between checkpoints; they are written between two blocks.
    seed
        Fixes weights, orders and dropout.

    Returns
    -------
    Trained
    """
    first = batches(1)
    settings = settings.settled(first.kinds.n_train, meanings.shape[1])
    run = _Run(batches(settings.batch or 1), meanings, settings, held, gapped, seed=seed, device=device)
    if checkpoint is not None:
        load_state(checkpoint, run, mark=mark)
    saved = time.monotonic()
    with one_core(), (talk or Talk()).progress("training", run.total) as bar:
        bar.advance(run.step)
        while not run.done:
            bar.advance(run.block())
            if checkpoint is not None and time.monotonic() - saved >= every:
                save_state(checkpoint, run, mark=mark)
                saved = time.monotonic()
    return Trained(run.kept(), run.curves, run.step, run.best_step, run.stopped, settings)


def loss_of(log_p: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    """(n,) ``-log sum of p`` over the leaves that each label may mean; ``allowed`` is 0 there and -50 elsewhere."""
    return -torch.logsumexp(log_p + allowed, dim=-1)


class _Run:
    """A training under way."""

    def __init__(
        self,
        batches: Batches,
        meanings: np.ndarray,
        settings: Streaming,
        held: tuple[np.ndarray, np.ndarray],
        gapped: Gapped | None,
        *,
        seed: int,
        device: str,
    ) -> None:
        table = batches.kinds.table
        batch, hidden = settings.batch or 1, settings.n_hidden or 128
        self.batches, self.settings, self.device = batches, settings, device
        self.generator = torch.Generator().manual_seed(seed)
        width = batches.store.vectors.shape[1]
        self.net = Heads(1, width, hidden, meanings.shape[1], generator=self.generator).to(device)
        self.n_gapped = round(batch * settings.gapped) if gapped is not None and len(gapped.kind) else 0
        whole = batch + self.n_gapped
        self.masks = Dropout(1, whole, hidden, settings.dropout, self.generator, device)
        self.optimiser = torch.optim.AdamW(
            self.net.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.allowed = torch.where(torch.as_tensor(meanings), 0.0, NEVER).to(device=device, dtype=torch.float32)
        self.kind = torch.as_tensor(table["kind"].to_numpy(), device=device)
        self.weight = torch.as_tensor(table["weight"].to_numpy(dtype=np.float32), device=device)
        self.study = torch.as_tensor(table["study_code"].to_numpy(), device=device)
        self.held = tuple(torch.as_tensor(array, device=device) for array in held)
        self.gapped = None
        if self.n_gapped and gapped is not None:
            self.gapped = (
                torch.as_tensor(gapped.views, device=device).flatten(0, 1),
                torch.as_tensor(gapped.kind, device=device),
                torch.as_tensor(gapped.weights, dtype=torch.float32, device=device),
            )
        n_studies = len(batches.kinds.studies)
        self.total = max(60, int(np.ceil((settings.epochs or 1) * batches.kinds.n_train / batch)))
        self.look = max(1, self.total // settings.looks)
        self.step = self.epoch = self.place = self.best_step = self.without = 0
        self.best = float("inf")
        self.best_weights = self._weights()
        self.rest = Rest.none(width)
        self.sums = torch.zeros(2, n_studies, dtype=torch.float64)
        self.curves = Curves([], {str(s): [] for s in batches.kinds.studies}, {})
        self.stopped = False

    @property
    def done(self) -> bool:
        """Whether all steps are taken, or held-out cells say that no more are wanted."""
        return self.stopped or self.step >= self.total

    def block(self) -> int:
        """Train on the next block; the steps taken."""
        order = self.batches.order(self.epoch)
        pairs, self.rest = self.batches.read(self.epoch, int(order[self.place]), self.rest)
        taken = 0
        for vectors, rows in pairs:
            self._train(vectors.to(self.device).float(), rows.to(self.device))
            taken += 1
            if self.step % self.look == 0 or self.step == self.total:
                self._look()
            if self.done:
                return taken
        self.place += 1
        if self.place == len(order):
            self.epoch, self.place = self.epoch + 1, 0
        return taken

    def kept(self) -> dict[str, np.ndarray]:
        """The best weights, one member's, as ``models.fit.train_heads`` gives them."""
        return {name: np.ascontiguousarray(value[0]) for name, value in self.best_weights.items()}

    def _train(self, x: torch.Tensor, rows: torch.Tensor) -> None:
        kind, weight = self.kind[rows], self.weight[rows]
        if self.gapped is not None:
            views, kinds, weights = self.gapped
            at = torch.randint(len(views), (self.n_gapped,), generator=self.generator).to(self.device)
            x = torch.cat([x, views[at]])
            kind = torch.cat([kind, kinds[at % len(kinds)]])
            weight = torch.cat([weight, weights[at % len(kinds)]])
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.learning_rate * _rate(self.step / max(self.total - 1, 1))
        log_p = torch.log_softmax(self.net(x[None], self.masks.next())[0], dim=-1)
        losses = loss_of(log_p, self.allowed[kind])
        self.optimiser.zero_grad()
        (losses * weight).mean().backward()
        self.optimiser.step()
        self.step += 1
        mine, study = losses.detach()[: len(rows)].double().cpu(), self.study[rows].cpu()
        self.sums[0].index_add_(0, study, mine)
        self.sums[1].index_add_(0, study, torch.ones_like(mine))

    def _look(self) -> None:
        studies = self.batches.kinds.studies
        _append(self.curves.train, studies, self.sums)
        self.sums.zero_()
        losses, study = self._held_losses()
        sums = torch.zeros(2, len(studies), dtype=torch.float64)
        sums[0].index_add_(0, study, losses)
        sums[1].index_add_(0, study, torch.ones_like(losses))
        _append(self.curves.held_out, studies, sums)
        self.curves.step.append(self.step)
        value = float(losses.mean()) if len(losses) else -float(self.step)
        if value < self.best:
            self.best, self.best_step, self.without = value, self.step, 0
            self.best_weights = self._weights()
        elif self.step > _WARM * self.total:
            self.without += 1
            self.stopped = self.without >= self.settings.patience

    def _held_losses(self) -> tuple[torch.Tensor, torch.Tensor]:
        x, rows = self.held
        parts = []
        with torch.no_grad():
            for at in range(0, len(x), 4096):
                log_p = torch.log_softmax(self.net(x[None, at : at + 4096])[0], dim=-1)
                parts.append(loss_of(log_p, self.allowed[self.kind[rows[at : at + 4096]]]).double().cpu())
        return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64), self.study[rows].cpu()

    def _weights(self) -> dict[str, np.ndarray]:
        return {name: value.detach().cpu().numpy().copy() for name, value in self.net.named_parameters()}


def _rate(share: float) -> float:
    """Cosine up to one over the first fifth, then down: the rate at a share of the training."""
    if share < _WARM:
        return float(_FROM + (1 - _FROM) * 0.5 * (1 - np.cos(np.pi * share / _WARM)))
    return float(_TO + (1 - _TO) * 0.5 * (1 + np.cos(np.pi * (share - _WARM) / (1 - _WARM))))


def _append(curves: dict[str, list[float | None]], studies: np.ndarray, sums: torch.Tensor) -> None:
    for study, total, n in zip(studies, *sums.tolist(), strict=True):
        if n or str(study) in curves:
            curves.setdefault(str(study), []).append(total / n if n else None)


def _rounded(curves: dict[str, list[float | None]]) -> dict[str, list[float | None]]:
    return {name: [None if v is None else round(v, 4) for v in values] for name, values in curves.items()}
