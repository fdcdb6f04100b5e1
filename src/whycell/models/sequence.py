"""SequenceModel: learns from DNA what is bound, or how much, and says so with a probability that can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from scipy.special import expit
from torch import nn

from whycell.compute import Talk
from whycell.data.near_copies import near_copies
from whycell.data.sequences import Sequences
from whycell.data.splits import make_split
from whycell.encode.sequences import one_hot
from whycell.errors import DataError, UsageError
from whycell.metrics.calibration import ece
from whycell.metrics.intervals import bootstrap_cells
from whycell.metrics.novelty import auroc
from whycell.models.device import torch_device
from whycell.models.folder import read_folder, write_folder
from whycell.models.nets.dna import NETWORKS, BothStrands
from whycell.models.sequence_fit import LOSSES, Rows, outputs, train_network

__all__ = ["HELD_OUT", "KIND", "SequenceModel", "held_out_folds"]

KIND = "whycell.SequenceModel"
#: What the splitter holds out: one fold in so many, for calibration and once more for the card's scores.
HELD_OUT = 10
_FEWEST = 20


@dataclass
class SequenceModel:
    """A network on one-hot DNA, one output a task, the same for both strands.

    Parameters
    ----------
    network
        ``"dilated"`` or ``"basset"``; see ``models.nets.dna``.
    kind
        ``"class"``: labels 0 and 1, probabilities come out. ``"counts"``: labels count reads, rates come out.
    channels, width, layers, dropout
        Of the network.
    epochs, least_steps, batch, learning_rate, weight_decay
        Of the training; see ``models.sequence_fit.train_network``.
    seed, threads, device
        As everywhere.

    Examples
    --------
    >>> from whycell.data.sequences import read_sequences
    >>> model = SequenceModel().fit(read_sequences("peaks.fa"), negatives="shuffle")  # doctest: +SKIP
    """

    network: str = "dilated"
    kind: str = "class"
    channels: int = 64
    width: int = 19
    layers: int = 2
    dropout: float = 0.3
    epochs: int = 12
    least_steps: int = 1000
    batch: int = 256
    learning_rate: float = 5e-3
    weight_decay: float = 1e-2
    seed: int = 0
    threads: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        for name, given, allowed in (("network", self.network, NETWORKS), ("kind", self.kind, LOSSES)):
            if given not in allowed:
                msg = f"{name} is {given!r}; wanted one of: {', '.join(allowed)}."
                raise UsageError(msg)

    def fit(
        self,
        sequences: Sequences,
        y: None = None,
        *,
        negatives: str = "given",
        tested: bool = True,
        talk: Talk | None = None,
    ) -> Self:
        """Learn; a tenth of the chromosomes (or of the groups of near copies) calibrates, another tenth is scored.

        Parameters
        ----------
        sequences
            Of one length, with ``labels``; without labels every one is a positive of the single task ``bound``.
        y
            Not used; the labels are in ``sequences``.
        negatives
            ``"given"``: those labelled 0. ``"shuffle"``: in every pass a fresh dinucleotide shuffle of each positive.
        tested
            Whether a tenth is kept aside to be scored on the card; else it is learned from as well.
        talk
            Told of progress.

        Raises
        ------
        DataError
            Too few sequences, one class, or labels that the kind cannot have.
        """
        sequences = sequences.of_width()
        labels, self.tasks_ = self._labels(sequences)
        shuffled = np.zeros(len(sequences), dtype=bool)
        if negatives == "shuffle":
            shuffled = np.nan_to_num(labels).max(axis=1) > 0
        elif negatives != "given":
            msg = f"negatives is {negatives!r}; wanted 'given' or 'shuffle'."
            raise UsageError(msg)
        self._check(labels, sequences, shuffled)
        x = one_hot(list(sequences.letters)).astype(np.uint8)
        self.length_ = x.shape[2]
        fold, self.held_out_by_, group = held_out_folds(sequences, seed=self.seed)
        parts = {name: self._rows(x, labels, shuffled, fold, name) for name in ("train", "calibrate", "test")}
        if not tested:
            kept = fold != 0
            parts["train"] = Rows(x[kept], labels[kept], shuffled[kept])
        torch.manual_seed(self.seed)
        self.net_ = self._network()
        watched = parts["calibrate"].with_shuffles(self.seed)
        self.curve_ = train_network(
            self.net_,
            parts["train"],
            watched,
            loss=LOSSES[self.kind],
            epochs=self.epochs,
            least_steps=self.least_steps,
            batch=self.batch,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            seed=self.seed,
            threads=self.threads,
            device=torch_device(self.device),
            talk=talk,
        )
        self.scale_, self.shift_ = self._calibrate(*watched)
        self.n_ = {name: len(part.x) for name, part in parts.items()}
        self.scores_ = self._scores(parts["test"], group[fold == 1]) if tested else {}
        return self

    def logits(self, sequences: Sequences | np.ndarray) -> np.ndarray:
        """(n, n_tasks) float32 outputs before calibration: log odds, or logarithms of rates."""
        x = sequences if isinstance(sequences, np.ndarray) else one_hot(list(sequences.of_width().letters))
        if x.shape[2] != self.length_:
            msg = f"sequences of {x.shape[2]} letters; this model reads {self.length_}: use of_width({self.length_})."
            raise DataError(msg)
        return outputs(self.net_, x, device=torch_device(self.device)).numpy()

    def predict_proba(self, sequences: Sequences | np.ndarray) -> np.ndarray:
        """(n, n_tasks) calibrated probability of class 1, or of ``counts`` the expected count."""
        z = self.logits(sequences) * self.scale_ + self.shift_
        return np.exp(z) if self.kind == "counts" else expit(z)

    def predict(self, sequences: Sequences | np.ndarray) -> np.ndarray:
        """(n, n_tasks) bool, probability above a half; of ``counts`` the expected count."""
        p = self.predict_proba(sequences)
        return p if self.kind == "counts" else p > 0.5

    @property
    def module(self) -> nn.Module:
        """The network for a lens: (n, 4, length) to (n, n_tasks) outputs before calibration, mean of both strands."""
        return BothStrands(self.net_).eval()

    def save(self, folder: Path | str, *, about: Mapping[str, Any] | None = None, force: bool = False) -> Path:
        """Write the model to a folder; ``about`` is added to its card."""
        tensors = {f"net.{k}": v.detach().cpu().numpy() for k, v in self.net_.state_dict().items()}
        tensors |= {"scale": self.scale_, "shift": self.shift_}
        return write_folder(Path(folder), tensors, kind=KIND, about={**self.card(), **(about or {})}, force=force)

    def card(self) -> dict[str, Any]:
        """What it learned from, how, and how right it was on sequences held out; plain values."""
        asked = ("network", "kind", "channels", "width", "layers", "dropout", "epochs", "least_steps", "batch")
        return {
            "parameters": {n: getattr(self, n) for n in (*asked, "learning_rate", "weight_decay", "seed")},
            "tasks": list(self.tasks_),
            "length": self.length_,
            "held_out_by": self.held_out_by_,
            "sequences": self.n_,
            "scores": self.scores_,
            "curve": self.curve_,
            "versions": {"whycell": version("whycell"), "torch": torch.__version__},
        }

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Read a saved model back. Raises ``ModelError`` where it is damaged, edited or of another kind."""
        tensors, card = read_folder(Path(folder), kind=KIND)
        model = cls(**card["parameters"])
        model.tasks_, model.length_ = tuple(card["tasks"]), card["length"]
        model.held_out_by_, model.n_ = card["held_out_by"], card["sequences"]
        model.scores_, model.curve_ = card["scores"], card["curve"]
        model.scale_, model.shift_ = tensors.pop("scale"), tensors.pop("shift")
        model.net_ = model._network()
        model.net_.load_state_dict({k.removeprefix("net."): torch.from_numpy(v) for k, v in tensors.items()})
        model.net_.eval()
        return model

    def _network(self) -> nn.Module:
        kind = NETWORKS[self.network]
        sizes = {"channels": self.channels, "width": self.width, "layers": self.layers, "dropout": self.dropout}
        return kind(n_tasks=len(self.tasks_), **sizes)

    def _labels(self, sequences: Sequences) -> tuple[np.ndarray, tuple[str, ...]]:
        if sequences.labels is None:
            return np.ones((len(sequences), 1), dtype=np.float32), ("bound",)
        return sequences.labels, sequences.tasks

    def _check(self, labels: np.ndarray, sequences: Sequences, shuffled: np.ndarray) -> None:
        if len(sequences) < _FEWEST:
            msg = f"{sequences.source} holds {len(sequences)} sequences; at least {_FEWEST} are needed to learn from."
            raise DataError(msg)
        for task, column in zip(self.tasks_, labels.T, strict=True):
            found = set(np.unique(column[~np.isnan(column)]).tolist())
            if shuffled.any():
                found |= {0.0}
            if self.kind == "class" and found != {0.0, 1.0}:
                got = ", ".join(f"{v:g}" for v in sorted(found)[:4]) or "none"
                msg = (
                    f"the labels of {task!r} are {got}; wanted both 0 and 1. Give negatives, or have the positives "
                    "shuffled (--negatives shuffle)."
                )
                raise DataError(msg)
            if self.kind == "counts" and min(found, default=-1) < 0:
                msg = f"the labels of {task!r} hold {min(found, default=float('nan')):g}; counts are 0 or more."
                raise DataError(msg)

    def _rows(self, x: np.ndarray, y: np.ndarray, shuffled: np.ndarray, fold: np.ndarray, name: str) -> Rows:
        at = {"calibrate": fold == 0, "test": fold == 1}.get(name, fold > 1)
        return Rows(x[at], y[at], shuffled[at])

    def _calibrate(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Platt's two numbers a task, by maximum likelihood on what was held out; counts are left as they are."""
        z = outputs(self.net_, x, device=torch_device(self.device)).numpy().astype(np.float64)
        scale, shift = np.ones(z.shape[1], dtype=np.float32), np.zeros(z.shape[1], dtype=np.float32)
        if self.kind == "class":
            from sklearn.linear_model import LogisticRegression

            for task in range(z.shape[1]):
                known = ~np.isnan(y[:, task])
                if len(np.unique(y[known, task])) == 2:
                    fitted = LogisticRegression(C=1e4).fit(z[known, task : task + 1], y[known, task] > 0)
                    scale[task], shift[task] = max(float(fitted.coef_[0, 0]), 1e-3), float(fitted.intercept_[0])
        return scale, shift

    def _scores(self, rows: Rows, group: np.ndarray) -> dict[str, dict[str, Any]]:
        x, y = rows.with_shuffles(self.seed + 1)
        group = np.concatenate([group, group[rows.shuffled]])
        p = self.predict_proba(x)
        found: dict[str, dict[str, Any]] = {}
        for t, task in enumerate(self.tasks_):
            known = ~np.isnan(y[:, t])
            truth, score, of = y[known, t], p[known, t], group[known]
            if self.kind == "counts":
                from scipy.stats import spearmanr

                found[task] = {"n": int(known.sum()), "spearman": float(spearmanr(score, truth).statistic)}
            elif len(np.unique(truth)) == 2:
                rank = bootstrap_cells(of, lambda at, s=score, b=truth: auroc(s[at], b[at] > 0), seed=self.seed)
                right = np.where(truth > 0, score > 0.5, score <= 0.5)
                found[task] = {
                    "n": int(known.sum()),
                    "auroc": rank.value,
                    "auroc_low": rank.low,
                    "auroc_high": rank.high,
                    "ece": ece(np.maximum(score, 1 - score), right),
                }
        return found


def held_out_folds(sequences: Sequences, *, seed: int) -> tuple[np.ndarray, str, np.ndarray]:
    """Which tenth each sequence belongs to, so that nothing like it stands on the other side.

    Parameters
    ----------
    sequences
        With places, chromosomes are kept whole where there are three or more; else groups of near copies are.
    seed
        Of the draw.

    Returns
    -------
    (n,) fold, what was held out in words, (n,) group.
    """
    import pandas as pd

    by, group = "near copies", near_copies(sequences.letters).astype(str)
    if sequences.places is not None and len(set(sequences.places.chromosome)) > 2:
        by, group = "chromosomes", sequences.places.chromosome.astype(str)
    table = pd.DataFrame({"group": [f"g{g}" for g in group]})
    split = make_split(table, donor="group", n_folds=HELD_OUT, seed=seed)
    fold = np.empty(len(group), dtype=np.int64)
    fold[split.rows] = split.fold_of
    return fold, by, group
