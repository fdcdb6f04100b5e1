"""Score every base of sequences by a trained network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from whycell.compute import Talk
from whycell.data.sequences import Sequences
from whycell.data.whole import check_free, written_whole
from whycell.encode.sequences import dinucleotide_shuffle, one_hot
from whycell.jobs.record import fingerprint_file, write_run
from whycell.jobs.sequences_opened import asked_tasks, fitted_sequences, opened_model, place_columns

__all__ = ["explain_sequences"]

_AT_ONCE = 64


def explain_sequences(
    query: Path,
    output: Path,
    *,
    model: Path,
    genome: Path | None = None,
    tasks: Sequence[str] = (),
    rule: str = "genomics",
    references: int = 20,
    seed: int = 0,
    threads: int = 0,
    device: str = "auto",
    force: bool = False,
    talk: Talk | None = None,
) -> dict[str, Any]:
    """Score every base of every sequence by the inputs lens, against its own dinucleotide shuffles.

    Writes an HDF5 file: ``sequences`` (n, 4, length) uint8; a group a task with ``hypothetical`` (n, 4, length) and
    ``contributions`` (n, length) float32, ``output``, ``reference_output`` and ``residual`` (n,); ``names``, and
    ``chromosome``, ``start``, ``stop``, ``strand`` where known; attributes ``tasks``, ``rule``, ``references``,
    ``seed`` and ``model``.

    Parameters
    ----------
    query, genome, model
        As of ``jobs.sequences.predict_sequences``.
    output
        The HDF5 file.
    tasks
        Those explained; all without.
    rule
        ``"rescale"``, ``"reveal-cancel"`` or ``"genomics"``; see ``lenses.deeplift``.
    references
        Shuffles of each sequence.
    seed, threads, device, force, talk
        As everywhere.

    Returns
    -------
    ``sequences``, ``tasks``, and ``residual``: the largest that contributions miss the difference explained by,
    relative to it.
    """
    from whycell.lenses import hypothetical
    from whycell.models.sequence_fit import torch_threads

    check_free(output, force=force)
    talk = talk or Talk()
    trained = opened_model(model, threads=threads, device=device)
    asked = asked_tasks(tasks, trained)
    sequences = fitted_sequences(query, trained, genome=genome, talk=talk)
    x = one_hot(list(sequences.letters))
    worst = 0.0
    with written_whole(output, force=force) as scratch, h5py.File(scratch, "w") as file, torch_threads(threads):
        _describe(file, sequences, x, {"tasks": asked, "rule": rule, "references": references, "seed": seed})
        file.attrs["model"] = str(model)
        with talk.progress("scoring bases", len(x) * len(asked)) as bar:
            for task in asked:
                group = _room(file.create_group(task), x.shape)
                for start in range(0, len(x), _AT_ONCE):
                    rows = slice(start, min(start + _AT_ONCE, len(x)))
                    shuffles = dinucleotide_shuffle(x[rows], references, seed=seed)
                    column = trained.tasks_.index(task)
                    scores = hypothetical(trained.module, x[rows], reference=shuffles, target=column, rule=rule)
                    group["hypothetical"][rows] = scores.values
                    group["contributions"][rows] = (scores.values * x[rows]).sum(axis=1)
                    for name in ("output", "reference_output", "residual"):
                        group[name][rows] = getattr(scores, name)
                    scale = np.abs(scores.output - scores.reference_output).max()
                    worst = max(worst, float(np.abs(scores.residual).max() / max(scale, 1e-12)))
                    bar.advance(rows.stop - rows.start)
    parameters = {"model": str(model), "tasks": asked, "rule": rule, "references": references}
    write_run(
        output, "sequences explain", inputs={str(query): fingerprint_file(query)}, seed=seed, parameters=parameters
    )
    return {"sequences": len(x), "tasks": asked, "residual": worst}


def _describe(file: h5py.File, sequences: Sequences, x: np.ndarray, attributes: dict[str, Any]) -> None:
    text = h5py.string_dtype()
    file.create_dataset("sequences", data=x.astype(np.uint8), compression="gzip", compression_opts=1)
    file.create_dataset("names", data=sequences.names.astype(object), dtype=text)
    for name, column in place_columns(sequences).items():
        kind = {"dtype": text} if column.dtype == object else {}
        file.create_dataset(name, data=column, **kind)
    for name, value in attributes.items():
        file.attrs[name] = value


def _room(group: h5py.Group, shape: tuple[int, int, int]) -> h5py.Group:
    group.create_dataset("hypothetical", shape, "f4")
    group.create_dataset("contributions", (shape[0], shape[2]), "f4")
    for name in ("output", "reference_output", "residual"):
        group.create_dataset(name, (shape[0],), "f4")
    return group
