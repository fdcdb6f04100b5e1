"""Thousands of small models, each on its own subset of the samples, trained as a few large computations.

========== ========================================================== =====================================
kind       model                                                      random
========== ========================================================== =====================================
"linear"   multinomial logistic regression, to its optimum            nothing
"mlp"      one hidden layer, ReLU, SGD with momentum                  start, order of samples
"ridge"    least squares on one-hot classes, closed form              nothing
"kernel"   Laplace kernel ridge, one Gram matrix for all, closed form nothing
========== ========================================================== =====================================

What is asked of a model is its margin for a class y, in the smooth form of TRAK (Park et al. 2023), which is the
log-odds of y, clipped at +-``CLIP``:

    m = z_y - log sum over j != y of exp z_j
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from whycell.compute import Talk, n_threads
from whycell.errors import DataError, LabelError, UsageError
from whycell.lenses.blocks import block_ranges, block_seed, fingerprint, open_folder, run_blocks
from whycell.lenses.heads_closed import KernelTrainer, RidgeTrainer
from whycell.lenses.heads_linear import LinearTrainer
from whycell.lenses.heads_mlp import MlpTrainer

__all__ = [
    "BLOCK",
    "CLIP",
    "HeadKind",
    "HeadSettings",
    "ManyModels",
    "fit_many",
    "margins_of",
    "one_thread_each",
    "train_many",
]

HeadKind = Literal["linear", "mlp", "ridge", "kernel"]

#: Log-odds beyond this are not told apart: a probability within 1e-9 of 0 or 1 is a matter of rounding.
CLIP = 20.0
#: Models trained, and stored, at a time.
BLOCK = 500
#: Penalty of each kind where none is given.
PENALTIES: dict[str, float] = {"linear": 1.0, "mlp": 0.0, "ridge": 1.0, "kernel": 0.1}


@dataclass(frozen=True)
class HeadSettings:
    """How the heads learn; each kind reads what concerns it.

    Parameters
    ----------
    l2
        Penalty; None for the kind's own: 1 ("linear", as scikit-learn's C = 1; "ridge"), 0 ("mlp"), 0.1 ("kernel").
    hidden, epochs, batch, rate, momentum
        Of "mlp": hidden units, passes over a subset, samples of a mini-batch, learning rate, share of the last step
        kept.
    bandwidth
        Of "kernel", in the unit of distances; None for the median distance.
    """

    l2: float | None = None
    hidden: int = 64
    epochs: float = 20
    batch: int = 100
    rate: float = 0.1
    momentum: float = 0.9
    bandwidth: float | None = None


@dataclass(frozen=True)
class ManyModels:
    """Trained heads.

    Parameters
    ----------
    kind
        As asked.
    classes
        (K,) labels, in the order of the logits.
    weights
        "linear", "ridge": one array (m, d + 1, K), the intercept last. "mlp": W1 (m, d, h), b1 (m, 1, h),
        W2 (m, h, K), b2 (m, 1, K). "kernel": coefficients (m, n, K).
    support
        Of "kernel": the training inputs (n, d) and the bandwidth; else None.
    """

    kind: str
    classes: np.ndarray
    weights: tuple[np.ndarray, ...]
    support: tuple[np.ndarray, float] | None = None

    def logits(self, X: Any) -> np.ndarray:
        """(t, d) -> (m, t, K) float32."""
        X = _inputs(X, "X")
        if self.kind == "kernel" and self.support is not None:
            inputs, bandwidth = self.support
            distances = torch.cdist(torch.from_numpy(X), torch.from_numpy(inputs))
            return np.matmul(torch.exp(-distances / bandwidth).numpy(), self.weights[0])
        if self.kind == "mlp":
            W1, b1, W2, b2 = self.weights
            return np.stack([np.maximum(X @ w + b, 0) @ v + c for w, b, v, c in zip(W1, b1, W2, b2, strict=True)])
        (W,) = self.weights
        m, size, k = W.shape
        flat = np.ascontiguousarray(W.transpose(1, 0, 2)).reshape(size, m * k)
        return np.ascontiguousarray((X @ flat[:-1] + flat[-1]).reshape(len(X), m, k).transpose(1, 0, 2))

    def margins(self, X: Any, y: Any) -> np.ndarray:
        """(t, d) inputs and (t,) labels -> (m, t) float32 log-odds of the label."""
        return margins_of(self.logits(X), _codes_among(y, self.classes, "y"))

    def predict(self, X: Any) -> np.ndarray:
        """(t, d) -> (m, t) labels."""
        return self.classes[self.logits(X).argmax(axis=2)]


def train_many(
    kind: HeadKind,
    X: Any,
    y: Any,
    *,
    masks: np.ndarray,
    seed: int = 0,
    settings: HeadSettings | None = None,
    device: str = "cpu",
    threads: int = 1,
    talk: Talk | None = None,
) -> ManyModels:
    """Train one head for each mask and keep the weights; for thousands of margins without weights: :func:`fit_many`.

    Parameters
    ----------
    kind
        See the module's head.
    X
        (n, d) inputs; for "mlp" scaled to about one.
    y
        (n,) labels.
    masks
        (m, n) bool, see :func:`whycell.lenses.draw_masks`.
    settings
        How they learn.
    seed, device, threads, talk
        See docs/parameters.md.

    Returns
    -------
    :class:`ManyModels`, in the order of the masks.
    """
    problem = _Problem(kind, X, y, masks=masks, settings=settings, device=device)
    parts: dict[int, tuple[np.ndarray, ...]] = {}

    def work(block: int) -> np.ndarray:
        parts[block] = problem.weights(block, seed)
        return np.empty(0)

    with one_thread_each():
        run_blocks(work, len(problem.ranges), threads=n_threads(threads), talk=talk)
    return problem.models(tuple(np.concatenate(w) for w in zip(*(parts[k] for k in sorted(parts)), strict=True)))


def fit_many(
    kind: HeadKind,
    X: Any,
    y: Any,
    *,
    masks: np.ndarray,
    X_target: Any,
    y_target: Any,
    seed: int = 0,
    settings: HeadSettings | None = None,
    device: str = "cpu",
    threads: int = 1,
    folder: Path | str | None = None,
    talk: Talk | None = None,
) -> np.ndarray:
    """The margins of one head for each mask on the targets; the weights are let go block by block.

    Parameters
    ----------
    kind, X, y, masks, settings
        As in :func:`train_many`.
    X_target, y_target
        (t, d) and (t,): where margins are asked for. The labels must be among those of ``y``.
    folder
        Where every finished block is kept. A run that was killed goes on from what it finds there, and gives the same
        bytes as one that was not; a folder of another request is refused.
    seed, device, threads, talk
        See docs/parameters.md.

    Returns
    -------
    (m, t) float32 margins, within +-``CLIP``.

    Raises
    ------
    DataError
        Inputs that do not fit together or are not finite.
    LabelError
        A target's label is not among the training labels.
    UsageError
        An unknown kind, a training that diverged, or a folder of another request.
    """
    problem = _Problem(kind, X, y, masks=masks, settings=settings, device=device)
    X_target = _inputs(X_target, "X_target")
    codes = _codes_among(y_target, problem.classes, "y_target")
    if X_target.shape != (len(codes), problem.X.shape[1]):
        msg = f"X_target of shape {X_target.shape}: wanted ({len(codes)}, {problem.X.shape[1]})"
        raise DataError(msg)
    kept = None
    if folder is not None:
        asked = problem.told() | {"seed": seed, "X_target": fingerprint(X_target), "y_target": fingerprint(codes)}
        kept = open_folder(folder, asked)

    def work(block: int) -> np.ndarray:
        margins = margins_of(problem.models(problem.weights(block, seed)).logits(X_target), codes)
        if not np.isfinite(margins).all():
            bad = int((~np.isfinite(margins)).any(axis=1).sum())
            msg = f"{bad} models of block {block} diverged: scale the columns of X to about one, or lower the rate"
            raise UsageError(msg)
        return margins

    with one_thread_each():
        return np.concatenate(run_blocks(work, len(problem.ranges), folder=kept, threads=n_threads(threads), talk=talk))


def margins_of(logits: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """(..., t, K) logits and (t,) ``codes`` of classes -> (..., t) float32 log-odds of the class, within +-``CLIP``."""
    place = np.broadcast_to(codes[:, None], (*logits.shape[:-1], 1))
    right = np.take_along_axis(logits, place, axis=-1)
    others = logits - right
    np.put_along_axis(others, place, -np.inf, axis=-1)
    top = others.max(axis=-1, keepdims=True)
    others -= top
    np.exp(others, out=others)
    margin = -(np.log(others.sum(axis=-1)) + top[..., 0])
    return np.clip(margin, -CLIP, CLIP).astype(np.float32)


class _Problem:
    """One data set, one kind of head, many masks: checked once, trained block by block."""

    def __init__(
        self, kind: str, X: Any, y: Any, *, masks: np.ndarray, settings: HeadSettings | None, device: str
    ) -> None:
        if kind not in PENALTIES:
            msg = f"kind {kind!r}: wanted one of {', '.join(PENALTIES)}"
            raise UsageError(msg)
        self.kind = kind
        self.X = _inputs(X, "X")
        self.masks = np.asarray(masks, dtype=bool)
        self.settings = settings or HeadSettings()
        labels = np.asarray(y)
        if labels.shape != (len(self.X),) or self.masks.ndim != 2 or self.masks.shape[1] != len(self.X):
            msg = f"y {labels.shape}, masks {self.masks.shape}: wanted one of each for {len(self.X)} samples"
            raise DataError(msg)
        if not self.masks.any(axis=1).all():
            msg = f"{int((~self.masks.any(axis=1)).sum())} masks hold no sample: draw them with a larger alpha"
            raise UsageError(msg)
        self.classes, self.codes = np.unique(labels, return_inverse=True)
        if len(self.classes) < 2:
            msg = f"{len(self.classes)} class in y: wanted two at least"
            raise LabelError(msg)
        self.ranges = block_ranges(len(self.masks), BLOCK)
        self.l2 = PENALTIES[kind] if self.settings.l2 is None else self.settings.l2
        self._trainer = self._make_trainer(_device(device))

    def _make_trainer(self, device: torch.device) -> Any:
        s, k = self.settings, len(self.classes)
        if self.kind == "linear":
            return LinearTrainer(self.X, self.codes, n_classes=k, l2=self.l2, device=device)
        if self.kind == "ridge":
            return RidgeTrainer(self.X, self.codes, n_classes=k, l2=self.l2, device=device)
        if self.kind == "kernel":
            return KernelTrainer(self.X, self.codes, n_classes=k, l2=self.l2, bandwidth=s.bandwidth, device=device)
        return MlpTrainer(
            self.X,
            self.codes,
            n_classes=k,
            hidden=s.hidden,
            epochs=s.epochs,
            batch=s.batch,
            rate=s.rate,
            momentum=s.momentum,
            l2=self.l2,
            device=device,
        )

    def weights(self, block: int, seed: int) -> tuple[np.ndarray, ...]:
        masks = self.masks[slice(*self.ranges[block])]
        if isinstance(self._trainer, MlpTrainer):
            return self._trainer.train(masks, block_seed(seed, block))
        return (self._trainer.train(masks),)

    def models(self, weights: tuple[np.ndarray, ...]) -> ManyModels:
        support = (self.X, self._trainer.bandwidth) if isinstance(self._trainer, KernelTrainer) else None
        return ManyModels(self.kind, self.classes, weights, support)

    def told(self) -> dict[str, Any]:
        """What the answers depend on, as plain values."""
        return {
            "format": "whycell many 1",
            "kind": self.kind,
            "settings": asdict(self.settings) | {"l2": self.l2},
            "block": BLOCK,
            "models": len(self.masks),
            "X": fingerprint(self.X),
            "y": fingerprint(self.codes),
            "masks": fingerprint(self.masks),
        }


def _inputs(X: Any, what: str) -> np.ndarray:
    X = np.ascontiguousarray(X, dtype=np.float32)
    if X.ndim != 2 or not np.isfinite(X).all():
        msg = f"{what} of shape {X.shape}: wanted a matrix of finite numbers, samples x columns"
        raise DataError(msg)
    return X


def _codes_among(labels: Any, classes: np.ndarray, what: str) -> np.ndarray:
    labels = np.asarray(labels)
    unknown = labels[~np.isin(labels, classes)]
    if len(unknown):
        msg = f"{what} holds {str(unknown[0])!r}, which is not among the {len(classes)} classes of the training labels"
        raise LabelError(msg)
    return np.searchsorted(classes, labels)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
    """Blocks run side by side; a product inside a block that also spread out would wait for the others."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
