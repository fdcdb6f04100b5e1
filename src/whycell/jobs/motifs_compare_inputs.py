"""What ``whycell motifs compare`` compares: which tasks, and the scores that either folder was made from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from whycell.errors import FormatError, UsageError
from whycell.jobs.record import fingerprint_file
from whycell.patterns.same_places import Side
from whycell.patterns.scan import codes_of

__all__ = ["asked_pairs", "read_side", "scores_of"]

_AT_ONCE = 1000  # sequences of which hypothetical scores are in memory


def asked_pairs(
    tasks: tuple[Sequence[str], Sequence[str]], *, task: str | None, other_task: str | None, same: bool
) -> list[tuple[str, str]]:
    """Which task of the first folder is compared with which of the second.

    Parameters
    ----------
    tasks
        Of either folder.
    task, other_task
        As given.
    same
        Whether the two are one folder.

    Raises
    ------
    UsageError
        They cannot be told, or are the same one twice.
    """
    for asked, here, word in ((task, tasks[0], "first"), (other_task, tasks[1], "second")):
        if asked is not None and asked not in here:
            msg = f"the {word} folder has no task {asked!r}; it has {', '.join(here)}."
            raise UsageError(msg)
    if same:
        if task is None and other_task is None and len(tasks[0]) == 2:
            return [(tasks[0][0], tasks[0][1])]
        if task is None or other_task is None or task == other_task:
            msg = (
                f"one folder with the tasks {', '.join(tasks[0])}; wanted two of them: give --task and --other-task, "
                "or a second folder."
            )
            raise UsageError(msg)
        return [(task, other_task)]
    if task is not None or other_task is not None:
        a, b = task or _only(tasks[0], other_task, "--task"), other_task or _only(tasks[1], task, "--other-task")
        return [(a, b)]
    shared = [name for name in tasks[0] if name in tasks[1]]
    if shared:
        return [(name, name) for name in shared]
    return [(_only(tasks[0], None, "--task"), _only(tasks[1], None, "--other-task"))]


def scores_of(folder: Path, given: Path | None) -> Path:
    """The file of scores that a folder of motifs was made from, as it was then.

    Parameters
    ----------
    folder
        That ``whycell motifs`` wrote.
    given
        Where the file is, if neither where the folder says nor beside the folder.

    Raises
    ------
    FormatError
        It is no such folder, or the file is gone or changed.
    """
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        told = Path(about["provenance"]["scores"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{folder} is no folder of motifs ({error}); wanted one that `whycell motifs` wrote."
        raise FormatError(msg) from error
    places = [given] if given is not None else [told, folder.parent / told.name]
    here = next((path for path in places if path.is_file()), None)
    if here is None:
        msg = (
            f"the scores that {folder} was made from, {places[0]}, are gone; wanted them for what each place adds. "
            "Say where they are with --scores (of the first folder) or --other-scores (of the second)."
        )
        raise FormatError(msg)
    kept = _fingerprint(folder, told)
    if kept is not None and kept != fingerprint_file(here):
        msg = f"{here} is not as it was when {folder} was made; run `whycell motifs` on it again."
        raise FormatError(msg)
    return here


def read_side(file: Path, task: str) -> Side:
    """Sequences of a file of scores, and what a task takes from their letters: all that a comparison keeps of them.

    Raises
    ------
    FormatError
        It holds no such scores.
    """
    try:
        with h5py.File(file) as held:
            x, names = held["sequences"][:], held["names"].asstr()[:]
            parts = [
                np.einsum("nbl,nbl->nl", x[at : at + _AT_ONCE], held[task]["hypothetical"][at : at + _AT_ONCE])
                for at in range(0, len(x), _AT_ONCE)
            ]
            places = {}
            if "chromosome" in held:
                places = {name: held[name].asstr()[:] for name in ("chromosome", "strand")} | {
                    "start": held["start"][:]
                }
    except (OSError, KeyError) as error:
        msg = f"{file} holds no scores of {task!r} ({error}); wanted a file that `whycell sequences explain` wrote."
        raise FormatError(msg) from error
    return Side(codes_of(x), np.concatenate(parts), names, **places)


def _fingerprint(folder: Path, scores: Path) -> str | None:
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        return str(run["inputs"][str(scores)])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _only(tasks: Sequence[str], wanted: str | None, option: str) -> str:
    if wanted in tasks:
        return str(wanted)
    if len(tasks) == 1:
        return tasks[0]
    msg = f"the tasks {', '.join(tasks)} are there; wanted one: give it with {option}."
    raise UsageError(msg)
