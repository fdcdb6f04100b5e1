"""Checkpoints, what they answer, and the influences of samples on targets summed over them: the work of ``trak``."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, vmap

from whycell.lenses.checkpoints import Checkpoints
from whycell.lenses.gradients import Factors, Output, is_plain, mlp_factors, output_of, per_sample_gradients
from whycell.lenses.halves import cross_checked
from whycell.lenses.influence import Gradients, Influence
from whycell.lenses.projections import Projection

__all__ = ["RIDGES", "Asking", "Trak"]

#: Ridges tried, in units of the mean sample's squared gradient.
RIDGES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
_DEFAULT_RIDGE = 1.0
_PROBES = 8  # checkpoints that the ridge is tuned on
_MOST_AMONG_SAMPLES = 3_000  # beyond, n x n matrices cost more than projected gradients
_NUMBERS_AT_A_TIME = 1 << 25


@dataclass(frozen=True)
class Trak:
    """Scores of training samples for targets.

    Parameters
    ----------
    values
        (n_targets, n_train) float32: how much the presence of the sample moves the target's output, in its units, to
        first order.
    ridge
        The ridge used, in units of the mean sample's squared gradient.
    quality
        ``lds``: rank correlation between what half of the checkpoints foretell of the other half's outputs and what
        these are, mean over targets; it is lower than that of all of them together. ``lds_by_ridge``: on the probes.
        ``lds_gradient_dot``: of plain gradient products, the same way. ``slope``: observed over foretold change.
        ``n_checkpoints``, ``cpu_seconds``. Scores are absent where the subsets of the checkpoints are not known.
    way
        How gradients were kept: ``"exact"``, or ``"projected to k"``.
    notes
        Sentences a reader should know.
    seed
        As given.
    """

    values: np.ndarray
    ridge: float
    quality: dict[str, Any]
    way: str
    notes: tuple[str, ...] = field(default=())
    seed: int = 0


class Asking:
    """Samples, targets and checkpoints; what these answer; the influences, checkpoint by checkpoint."""

    def __init__(
        self,
        data: tuple[torch.Tensor, torch.Tensor],
        targets: tuple[torch.Tensor, torch.Tensor],
        *,
        output: str | Output,
        projection: Projection,
    ) -> None:
        self.data, self.targets, self.output, self.projection = data, targets, output, projection
        self.states: list[Mapping[str, torch.Tensor]] = []
        self.subsets: list[np.ndarray | None] = []
        self.train_output: list[torch.Tensor] = []
        self.target_output: list[torch.Tensor] = []
        self.way = "exact"

    def add(self, found: Checkpoints) -> None:
        """Take in checkpoints, and what they answer."""
        self.module = found.module
        for k, state in enumerate(found.states):
            self.states.append(state)
            self.subsets.append(None if found.subsets is None else found.subsets[k])
            self.train_output.append(_outputs(self.module, self.data, self.output, state))
            self.target_output.append(_outputs(self.module, self.targets, self.output, state))

    def keep(self, n: int) -> None:
        """Only the first n."""
        for kept in (self.states, self.subsets, self.train_output, self.target_output):
            del kept[n:]

    def pull(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(n,) what each sample's loss pulls with, and (n,) its curvature, of the checkpoints' mean answer."""
        if self.output == "value":
            mean = torch.stack(self.train_output).mean(dim=0)
            return self.data[1].to(mean.dtype) - mean, torch.ones_like(mean)
        p = torch.sigmoid(torch.stack(self.train_output)).mean(dim=0)
        return 1 - p, p * (1 - p)

    def seconds_each(self, ridge: float) -> float:
        """CPU seconds that the influences of one checkpoint take."""
        start = time.process_time()
        gradients = self._gradients(0)
        _ = Influence(gradients, self.pull()[1]).at(ridge) + gradients.dot()
        return time.process_time() - start

    def tune(self) -> tuple[float, dict[float, float]]:
        """The ridge whose influences best foretell the outputs of checkpoints they were not made from."""
        if not self._can_score():
            return _DEFAULT_RIDGE, {}
        pull, curvature = self.pull()
        n = min(len(self.states), _PROBES)
        totals: dict[float, list[Any]] = {each: [0.0, 0.0] for each in RIDGES}
        for k in range(n):
            influence = Influence(self._gradients(k), curvature)
            for each, halves in totals.items():
                halves[k % 2] = halves[k % 2] + influence.at(each)
        used = np.arange(n)
        scores = {each: self._score([h * pull for h in halves], used)[0] for each, halves in totals.items()}
        return max(scores, key=lambda each: scores[each]), scores

    def answer(self, ridge: float, *, scores: dict[float, float], seed: int, begun: float) -> Trak:
        """The influences of all checkpoints at this ridge."""
        pull, curvature = self.pull()
        halves: list[Any] = [0.0, 0.0]
        dots: list[Any] = [0.0, 0.0]
        for k in range(len(self.states)):
            gradients = self._gradients(k)
            halves[k % 2] = halves[k % 2] + Influence(gradients, curvature).at(ridge)
            dots[k % 2] = dots[k % 2] + gradients.dot()
        values = sum(halves) / len(self.states) * pull
        quality: dict[str, Any] = {"n_checkpoints": len(self.states)}
        notes = []
        if self._can_score():
            used = np.arange(len(self.states))
            quality["lds"], quality["slope"] = self._score([h * pull for h in halves], used)
            quality["lds_gradient_dot"], _ = self._score([h * pull for h in dots], used)
            quality["lds_by_ridge"] = scores
        elif len(self.states) == 1:
            notes.append(
                "One checkpoint, trained on everything: the ridge could not be tuned. Twenty trained on random halves "
                "(fit, or checkpoints with subsets) explain about twice as well."
            )
        else:
            notes.append("What the checkpoints were trained on is not known (subsets): the ridge could not be tuned.")
        quality["cpu_seconds"] = time.process_time() - begun
        return Trak(values.float().cpu().numpy(), ridge, quality, self.way, tuple(notes), seed)

    def _can_score(self) -> bool:
        return len(self.states) >= 4 and all(mask is not None and not mask.all() for mask in self.subsets)

    def _score(self, halves: Sequence[torch.Tensor], used: np.ndarray) -> tuple[float, float]:
        """Rank correlation and slope on checkpoints not used: halves hold sums over even and over odd positions."""
        masks = np.stack([mask for mask in self.subsets if mask is not None]).astype(np.float32)
        half_of = np.full(len(masks), -1)
        half_of[used] = used % 2
        told = [masks @ h.cpu().numpy().T / max(int((used % 2 == k).sum()), 1) for k, h in enumerate(halves)]
        return cross_checked(told, torch.stack(self.target_output).cpu().numpy(), half_of=half_of)

    def _gradients(self, k: int) -> Gradients:
        n, state = len(self.data[0]), self.states[k]
        sizes = sum(p.numel() for p in self.module.parameters())
        if is_plain(self.module) and n <= max(_MOST_AMONG_SAMPLES, 1):
            train, target = (mlp_factors(self.module, d, output=self.output, weights=state) for d in self._both())
            return Gradients(train, target)
        if sizes > self.projection.n_out:
            self.way = f"projected to {self.projection.n_out}"
        return Gradients(*(self._vectors(d, state, sizes) for d in self._both()))

    def _both(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        yield self.data
        yield self.targets

    def _vectors(
        self, data: tuple[torch.Tensor, torch.Tensor], state: Mapping[str, torch.Tensor], sizes: int
    ) -> torch.Tensor:
        plain, small = is_plain(self.module), sizes <= self.projection.n_out
        step = max(1, _NUMBERS_AT_A_TIME // sizes) if not plain or small else 1 << 14
        parts = []
        for start in range(0, len(data[0]), step):
            block = (data[0][start : start + step], data[1][start : start + step])
            made: Factors | torch.Tensor
            if plain:
                made = mlp_factors(self.module, block, output=self.output, weights=state)
                parts.append(made.dense() if small else self.projection.factors(made))
            else:
                made, _ = per_sample_gradients(self.module, block, output=self.output, weights=state)
                parts.append(made if small else self.projection.dense(made))
        return torch.cat(parts)


def _outputs(
    module: nn.Module, data: tuple[torch.Tensor, torch.Tensor], output: str | Output, state: Mapping[str, torch.Tensor]
) -> torch.Tensor:
    """(n,) output of each sample, in blocks."""
    before, measure, parts = module.training, output_of(output), []
    module.eval()
    try:
        with torch.no_grad():
            for start in range(0, len(data[0]), 4096):
                z = functional_call(module, dict(state), (data[0][start : start + 4096],))
                parts.append(vmap(measure)(z.reshape(len(z), -1), data[1][start : start + 4096]))
    finally:
        module.train(before)
    return torch.cat(parts)
