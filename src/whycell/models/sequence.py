"""SequenceModel: learns from DNA what is bound, or how much and where, and says so with figures that can be trusted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from scipy.special import expit, softmax
from sklearn.base import BaseEstimator
from torch import nn

from whycell.compute import Talk
from whycell.data.sequences import Sequences
from whycell.encode.sequences import one_hot
from whycell.errors import DataError, UsageError
from whycell.models.device import torch_device
from whycell.models.nets.dna import BothStrands
from whycell.models.nets.profile import CountsOf, ProfileOf
from whycell.models.sequence_data import HELD_OUT, Learnable, held_out_folds, learnable
from whycell.models.sequence_fit import PassLogger, Resume, Rows, Schedule, outputs, torch_threads, train_network
from whycell.models.sequence_losses import mean_count, objective_of, set_start
from whycell.models.sequence_scores import held_out_scores, platt
from whycell.models.sequence_settings import check_parameters, networks_of, settled
from whycell.models.sequence_store import KIND, card_of, load_model, save_model

__all__ = ["HELD_OUT", "KIND", "SequenceModel", "held_out_folds"]

_RUNNING = ("threads", "device")


@dataclass(eq=False, repr=False)
class SequenceModel(BaseEstimator):
    """A network on one-hot DNA, one output a task, the same for both strands.

    Parameters
    ----------
    network
        ``"dilated"`` or ``"basset"``; see ``models.nets.dna``, and of profiles ``models.nets.profile``.
    kind
        ``"class"``: labels 0 and 1, probabilities come out. ``"counts"``: labels count reads, rates come out.
        ``"profile"``: labels are reads at every base; their count comes out, and by ``predict_profile`` where they lie.
    channels, width, layers, dropout
        Of the network; ``width`` and ``layers`` as the kind has them where ``None``.
    counts_weight
        Of the count beside the profile in the loss; see ``models.sequence_losses``.
    epochs, least_steps, most_steps, batch, learning_rate, weight_decay, patience
        Of the training; see ``models.sequence_fit.Schedule``. ``epochs``, ``most_steps``, ``batch``,
        ``learning_rate`` and ``weight_decay`` as the kind has them where ``None``.
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
    width: int | None = None
    layers: int | None = None
    dropout: float = 0.3
    counts_weight: float = 0.5
    epochs: int | None = None
    least_steps: int = 1000
    most_steps: int | None = None
    batch: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    patience: int | None = None
    seed: int = 0
    threads: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        check_parameters(vars(self))

    def fit(
        self,
        sequences: Sequences,
        y: Any = None,
        *,
        negatives: str = "given",
        tested: bool = True,
        resume: Path | str | None = None,
        logger: PassLogger | None = None,
        talk: Talk | None = None,
    ) -> Self:
        """Learn; a tenth of the chromosomes (or of the groups of near copies) calibrates, another tenth is scored.

        Parameters
        ----------
        sequences
            Of one length, with ``labels``; without labels every one is a positive of the single task ``bound``.
        y
            Labels in place of those of ``sequences``: (n,) or (n, n_tasks); of a profile (n, n_tasks, out_length)
            reads at every base, in the direction of the letters, about the middle. NaN where unknown.
        negatives
            ``"given"``: those labelled 0. ``"shuffle"``: in every pass a fresh dinucleotide shuffle of each positive.
        tested
            Whether a tenth is kept aside to be scored on the card; else it is learned from as well.
        resume
            Folder for the state of the training: one that was killed goes on there, and ends with the same weights.
        logger
            Told of the losses of every pass.
        talk
            Told of progress.

        Raises
        ------
        DataError
            Too few sequences, one class, or labels that the kind cannot have.
        UsageError
            Sequences of several lengths, or a parameter that cannot be.
        """
        check_parameters(self._parameters())
        given = learnable(sequences, y, kind=self.kind, negatives=negatives, seed=self.seed)
        self.take_shape(given)
        training = given.training if tested else np.flatnonzero(given.fold != 0)
        parts = {
            "train": training,
            "calibrate": np.flatnonzero(given.fold == 0),
            "test": np.flatnonzero(given.fold == 1),
        }
        rows = given.rows[training]
        watched = given.rows[parts["calibrate"]].with_shuffles(self.seed)
        where = None if resume is None else Resume(Path(resume), self.mark(given, tested=tested))
        self.curve_ = self.train(rows, watched, resume=where, logger=logger, talk=talk)
        self.scale_, self.shift_ = np.ones((2, len(self.tasks_)), dtype=np.float32) * [[1], [0]]
        if self.kind == "class":
            self.scale_, self.shift_ = platt(self._outputs(watched[0]), watched[1])
        self.n_ = {name: len(at) for name, at in parts.items()}
        self.scores_ = held_out_scores(self, given, training=training) if tested else {}
        return self

    def take_shape(self, given: Learnable) -> None:
        """Tasks, lengths and what held sequences out, as of the data given."""
        self.tasks_, self.held_out_by_ = given.tasks, given.held_out_by
        self.length_ = given.rows.x.shape[2]
        self.out_length_ = given.rows.y.shape[2] if self.kind == "profile" else None

    def network_as_set(self) -> nn.Module:
        """A fresh network of the sizes set, for the tasks and lengths that the data have."""
        numbers = settled(self._parameters())
        sizes = {name: numbers[name] for name in ("channels", "width", "layers", "dropout")}
        if self.kind == "profile":
            sizes["out_length"] = self.out_length_
        return networks_of(self.kind)[self.network](n_tasks=len(self.tasks_), **sizes)

    def train(
        self,
        rows: Rows,
        watched: tuple[np.ndarray, np.ndarray],
        *,
        resume: Resume | None = None,
        logger: PassLogger | None = None,
        talk: Talk | None = None,
    ) -> list[dict[str, float]]:
        """A fresh network, trained; the losses of every pass. Parameters: ``models.sequence_fit``."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.net_ = self.network_as_set()
        set_start(self.net_, rows.y, kind=self.kind, shuffled=int(rows.shuffled.sum()))
        numbers = settled(self._parameters())
        return train_network(
            self.net_,
            rows,
            watched,
            objective=objective_of(self.kind, mean_count=mean_count(rows.y), counts_weight=self.counts_weight),
            schedule=Schedule(**{f.name: numbers[f.name] for f in fields(Schedule)}),
            seed=self.seed,
            resume=resume,
            logger=logger,
            threads=self.threads,
            device=torch_device(self.device),
            talk=talk,
        )

    def mark(self, given: Learnable, *, tested: bool = True) -> str:
        """What identifies a training: its data, its numbers and the library that does the sums."""
        digest = hashlib.blake2b(json.dumps([settled(self._parameters()), tested, torch.__version__]).encode())
        for array in (given.rows.x, given.rows.y, given.rows.shuffled):
            digest.update(memoryview(np.ascontiguousarray(array)).cast("B"))
        return digest.hexdigest()

    def logits(self, sequences: Sequences | np.ndarray) -> np.ndarray:
        """(n, n_tasks) float32 outputs before calibration: log odds, or logarithms of rates.

        Of a profile, the logarithm of one plus the count.
        """
        return self._outputs(self._read(sequences))

    def predict_proba(self, sequences: Sequences | np.ndarray) -> np.ndarray:
        """(n, n_tasks) calibrated probability of class 1, or of ``counts`` and ``profile`` the expected count."""
        z = self.logits(sequences) * self.scale_ + self.shift_
        if self.kind == "profile":
            return np.asarray(np.maximum(np.expm1(z), 0))
        return np.asarray(np.exp(z) if self.kind == "counts" else expit(z))

    def predict(self, sequences: Sequences | np.ndarray) -> np.ndarray:
        """(n, n_tasks) bool, probability above a half; of ``counts`` and ``profile`` the expected count."""
        p = self.predict_proba(sequences)
        return p > 0.5 if self.kind == "class" else p

    def predict_profile(self, sequences: Sequences | np.ndarray) -> np.ndarray:
        """(n, n_tasks, out_length) float32 expected reads at every base, about the middle; they sum to the count.

        Raises
        ------
        UsageError
            The model was not trained on profiles.
        """
        self._needs_profile()
        both = self._outputs(self._read(sequences), kind="profile")
        count = np.maximum(np.expm1(both[..., :1]), 0)
        return np.asarray(softmax(both[..., 1:], axis=-1) * count, dtype=np.float32)

    @property
    def module(self) -> nn.Module:
        """The network for a lens: (n, 4, length) to (n, n_tasks) outputs before calibration, mean of both strands."""
        return BothStrands(self.net_).eval()

    def module_for(self, task: str, *, head: str = "counts") -> nn.Module:
        """One task's number for a lens: (n, 4, length) to (n, 1), mean of both strands.

        Parameters
        ----------
        task
            Which.
        head
            ``"counts"``: the output of ``module``; ``"profile"``: where reads fall, as one number
            (``models.nets.profile.ProfileOf``).

        Raises
        ------
        UsageError
            No such task or head.
        """
        if task not in self.tasks_:
            msg = f"the model has no task {task!r}; it has {', '.join(self.tasks_)}."
            raise UsageError(msg)
        if head not in ("counts", "profile"):
            msg = f"head is {head!r}; wanted one of: counts, profile."
            raise UsageError(msg)
        if head == "profile":
            self._needs_profile()
        kind: type[nn.Module] = ProfileOf if head == "profile" else CountsOf
        return kind(self.net_, self.tasks_.index(task)).eval()

    def save(self, folder: Path | str, *, about: Mapping[str, Any] | None = None, force: bool = False) -> Path:
        """Write the model to a folder; ``about`` is added to its card."""
        return save_model(self, folder, about=about, force=force)

    def card(self) -> dict[str, Any]:
        """What it learned from, how, and how right it was on sequences held out; plain values."""
        return card_of(self, settled(self._parameters()))

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Read a saved model back. Raises ``ModelError`` where it is damaged, edited or of another kind."""
        return cast("Self", load_model(cls, folder))

    def _parameters(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _RUNNING}

    def _read(self, sequences: Sequences | np.ndarray) -> np.ndarray:
        x = sequences if isinstance(sequences, np.ndarray) else one_hot(list(sequences.of_width().letters))
        if x.shape[2] != self.length_:
            msg = f"sequences of {x.shape[2]} letters; this model reads {self.length_}: use of_width({self.length_})."
            raise DataError(msg)
        return x

    def _outputs(self, x: np.ndarray, *, kind: str = "class") -> np.ndarray:
        """(n, n_tasks) outputs of any network, or of ``kind`` profile the count and the logits of every base."""
        with torch_threads(self.threads) if self.threads else nullcontext():
            return outputs(self.net_, x, objective=objective_of(kind), device=torch_device(self.device)).numpy()

    def _needs_profile(self) -> None:
        if self.kind != "profile":
            msg = f"this model learned {self.kind} and has no profile; train one with kind='profile' (--kind profile)."
            raise UsageError(msg)
