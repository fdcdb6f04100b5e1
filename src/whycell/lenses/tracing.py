"""Which training samples a prediction rests on, from gradients: TRAK, with its curvature kept and its ridge tuned.

After Park et al. 2023 (TRAK): over checkpoints m the two averages are multiplied, not paired,

    tau(t, i) = mean_m [phi_m(t)^T (Phi_m^T W Phi_m + lambda I)^-1 phi_m(i)] * mean_m q_m(i)

with ``phi`` the gradient of the output of a sample, ``q`` what its loss pulls with (``1 - p`` for a margin, ``y - f``
for a value) and ``W`` the curvature of that loss, ``p (1 - p)`` or 1. Three things differ from the published code: W is
kept (it is dropped there), lambda is not zero but the one that best foretells what the half-subset checkpoints
themselves answered, and no checkpoint is brought to a scale of its own. Measured on digits these turn a linear
datamodeling score of about .27 (full-data checkpoints, no ridge) into .76.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from whycell.errors import DataError, UsageError
from whycell.lenses.asking import Asking, Trak
from whycell.lenses.checkpoints import Fit, given, trained
from whycell.lenses.gradients import Output
from whycell.lenses.projections import Projection

__all__ = ["Trak", "trak"]

_FEWEST, _MOST = 4, 400  # checkpoints trained within a budget


def trak(
    module: nn.Module | str,
    data: tuple[Any, Any],
    targets: tuple[Any, Any],
    *,
    budget: float | None = None,
    checkpoints: Sequence[Mapping[str, Any]] | None = None,
    subsets: np.ndarray | None = None,
    fit: Fit | None = None,
    n_checkpoints: int = 20,
    proj_dim: int = 512,
    output: str | Output = "margin",
    ridge: float | str = "auto",
    seed: int = 0,
    device: str | None = None,
) -> Trak:
    """Score training samples for targets by their gradients.

    Parameters
    ----------
    module
        A torch module (n, ...) -> (n, k), or ``"mlp"`` or ``"linear"``: heads trained here on random halves.
    data
        Training inputs (n, ...) and targets (n,): class codes 0..k-1 for a margin, numbers for a value.
    targets
        (t, ...) inputs and (t,) classes or numbers whose outputs are to be explained.
    budget
        CPU seconds, training and scoring together; ``None`` takes ``n_checkpoints``, or all that are given.
    checkpoints
        State dicts of trained copies; without them, and without ``fit``, the module is taken as it is.
    subsets
        (n_checkpoints, n) bool: what each was trained on. Random halves are best.
    fit
        Trains a copy: (rows, seed) -> module or state dict; used for random halves.
    n_checkpoints
        Trained here, where there is no budget.
    proj_dim
        Numbers that a gradient is projected to. Not used for modules of no more parameters, nor for plain MLPs on up
        to 3,000 samples, whose gradients are kept exactly as outer products.
    output
        ``"margin"`` (the log-odds of the class), ``"value"`` (regression), or a function of (logits, target) whose
        logistic loss the training is taken to have lowered.
    ridge
        A number, in units of the mean sample's squared gradient, or ``"auto"``.
    seed
        Of subsets, trainings and projections.
    device
        ``None`` is where the module is; ``"mlp"`` and ``"linear"`` then stay on the processor.

    Returns
    -------
    Trak

    Raises
    ------
    DataError
        Lengths or checkpoints that do not fit together.
    UsageError
        Neither a module nor a known kind; an unknown output; a ridge that is no positive number.
    """
    begun = time.process_time()
    if ridge != "auto" and (isinstance(ridge, str) or not ridge > 0):
        msg = f"ridge is {ridge!r}; wanted a positive number or 'auto'."
        raise UsageError(msg)
    place = _place(module, device)
    data, targets = _tensors(data, targets, module, output, place)
    arrays = (data[0].cpu().numpy(), data[1].cpu().numpy())
    trains = checkpoints is None and (isinstance(module, str) or fit is not None)
    first = _FEWEST * 2 if budget is not None else n_checkpoints
    if trains:
        found = trained(module, arrays, fit=fit, n_checkpoints=first, seed=seed, device=place)
    elif isinstance(module, str):
        msg = f"module is {module!r} and checkpoints are given; give the torch module they belong to."
        raise UsageError(msg)
    else:
        found = given(module, checkpoints, subsets=subsets, n=len(data[0]), device=place)
    training = time.process_time() - begun
    asking = Asking(data, targets, output=output, projection=Projection(proj_dim, seed))
    asking.add(found)
    scores: dict[float, float] = {}
    if ridge == "auto":
        ridge, scores = asking.tune()
    chosen = float(ridge)
    if budget is not None:
        each = asking.seconds_each(chosen)
        left = 0.9 * budget - (time.process_time() - begun)
        if trains:
            more = int((left - each * len(found.states)) / (each + training / first))
            if more > 0:
                asking.add(
                    trained(module, arrays, fit=fit, n_checkpoints=min(more, _MOST), seed=seed + 1, device=place)
                )
        else:
            asking.keep(max(int(left / max(each, 1e-9)), 1))
    return asking.answer(chosen, scores=scores, seed=seed, begun=begun)


def _place(module: nn.Module | str, device: str | None) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device is not None:
        return torch.device(device)
    first = None if isinstance(module, str) else next(module.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def _tensors(
    data: tuple[Any, Any], targets: tuple[Any, Any], module: nn.Module | str, output: str | Output, place: torch.device
) -> tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
    """Tensors on one device, inputs in the module's type; labels of ``"mlp"`` and ``"linear"`` become codes."""
    kind = torch.float32 if isinstance(module, str) else next(module.parameters()).dtype
    X, X_target = (torch.as_tensor(part[0]) for part in (data, targets))
    if X.is_floating_point():
        X, X_target = X.to(kind), X_target.to(kind)
    y, y_target = (np.asarray(part[1].cpu() if torch.is_tensor(part[1]) else part[1]) for part in (data, targets))
    if output != "value" and (isinstance(module, str) or y.dtype.kind not in "iub"):
        classes, y = np.unique(y, return_inverse=True)
        unknown = y_target[~np.isin(y_target, classes)]
        if len(unknown):
            msg = f"A target is of class {str(unknown[0])!r}, which no training sample has; leave such targets out."
            raise DataError(msg)
        y_target = np.searchsorted(classes, y_target)
    for what, inputs, own in (("training", X, y), ("target", X_target, y_target)):
        if own.shape != (len(inputs),) or not len(inputs) or inputs.shape[1:] != X.shape[1:]:
            msg = f"Got {len(inputs)} {what} inputs of shape {tuple(inputs.shape[1:])} and {own.shape} of their y."
            raise DataError(msg)
    if isinstance(module, nn.Module) and place != next(module.parameters()).device:
        module = module.to(place)
    moved = [torch.as_tensor(part).to(place) for part in (X, y, X_target, y_target)]
    return (moved[0], moved[1]), (moved[2], moved[3])
