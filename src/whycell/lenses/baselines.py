"""What costs nothing: the scores that TRAK has to beat, and that are printed beside it.

Each gives (n_targets, n_train) scores; positive means that the sample pulls towards the target's class. Samples of the
target's class count with +1, samples of each other class with ``-1 / (k - 1)``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from whycell.lenses.gradients import Output, is_plain, mlp_factors, output_of, per_sample_gradients

__all__ = ["gradient_dot", "nearest_neighbours", "representation_similarity"]


def gradient_dot(
    module: nn.Module,
    data: tuple[torch.Tensor, torch.Tensor],
    targets: tuple[torch.Tensor, torch.Tensor],
    *,
    output: str | Output = "margin",
) -> np.ndarray:
    """Gradient of the target's output against the pull of the sample's loss (TracIn at one checkpoint).

    Parameters
    ----------
    module
        Trained.
    data, targets
        Inputs and classes; all gradients are held at once unless the module is a plain MLP.
    output
        As in ``lenses.trak``.
    """
    if is_plain(module):
        left, right = (mlp_factors(module, part, output=output) for part in (targets, data))
        product, f = left.kernel(right), right.output
    else:
        (g, _), (h, f) = (per_sample_gradients(module, part, output=output) for part in (targets, data))
        product = g @ h.T
    pull = data[1].to(f.dtype) - f if output_of(output) is output_of("value") else torch.sigmoid(-f)
    return np.asarray((product * pull).detach().cpu().numpy(), dtype=np.float32)


def nearest_neighbours(
    data: tuple[Any, Any], targets: tuple[Any, Any], *, bandwidth: float | None = None
) -> np.ndarray:
    """Closeness of the inputs themselves, with the sign of the class: no model at all.

    Parameters
    ----------
    data, targets
        Inputs and classes.
    bandwidth
        Of the Gaussian; ``None`` is the median distance to the tenth neighbour.
    """
    x, z = (torch.as_tensor(np.asarray(part[0])).flatten(1).float() for part in (data, targets))
    distances = torch.cdist(z, x)
    if bandwidth is None:
        tenth = distances.kthvalue(min(10, len(x)), dim=1).values
        bandwidth = float(tenth.median()) or 1.0
    closeness = torch.exp(-0.5 * (distances / bandwidth) ** 2).numpy()
    return np.asarray(closeness * _signs(data[1], targets[1]), dtype=np.float32)


def representation_similarity(
    module: nn.Module, data: tuple[torch.Tensor, Any], targets: tuple[torch.Tensor, Any]
) -> np.ndarray:
    """Cosine between what the last linear layer takes in, with the sign of the class.

    Parameters
    ----------
    module
        Has a linear layer.
    data, targets
        Inputs and classes.
    """
    x, z = (nn.functional.normalize(_representation(module, part[0]), dim=1) for part in (data, targets))
    return np.asarray((z @ x.T).cpu().numpy() * _signs(data[1], targets[1]), dtype=np.float32)


def _representation(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    last = [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]
    caught: list[torch.Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, given: caught.append(given[0].detach().flatten(1)))
    before = module.training
    module.eval()
    try:
        with torch.no_grad():
            module(x)
    finally:
        hook.remove()
        module.train(before)
    return caught[-1]


def _signs(y: Any, y_target: Any) -> np.ndarray:
    y, y_target = np.asarray(y), np.asarray(y_target)
    k = max(len(np.unique(y)), 2)
    return np.where(y_target[:, None] == y[None, :], 1.0, -1.0 / (k - 1))
