"""What every job on DNA with a trained network begins with: the model, sequences as long as it reads, tasks by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from whycell.compute import Talk
from whycell.data.sequences import Sequences, read_sequences
from whycell.errors import UsageError
from whycell.models.sequence import SequenceModel

__all__ = ["asked_tasks", "fitted_sequences", "opened_model", "place_columns"]


def opened_model(model: Path, *, threads: int = 0, device: str = "auto") -> SequenceModel:
    """The model in the folder ``model``, to run on so many cores of that device."""
    found = SequenceModel.load(model)
    found.threads, found.device = threads, device
    return found


def fitted_sequences(
    query: Path, model: SequenceModel, *, genome: Path | None = None, talk: Talk | None = None
) -> Sequences:
    """Sequences of a file, as long as the model reads: regions about their middle or summit, letters cut or padded.

    Parameters
    ----------
    query, genome
        What ``read_sequences`` takes.
    model
        Whose ``length_`` is fitted to.
    talk
        Told what was done to them.
    """
    talk = talk or Talk()
    sequences = read_sequences(query, genome=genome)
    for note in sequences.notes:
        talk.warn(note)
    odd = int((sequences.lengths != model.length_).sum())
    if not odd:
        return sequences
    talk.warn(
        f"{odd:,} of {len(sequences):,} sequences are cut or padded to the {model.length_} letters that the model "
        "reads; regions take them from the genome."
    )
    return read_sequences(query, genome=genome, width=model.length_)


def asked_tasks(tasks: Sequence[str], model: SequenceModel) -> list[str]:
    """The tasks asked for, all of the model where none is. Raises ``UsageError`` for one that it does not have."""
    absent = [task for task in tasks if task not in model.tasks_]
    if absent:
        msg = f"the model has no task {absent[0]!r}; it has {', '.join(model.tasks_)}."
        raise UsageError(msg)
    return list(tasks or model.tasks_)


def place_columns(sequences: Sequences) -> dict[str, np.ndarray]:
    """``chromosome``, ``start``, ``stop`` and ``strand``, (n,) each, where places are known; else nothing."""
    if sequences.places is None:
        return {}
    return {name: getattr(sequences.places, name) for name in ("chromosome", "start", "stop", "strand")}
