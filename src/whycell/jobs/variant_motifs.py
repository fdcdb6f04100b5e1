"""Motifs that variants are held against: those that were discovered, and those of a collection."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from whycell.jobs.motifs import read_motifs
from whycell.patterns.known import read_meme
from whycell.patterns.variant_motifs import ScoredMotifs, scored_motifs

__all__ = ["collected_motifs"]

_LIKE = 0.05  # q up to which a discovered motif is called by the name of a known one


def collected_motifs(
    motifs: Path | None, known: Path | None, *, tasks: Sequence[str], background: np.ndarray, p: float
) -> tuple[ScoredMotifs | None, tuple[str, ...]]:
    """Motifs of a folder and of a collection, ready to be looked for, and what a reader should know of them.

    Parameters
    ----------
    motifs
        Folder that ``whycell motifs`` wrote; those of a task are held against that task only.
    known
        MEME file; its motifs are held against every task.
    tasks
        Those answered for.
    background, p
        As of ``scored_motifs``.
    """
    found: list[tuple[str, str, str, int, np.ndarray]] = []
    notes: list[str] = []
    if motifs is not None:
        called = _called(Path(motifs) / "matches.tsv")
        by_task = read_motifs(motifs)
        for task in tasks:
            for motif in by_task.get(task, []):
                label = called.get((task, motif.name), motif.consensus.strip("acgt") or motif.consensus)
                helps = 1 if motif.contribution.sum() >= 0 else -1
                found.append((motif.name, label, task, helps, motif.letters))
        silent = [task for task in tasks if not by_task.get(task)]
        if silent:
            notes.append(f"{motifs} holds no motif of {', '.join(silent)}; it has motifs of {', '.join(by_task)}.")
    if known is not None:
        found += [(motif.id, motif.name, "", 1, motif.letters) for motif in read_meme(known)]
    if not found:
        return None, tuple(notes)
    ready = scored_motifs(found, background=background, p=p)
    if ready.too_short:
        notes.append(f"{ready.too_short} motifs say so little that random letters reach their best score too often.")
    return ready, tuple(notes)


def _called(path: Path) -> dict[tuple[str, str], str]:
    """The known motif that each discovered one is most like, by task and name."""
    try:
        table = pd.read_csv(path, sep="\t", dtype={"task": str, "motif": str, "name": str}, keep_default_na=False)
    except (OSError, ValueError):
        return {}
    near = table[pd.to_numeric(table["q"], errors="coerce") <= _LIKE].sort_values("q", kind="stable")
    best = near.iloc[::-1]  # the nearest is told last, and stays
    return dict(zip(zip(best["task"], best["motif"], strict=True), best["name"], strict=True))
