"""Whole jobs on DNA: train a network, and predict with it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from whycell.compute import Talk
from whycell.data.sequences import Sequences
from whycell.data.whole import check_free, write_whole
from whycell.encode.sequences import dinucleotide_shuffle, one_hot
from whycell.jobs.record import fingerprint_file, write_run
from whycell.jobs.sequences_gathered import gather_sequences
from whycell.jobs.sequences_opened import fitted_sequences, opened_model, place_columns
from whycell.jobs.sequences_profiles import check_profiles, write_profiles
from whycell.models.kmers import GappedKmers
from whycell.models.loggers import open_logger
from whycell.models.sequence import SequenceModel, held_out_folds

__all__ = ["predict_sequences", "train_sequences"]

_BASELINE = 4000  # positives that the baseline learns from at most: its matrix grows with them
_BASELINE_TASKS = 8  # tasks that have one at most: each is a model of its own


def train_sequences(
    positives: Sequence[Path],
    output: Path,
    *,
    genome: Path | None = None,
    negatives: str = "shuffle",
    tasks: Sequence[str] = (),
    signal: Sequence[Path] = (),
    kind: str | None = None,
    width: int | None = None,
    profile_width: int | None = None,
    network: str = "dilated",
    epochs: int | None = None,
    tune: int = 0,
    logger: str | None = None,
    baseline: bool = True,
    seed: int = 0,
    threads: int = 0,
    device: str = "auto",
    force: bool = False,
    talk: Talk | None = None,
) -> dict[str, Any]:
    """Learn from sequences and write the model's folder.

    Beside it, under a hidden name, lies the state of the training while it lasts: the same command goes on from there
    after a kill, and ends with the same weights.

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
        bigWig files: reads are learned instead of classes, a task each.
    kind
        ``"class"``, ``"counts"`` or ``"profile"``; see ``SequenceModel``. Without, classes, or with ``signal`` counts.
    width
        Letters to read about the middle or summit.
    profile_width
        Bases of a profile, in the middle of ``width``; all of them without.
    network
        See ``models.nets.dna``.
    epochs
        Passes of training, fewer or more than the model's own.
    tune
        Trials of a search for the network's numbers (``models.sequence_tune``); none with 0.
    logger
        ``"csv"``, ``"tensorboard"`` or ``"wandb"``: where trials and losses are logged, into OUTPUT-log.
    baseline
        Whether a gapped k-mer model is scored beside it, on the same sequences held out; of eight tasks at most.
    seed, threads, device, force, talk
        As everywhere.

    Returns
    -------
    The card.

    Raises
    ------
    DataError
        The files cannot be learned from.
    UsageError
        Options that do not go together.
    OutputError
        The folder exists and ``force`` is not set.
    """
    talk, output = talk or Talk(), Path(output)
    check_free(output, force=force)
    kind = kind or ("counts" if signal else "class")
    model = SequenceModel(network=network, kind=kind, seed=seed, threads=threads, device=device)
    if epochs is not None:
        model.set_params(epochs=epochs, least_steps=0, most_steps=0)
    given = gather_sequences(
        positives,
        kind=kind,
        genome=genome,
        negatives=negatives,
        tasks=tasks,
        signal=signal,
        width=width,
        profile_width=profile_width,
        seed=seed,
    )
    found = given.sequences
    for note in found.notes:
        talk.warn(note)
    other = [Path(negatives)] if kind == "class" and Path(negatives).is_file() else []
    digests = {str(p): fingerprint_file(p) for p in (*positives, *signal, *other, *([genome] if genome else []))}
    log, scratch = output.with_name(f"{output.name}-log"), output.with_name(f".{output.name}.training")
    about: dict[str, Any] = {
        "name": output.name,
        "trained_on": [{"file": Path(path).name, "fingerprint": value} for path, value in digests.items()],
        "negatives": negatives if kind == "class" else "none",
    }
    with closing(open_logger(logger, log)) if logger else nullcontext() as told:
        if tune:
            from whycell.models.sequence_tune import tune_sequences

            about["tuning"] = tune_sequences(
                model,
                found,
                given.y,
                negatives=given.negatives,
                trials=tune,
                storage=scratch / "search.journal",
                logger=told,
                talk=talk,
            )
        model.fit(found, given.y, negatives=given.negatives, resume=scratch, logger=told, talk=talk)
    if baseline and kind == "class":
        talk.note("scoring the gapped k-mer baseline on the same sequences")
        about["baseline"] = _baseline(found, given.negatives, model)
    model.save(output, about=about, force=force)
    shutil.rmtree(scratch, ignore_errors=True)
    asked = {"kind": kind, "negatives": negatives, "tasks": list(model.tasks_), "width": model.length_}
    asked |= {"network": network, "profile_width": model.out_length_, "tune": tune}
    write_run(output, "sequences train", inputs=digests, seed=seed, parameters=asked)
    return {**model.card(), **about}


def predict_sequences(
    query: Path,
    output: Path,
    *,
    model: Path,
    genome: Path | None = None,
    profiles: Path | None = None,
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
    profiles
        Where expected reads at every base go, of a model of profiles: ``.h5``, or ``.bw`` for a bigWig a task; see
        ``jobs.sequences_profiles.write_profiles``.
    threads, device, force, talk
        As everywhere.

    Raises
    ------
    UsageError
        Profiles of a model that has none, or a bigWig without places or ``genome``.
    """
    check_free(output, profiles, force=force)
    trained = opened_model(model, threads=threads, device=device)
    sequences = fitted_sequences(query, trained, genome=genome, talk=talk)
    if profiles is not None:
        check_profiles(profiles, trained, sequences, genome=genome)
    p = trained.predict_proba(sequences)
    frame = pd.DataFrame({"name": sequences.names, **place_columns(sequences)})
    for at, task in enumerate(trained.tasks_):
        frame[task] = p[:, at].astype(np.float32)
    if profiles is not None:
        write_profiles(profiles, trained, sequences, genome=genome, force=force)
    write_whole(output, frame.to_csv(sep="\t", index=False, float_format="%.6g", lineterminator="\n"))
    parameters = {"model": str(model), "profiles": None if profiles is None else str(profiles)}
    write_run(output, "sequences predict", inputs={str(query): fingerprint_file(query)}, seed=0, parameters=parameters)
    return frame


