"""What a network on DNA learns from: checked labels, and which sequences it never sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from whycell.data.near_copies import near_copies
from whycell.data.sequences import Sequences
from whycell.data.splits import make_split
from whycell.encode.sequences import one_hot
from whycell.errors import DataError, UsageError
from whycell.models.sequence_fit import Rows

__all__ = ["HELD_OUT", "Learnable", "held_out_folds", "learnable"]

#: What the splitter holds out: one fold in so many, for calibration and once more for the card's scores.
HELD_OUT = 10
_FEWEST = 20
_COPIES = "near copies"
_SHOWN = 4


@dataclass(frozen=True)
class Learnable:
    """Sequences as numbers, and who may see them.

    Parameters
    ----------
    rows
        All of them.
    tasks
        Names of the columns of labels.
    fold
        (n,) tenth that each belongs to: 0 calibrates and stops the training, 1 is scored on the card.
    group
        (n,) chromosome, or group of near copies.
    held_out_by
        Which of the two, in words.
    copies
        (n,) group of near copies, whatever was held out: what intervals resample, as one held-out chromosome has no
        interval of its own.
    """

    rows: Rows
    tasks: tuple[str, ...]
    fold: np.ndarray
    group: np.ndarray
    held_out_by: str
    copies: np.ndarray

    @property
    def training(self) -> np.ndarray:
        """Rows that neither calibrate nor are scored."""
        return np.flatnonzero(self.fold > 1)


def learnable(sequences: Sequences, y: Any = None, *, kind: str, negatives: str, seed: int) -> Learnable:
    """Check the labels, and draw what is held out.

    Parameters
    ----------
    sequences
        Of one length.
    y
        (n,) or (n, n_tasks) labels, or (n, n_tasks, out_length) counts of a profile; those of ``sequences`` without.
    kind, negatives, seed
        As of ``models.sequence.SequenceModel``.

    Raises
    ------
    DataError
        Too few sequences, one class, or labels that the kind cannot have.
    UsageError
        Sequences of several lengths, or another word for ``negatives``.
    """
    sequences = sequences.of_width()
    if len(sequences) < _FEWEST:
        msg = f"{sequences.source} holds {len(sequences)} sequences; at least {_FEWEST} are needed to learn from."
        msg = " ".join([msg, *sequences.notes])
        raise DataError(msg)
    labels, tasks = _labels(sequences, y, kind)
    shuffled = np.zeros(len(sequences), dtype=bool)
    if negatives == "shuffle" and kind == "class":
        shuffled = np.nan_to_num(labels).max(axis=1) > 0
    elif negatives not in ("given", "shuffle"):
        msg = f"negatives is {negatives!r}; wanted 'given' or 'shuffle'."
        raise UsageError(msg)
    for task, column in zip(tasks, np.moveaxis(labels, 1, 0), strict=True):
        _check(task, column, kind, shuffled=bool(shuffled.any()))
    x = one_hot(list(sequences.letters)).astype(np.uint8)
    if not x.any():
        msg = f"{sequences.source} holds no known base, only N; wanted letters A, C, G and T."
        raise DataError(msg)
    if kind == "profile" and (labels.shape[2] > x.shape[2] or (labels.shape[2] - x.shape[2]) % 2):
        msg = (
            f"profiles of {labels.shape[2]} bases for sequences of {x.shape[2]} letters; wanted as many or an even "
            "number fewer, so that both have one middle."
        )
        raise DataError(msg)
    fold, by, group = held_out_folds(sequences, seed=seed)
    copies = group if by == _COPIES else near_copies(sequences.letters)
    return Learnable(Rows(x, labels, shuffled), tasks, fold, group, by, copies)


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

    Raises
    ------
    DataError
        Fewer than three groups, so that nothing is left to hold out.
    """
    import pandas as pd

    if sequences.places is not None and len(set(sequences.places.chromosome)) > 2:
        by, group = "chromosomes", sequences.places.chromosome.astype(str)
    else:
        by, group = _COPIES, near_copies(sequences.letters).astype(str)
    n_groups = len(set(group))
    if n_groups < 3:
        msg = (
            f"the {len(group)} sequences of {sequences.source} are all near copies of {n_groups}; wanted three groups "
            "or more that share few 16-mers, to learn from some and be scored on others."
        )
        raise DataError(msg)
    table = pd.DataFrame({"group": [f"g{g}" for g in group]})
    split = make_split(table, donor="group", n_folds=min(HELD_OUT, n_groups), seed=seed)
    fold = np.empty(len(group), dtype=np.int64)
    fold[split.rows] = split.fold_of
    return fold, by, group


def _labels(sequences: Sequences, y: Any, kind: str) -> tuple[np.ndarray, tuple[str, ...]]:
    if y is None and sequences.labels is None:
        if kind == "class":
            return np.ones((len(sequences), 1), dtype=np.float32), ("bound",)
        msg = f"{sequences.source} has no labels; a model of {kind} learns from counts: give a signal, or y."
        raise DataError(msg)
    labels = np.asarray(sequences.labels if y is None else y, dtype=np.float32)
    labels = labels[:, None] if labels.ndim == 1 else labels
    wanted = 3 if kind == "profile" else 2
    if labels.ndim != wanted or len(labels) != len(sequences):
        form = "(n, n_tasks, out_length)" if wanted == 3 else "(n, n_tasks)"
        msg = f"y has the shape {labels.shape} for {len(sequences)} sequences; a model of {kind} wants {form}."
        raise DataError(msg)
    named = len(sequences.tasks) == labels.shape[1]
    return labels, sequences.tasks if named else tuple(f"task_{i + 1}" for i in range(labels.shape[1]))


def _check(task: str, column: np.ndarray, kind: str, *, shuffled: bool) -> None:
    known = column[~np.isnan(column)]
    if kind == "class":
        found = set(np.unique(known).tolist()) | ({0.0} if shuffled else set())
        if found != {0.0, 1.0}:
            got = ", ".join(f"{v:g}" for v in sorted(found)[:_SHOWN]) or "none"
            msg = (
                f"the labels of {task!r} are {got}; wanted both 0 and 1. Give negatives, or have the positives "
                "shuffled (--negatives shuffle)."
            )
            raise DataError(msg)
    elif not len(known) or known.min() < 0:
        got = f"hold {known.min():g}" if len(known) else "are all unknown"
        msg = f"the labels of {task!r} {got}; counts are 0 or more."
        raise DataError(msg)
    elif not known.any():
        msg = f"the labels of {task!r} are 0 for every sequence; is it the signal of another genome or experiment?"
        raise DataError(msg)
