"""``whycell sequences explain``: score every base of sequences by a trained network, and the units of its layers."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from torch import nn

from whycell.compute import Talk
from whycell.data.sequences import Sequences
from whycell.data.whole import check_free, write_whole, written_whole
from whycell.encode.sequences import one_hot
from whycell.errors import UsageError
from whycell.jobs.record import fingerprint_file, write_run
from whycell.jobs.sequences_compared import compared
from whycell.jobs.sequences_layers import LayerWriter, known_layer
from whycell.jobs.sequences_opened import asked_tasks, fitted_sequences, opened_model, place_columns
from whycell.jobs.sequences_scores import METHODS, RULES, base_scores, layer_names
from whycell.lenses.inputs import InputScores
from whycell.models.sequence import SequenceModel

__all__ = ["explain_sequences"]

_AT_ONCE = 64
_LARGE = 2.0  # GB of layers that are worth a word


def explain_sequences(
    query: Path,
    output: Path,
    *,
    model: Path,
    genome: Path | None = None,
    tasks: Sequence[str] = (),
    method: str = "genomics",
    references: int = 20,
    head: str = "counts",
    layers: Sequence[str] = (),
    filters: Path | None = None,
    neurons: Sequence[str] = (),
    compare: str | None = None,
    seed: int = 0,
    threads: int = 0,
    device: str = "auto",
    force: bool = False,
    talk: Talk | None = None,
) -> dict[str, Any]:
    """Score every base of every sequence; memory does not grow with their number.

    Writes an HDF5 file: ``sequences`` (n, 4, length) uint8; a group a task (or neuron) with ``hypothetical`` (n, 4,
    length) and ``contributions`` (n, length) float32, ``output``, ``reference_output`` and ``residual`` (n,); ``names``
    and ``chromosome``, ``start``, ``stop``, ``strand`` where known; attributes ``tasks``, ``method``, ``references``,
    ``seed`` and ``model``. Of a layer, ``TASK/layers/NAME`` holds ``contributions`` (n, 2, channels, positions),
    ``totals`` (n, channels), ``residual`` (n,) and ``centre`` (2, positions): for the strand given and the other one,
    where each unit's middle is in letters of the sequence. Of a comparison, ``TASK/compared`` holds ``rows`` (m,),
    ``contributions`` (m, length), ``correlation`` (m,).

    Parameters
    ----------
    query, genome, model
        As of ``jobs.sequences.predict_sequences``.
    output
        The HDF5 file.
    tasks
        Those explained; all without.
    method
        A rule of DeepLIFT, ``"genomics"``, ``"rescale"`` or ``"reveal-cancel"``; or ``"mutagenesis"``,
        ``"gradient-times-input"``, ``"integrated-gradients"``, ``"expected-gradients"``.
    references
        Dinucleotide shuffles of each sequence.
    head
        ``"counts"``: each task's output; ``"profile"``, of a model that learned one: where reads fall, as one number
        (``SequenceModel.module_for``).
    layers
        Layers whose units are scored too, by DeepLIFT. An unknown name is answered with those there are.
    filters
        A MEME file for the letters that drive each channel of those layers.
    neurons
        ``"LAYER:CHANNEL"`` or ``"LAYER:CHANNEL,POSITION"``: explained in place of the tasks, each under its name.
    compare
        Another method, tried on up to 200 of the sequences.
    seed, threads, device, force, talk
        As everywhere.

    Returns
    -------
    ``sequences``, ``tasks``; ``residual``: the largest that contributions miss the difference explained by, as a share
    of the largest difference, ``None`` for a method that explains none; ``cpu_seconds`` of scoring bases; by task
    ``compared``: the median correlation, its quartiles, how many, and seconds a sequence of either method.

    Raises
    ------
    UsageError
        No such task, method, layer or neuron.
    OutputError
        A file is there and ``force`` is not set.
    """
    from whycell.models.sequence_fit import torch_threads

    check_free(output, filters, force=force)
    talk = talk or Talk()
    trained = opened_model(model, threads=threads, device=device)
    explained = _explained(trained, tasks, neurons, layers, method=method, compare=compare, filters=filters, head=head)
    if head != "counts" and (layers or neurons):
        msg = f"got --head {head} with --layer or --neuron, which are of the counts: leave one away."
        raise UsageError(msg)
    modules = {name: _module(trained, name, head) for name in explained}
    sequences = fitted_sequences(query, trained, genome=genome, talk=talk)
    about: dict[str, Any] = {"tasks": list(explained), "method": method, "head": head}
    about |= {"references": references, "seed": seed}
    _warn_of_size(trained, layers, len(sequences) * len(explained), talk)
    settings: dict[str, Any] = {"references": references, "seed": seed}
    told: dict[str, Any] = {"sequences": len(sequences), "tasks": list(explained), "cpu_seconds": 0.0}
    worst, texts = [np.nan], list[str]()
    with written_whole(output, force=force) as scratch, h5py.File(scratch, "w") as file, torch_threads(threads):
        _describe(file, sequences, trained.length_, {**about, "model": str(model)})
        with talk.progress("scoring bases", len(sequences) * len(explained)) as bar:
            for name, what in explained.items():
                module = modules[name]
                group = _room(file.create_group(name), (len(sequences), 4, trained.length_))
                writers = [LayerWriter(group, layer, module, len(sequences), trained.length_) for layer in layers]
                for rows, x in _parts(sequences):
                    begun = time.process_time()
                    scores = base_scores(module, x, method=method, **what, **settings)
                    told["cpu_seconds"] += time.process_time() - begun
                    worst.append(_store(group, rows, x, scores))
                    for writer in writers:
                        writer.add(rows, x, target=what["target"], rule=_rule(method), **settings)
                    bar.advance(len(x))
                texts += [writer.filters(name) for writer in writers]
                if compare is not None:
                    told.setdefault("compared", {})[name] = compared(
                        group, module, sequences, talk, methods=(method, compare), what={**what, **settings}
                    )
    if filters is not None:
        write_whole(filters, MEME_HEAD + "".join(texts))
    told["residual"] = None if np.isnan(worst).all() else float(np.nanmax(worst))
    told["cpu_seconds"] = round(told["cpu_seconds"], 3)
    asked = {"model": str(model), **about, "layers": list(layers), "compare": compare}
    write_run(output, "sequences explain", inputs={str(query): fingerprint_file(query)}, seed=seed, parameters=asked)
    return told


MEME_HEAD = "MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\n"


def _explained(
    model: SequenceModel,
    tasks: Sequence[str],
    neurons: Sequence[str],
    layers: Sequence[str],
    *,
    method: str,
    compare: str | None,
    filters: Path | None,
    head: str,
) -> dict[str, dict[str, Any]]:
    """By name, what ``base_scores`` is told of each thing explained; refuses what cannot be, before any work."""
    for each in filter(None, (method, compare)):
        if each not in METHODS:
            msg = f"the method is {each!r}; wanted one of: {', '.join(METHODS)}."
            raise UsageError(msg)
    shapes = layer_names(model.module, model.length_) if (layers or neurons) else {}
    for layer in layers:
        known_layer(layer, shapes)
    if filters is not None and not layers:
        msg = "--filters writes what drives the units of a layer; say which with --layer."
        raise UsageError(msg)
    if not neurons:
        return {
            task: {"target": model.tasks_.index(task) if head == "counts" else 0} for task in asked_tasks(tasks, model)
        }
    if tasks or layers:
        msg = "got --neuron with --task or --layer; a neuron is explained in place of the tasks: leave one away."
        raise UsageError(msg)
    return {each: {"target": None, "neuron": _neuron(each, shapes)} for each in neurons}


def _warn_of_size(model: SequenceModel, layers: Sequence[str], rows: int, talk: Talk) -> None:
    shapes = layer_names(model.module, model.length_) if layers else {}
    size = 8e-9 * rows * sum(math.prod(shapes[layer]) for layer in layers)  # two strands of four bytes
    if size > _LARGE:
        talk.warn(f"the units of {', '.join(layers)} take up to {size:.0f} GB; a later layer, or one task, takes less.")


def _module(model: SequenceModel, name: str, head: str) -> nn.Module:
    """What is explained; of a head other than the counts a network that gives that task's number alone."""
    return model.module if head == "counts" else model.module_for(name, head=head)