def _baseline(sequences: Sequences, how: str, model: SequenceModel) -> dict[str, float]:
    """AUROC of gapped k-mers on the tenth that the card's scores speak of, task by task."""
    from whycell.metrics.novelty import auroc

    fold, _, _ = held_out_folds(sequences, seed=model.seed)
    x = one_hot(list(sequences.letters)).astype(np.uint8)
    labels = np.ones((len(x), 1), dtype=np.float32) if sequences.labels is None else sequences.labels
    found: dict[str, float] = {}
    for at, task in enumerate(model.tasks_[:_BASELINE_TASKS]):
        sides = []
        for rows, seed in (
            (np.flatnonzero(fold > 1)[:_BASELINE], model.seed),
            (np.flatnonzero(fold == 1), model.seed + 1),
        ):
            known = rows[~np.isnan(labels[rows, at])]
            given, y = x[known], labels[known, at]
            if how == "shuffle":
                positive = given[y > 0]
                if len(positive):
                    other = dinucleotide_shuffle(positive, 1, seed=seed)[:, 0].astype(np.uint8)
                    given = np.concatenate([given, other])
                y = np.concatenate([y, np.zeros(len(positive), dtype=np.float32)])
            sides.append((given, y))
        (fit_x, fit_y), (test_x, test_y) = sides
        if len(np.unique(fit_y)) == 2 and len(np.unique(test_y)) == 2:
            kmers = GappedKmers(seed=model.seed).fit(fit_x, fit_y)
            found[task] = auroc(kmers.predict_proba(test_x), test_y > 0)
    return found
