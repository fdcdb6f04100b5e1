"""Whole jobs on DNA: train a network, and predict with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from whycell.compute import Talk
from whycell.data.regions import gc_matched_regions, region_signal
from whycell.data.sequences import Sequences, join_sequences, read_sequences
from whycell.data.whole import check_free, write_whole
from whycell.encode.sequences import dinucleotide_shuffle, one_hot
from whycell.errors import UsageError
from whycell.jobs.record import fingerprint_file, write_run
from whycell.jobs.sequences_opened import fitted_sequences, opened_model, place_columns
from whycell.models.kmers import GappedKmers
from whycell.models.sequence import SequenceModel, held_out_folds

__all__ = ["predict_sequences", "train_sequences"]

#: Negatives that are made; anything else is a file of them.
MADE = ("shuffle", "gc")
_BASELINE = 4000  # positives that the baseline learns from at most: its matrix grows with them


def train_sequences(
    positives: Sequence[Path],
    output: Path,
    *,
    genome: Path | None = None,
    negatives: str = "shuffle",
    tasks: Sequence[str] = (),
    signal: Sequence[Path] = (),
    width: int | None = None,
    network: str = "dilated",
    baseline: bool = True,
    seed: int = 0,
    threads: int = 0,
    device: str = "auto",
    force: bool = False,
    talk: Talk | None = None,
) -> dict[str, Any]:
    """Learn from sequences and write the model's folder.

    Parameters
    ----------
    positives
        FASTA, BED with ``genome``, or a table. One file: one task, or those that its columns are. Several: each is a
        task of its own, and says nothing of the others' sequences but by overlap of their places.
    output
        The folder.
    genome
        FASTA, for regions.
    negatives
        ``"shuffle"``: fresh dinucleotide shuffles in every pass; ``"gc"``: regions of the genome with the same share of
        G and C; or a file of them. Not used where a table's labels hold both classes.
    tasks
        Names of the tasks; of a table, the columns.
    signal
        bigWig files: counts are learned instead of classes, a task each.
    width
        Letters to read about the middle or summit.
    network
        See ``models.nets.dna``.
    baseline
        Whether a gapped k-mer model is scored beside it, on the same sequences held out.
    seed, threads, device, force, talk
        As everywhere.

    Returns
    -------
    The card.

    Raises
    ------
    DataError
        The files cannot be learned from.
    OutputError
        The folder exists and ``force`` is not set.
    """
    talk = talk or Talk()
    check_free(output, force=force)
    found, how = _gathered(positives, genome, negatives, tasks, signal, width, seed)
    for note in found.notes:
        talk.warn(note)
    model = SequenceModel(
        network=network, kind="counts" if signal else "class", seed=seed, threads=threads, device=device
    )
    model.fit(found, negatives=how, talk=talk)
    about: dict[str, Any] = {"trained_on": [str(p) for p in positives], "negatives": negatives}
    if baseline and not signal:
        talk.note("scoring the gapped k-mer baseline on the same sequences")
        about["baseline"] = _baseline(found, how, model)
    model.save(output, about=about, force=force)
    inputs = {str(p): fingerprint_file(p) for p in (*positives, *signal)}
    asked = {"negatives": negatives, "tasks": list(model.tasks_), "width": model.length_, "network": network}
    write_run(output, "sequences train", inputs=inputs, seed=seed, parameters=asked)
    return {**model.card(), **about}


def predict_sequences(
    query: Path,
    output: Path,
    *,
    model: Path,
    genome: Path | None = None,
    threads: int = 0,
    device: str = "auto",
    force: bool = False,
    talk: Talk | None = None,
) -> pd.DataFrame:
    """Write a table with a row a sequence: ``name``, its place where known, and a column a task.

    Parameters
    ----------
    query, genome
        What ``read_sequences`` takes; cut or padded to the length that the model reads.
    output
        The TSV.
    model
        Folder of the model.
    threads, device, force, talk
        As everywhere.
    """
    check_free(output, force=force)
    trained = opened_model(model, threads=threads, device=device)
    sequences = fitted_sequences(query, trained, genome=genome, talk=talk)
    p = trained.predict_proba(sequences)
    frame = pd.DataFrame({"name": sequences.names, **place_columns(sequences)})
    for at, task in enumerate(trained.tasks_):
        frame[task] = p[:, at].astype(np.float32)
    write_whole(output, frame.to_csv(sep="\t", index=False, float_format="%.6g", lineterminator="\n"))
    write_run(output, "sequences predict", inputs={str(query): fingerprint_file(query)}, seed=0)
    return frame


def _gathered(
    positives: Sequence[Path],
    genome: Path | None,
    negatives: str,
    tasks: Sequence[str],
    signal: Sequence[Path],
    width: int | None,
    seed: int,
) -> tuple[Sequences, str]:
    """Everything to learn from, labelled, and where the negatives come from: ``given`` or ``shuffle``."""
    columns = tasks if len(positives) == 1 else ()
    parts = [read_sequences(p, genome=genome, width=width, labels=_columns_of(p, columns)) for p in positives]
    if signal:
        return _with_signal(join_sequences(parts), signal, tasks), "given"
    if len(parts) > 1:
        found = _merged_tasks(parts, tasks or [Path(p).name.split(".")[0] for p in positives])
    else:
        found = parts[0] if parts[0].labels is not None else _labelled(parts[0], 1, tuple(tasks) or ("bound",))
    if found.labels is not None and all({0.0, 1.0} <= set(np.unique(column)) for column in found.labels.T):
        return found, "given"
    if negatives == "shuffle":
        return found, "shuffle"
    if negatives == "gc":
        if genome is None:
            msg = "GC-matched negatives are regions of a genome; give it with --genome, or use --negatives shuffle."
            raise UsageError(msg)
        other = gc_matched_regions(found.of_width(), genome, seed=seed)
    elif Path(negatives).is_file():
        other = read_sequences(negatives, genome=genome, width=width)
    else:
        msg = f"negatives is {negatives!r}; wanted one of {', '.join(MADE)}, or a file of sequences."
        raise UsageError(msg)
    return join_sequences([found, _labelled(other, 0, found.tasks)]), "given"


def _columns_of(path: Path, wanted: Sequence[str]) -> Sequence[str]:
    """A single task of FASTA or BED is named by the same option as the columns of a table."""
    from whycell.data.sequences import text_lines

    header = next(text_lines(Path(path)), "").split("\t")
    return wanted if set(wanted) <= set(header) else ()


def _labelled(sequences: Sequences, value: float, tasks: tuple[str, ...]) -> Sequences:
    labels = np.full((len(sequences), len(tasks)), value, dtype=np.float32)
    return replace(sequences, labels=labels, tasks=tasks)


def _merged_tasks(parts: Sequence[Sequences], tasks: Sequence[str]) -> Sequences:
    """A task a file: 1 for its own; the same sequence in two files is one row; what a file is silent of is unknown."""
    if len(tasks) != len(parts):
        msg = f"{len(parts)} files and {len(tasks)} task names; wanted a --task for each file, in their order."
        raise UsageError(msg)
    joined = join_sequences([replace(part, labels=None, tasks=()) for part in parts])
    labels = np.full((len(joined), len(parts)), np.nan, dtype=np.float32)
    stops = np.cumsum([len(part) for part in parts])
    for task, (start, stop) in enumerate(zip([0, *stops[:-1]], stops, strict=True)):
        labels[start:stop, task] = 1
    _, first, same = np.unique(joined.letters.astype(str), return_index=True, return_inverse=True)
    merged = np.full((len(first), len(parts)), np.nan, dtype=np.float32)
    row, task = np.nonzero(labels == 1)
    merged[same[row], task] = 1
    order = np.argsort(first, kind="stable")
    return replace(joined[first[order]], labels=merged[order], tasks=tuple(tasks))


def _with_signal(sequences: Sequences, signal: Sequence[Path], tasks: Sequence[str]) -> Sequences:
    if sequences.places is None:
        msg = f"{sequences.source} has no places in a genome, so no signal can be read for them; give BED and --genome."
        raise UsageError(msg)
    named = tuple(tasks) or tuple(Path(p).name.split(".")[0] for p in signal)
    if len(named) != len(signal):
        msg = f"{len(signal)} signal files and {len(named)} task names; wanted a --task for each, in their order."
        raise UsageError(msg)
    per_base = np.stack([region_signal(sequences.places, p) for p in signal], axis=1)
    counts = per_base * (sequences.places.stop - sequences.places.start)[:, None]
    return replace(sequences, labels=counts.astype(np.float32), tasks=named)


def _baseline(sequences: Sequences, how: str, model: SequenceModel) -> dict[str, float]:
    """AUROC of gapped k-mers on the tenth that the card's scores speak of, task by task."""
    from whycell.metrics.novelty import auroc

    fold, _, _ = held_out_folds(sequences, seed=model.seed)
    x = one_hot(list(sequences.letters)).astype(np.uint8)
    labels = np.ones((len(x), 1), dtype=np.float32) if sequences.labels is None else sequences.labels
    found: dict[str, float] = {}
    for at, task in enumerate(model.tasks_):
        sides = []
        for rows, seed in (
            (np.flatnonzero(fold > 1)[:_BASELINE], model.seed),
            (np.flatnonzero(fold == 1), model.seed + 1),
        ):
            known = rows[~np.isnan(labels[rows, at])]
            given, y = x[known], labels[known, at]
            if how == "shuffle":
                positive = given[y > 0]
                given = np.concatenate([given, dinucleotide_shuffle(positive, 1, seed=seed)[:, 0].astype(np.uint8)])
                y = np.concatenate([y, np.zeros(len(positive), dtype=np.float32)])
            sides.append((given, y))
        (fit_x, fit_y), (test_x, test_y) = sides
        if len(np.unique(fit_y)) == 2 and len(np.unique(test_y)) == 2:
            kmers = GappedKmers(seed=model.seed).fit(fit_x, fit_y)
            found[task] = auroc(kmers.predict_proba(test_x), test_y > 0)
    return found
