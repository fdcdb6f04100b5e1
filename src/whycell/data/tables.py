"""Tables of samples by features: csv, tsv, parquet and arff, with what cannot be used left out and said so."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from whycell.data.arff import read_arff
from whycell.errors import DataError, FormatError, GroupError, LabelError

__all__ = ["Table", "read_frame", "read_samples"]

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
#: A column of words of which more than this share differs from row to row names the rows; it describes none.
_NAMES = 0.5
#: Copies that a fit needs of its features, at 8 bytes a value.
_COPIES = 4


@dataclass(frozen=True)
class Table:
    """Samples, what they are described by, and what is to be predicted.

    Parameters
    ----------
    features
        One row a sample: columns of float64 and of categories.
    target
        (n,) float64, or object where the target is words; ``None`` where it was not asked for.
    groups
        (n,) names of the groups, such as patients; ``None`` where none were named.
    rows
        (n,) position of each sample in the file.
    left_out
        Why a column, or how many rows, were left out: ``{"id": "names the rows", "3 rows": "no target"}``.
    """

    features: pd.DataFrame
    target: np.ndarray | None
    groups: np.ndarray | None
    rows: np.ndarray
    left_out: dict[str, str]


def read_frame(path: Path | str) -> pd.DataFrame:
    """A table as it is, one column a variable.

    Parameters
    ----------
    path
        ``.csv``, ``.tsv``, ``.txt`` (tabs), ``.parquet`` or ``.arff``; the first three with a header, also ``.gz``.

    Raises
    ------
    FormatError
        No such table, or one that needs more memory than there is.
    """
    path = Path(path)
    suffix = path.with_suffix("").suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()
    if suffix not in (*_SEPARATORS, ".parquet", ".arff"):
        msg = f"{path} is no table that can be read; wanted .csv, .tsv, .txt, .parquet or .arff."
        raise FormatError(msg)
    try:
        _check_memory(path, suffix)
        if suffix == ".arff":
            return read_arff(path)
        if suffix == ".parquet":
            return pd.read_parquet(path)
        return pd.read_csv(path, sep=_SEPARATORS[suffix], low_memory=False)
    except FormatError:
        raise
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read as a table ({error}); wanted a header and one row a sample."
        raise FormatError(msg) from error


def read_samples(
    path: Path | str, *, target: str | None, group: str | None = None, features: Sequence[str] | None = None
) -> Table:
    """A table as samples with features, target and groups.

    Treated and told in ``left_out``: rows without a target, constant and empty columns, columns of words that name the
    rows. Columns of words become categories; words that are all numbers become numbers; infinite values are missing.

    Parameters
    ----------
    path
        See :func:`read_frame`.
    target
        Column to predict; ``None`` reads features alone and leaves no row out.
    group
        Column whose rows belong together; not a feature.
    features
        Columns to read as features, as a model that was fitted names them: none is then left out.

    Raises
    ------
    LabelError
        No such target, or one that says the same of every row.
    GroupError
        No such column of groups, or rows without one.
    DataError
        No column that varies.
    """
    frame = read_frame(path)
    frame.columns = [str(c) for c in frame.columns]
    if frame.columns.has_duplicates:
        twice = sorted(set(frame.columns[frame.columns.duplicated()]))
        msg = f"{path} has {len(twice)} columns of the same name ({twice[0]!r}); give every column its own."
        raise FormatError(msg)
    told: dict[str, str] = {}
    if target is not None:
        frame = _with_target(frame, target, path, told)
    groups = None if group is None else _groups(frame, group, path)
    given = frame.drop(columns=[c for c in (target, group) if c in frame])
    if features is not None:
        _check_present(given, features, path)
        described = pd.DataFrame({c: _column(given[c]) for c in features}, index=given.index)
    else:
        described = _described(given, told)
        if not described.shape[1]:
            msg = f"{path} has no column that varies beside {target!r}; wanted one feature at least."
            raise DataError(msg)
    wanted = None if target is None else _target(frame[target])
    return Table(described.reset_index(drop=True), wanted, groups, frame.index.to_numpy(), told)


def _with_target(frame: pd.DataFrame, target: str, path: Path | str, told: dict[str, str]) -> pd.DataFrame:
    if target not in frame:
        msg = f"{path} has no column {target!r} to predict; it has: {', '.join(frame.columns[:12])}."
        raise LabelError(msg)
    known = frame[target].notna()
    if pd.api.types.is_float_dtype(frame[target]):
        known &= np.isfinite(frame[target])
    if not known.all():
        told[f"{int((~known).sum())} rows"] = f"no value of {target!r}"
    frame = frame[known]
    if frame[target].nunique() < 2:
        held = f"the one value {frame[target].iloc[0]!r}" if len(frame) else "no value"
        msg = f"column {target!r} of {path} holds {held}; wanted two different ones at least, to learn what differs."
        raise LabelError(msg)
    return frame


def _groups(frame: pd.DataFrame, group: str, path: Path | str) -> np.ndarray:
    if group not in frame:
        msg = f"{path} has no column {group!r} of groups; it has: {', '.join(frame.columns[:12])}."
        raise GroupError(msg)
    missing = int(frame[group].isna().sum())
    if missing:
        msg = f"{missing} rows of {path} have no {group!r}, so nobody can say what they belong to; fill or remove them."
        raise GroupError(msg)
    names = frame[group].astype(str).to_numpy(dtype=object)
    if len(set(names)) < 2:
        msg = f"column {group!r} of {path} holds one group; wanted two at least, to hold some out."
        raise GroupError(msg)
    return names


def _described(given: pd.DataFrame, told: dict[str, str]) -> pd.DataFrame:
    kept = {}
    for name in given.columns:
        column = _column(given[name])
        if column.nunique() < 2:
            told[name] = "empty" if column.notna().sum() == 0 else "the same in every row"
        elif column.dtype != np.float64 and column.nunique() > _NAMES * len(column):
            told[name] = "names the rows"
        else:
            kept[name] = column
    return pd.DataFrame(kept, index=given.index)


def _column(values: pd.Series) -> pd.Series:
    """float64, or categories."""
    if pd.api.types.is_bool_dtype(values) or pd.api.types.is_numeric_dtype(values):
        plain = values.astype("float64")
        return plain.where(np.isfinite(plain))
    words = values.astype(object).where(values.notna(), None)
    numbers = pd.to_numeric(words, errors="coerce").astype("float64")
    if numbers.notna().sum() == words.notna().sum():
        return numbers
    levels = sorted({str(v) for v in words if v is not None})
    return pd.Series(pd.Categorical(words.map(str, na_action="ignore"), categories=levels), index=values.index)


def _target(values: pd.Series) -> np.ndarray:
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return values.to_numpy(dtype=np.float64)
    return values.astype(str).to_numpy(dtype=object)


def _check_present(given: pd.DataFrame, features: Sequence[str], path: Path | str) -> None:
    absent = [c for c in features if c not in given]
    if absent:
        msg = (
            f"{path} lacks {len(absent)} of the {len(features)} columns that the model was fitted on "
            f"({', '.join(absent[:3])}); give a table with all of them."
        )
        raise FormatError(msg)


def _check_memory(path: Path, suffix: str) -> None:
    free = _free_bytes()
    if suffix == ".parquet":
        from pyarrow.parquet import ParquetFile

        about = ParquetFile(path).metadata
        values = about.num_rows * about.num_columns
    else:
        values = path.stat().st_size // (2 if path.suffix != ".gz" else 1)
    if free is not None and values * 8 * _COPIES > free:
        msg = (
            f"{path} holds about {values / 1e6:,.0f} million values; a fit needs {values * 8 * _COPIES / 1e9:,.0f} GB "
            f"and {free / 1e9:,.0f} GB are free. Keep fewer columns or rows, or use a machine with more memory."
        )
        raise FormatError(msg)


def _free_bytes() -> int | None:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None
