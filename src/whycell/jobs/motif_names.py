"""What discovered motifs are called: by the known ones that they are surely like."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

__all__ = ["known_names", "read_known_names"]

_SURE = 0.05  # q up to which a known motif lends its name


def known_names(matches: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Task and name of each motif that is surely like a known one, to the name of the most alike.

    Parameters
    ----------
    matches
        As in ``MotifFindings``.
    """
    q = pd.to_numeric(matches["q"], errors="coerce")
    near = matches.assign(q=q)[q <= _SURE].sort_values("q", kind="stable").drop_duplicates(["task", "motif"])
    columns = (near[name].astype(str) for name in ("task", "motif", "name"))
    return {(task, motif): name for task, motif, name in zip(*columns, strict=True)}


def read_known_names(folder: Path) -> dict[tuple[str, str], str]:
    """The same from a ``folder`` that ``whycell motifs`` wrote; none where it says nothing of known motifs."""
    text = dict.fromkeys(("task", "motif", "name"), str)
    try:
        return known_names(pd.read_csv(Path(folder) / "matches.tsv", sep="\t", dtype=text, keep_default_na=False))
    except (OSError, ValueError, KeyError):
        return {}
