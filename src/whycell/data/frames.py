"""The columns of obs and var, and the values of uns, as anndata has stored them over the years.

Read here rather than by anndata because one column of a large file is often all that is needed, and because importing
anndata takes longer than reading it. What is not known here is left to anndata.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from whycell.errors import FormatError

__all__ = ["column_names", "index_of", "is_group", "read_column", "read_value", "texts"]


def is_group(element: Any) -> bool:
    """Whether an h5py or zarr element holds others."""
    return hasattr(element, "keys")


def column_names(frame: Any) -> list[str]:
    """Names of the columns of a stored data frame, without its index."""
    if not is_group(frame):
        names = list(frame.dtype.names or ())
        return names[1:]
    index = index_of(frame)
    order = frame.attrs.get("column-order")
    if order is None:
        return [k for k in frame if k not in (index, "__categories")]
    return [_text(name) for name in np.atleast_1d(order)]


def index_of(frame: Any) -> str:
    """Name of the element that holds the row names of a stored data frame."""
    name = frame.attrs.get("_index")
    if name is not None:
        return _text(name)
    return "_index" if "_index" in frame else "index"


def read_column(frame: Any, name: str) -> Any:
    """One column of a stored data frame.

    Parameters
    ----------
    frame
        h5py or zarr group, or an h5py dataset of records (files written before 2020).
    name
        The column.

    Returns
    -------
    numpy array, or pandas Categorical or masked array; strings as an object array.

    Raises
    ------
    FormatError
        Where the column is damaged.
    """
    if not is_group(frame):
        return _plain(frame.fields(name)[:])
    if name not in frame:
        msg = f"{_where(frame)} lists a column {name!r} that is not stored: it is damaged; write it again."
        raise FormatError(msg)
    element = frame[name]
    old = frame.get("__categories")
    if old is not None and not is_group(element) and name in old:
        ordered = bool(old[name].attrs.get("ordered", False))
        return _categorical(element[:], _plain(old[name][:]), ordered=ordered, where=_where(element))
    return read_value(element)


def read_value(element: Any) -> Any:
    """A stored value as plain Python, numpy or pandas; nested groups become dicts."""
    kind = _text(element.attrs.get("encoding-type", ""))
    try:
        if is_group(element):
            return _group(element, kind)
        if element.shape == ():
            value = element[()]
            return _text(value) if isinstance(value, bytes | str) else value.item() if hasattr(value, "item") else value
        if kind in ("", "array", "string-array") and element.dtype.names is None:
            return _plain(element.asstr()[:] if _is_text(element) else element[:])
        return _by_anndata(element)
    except (OSError, RuntimeError, LookupError, UnicodeError) as error:
        reason = " ".join(str(error).split())
        msg = f"{_where(element)} cannot be read ({reason}): the file is damaged or cut off; copy it again."
        raise FormatError(msg) from error


def texts(values: Any) -> np.ndarray:
    """Any values as an object array of str."""
    values = np.asarray(values)
    if values.dtype.kind in "OT":
        return np.array([str(value) for value in values.astype(object)], dtype=object)
    return np.asarray(values.astype(str), dtype=object)


def _group(element: Any, kind: str) -> Any:
    if kind == "categorical":
        categories = read_value(element["categories"])
        ordered = bool(element.attrs.get("ordered", False))
        return _categorical(element["codes"][:], categories, ordered=ordered, where=_where(element))
    if kind == "nullable-integer":
        return pd.arrays.IntegerArray(element["values"][:], element["mask"][:].astype(bool))
    if kind == "nullable-boolean":
        return pd.arrays.BooleanArray(element["values"][:].astype(bool), element["mask"][:].astype(bool))
    if kind == "nullable-string-array":
        values = read_value(element["values"]).astype(object)
        values[element["mask"][:].astype(bool)] = None
        return values
    if kind in ("", "dict"):
        return {key: read_value(element[key]) for key in element}
    return _by_anndata(element)


def _categorical(codes: np.ndarray, categories: Any, *, ordered: bool, where: str) -> pd.Categorical:
    categories = np.asarray(categories)
    if codes.size and int(codes.max()) >= len(categories):
        msg = f"{where} has a code {int(codes.max())} for {len(categories)} categories: it is damaged; write it again."
        raise FormatError(msg)
    if len(set(categories.tolist())) != len(categories):  # seen in files from other languages
        return pd.Categorical([None if c < 0 else categories[c] for c in codes], ordered=ordered)
    codes = np.where(codes < 0, -1, codes) if codes.size else codes
    return pd.Categorical.from_codes(codes, categories=pd.Index(categories), ordered=ordered)


def _by_anndata(element: Any) -> Any:
    import anndata

    return anndata.io.read_elem(element)


def _is_text(element: Any) -> bool:
    return element.dtype.kind == "O" and hasattr(element, "asstr")


def _plain(values: np.ndarray) -> np.ndarray:
    """Bytes and numpy strings as an object array of str; everything else as it is."""
    if values.dtype.kind == "S":
        return np.array(np.char.decode(values, "utf-8"), dtype=object)
    if values.dtype.kind in "UT":
        return np.asarray(values, dtype=object)
    if values.dtype.kind == "O":
        plain = [_text(v) if isinstance(v, bytes) else v for v in values.ravel()]
        return np.asarray(plain, dtype=object).reshape(values.shape)
    return values


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _where(element: Any) -> str:
    source = getattr(getattr(element, "file", None), "filename", "") or str(getattr(element, "store_path", ""))
    return f"{source}:{str(element.name).lstrip('/')}"
