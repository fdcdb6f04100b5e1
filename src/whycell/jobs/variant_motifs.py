"""Motifs that variants are held against: those that were discovered, and those of a collection."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from whycell.jobs.motif_names import read_known_names
from whycell.jobs.motifs import read_motifs
from whycell.patterns.known import read_meme
from whycell.patterns.variant_motifs import ScoredMotifs, scored_motifs

__all__ = ["collected_motifs"]


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
        called = read_known_names(motifs)
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
