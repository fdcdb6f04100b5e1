"""Do the weights of a layer look like the AGOP of what it reads? The neural feature ansatz, with its controls.

For weights W of a layer that reads h the ansatz says ``W'W ~ AGOP^s``, with AGOP that of the outputs by h and a power s
at or below 1 (Radhakrishnan and others, Science 2024; of a convolution by its patches, arXiv 2309.00570). A high
correlation alone proves little: fresh weights have one as well, the last layer always has, the power depends on depth
and on the scale of the first weights, and counterexamples exist (Tansley and others, 2025). So every value stands
beside the same at the start and, where a training function is at hand, after training on shuffled labels.
"""

# d - entries of what one output of the layer reads

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.linalg import subspace_angles
from scipy.stats import rankdata
from torch import Tensor, nn

from whycell.errors import UsageError
from whycell.lenses.features import agop
from whycell.lenses.patches import SLIDING, filters
from whycell.results.features import Ansatz

__all__ = ["POWERS", "agreement", "ansatz", "fresh_copy"]

#: Powers of the AGOP that weights are laid beside.
POWERS = (1.0, 0.5)
_TRIED = np.round(np.arange(0.05, 2.001, 0.05), 2)


def ansatz(
    module: nn.Module,
    loader: Any,
    *,
    layers: Sequence[str] | None = None,
    targets: Any = None,
    initial: Mapping[str, Tensor] | None = None,
    train: Callable[[nn.Module, Tensor, Tensor], Any] | None = None,
    centre: bool = False,
    top: int = 5,
    chunk: int = 128,
    seed: int = 0,
) -> Ansatz:
    """Weights against AGOP, layer by layer, beside the same at the start and under random labels.

    Parameters
    ----------
    module
        The trained network; left as it was.
    loader
        Inputs as ``agop`` takes them; with ``train``, an iterable of (x, y) batches or a tuple (X, y).
    layers
        Names of linear layers and convolutions; all of them where ``None``.
    targets
        Outputs, as in ``agop``.
    initial
        State dict of the network before training. Where ``None``, a copy with weights drawn anew (``seed``) stands in.
    train
        ``train(module, X, y)`` trains a network in place, or returns one. It is given a copy as at the start and labels
        shuffled (``seed``). Without it there is no such control, and ``notes`` say so.
    centre
        Take mean gradients off.
    top
        Eigenvectors whose spaces are compared.
    chunk
        Examples at once.
    seed
        Of the fresh weights and the shuffling.

    Returns
    -------
    Ansatz

    Raises
    ------
    UsageError
        The module has no such layer, or ``train`` came without labels.
    """
    names = _layers(module, layers)
    X, y = _gathered(loader)
    start, notes = fresh_copy(module, initial, seed=seed)
    states: dict[str, nn.Module] = {"trained": module, "initial": start}
    if train is None:
        notes.append("No training function was given: there is no control with random labels.")
    else:
        states["random labels"] = _shuffled(start, X, y, train=train, seed=seed)
        notes.append("Random labels: the network as at the start, trained by the given function on shuffled labels.")
    rows, exponents = [], []
    for name in names:
        unit = _weights(start, name)
        for state, network in states.items():
            W = _weights(network, name)
            found = agop(network, X, at=name, targets=targets, centre=centre, chunk=chunk)
            trivial = _is_constant(found.mean, found.matrix, centred=centre)
            common = {"layer": name, "state": state, "n_inputs": len(found.matrix), "trivial": trivial}
            size = float(np.linalg.norm(W) / max(np.linalg.norm(unit), 1e-300))
            measured, best = agreement(W.T @ W, found.matrix, top=top)
            rows += [{**common, **each, "norm": size} for each in measured]
            exponents.append({"layer": name, "state": state, **best})
    return Ansatz(pd.DataFrame(rows), pd.DataFrame(exponents), tuple(notes))