def _neuron(text: str, shapes: dict[str, tuple[int, ...]]) -> tuple[str, tuple[int, ...]]:
    layer, _, place = text.rpartition(":")
    known_layer(layer, shapes)
    numbers = [part.strip() for part in place.split(",")]
    shape = shapes[layer]
    if (
        not all(part.isdigit() for part in numbers)
        or len(numbers) > len(shape)
        or any(int(part) >= size for part, size in zip(numbers, shape, strict=False))
    ):
        wanted = "CHANNEL or CHANNEL,POSITION" if len(shape) == 2 else "UNIT"
        sizes = " and ".join(f"0 to {size - 1}" for size in shape)
        msg = f"the neuron is {text!r}; wanted {layer}:{wanted}, of {sizes}."
        raise UsageError(msg)
    return layer, tuple(int(part) for part in numbers)


def _rule(method: str) -> str:
    """Units are scored by DeepLIFT whatever scores the bases."""
    return method if method in RULES else RULES[0]


def _parts(sequences: Sequences) -> Iterator[tuple[slice, np.ndarray]]:
    for start in range(0, len(sequences), _AT_ONCE):
        rows = slice(start, min(start + _AT_ONCE, len(sequences)))
        yield rows, one_hot(list(sequences.letters[rows]))


def _store(group: h5py.Group, rows: slice, x: np.ndarray, scores: InputScores) -> float:
    """Keep the scores of some rows; the largest residual, as a share of the largest difference."""
    group["hypothetical"][rows] = scores.values
    group["contributions"][rows] = (scores.values * x).sum(axis=1)
    for name in ("output", "reference_output", "residual"):
        group[name][rows] = getattr(scores, name)
    difference = np.abs(scores.output - scores.reference_output).max()
    return float(np.abs(scores.residual).max() / max(difference, 1e-12))


def _describe(file: h5py.File, sequences: Sequences, length: int, attributes: dict[str, Any]) -> None:
    text = h5py.string_dtype()
    shape = (len(sequences), 4, length)
    letters = file.create_dataset(
        "sequences", shape, "u1", compression="gzip", compression_opts=1, chunks=(min(_AT_ONCE, shape[0]), 4, length)
    )
    for rows, x in _parts(sequences):
        letters[rows] = x
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
