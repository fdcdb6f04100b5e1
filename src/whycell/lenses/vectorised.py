"""Networks of any architecture, several side by side: one forward pass of stacked weights (``torch.func``).

For networks that :mod:`whycell.lenses.many` does not know, convolutional ones above all. On a graphics card a hundred
small ones train in little more than the time of one. On a processor the convolutions of different weights do not share
their work: ten thousand parameters and 32 x 32 pictures take seconds a model, and for thousands of models it is wiser
to freeze the convolutions (random or trained once on everything) and to train heads on what they give.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

from whycell.compute import Talk
from whycell.errors import DataError, UsageError
from whycell.lenses.blocks import block_ranges, block_seed, fingerprint, open_folder, run_blocks
from whycell.lenses.heads_mlp import members, next_batch
from whycell.lenses.many import margins_of, one_thread_each

__all__ = ["Network", "fit_networks"]


@dataclass(frozen=True)
class Network:
    """How to build and train one.

    Parameters
    ----------
    build
        Makes a module, (b, ...) -> (b, K) logits, with fresh random weights; running statistics (BatchNorm) and dropout
        are not supported, GroupNorm is.
    epochs, batch, rate, momentum, l2
        Passes over a subset, samples of a mini-batch, learning rate (falls linearly to zero), share of the last step
        kept, weight decay.
    together
        Networks side by side: a block, and what a kill can lose.
    """

    build: Callable[[], nn.Module]
    epochs: float = 10
    batch: int = 64
    rate: float = 0.05
    momentum: float = 0.9
    l2: float = 5e-4
    together: int = 16


def fit_networks(
    network: Network,
    X: Any,
    y: Any,
    *,
    masks: np.ndarray,
    X_target: Any,
    y_target: Any,
    seed: int = 0,
    device: str = "cpu",
    folder: Path | str | None = None,
    talk: Talk | None = None,
) -> np.ndarray:
    """The margins of one network for each mask on the targets, as :func:`whycell.lenses.fit_many` gives them.

    Parameters
    ----------
    network
        How to build and train one.
    X, y
        (n, ...) float inputs in the module's layout, and (n,) labels.
    masks
        (m, n) bool.
    X_target, y_target
        (t, ...) and (t,); labels among those of ``y``.
    folder
        As in :func:`whycell.lenses.fit_many`. The module's own code is not part of the check.
    seed, device, talk
        See docs/parameters.md.

    Returns
    -------
    (m, t) float32 margins.
    """
    classes, codes = np.unique(np.asarray(y), return_inverse=True)
    wanted = np.asarray(y_target)
    if not np.isin(wanted, classes).all():
        msg = "y_target holds a label that is not among those of y"
        raise DataError(msg)
    at = np.searchsorted(classes, wanted)
    inputs, targets = (np.ascontiguousarray(each, dtype=np.float32) for each in (X, X_target))
    masks = np.asarray(masks, dtype=bool)
    ranges = block_ranges(len(masks), network.together)
    kept = None
    if folder is not None:
        arrays = {"X": inputs, "y": codes, "masks": masks, "X_target": targets, "y_target": at}
        asked: dict[str, Any] = {name: fingerprint(each) for name, each in arrays.items()}
        recipe = {k: v for k, v in vars(network).items() if k != "build"}
        kept = open_folder(folder, asked | {"format": "whycell networks 1", "seed": seed, "recipe": recipe})
    place = torch.device(device)
    data = torch.from_numpy(inputs).to(place), torch.from_numpy(codes.astype(np.int64)).to(place)
    asked_for = torch.from_numpy(targets).to(place)

    def work(block: int) -> np.ndarray:
        some = masks[slice(*ranges[block])]
        return margins_of(_train(network, data, some, asked_for, block_seed(seed, block)), at)

    with one_thread_each():
        return np.concatenate(run_blocks(work, len(ranges), folder=kept, talk=talk))


def _train(
    network: Network, data: tuple[torch.Tensor, torch.Tensor], masks: np.ndarray, targets: torch.Tensor, seed: int
) -> np.ndarray:
    """(m, t, K) logits of networks trained side by side."""
    X, codes = data
    m = len(masks)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = [network.build().to(X.device).train() for _ in range(m)]
    if any(buffer.is_floating_point() for buffer in built[0].buffers()):
        msg = "the network keeps running statistics (BatchNorm), which side by side cannot be kept: use GroupNorm"
        raise UsageError(msg)
    parameters, buffers = stack_module_state(built)  # type: ignore[arg-type]
    shell = built[0]

    def forward(p: dict[str, torch.Tensor], b: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return functional_call(shell, (p, b), (x,))

    side_by_side = vmap(forward)
    sgd = torch.optim.SGD(
        list(parameters.values()), lr=network.rate, momentum=network.momentum, weight_decay=network.l2
    )
    own, sizes = members(masks)
    states = np.random.default_rng(seed).integers(1, 2**63, m, dtype=np.uint64)
    places, drawn = sizes.copy(), np.empty((m, network.batch), dtype=np.int64)
    n_steps = max(1, round(network.epochs * float(sizes.mean()) / network.batch))
    for step in range(n_steps):
        next_batch(own, sizes, places, states, drawn)
        rows = torch.from_numpy(drawn).to(X.device)
        z = side_by_side(parameters, buffers, X[rows])
        loss = nn.functional.cross_entropy(z.flatten(0, 1), codes[rows].flatten(), reduction="sum") / network.batch
        sgd.param_groups[0]["lr"] = network.rate * (1 - step / n_steps)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
    with torch.no_grad():
        parts = [vmap(forward, in_dims=(0, 0, None))(parameters, buffers, part) for part in targets.split(256)]
    return torch.cat(parts, dim=1).cpu().numpy()
