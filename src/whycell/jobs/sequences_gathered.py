"""What a network on DNA learns from, read from the files that a person has: sequences, labels, signal and negatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from whycell.data.bigwig import region_profile, region_total
from whycell.data.regions import gc_matched_regions
from whycell.data.sequences import Sequences, join_sequences, read_sequences, text_lines
from whycell.errors import UsageError

__all__ = ["MADE", "Gathered", "gather_sequences"]

#: Negatives that are made; anything else is a file of them.
MADE = ("shuffle", "gc")


@dataclass(frozen=True)
class Gathered:
    """Everything to learn from.

    Parameters
    ----------
    sequences
        With labels.
    y
        (n, n_tasks, out_length) reads at every base, of a profile.
    negatives
        ``"given"`` or ``"shuffle"``; see ``SequenceModel.fit``.
    """

    sequences: Sequences
    y: np.ndarray | None
    negatives: str


def gather_sequences(
    positives: Sequence[Path],
    *,
    kind: str,
    genome: Path | None,
    negatives: str,
    tasks: Sequence[str],
    signal: Sequence[Path],
    width: int | None,
    profile_width: int | None,
    seed: int,
) -> Gathered:
    """Read and label.

    Parameters
    ----------
    positives, genome, negatives, tasks, signal, width, profile_width, kind
        As of ``jobs.sequences.train_sequences``.
    seed
        Of drawn negatives.

    Raises
    ------
    UsageError
        Options that do not go together.
    """
    _check(kind, signal, profile_width, genome)
    columns = tasks if len(positives) == 1 and not signal else ()
    parts = [
        _with_letters(read_sequences(p, genome=genome, width=width, labels=_columns_of(p, columns))) for p in positives
    ]
    if signal:
        joined = join_sequences([replace(part, labels=None, tasks=()) for part in parts]).of_width()
        return _with_signal(joined, signal, tasks, profile_width if kind == "profile" else 0)
    if kind == "counts":
        return _counted(parts)
    found = _labelled_positives(parts, positives, tasks)
    labels = found.labels
    if labels is not None and all({0.0, 1.0} <= set(np.unique(column)) for column in labels.T):
        return Gathered(found, None, "given")
    if labels is not None and not np.isin(labels[~np.isnan(labels)], (0, 1)).all():
        msg = (
            f"the labels of {found.source} are other numbers than 0 and 1; learn counts with --kind counts, or give "
            "the columns of classes with --task."
        )
        raise UsageError(msg)
    if negatives == "shuffle":
        return Gathered(found, None, "shuffle")
    other = _with_letters(_negatives(found, negatives, genome=genome, width=width, seed=seed))
    both = int(np.isin(other.letters.astype(str), found.letters.astype(str)).sum())
    if both:
        other = replace(other, notes=(*other.notes, f"{both:,} of {len(other):,} negatives are positives as well."))
    return Gathered(join_sequences([found, _labelled(other, 0, found.tasks)]), None, "given")


def _with_letters(sequences: Sequences) -> Sequences:
    """Without sequences of N alone, such as gaps of an assembly."""
    empty = np.array([not s.strip("N") for s in sequences.letters], dtype=bool)
    if not empty.any() or empty.all():
        return sequences
    note = f"{int(empty.sum()):,} sequences of {sequences.source} hold no known base and are left out."
    return replace(sequences[~empty], notes=(*sequences.notes, note))


def _check(kind: str, signal: Sequence[Path], profile_width: int | None, genome: Path | None) -> None:
    if kind == "class" and signal:
        msg = "--signal holds reads, which are no classes; use --kind counts or --kind profile, or leave out --signal."
        raise UsageError(msg)
    if kind == "profile" and not signal:
        msg = "a profile is learned from reads at every base; give them with --signal, and regions with --genome."
        raise UsageError(msg)
    if profile_width is not None and kind != "profile":
        msg = "--profile-width says how long a profile is; it goes with --kind profile."
        raise UsageError(msg)
    for path in (*signal, *([genome] if genome else [])):
        if not Path(path).is_file():
            msg = f"there is no file {path}."
            raise UsageError(msg)


def _labelled_positives(parts: Sequence[Sequences], positives: Sequence[Path], tasks: Sequence[str]) -> Sequences:
    if len(parts) > 1:
        return _merged_tasks(parts, tasks or [Path(p).name.split(".")[0] for p in positives])
    if parts[0].labels is not None:
        return parts[0]
    if len(tasks) > 1:
        msg = f"{len(tasks)} tasks and one file without labels ({parts[0].source}); give a file for each task."
        raise UsageError(msg)
    return _labelled(parts[0], 1, tuple(tasks) or ("bound",))


def _negatives(found: Sequences, negatives: str, *, genome: Path | None, width: int | None, seed: int) -> Sequences:
    if negatives == "gc":
        if genome is None:
            msg = "GC-matched negatives are regions of a genome; give it with --genome, or use --negatives shuffle."
            raise UsageError(msg)
        return gc_matched_regions(found.of_width(), genome, seed=seed)
    if Path(negatives).is_file():
        return read_sequences(negatives, genome=genome, width=width)
    msg = f"negatives is {negatives!r}; wanted one of {', '.join(MADE)}, or a file of sequences."
    raise UsageError(msg)


def _counted(parts: Sequence[Sequences]) -> Gathered:
    found = join_sequences(parts)
    if found.labels is None:
        msg = f"{found.source} holds no counts; give --signal for regions, or the columns of a table with --task."
        raise UsageError(msg)
    return Gathered(found, None, "given")


def _columns_of(path: Path, wanted: Sequence[str]) -> Sequence[str]:
    """A single task of FASTA or BED is named by the same option as the columns of a table."""
    first = next(text_lines(Path(path)), "")
    header = first.split("\t" if "\t" in first else ",")
    letters = {name.strip().lower() for name in header} & {"sequence", "seq", "dna"}
    return wanted if set(wanted) <= set(header) or letters else ()


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


def _with_signal(
    sequences: Sequences, signal: Sequence[Path], tasks: Sequence[str], profile_width: int | None
) -> Gathered:
    """Reads of every region and file; those of every base where ``profile_width`` is not 0."""
    if sequences.places is None:
        msg = f"{sequences.source} has no places in a genome, so no signal can be read for them; give BED and --genome."
        raise UsageError(msg)
    named = tuple(tasks) or tuple(Path(p).name.split(".")[0] for p in signal)
    if len(named) != len(signal):
        msg = f"{len(signal)} signal files and {len(named)} task names; wanted a --task for each, in their order."
        raise UsageError(msg)
    sequences = replace(sequences, tasks=named)
    if profile_width == 0:
        counts = np.stack([region_total(sequences.places, p) for p in signal], axis=1)
        return Gathered(replace(sequences, labels=_turned_up(counts)), None, "given")
    length = int(sequences.lengths[0])
    wide = profile_width or length
    if wide > length or (length - wide) % 2:
        msg = (
            f"--profile-width is {wide} and sequences have {length} letters; wanted as many or an even number fewer, "
            "so that both have one middle."
        )
        raise UsageError(msg)
    reads = np.stack([region_profile(sequences.places, p, width=wide) for p in signal], axis=1)
    return Gathered(sequences, _turned_up(reads), "given")


def _turned_up(reads: np.ndarray) -> np.ndarray:
    """Files of the minus strand often hold reads as negative numbers: a task that has no other is turned up."""
    others = tuple(range(2, reads.ndim))
    low, high = reads.min(axis=(0, *others)), reads.max(axis=(0, *others))
    sign = np.where((low < 0) & (high <= 0), -1, 1).astype(np.float32)
    return np.asarray(reads * sign.reshape(1, -1, *[1] * len(others)), dtype=np.float32)