def agreement(gram: np.ndarray, found: np.ndarray, *, top: int = 5) -> tuple[list[dict[str, float]], dict[str, float]]:
    """How alike two positive semi-definite matrices are, one of them to several powers.

    Parameters
    ----------
    gram
        (d, d) W'W.
    found
        (d, d) AGOP.
    top
        Eigenvectors whose spaces are compared.

    Returns
    -------
    measures : a dict a power: ``power, cosine, pearson, diagonal_rank, angle_mean, angle_max``
    best : ``exponent, cosine`` at the power of greatest cosine
    """
    values, vectors = np.linalg.eigh(found)
    values = np.clip(values, 0, None)
    own_space = np.linalg.eigh(gram)[1][:, ::-1]
    r = min(top, len(found))
    angles = subspace_angles(own_space[:, :r], vectors[:, ::-1][:, :r])
    rank = _correlation(rankdata(np.diagonal(gram)), rankdata(np.diagonal(found)))
    rows = []
    for power in POWERS:
        raised = (vectors * values**power) @ vectors.T
        rows.append(
            {
                "power": power,
                "cosine": _cosine(gram, raised),
                "pearson": _correlation(gram.ravel(), raised.ravel()),
                "diagonal_rank": rank,
                "angle_mean": float(angles.mean()),
                "angle_max": float(angles.max()),
            }
        )
    # cos(W'W, V λ^s V') needs the diagonal of V' W'W V only.
    along = np.einsum("di,de,ei->i", vectors, gram, vectors)
    size = max(np.linalg.norm(gram), 1e-300)
    cosines = [float(along @ values**s / (size * max(np.linalg.norm(values**s), 1e-300))) for s in _TRIED]
    # Of powers that do as well (all, where one eigenvalue is all there is) the one nearest to 1.
    as_good = np.flatnonzero(np.asarray(cosines) >= max(cosines) - 1e-6)
    best = int(as_good[np.abs(_TRIED[as_good] - 1).argmin()])
    return rows, {"exponent": float(_TRIED[best]), "cosine": cosines[best]}


def fresh_copy(
    module: nn.Module, initial: Mapping[str, Tensor] | None = None, *, seed: int = 0
) -> tuple[nn.Module, list[str]]:
    """A copy of a network as it was before training, and in words how near to that it comes.

    Parameters
    ----------
    module
        The network.
    initial
        Its state dict of then; weights are drawn anew where ``None``.
    seed
        Of the draw.
    """
    network = copy.deepcopy(module)
    if initial is not None:
        network.load_state_dict(dict(initial))
        return network, ["Initial: the weights that were given."]
    untouched = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for name, part in network.named_modules():
            if callable(getattr(part, "reset_parameters", None)):
                part.reset_parameters()
            elif any(True for _ in part.parameters(recurse=False)):
                untouched.append(name or type(part).__name__)
    notes = [
        f"Initial: weights drawn anew by each layer's own reset (seed {seed}), not those that training began with."
    ]
    if untouched:
        notes.append(f"Parameters without a reset stay as trained: {', '.join(untouched)}.")
    return network, notes


def _shuffled(
    start: nn.Module, X: Any, y: Any, *, train: Callable[[nn.Module, Tensor, Tensor], Any], seed: int
) -> nn.Module:
    if y is None:
        msg = "train= needs labels to shuffle; give the loader as (x, y) batches or a tuple (X, y)."
        raise UsageError(msg)
    network = copy.deepcopy(start)
    order = torch.as_tensor(np.random.default_rng(seed).permutation(len(y)))
    trained = train(network, X, y[order])
    return trained if isinstance(trained, nn.Module) else network


def _layers(module: nn.Module, layers: Sequence[str] | None) -> list[str]:
    able = [name for name, part in module.named_modules() if isinstance(part, (nn.Linear, *SLIDING))]
    wanted = able if layers is None else list(layers)
    wrong = [name for name in wanted if name not in able]
    if wrong or not wanted:
        has = ", ".join(able) or "none"
        msg = f"Layers {wrong or 'none'}: wanted linear layers or convolutions; the module has {has}."
        raise UsageError(msg)
    return wanted


def _gathered(loader: Any) -> tuple[Any, Any]:
    """Inputs and labels (``None`` where there are none), of all batches together."""
    if isinstance(loader, tuple) and len(loader) == 2:
        return torch.as_tensor(loader[0]), torch.as_tensor(loader[1])
    if isinstance(loader, (np.ndarray, Tensor)) or not isinstance(loader, Iterable):
        return loader, None
    xs, ys = [], []
    for batch in loader:
        pair = isinstance(batch, (tuple, list))
        xs.append(torch.as_tensor(batch[0] if pair else batch))
        if pair and len(batch) > 1:
            ys.append(torch.as_tensor(batch[1]))
    if not xs:
        msg = "The loader gave no batch; wanted at least one."
        raise UsageError(msg)
    return torch.cat(xs), torch.cat(ys) if len(ys) == len(xs) else None


def _weights(module: nn.Module, name: str) -> np.ndarray:
    """(n_outputs, d)"""
    return filters(module.get_submodule(name))[0].double().cpu().numpy()


def _is_constant(mean: np.ndarray, matrix: np.ndarray, *, centred: bool) -> bool:
    """Whether gradients are the same at every point: the AGOP is then that of their means."""
    of_means = float((mean**2).sum())
    trace = float(np.trace(matrix))
    return trace <= 1e-9 * of_means if centred else abs(trace - of_means) <= 1e-9 * max(of_means, 1e-300)


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-300))


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    if len(a) < 2:
        return float("nan")
    a, b = a - a.mean(), b - b.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size > 0 else float("nan")
