"""What a network on DNA is asked for: classes, counts, or a profile of counts; and how wrong an answer is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from whycell.models.nets.profile import turned_joint

__all__ = ["KINDS", "Objective", "mean_count", "objective_of", "set_start"]

Tensors = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Objective:
    """The outputs that are learned, and their loss.

    Parameters
    ----------
    forward
        Outputs of a network for (n, 4, length).
    loss
        (n, n_tasks) losses of outputs and labels without NaN.
    turn_outputs, turn_labels
        Those of one strand as those of the other.
    """

    forward: Callable[[nn.Module, torch.Tensor], torch.Tensor]
    loss: Tensors
    turn_outputs: Callable[[torch.Tensor], torch.Tensor]
    turn_labels: Callable[[torch.Tensor], torch.Tensor]

    def mean(self, found: torch.Tensor, y: torch.Tensor | np.ndarray) -> torch.Tensor:
        """Loss over all labels that are known; a profile with one unknown base is unknown.

        Parameters
        ----------
        found
            Outputs.
        y
            (n, n_tasks) or (n, n_tasks, out_length), NaN where unknown.
        """
        y = torch.as_tensor(y)
        known = ~torch.isnan(y)
        filled = torch.where(known, y, 0)
        if y.ndim > 2:
            known = known.all(dim=-1)
        return (self.loss(found, filled) * known).sum() / known.sum().clamp(min=1)


def objective_of(kind: str, *, mean_count: np.ndarray | None = None, counts_weight: float = 0.5) -> Objective:
    """The objective of a kind of model.

    ``"class"``: cross-entropy of log odds. ``"counts"``: Poisson, the logarithm of the rate is predicted.
    ``"profile"``: minus the log likelihood of where reads fall (multinomial, without its constant) for each read of a
    mean sequence, plus ``counts_weight`` times the squared error of log(1 + count); Avsec et al. 2021, whose
    alpha / 2 the weight is.

    Parameters
    ----------
    kind
        One of ``KINDS``.
    mean_count
        (n_tasks,) reads of a mean training sequence; of a profile.
    counts_weight
        Of a profile.
    """
    if kind != "profile":
        return Objective(nn.Module.__call__, _PLAIN[kind], _same, _same)
    per_read = torch.as_tensor(np.maximum(np.ones(1) if mean_count is None else mean_count, 1.0), dtype=torch.float32)

    def loss(found: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        total = y.sum(dim=-1)
        where = -(y * torch.log_softmax(found[..., 1:], dim=-1)).sum(dim=-1) / per_read.to(y.device)
        return where + counts_weight * (found[..., 0] - torch.log1p(total)).square()

    return Objective(lambda net, x: net.joint(x), loss, turned_joint, lambda y: y.flip(-1))


def mean_count(y: np.ndarray) -> np.ndarray:
    """(n_tasks,) reads of a mean sequence, of (n, n_tasks) or (n, n_tasks, out_length) counts; NaN left out."""
    total = y.sum(axis=2) if y.ndim > 2 else y
    known = ~np.isnan(total)
    return np.asarray(np.where(known, total, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1))


def set_start(net: nn.Module, y: np.ndarray, *, kind: str, shuffled: int = 0) -> None:
    """Let a network that has learned nothing answer what is true of a mean sequence: rare classes and large counts.

    Parameters
    ----------
    net
        Whose last layer is called ``last``; another is left as it is.
    y
        Labels of the training sequences.
    kind
        One of ``KINDS``.
    shuffled
        Shuffles that are added in every pass, as further ones of class 0.
    """
    last = getattr(net, "last", None)
    if not isinstance(last, nn.Linear):
        return
    if kind == "class":
        known = ~np.isnan(y)
        ones = np.where(known, y, 0).sum(axis=0) + 1
        zeros = known.sum(axis=0) + shuffled + 2 - ones
        start = np.log(ones / zeros)
    elif kind == "counts":
        start = np.log(np.maximum(mean_count(y), 1e-3))
    else:
        start = mean_count(np.log1p(y.sum(axis=2)))
    with torch.no_grad():
        last.bias.copy_(torch.as_tensor(start, dtype=torch.float32))


def _same(values: torch.Tensor) -> torch.Tensor:
    return values


def _class_loss(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="none")


def _counts_loss(log_rate: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return nn.functional.poisson_nll_loss(log_rate, y, log_input=True, reduction="none")


_PLAIN: dict[str, Tensors] = {"class": _class_loss, "counts": _counts_loss}
#: What a model may learn.
KINDS = ("class", "counts", "profile")
