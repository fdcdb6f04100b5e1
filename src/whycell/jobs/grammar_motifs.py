"""The motifs that grammar is asked about: read from the folder of ``whycell motifs``, chosen, cut to cores, named."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from whycell.errors import FormatError, UsageError
from whycell.jobs.motif_names import read_known_names
from whycell.jobs.motifs import read_hits, read_motifs
from whycell.patterns.insertions import core_of
from whycell.results.motifs import Motif

__all__ = ["MotifFolder", "TakenMotif", "described_motifs", "taken_motifs"]


@dataclass(frozen=True)
class TakenMotif:
    """A motif that is asked about.

    Parameters
    ----------
    task, own
        Its task, and its name there.
    name
        What it is called in the tables.
    core
        Without ends that say little.
    left, right
        Letters cut off.
    """

    task: str
    own: str
    name: str
    core: Motif
    left: int
    right: int


@dataclass(frozen=True)
class MotifFolder:
    """What ``whycell motifs`` wrote.

    Parameters
    ----------
    path
        The folder.
    motifs
        By task.
    hits
        ``start``, ``stop`` and ``strand`` in the sequence.
    scores
        The file that it was made of.
    """

    path: Path
    motifs: dict[str, list[Motif]]
    hits: pd.DataFrame
    scores: Path

    @classmethod
    def of(cls, path: Path, scores: Path | None) -> MotifFolder:
        """Read the folder ``path``; ``scores`` says where its scores are, if no longer where they were."""
        found, hits = read_motifs(path), read_hits(path)
        if scores is None:
            scores = _made_of(path)
        if not scores.is_file():
            msg = f"{path} was made of {scores}, which is no longer there; say where it is with --scores."
            raise FormatError(msg)
        hits = hits.assign(
            start=hits["start_in_sequence"], stop=hits["start_in_sequence"] + hits["stop"] - hits["start"]
        )
        return cls(path, found, hits.assign(strand=hits["strand_in_sequence"]), scores)


def _made_of(path: Path) -> Path:
    try:
        return Path(json.loads((path / "about.json").read_text(encoding="utf-8"))["provenance"]["scores"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{path / 'about.json'} does not say what the motifs were found in ({error!r}); give it with --scores."
        raise FormatError(msg) from error


def taken_motifs(folder: MotifFolder, task: str, *, chosen: Sequence[str], most: int) -> list[TakenMotif]:
    """The motifs asked about: those chosen, or those of the task whose hits contribute most, all hits together.

    Parameters
    ----------
    folder, task
        Where they are from, and the output that is asked.
    chosen
        ``NAME`` of a motif of the task, or ``TASK/NAME``.
    most
        How many where none is chosen.

    Raises
    ------
    UsageError
        There is no such motif, or none at all.
    """
    here = folder.hits[folder.hits["task"] == task]
    weight = here.groupby("motif")["contribution"].sum().abs()
    own = sorted(folder.motifs.get(task, []), key=lambda m: -float(weight.get(m.name, 0)))
    by_name = {m.name: (task, m) for m in own}
    by_name |= {f"{of}/{m.name}": (of, m) for of, some in folder.motifs.items() for m in some}
    absent = [name for name in chosen if name not in by_name]
    if absent:
        msg = f"{folder.path} has no motif {absent[0]!r}; it has {', '.join(n for n in by_name if '/' in n)}."
        raise UsageError(msg)
    found = []
    for name in dict.fromkeys(chosen) if chosen else [m.name for m in own[:most]]:
        of, motif = by_name[name]
        core, left, right = core_of(motif)
        found.append(TakenMotif(of, motif.name, name, replace(core, name=name), left, right))
    if not found:
        msg = f"{folder.path} has no motif of {task!r}; choose some of another task with --motif TASK/NAME."
        raise UsageError(msg)
    return found


def described_motifs(folder: MotifFolder, task: str, *, some: Sequence[TakenMotif]) -> pd.DataFrame:
    """``GrammarFindings.motifs`` of ``some`` of a task: a motif is called what it is most like, or else its letters."""
    called = read_known_names(folder.path)
    counts = folder.hits.groupby(["task", "motif"]).size()
    rows, labels = [], list[str]()
    for motif in some:
        label = called.get((motif.task, motif.own), motif.core.consensus)
        labels.append(label if label not in labels else f"{label} ({motif.name})")
        hits = int(counts.get((motif.task, motif.own), 0))
        rows.append((task, motif.name, labels[-1], motif.core.consensus, motif.core.width, motif.left, hits))
    return pd.DataFrame(rows, columns=["task", "motif", "label", "core", "width", "cut", "hits"])
