"""``whycell sequences locate``: where in each sequence the event lies that a network sees there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from whycell.compute import Talk
from whycell.data.sequences import Sequences
from whycell.data.whole import check_free, write_whole
from whycell.encode.sequences import one_hot
from whycell.errors import UsageError
from whycell.jobs.record import fingerprint_file, write_run
from whycell.jobs.sequences_layers import known_layer
from whycell.jobs.sequences_opened import asked_tasks, fitted_sequences, opened_model
from whycell.jobs.sequences_scores import base_scores, layer_names, unit_places, unit_scores
from whycell.models.sequence import SequenceModel
from whycell.patterns.positions import Events, profile_of_units, strongest_events

__all__ = ["LOCATED_BY", "locate_sequences", "profiles"]

#: What an event can be located by.
LOCATED_BY = ("bases", "neurons", "mutagenesis", "centre")
_AT_ONCE = 64


def locate_sequences(
    query: Path,
    output: Path,
    *,
    model: Path,
    genome: Path | None = None,
    tasks: Sequence[str] = (),
    by: str = "bases",
    layer: str | None = None,
    events: int = 1,
    references: int = 20,
    seed: int = 0,
    threads: int = 0,
    device: str = "auto",
    force: bool = False,
    talk: Talk | None = None,
) -> pd.DataFrame:
    """Write a table with a row a sequence, task and event.

    Columns: ``name``, ``task``, ``event`` (1 is the strongest), ``position`` (letters from the first, which is 0),
    ``share`` of all that adds to the output that lies under the event, ``spread`` (standard deviation of all of it),
    ``lower`` and ``upper`` (between them its middle nine tenths), ``output`` (before calibration), ``method``; where
    places are known also ``chromosome`` and ``at``, the base of the chromosome, from 0.

    Parameters
    ----------
    query, genome, model, tasks
        As of ``jobs.sequences_explain.explain_sequences``.
    output
        The TSV.
    by
        ``"bases"``: their DeepLIFT contributions; ``"neurons"``: those of the units of ``layer``, each where it looks;
        ``"mutagenesis"``: what replacing each base does; ``"centre"``: the middle, whatever stands there.
    layer
        For ``"neurons"``; the last with positions, ``"@last"``, without.
    events
        Told at most for each sequence; a further one is at least a quarter as strong as the strongest.
    references, seed, threads, device, force, talk
        As everywhere.

    Raises
    ------
    UsageError
        No such way, task or layer.
    """
    from whycell.models.sequence_fit import torch_threads

    if by not in LOCATED_BY:
        msg = f"an event is to be located by {by!r}; wanted one of: {', '.join(LOCATED_BY)}."
        raise UsageError(msg)
    if layer is not None and by != "neurons":
        msg = f"got the layer {layer!r} with {by!r}; only 'neurons' are of a layer."
        raise UsageError(msg)
    check_free(output, force=force)
    talk = talk or Talk()
    trained = opened_model(model, threads=threads, device=device)
    if layer is not None:
        known_layer(layer, layer_names(trained.module, trained.length_))
    asked = asked_tasks(tasks, trained)
    sequences = fitted_sequences(query, trained, genome=genome, talk=talk)
    parts = []
    with talk.progress("locating", len(sequences) * len(asked)) as bar, torch_threads(threads):
        for task in asked:
            for start in range(0, len(sequences), _AT_ONCE):
                some = sequences[slice(start, start + _AT_ONCE)]
                x = one_hot(list(some.letters))
                profile, out = profiles(
                    trained, x, task=task, by=by, layer=layer or "@last", references=references, seed=seed
                )
                found = strongest_events(profile, most=events)
                parts.append(_rows(found, some, task=task, output=out, by=by))
                bar.advance(len(x))
    frame = pd.concat(parts, ignore_index=True)
    write_whole(output, frame.to_csv(sep="\t", index=False, float_format="%.6g", lineterminator="\n"))
    asked_for = {"model": str(model), "tasks": asked, "by": by, "layer": layer, "events": events}
    parameters: dict[str, Any] = {**asked_for, "references": references}
    inputs = {str(query): fingerprint_file(query)}
    write_run(output, "sequences locate", inputs=inputs, seed=seed, parameters=parameters)
    return frame


def profiles(
    model: SequenceModel,
    x: np.ndarray,
    *,
    task: str,
    by: str = "bases",
    layer: str = "@last",
    references: int = 20,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """A weight for each letter, in which ``patterns.positions.strongest_events`` looks for the event.

    Parameters
    ----------
    model
        Trained.
    x
        (n, 4, length) one-hot.
    task
        One of the model's.
    by, layer, references, seed
        As of ``locate_sequences``.

    Returns
    -------
    (n, length) weights, none below zero; (n,) outputs before calibration.
    """
    target = model.tasks_.index(task)
    if by == "centre":
        profile = np.zeros((len(x), x.shape[2]))
        profile[:, [(x.shape[2] - 1) // 2, x.shape[2] // 2]] = 1
        return profile, model.logits(x)[:, target]
    if by == "neurons":
        units = unit_scores(model.module, x, layer=layer, target=target, references=references, seed=seed)
        places = unit_places(model.module, x.shape[2], layer=layer)
        return profile_of_units(units.values, places.centre, length=x.shape[2]), units.output
    method = "mutagenesis" if by == "mutagenesis" else "genomics"
    scores = base_scores(model.module, x, target=target, method=method, references=references, seed=seed)
    return np.maximum((scores.values * x).sum(axis=1), 0), scores.output


def _rows(found: Events, sequences: Sequences, *, task: str, output: np.ndarray, by: str) -> pd.DataFrame:
    row, event = np.nonzero(~np.isnan(found.position))
    position = found.position[row, event]
    frame = pd.DataFrame({"name": sequences.names[row], "task": task, "event": event + 1, "position": position})
    frame["share"] = found.weight[row, event]
    for name in ("spread", "lower", "upper"):
        frame[name] = getattr(found, name)[row]
    frame["output"], frame["method"] = output[row], by
    places = sequences.places
    if places is not None:
        frame["chromosome"] = places.chromosome[row]
        # What was cut or padded to fit the model was so about its middle, rounded as ``Sequences.of_width`` rounds.
        cut = np.fix((places.stop - places.start - len(sequences.letters[0])) / 2)[row]
        start, stop = places.start[row], places.stop[row]
        at = np.where(places.strand[row] == "-", stop - 1 - cut - position, start + cut + position)
        frame["at"] = np.rint(at).astype(np.int64)
    return frame
