"""Rows that an audit, and the person who read it, want left out of training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from whycell.errors import FormatError, UsageError
from whycell.jobs.record import fingerprint_file
from whycell.jobs.references import References, file_names

__all__ = ["Dropped", "read_drop"]

_NEEDED = ("drop", "cell", "file")
_WORDS = {"yes": True, "no": False}


@dataclass(frozen=True)
class Dropped:
    """What is left out.

    Parameters
    ----------
    keep
        (n_cells,) bool, cells of the references that stay.
    record
        Plain values for the model's card: the table's name and fingerprint, cells by flag.
    fingerprint
        Of the table, by its path.
    """

    keep: np.ndarray
    record: dict[str, Any]
    fingerprint: dict[str, str]


def read_drop(path: Path, loaded: References) -> Dropped:
    """Read ``audit.tsv``: rows whose ``drop`` is yes name the cells to leave out.

    Parameters
    ----------
    path
        As ``whycell audit`` wrote it, edited or not; ``drop``, ``cell`` and ``file`` are needed, ``row`` tells two
        cells of one name apart.
    loaded
        The references that are trained on.

    Raises
    ------
    FormatError
        Not such a table, or a word other than yes and no.
    UsageError
        It names a file or a cell that the references do not hold.
    """
    path = Path(path)
    table = _read(path)
    wanted = table[table["drop"].map(_WORDS).astype(bool)]
    starts = dict(zip(file_names(list(loaded.n_cells)), np.cumsum([0, *loaded.n_cells.values()]), strict=False))
    strangers = sorted(set(wanted["file"]) - set(starts))
    if strangers:
        msg = (
            f"{path} names cells of {', '.join(strangers[:3])}, which is not among the references "
            f"({', '.join(starts)}); give the files that were audited, or set drop to no."
        )
        raise UsageError(msg)
    names = loaded.obs["cell"].to_numpy().astype(str)
    keep = np.ones(len(names), dtype=bool)
    sizes = dict(zip(starts, loaded.n_cells.values(), strict=True))
    absent = []
    for name, rows in wanted.groupby("file", sort=False):
        file = str(name)
        start = int(starts[file])
        own = names[start : start + sizes[file]]
        found, missing = _places(rows, own)
        keep[start + found] = False
        absent += [f"{cell!r} of {file}" for cell in missing]
    if absent:
        msg = (
            f"{path} names {len(absent)} cells that the references do not hold, the first is {absent[0]}; "
            "give the files that were audited."
        )
        raise UsageError(msg)
    flags = wanted["flag"] if "flag" in wanted else pd.Series("", index=wanted.index)
    by_flag = flags.replace("", "no flag").value_counts().sort_index().to_dict()
    digest = fingerprint_file(path)
    record = {"audit": path.name, "fingerprint": digest, "cells": int((~keep).sum()), "by_flag": by_flag}
    return Dropped(keep, record, {str(path): digest})


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read as a table ({error}); give the one that whycell audit wrote."
        raise FormatError(msg) from error
    missing = [name for name in _NEEDED if name not in table]
    if missing:
        msg = f"{path} has no column {', '.join(missing)}; give the table that whycell audit wrote."
        raise FormatError(msg)
    table["drop"] = table["drop"].str.strip().str.lower()
    strange = sorted(set(table["drop"]) - set(_WORDS))
    if strange:
        msg = f"{path} says {strange[0]!r} in column drop; write yes or no in every row."
        raise FormatError(msg)
    return table


def _places(rows: pd.DataFrame, names: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Positions of the cells among ``names``, and the cells not found; the row decides where it bears the name."""
    index = pd.Series(np.arange(len(names))).groupby(names).indices
    given = pd.to_numeric(rows["row"], errors="coerce") if "row" in rows else pd.Series(np.nan, index=rows.index)
    found: list[int] = []
    missing: list[str] = []
    for cell, row in zip(rows["cell"], given, strict=True):
        named = index.get(cell, np.empty(0, dtype=int))
        if not len(named):
            missing.append(cell)
        elif np.isfinite(row) and int(row) in named:
            found.append(int(row))
        else:
            found += list(named)
    return np.array(found, dtype=np.int64), missing
