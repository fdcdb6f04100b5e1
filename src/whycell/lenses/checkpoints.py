"""Trained copies of one model to ask: given, or trained here on random halves of the samples.

A model that never saw a sample tells what that sample would teach; one that has learned it by heart has nothing left to
say. So checkpoints of random halves explain better than as many of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from whycell.errors import DataError, UsageError
from whycell.lenses.masks import draw_masks

__all__ = ["Checkpoints", "Fit", "given", "trained"]

#: Trains a model on some rows: (rows, seed) -> a module or its state dict.
Fit = Callable[[np.ndarray, int], nn.Module | Mapping[str, torch.Tensor]]


@dataclass(frozen=True)
class Checkpoints:
    """Weights of one architecture.

    Parameters
    ----------
    module
        The architecture, with some weights.
    states
        One state dict a checkpoint.
    subsets
        (n_checkpoints, n_train) bool, what each was trained on; ``None`` where that is not known.
    """

    module: nn.Module
    states: tuple[Mapping[str, torch.Tensor], ...]
    subsets: np.ndarray | None


def given(
    module: nn.Module,
    checkpoints: Sequence[Mapping[str, Any]] | None,
    *,
    subsets: np.ndarray | None,
    n: int,
    device: torch.device,
) -> Checkpoints:
    """Checkpoints that somebody trained; the module as it is where there are none.

    Parameters
    ----------
    checkpoints
        State dicts.
    subsets
        (n_checkpoints, n) bool.
    n
        Training samples.

    Raises
    ------
    DataError
        The subsets do not fit the checkpoints, or a checkpoint does not fit the module.
    """
    own = module.state_dict()
    states = [own] if checkpoints is None else list(checkpoints)
    if not states:
        msg = "checkpoints is an empty list; give one state dict at least, or leave it out to use the module as it is."
        raise UsageError(msg)
    for i, state in enumerate(states):
        if set(state) != set(own) or any(tuple(state[k].shape) != tuple(own[k].shape) for k in own):
            odd = sorted(set(own) ^ set(state)) or [k for k in own if tuple(state[k].shape) != tuple(own[k].shape)]
            msg = f"checkpoint {i} is not of this module: {', '.join(odd[:3])} differ; give its own state dicts."
            raise DataError(msg)
    if subsets is not None:
        subsets = np.asarray(subsets, dtype=bool)
        if subsets.shape != (len(states), n):
            msg = f"subsets of shape {subsets.shape}; wanted ({len(states)}, {n}): one row a checkpoint."
            raise DataError(msg)
    moved = tuple({k: torch.as_tensor(v).to(device) for k, v in state.items()} for state in states)
    return Checkpoints(module, moved, subsets)


def trained(
    kind: str | nn.Module,
    data: tuple[np.ndarray, np.ndarray],
    *,
    fit: Fit | None = None,
    n_checkpoints: int = 20,
    seed: int = 0,
    device: torch.device,
) -> Checkpoints:
    """Train checkpoints on random halves.

    Parameters
    ----------
    kind
        ``"linear"`` or ``"mlp"``, trained side by side by ``lenses.train_many``; or a module that ``fit`` trains.
    data
        (n, d) inputs and (n,) classes as codes 0..K-1.
    fit
        See ``Fit``.
    n_checkpoints
        How many.
    seed
        Of the halves and the trainings.
    """
    X, y = data
    masks = draw_masks(len(X), n_checkpoints, kind="fixed", seed=seed)
    if isinstance(kind, nn.Module):
        if fit is None:
            msg = "Halves need a way to train: give fit, a function of (rows, seed) that returns a trained module."
            raise UsageError(msg)
        states = []
        for k, mask in enumerate(masks):
            made = fit(np.flatnonzero(mask), seed * 10_007 + k)
            states.append(made.state_dict() if isinstance(made, nn.Module) else made)
        states = [{name: value.detach().clone() for name, value in state.items()} for state in states]
        return given(kind, states, subsets=masks, n=len(X), device=device)
    from whycell.lenses.many import train_many

    if kind not in ("linear", "mlp"):
        msg = f"module is {kind!r}; wanted a torch module, 'linear' or 'mlp'."
        raise UsageError(msg)
    many = train_many(kind, X, y, masks=masks, seed=seed, device=device.type)  # type: ignore[arg-type]
    pieces = [_layers(kind, [torch.from_numpy(w[k]) for w in many.weights]) for k in range(n_checkpoints)]
    sizes = [(w.shape[1], w.shape[0]) for w in pieces[0][::2]]
    linear = [nn.Linear(n_in, n_out) for n_in, n_out in sizes]
    module = nn.Sequential(*(part for layer in linear for part in (layer, nn.ReLU())))[:-1].to(device)
    names = list(module.state_dict())
    states = [dict(zip(names, piece, strict=True)) for piece in pieces]
    return given(module, states, subsets=masks, n=len(X), device=device)


def _layers(kind: str, weights: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Weight, bias, weight, bias ... as torch orders them."""
    if kind == "linear":
        return [weights[0][:-1].T.contiguous(), weights[0][-1]]
    W1, b1, W2, b2 = weights
    return [W1.T.contiguous(), b1[0], W2.T.contiguous(), b2[0]]
