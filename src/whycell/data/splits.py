"""Who is held out: one splitter for everything, frozen to disk with a hash that every result carries.

A new donor or a new laboratory is what a score must speak for, so whole donors or studies are held out. Cells split at
random share their donors with training; such a split is possible and says of itself that it leaks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from whycell.data.schema import donor_kinds, primary_cells
from whycell.errors import FormatError, GroupError

__all__ = ["Fold", "Split", "group_problems", "make_split"]

By = Literal["donor", "study", "random"]
Unknown = Literal["refuse", "drop", "own"]

#: Words that name several donors at once, beyond those that the CELLxGENE schema reserves.
_POOLED = frozenset({"pooled", "pool", "mixed", "multiple", "multiplexed", "various"})

#: With more groups than this, folds hold several groups each unless a number of folds is asked for.
MOST_FOLDS = 10
_FORMAT = "whycell split 1"


@dataclass(frozen=True)
class Fold:
    """One round: rows to train on, rows to test on, both (k,) positions in the table that was split."""

    name: str
    train: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class Split:
    """Who is held out, in every round.

    Parameters
    ----------
    by
        ``"donor"``, ``"study"`` or ``"random"``.
    rows
        (n,) positions of the cells that take part, in the table that was split.
    groups
        (n,) the group of each of them, as text: ``donor``, or ``study / donor`` where there are several studies.
    fold_of
        (n,) the fold that tests each of them.
    names
        (n_folds,) names of the folds.
    seed
        Of the random or balanced assignment.
    dropped
        Cells left out, by reason: ``duplicates`` (``is_primary_data`` is False), ``unknown_group``.
    """

    by: By
    rows: np.ndarray
    groups: np.ndarray
    fold_of: np.ndarray
    names: tuple[str, ...]
    seed: int
    dropped: dict[str, int]

    @property
    def leaking(self) -> bool:
        """Whether training and test share donors, so that scores flatter."""
        return self.by == "random"

    @property
    def folds(self) -> tuple[Fold, ...]:
        """Every round; a fold tests its own cells and trains on all others."""
        return tuple(
            Fold(name, self.rows[self.fold_of != i], self.rows[self.fold_of == i]) for i, name in enumerate(self.names)
        )

    @property
    def hash(self) -> str:
        """``sha256:...`` of who is tested when; equal for equal splits, whatever made them."""
        text = json.dumps(self._content(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    def save(self, path: Path | str) -> None:
        """Write ``split.json``, its hash inside."""
        content = {"format": _FORMAT, "hash": self.hash, "leaking": self.leaking, **self._content()}
        Path(path).write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path | str) -> Split:
        """Read ``split.json``; a file that was edited no longer fits its hash and is refused."""
        try:
            stored = json.loads(Path(path).read_text(encoding="utf-8"))
            names = np.array(stored["group_names"], dtype=object)
            split = cls(
                stored["by"],
                np.asarray(_unpacked(stored["rows"]), dtype=np.int64),
                names[np.asarray(_unpacked(stored["group_of"]), dtype=np.int64)],
                np.asarray(_unpacked(stored["fold_of"]), dtype=np.int64),
                tuple(stored["folds"]),
                int(stored["seed"]),
                dict(stored["dropped"]),
            )
        except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
            msg = f"{path} is not a split that whycell wrote ({type(error).__name__}: {error}); make it anew"
            raise FormatError(msg) from error
        if split.hash != stored.get("hash"):
            msg = f"{path} was changed after it was written: its hash no longer fits its content; make it anew"
            raise FormatError(msg)
        return split

    def _content(self) -> dict[str, Any]:
        codes, names = pd.factorize(self.groups)
        return {
            "by": self.by,
            "folds": list(self.names),
            "seed": self.seed,
            "dropped": self.dropped,
            "group_names": [str(name) for name in names],
            "rows": _packed(np.asarray(self.rows), step=1),
            "group_of": _packed(codes, step=0),
            "fold_of": _packed(np.asarray(self.fold_of), step=0),
        }


def make_split(
    obs: pd.DataFrame,
    *,
    by: By = "donor",
    donor: str | None = None,
    study: str | None = None,
    n_folds: int | None = None,
    seed: int = 0,
    unknown: Unknown = "refuse",
) -> Split:
    """Hold out whole donors, whole studies, or (leaking) random cells.

    Parameters
    ----------
    obs
        One row a cell. Cells with ``is_primary_data`` False are second copies of cells elsewhere and are dropped.
    by
        What to hold out.
    donor, study
        Columns. With both, a donor is a (study, donor): two studies may both have a donor "1".
    n_folds
        Folds; every group is one of its own where not given, up to ten, then ten folds of about equal size. Random
        splits have five.
    seed
        Of the random split, and of which groups share a fold.
    unknown
        What to do with cells whose donor is unknown or a pool of several: ``"refuse"`` raises, ``"drop"`` leaves them
        out, ``"own"`` takes each such name for one more group.

    Raises
    ------
    GroupError
        The column is absent, has fewer than two groups, or holds unknown or pooled groups and ``unknown="refuse"``.
    """
    rows = np.arange(len(obs))
    primary = _primary(obs)
    dropped = {"duplicates": int((~primary).sum())}
    rows = rows[primary]
    if by == "random":
        groups = np.array([""] * len(rows), dtype=object)
        folds = min(n_folds or 5, max(len(rows), 1))
        fold_of = np.random.default_rng(seed).permutation(np.arange(len(rows)) % folds)
        return Split(by, rows, groups, fold_of, tuple(f"random {i + 1}" for i in range(folds)), seed, dropped)
    groups = _groups(obs.iloc[rows], by, donor, study)
    column = donor if by == "donor" else study
    bad = np.isin(groups, list(group_problems(groups)))
    if bad.any() and unknown == "refuse":
        named = ", ".join(repr(str(name)) for name in sorted(set(groups[bad]))[:3])
        msg = (
            f"{int(bad.sum())} of {len(groups)} cells have an unknown or pooled {by} in column {column!r} ({named}), "
            "so nobody can say on which side of the split they belong; drop them, or take each such name for a "
            f'{by} of its own (unknown="drop" or "own")'
        )
        raise GroupError(msg)
    if unknown == "drop":
        dropped["unknown_group"] = int(bad.sum())
        rows, groups = rows[~bad], groups[~bad]
    names, codes, sizes = np.unique(groups.astype(str), return_inverse=True, return_counts=True)
    if len(names) < 2:
        msg = (
            f"column {column!r} holds {len(names)} {by}; wanted two or more, to train on some and test on others. "
            "Give another column, or split at random, which flatters the scores"
        )
        raise GroupError(msg)
    fold_of_group, fold_names = _folds(names, sizes, n_folds, seed)
    return Split(by, rows, groups, fold_of_group[codes], fold_names, seed, dropped)


def group_problems(groups: Sequence[Any] | np.ndarray) -> list[str]:
    """Names among the groups that stand for no donor or for several.

    They are the schema's words (:func:`whycell.data.schema.donor_kinds`), names with ``pool`` or ``unknown`` as a word
    of its own, and names joined by ``||``. A name of the form ``study / donor`` or ``study:donor`` is judged by its
    donor.
    """
    found = []
    for name in dict.fromkeys(str(g) for g in groups):
        last = name.rpartition(" / ")[2].rpartition(":")[2].strip()
        words = set(last.lower().replace("-", " ").replace("_", " ").split())
        if donor_kinds([last])[0] != "donor" or "||" in last or words & _POOLED or "unknown" in words:
            found.append(name)
    return found


def _primary(obs: pd.DataFrame) -> np.ndarray:
    primary = primary_cells(obs)
    return np.ones(len(obs), dtype=bool) if primary is None else primary


def _groups(obs: pd.DataFrame, by: By, donor: str | None, study: str | None) -> np.ndarray:
    wanted = {"donor": donor, "study": study}[by]
    for column in {wanted, study} if by == "donor" and study else {wanted}:
        if column is None or column not in obs:
            listed = ", ".join(map(str, obs.columns[:12]))
            msg = f"got no column {column!r} to hold out by {by}; wanted one of: {listed}. Name it with --{by}"
            raise GroupError(msg)
    own = _text(obs[wanted])
    if by == "donor" and study is not None and obs[study].nunique() > 1:
        pairs = zip(_text(obs[study]), own, strict=True)
        return np.array([d if d.startswith(f"{s}:") else f"{s} / {d}" for s, d in pairs], dtype=object)
    return own


def _text(column: pd.Series) -> np.ndarray:
    text = column.astype(object).where(column.notna(), "")
    return np.array([str(value).strip() for value in text], dtype=object)


def _folds(names: np.ndarray, sizes: np.ndarray, n_folds: int | None, seed: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Fold of every group: its own, or the emptiest so far with the largest groups placed first."""
    if n_folds is not None and n_folds < 2:
        msg = f"got {n_folds} folds; wanted 2 or more, to train on some and test on the others"
        raise GroupError(msg)
    n = min(n_folds or (len(names) if len(names) <= MOST_FOLDS else MOST_FOLDS), len(names))
    if n == len(names):
        return np.arange(n), tuple(str(name) for name in names)
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    fold_of, filled = np.zeros(len(names), dtype=np.int64), np.zeros(n)
    for group in order:
        fold_of[group] = int(np.argmin(filled))
        filled[fold_of[group]] += sizes[group]
    return fold_of, tuple(f"fold {i + 1}" for i in range(n))


def _packed(values: np.ndarray, *, step: int) -> list[list[int]]:
    """Runs ``[start, length, step]``: cells of a donor lie together, so a million of them take a few lines."""
    values = np.asarray(values, dtype=np.int64)
    breaks = np.flatnonzero(np.diff(values) != step) + 1
    return [[int(part[0]), len(part), step] for part in np.split(values, breaks) if len(part)]


def _unpacked(runs: list[list[int]]) -> np.ndarray:
    parts = [start + step * np.arange(length) for start, length, step in runs]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)
