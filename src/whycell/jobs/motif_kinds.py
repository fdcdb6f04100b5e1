"""The kinds of sequence in what ``whycell motifs`` found: called by their motifs, as tables beside the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from whycell.errors import UsageError
from whycell.jobs.motif_names import known_names
from whycell.patterns.kinds import Found, describe_totals, find_kinds, motif_totals
from whycell.patterns.partition import centres
from whycell.results.kinds import Kinds
from whycell.results.motifs import MotifFindings

__all__ = ["add_kinds", "kinds_asked", "read_kinds", "write_kinds"]

_CARRIED = 0.5  # share of a kind's sequences that hold a motif it is called by
_STRONG = 1 / 3  # of the most that any kind takes from it
_FAINT = 0.1  # of the most that any motif of the task adds to any kind
_EXAMPLES = 5


def kinds_asked(text: str) -> int | None:
    """``"auto"`` as ``None``, a number as itself; 0 looks for none.

    Parameters
    ----------
    text
        As typed.

    Raises
    ------
    UsageError
        It is neither.
    """
    if text == "auto":
        return None
    if text.isdecimal():
        return int(text)
    msg = f"--kinds is {text!r}; wanted auto, a number of kinds, or 0 to look for none."
    raise UsageError(msg)


def add_kinds(
    result: MotifFindings, names: Sequence[str], *, n_kinds: int | None = None, seed: int = 0
) -> Kinds | None:
    """Kinds of the sequences by what the motifs of all tasks contribute; ``None`` where none are to be looked for.

    Parameters
    ----------
    result
        What was found.
    names
        Of all sequences, whether or not they hold a motif.
    n_kinds
        How many; chosen by agreement without, 0 for none.
    seed
        As everywhere.
    """
    motifs = [(task, motif.name) for task, found in result.motifs.items() for motif in found]
    if n_kinds == 0 or not motifs:
        return None
    totals = motif_totals(result.hits, len(names), motifs=motifs)
    rows = describe_totals(totals, tasks=[task for task, _ in motifs])
    found = find_kinds(rows, n_kinds=n_kinds, seed=seed)
    profile = _profile(found, totals, result, motifs)
    kinds = _kinds(found, profile, rows, names)
    how = "given" if n_kinds else "chosen" if found.curve is not None else "too few sequences to choose a number"
    numbers = _numbers(found)
    p_value = float("nan") if found.curve is None else found.curve.p_value
    return Kinds(kinds, profile, _sequences(found, rows, names), numbers, p_value, how, totals)


def write_kinds(kinds: Kinds, folder: Path) -> None:
    """``kinds.tsv``, ``kind_of.tsv``, ``kind_motifs.tsv`` and ``kind_numbers.tsv``.

    Parameters
    ----------
    kinds
        From :func:`add_kinds`.
    folder
        That of the motifs.
    """
    tables = {
        "kinds": kinds.kinds,
        "kind_of": kinds.sequences,
        "kind_motifs": kinds.profile,
        "kind_numbers": kinds.numbers,
    }
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.tsv", sep="\t", index=False, float_format="%.6g")


def read_kinds(folder: Path) -> pd.DataFrame:
    """``Kinds.kinds`` of a ``folder`` of motifs; no row where none were looked for."""
    path = folder / "kinds.tsv"
    if not path.is_file():
        return pd.DataFrame(columns=["kind", "motifs", "size", "share", "stability", "examples"])
    return pd.read_csv(path, sep="\t", dtype={"motifs": str, "examples": str})


def _profile(
    found: Found, totals: np.ndarray, result: MotifFindings, motifs: Sequence[tuple[str, str]]
) -> pd.DataFrame:
    held = np.zeros(totals.shape, dtype=bool)
    place = {motif: at for at, motif in enumerate(motifs)}
    columns = [place[key] for key in zip(result.hits["task"], result.hits["motif"], strict=True)]
    held[result.hits["sequence"].to_numpy(dtype=np.int64), columns] = True
    share, mean = centres(held.astype(float), found.kind), centres(totals, found.kind)
    size = np.abs(mean)
    of_task = np.array([[size[:, [other == task for other, _ in motifs]].max() for task, _ in motifs]])
    strong = (size >= _STRONG * size.max(axis=0)) & (size > _FAINT * of_task)
    named = (share >= _CARRIED) & strong
    known = known_names(result.matches)
    words = {
        (task, motif.name): known.get((task, motif.name)) or motif.consensus
        for task, found in result.motifs.items()
        for motif in found
    }
    rows = [
        (k + 1, task, name, words[task, name], share[k, m], mean[k, m], bool(named[k, m]))
        for k in range(len(mean))
        for m, (task, name) in enumerate(motifs)
    ]
    return pd.DataFrame(rows, columns=["kind", "task", "motif", "called", "share", "contribution", "named"])


def _kinds(found: Found, profile: pd.DataFrame, rows: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    apart = np.linalg.norm(rows - found.middles[found.kind], axis=1)
    sizes = np.bincount(found.kind)
    texts = [_name(profile[profile["kind"] == k + 1]) for k in range(len(sizes))]
    table = []
    for k, (size, text) in enumerate(zip(sizes, texts, strict=True)):
        own = np.flatnonzero(found.kind == k)
        typical = own[np.argsort(apart[own], kind="stable")][:_EXAMPLES]
        if texts.count(text) > 1:
            own_profile = profile[(profile["kind"] == k + 1)]
            text = f"{text} ({own_profile['contribution'].sum():.2g} in all)"
        examples = ",".join(str(names[at]) for at in typical)
        table.append((k + 1, text, int(size), size / len(rows), found.stability[k], examples))
    return pd.DataFrame(table, columns=["kind", "motifs", "size", "share", "stability", "examples"])


def _name(profile: pd.DataFrame) -> str:
    """A motif that speaks against one task and for another is named for what it speaks for."""
    named = profile[profile["named"]].sort_values("contribution", key=lambda c: -c.abs(), kind="stable")
    speaks_for = dict.fromkeys(named.loc[named["contribution"] > 0, "called"])
    against = [word for word in dict.fromkeys(named["called"]) if word not in speaks_for]
    return " + ".join([*speaks_for, *(f"{word} (against)" for word in against)]) or "no motif"


def _sequences(found: Found, rows: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    apart = np.linalg.norm(rows[:, None] - found.middles[None], axis=2)
    own = apart[np.arange(len(rows)), found.kind]
    margin = np.full(len(rows), np.nan)
    if apart.shape[1] > 1:
        apart[np.arange(len(rows)), found.kind] = np.inf
        margin = 1 - own / np.maximum(apart.min(axis=1), 1e-12)
    return pd.DataFrame(
        {"sequence": np.arange(len(rows)), "name": names, "kind": found.kind + 1, "distance": own, "margin": margin}
    )


def _numbers(found: Found) -> pd.DataFrame:
    columns = ["n_kinds", "agreement", "low", "high", "expected", "chosen"]
    if found.curve is None:
        return pd.DataFrame(columns=columns)
    low, high = found.spans.T
    parts = (found.curve.counts, found.curve.stability, low, high, found.curve.expected)
    chosen = found.curve.counts == len(found.middles)
    return pd.DataFrame(dict(zip(columns, (*parts, chosen), strict=True)))
