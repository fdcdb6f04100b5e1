"""Elements of an h5ad written as anndata writes them, with bytes that depend on nothing but the values.

Written here rather than by anndata so that typing a file need not import it, and so that what lands on the disk cannot
change with anndata's settings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from whycell.data.blocks import Cells

__all__ = ["new_h5ad", "plain", "put_column", "put_frame", "put_value"]

TEXT = h5py.string_dtype("utf-8")
CHUNK = 1 << 15  # elements of X in a chunk of a new file: 128 KB


def put_column(frame: Any, name: str, column: pd.Series) -> None:
    """Write one column into a stored data frame, replacing what is there.

    Parameters
    ----------
    frame
        h5py group of the data frame.
    name
        Of the column.
    column
        Categorical, str, number or bool.
    """
    if name in frame:
        del frame[name]
    if not isinstance(column.dtype, pd.CategoricalDtype):
        _put_array(frame, name, column.to_numpy())
        return
    group = frame.create_group(name)
    _mark(group, "categorical", "0.2.0")
    group.attrs["ordered"] = bool(column.cat.ordered)
    _put_array(group, "codes", column.cat.codes.to_numpy())
    _put_array(group, "categories", column.cat.categories.to_numpy())


def put_frame(parent: Any, name: str, frame: pd.DataFrame) -> None:
    """Write a data frame as an element ``name`` of an h5py group."""
    group = parent.create_group(name)
    _mark(group, "dataframe", "0.2.0")
    group.attrs["_index"] = "_index"
    columns = [str(column) for column in frame.columns]
    group.attrs["column-order"] = columns if columns else np.array([], dtype=np.float64)
    _put_array(group, "_index", frame.index.astype(str).to_numpy(dtype=object))
    for column in frame.columns:
        put_column(group, str(column), frame[column])


def put_value(group: Any, name: str, value: Any) -> None:
    """Write plain values under ``name``, replacing what is there; dicts become groups.

    Parameters
    ----------
    group
        h5py group.
    name
        Key.
    value
        As `plain` takes it.
    """
    if name in group:
        del group[name]
    _put_plain(group, name, plain(value))


def plain(value: Any) -> Any:
    """A value as dicts, str, numbers and arrays; ``None`` and empty ones left out, the rest as JSON text."""
    if isinstance(value, Mapping):
        items = {str(k): plain(v) for k, v in value.items() if not _is_nothing(v)}
        if any("/" in k or not k for k in items):  # HDF5 takes "/" for a folder
            return json.dumps(value, sort_keys=True, default=str)
        return {k: v for k, v in items.items() if not _is_nothing(v)}
    if isinstance(value, np.ndarray | pd.Index | pd.Series):
        value = np.asarray(value)
        return value.astype(object) if value.dtype.kind in "UT" else value
    if isinstance(value, list | tuple | set | frozenset):
        items_list = sorted(value) if isinstance(value, set | frozenset) else list(value)
        if all(isinstance(v, str) for v in items_list):
            return np.array(items_list, dtype=object)
        if all(isinstance(v, bool | int | float | np.number | np.bool_) for v in items_list):
            return np.array(items_list)
        return json.dumps(items_list, sort_keys=True, default=str)
    if isinstance(value, bool | int | float | np.number | np.bool_ | str):
        return value
    return str(value)


def new_h5ad(cells: Cells, path: Path) -> None:
    """Write cells of any format as a new h5ad, block by block.

    Parameters
    ----------
    cells
        The input; its obs, var and X are written.
    path
        The new file.
    """
    with h5py.File(path, "w-") as file:
        _mark(file, "anndata", "0.1.0")
        n_genes = cells.matrices["X"].shape[1]
        group = file.create_group("X")
        _mark(group, "csr_matrix", "0.1.0")
        group.attrs["shape"] = np.array([cells.n_cells, n_genes], dtype=np.int64)
        options: dict[str, Any] = {"shape": (0,), "maxshape": (None,), "chunks": (CHUNK,), "compression": "gzip"}
        data = group.create_dataset("data", dtype=np.float32, **options)
        indices = group.create_dataset("indices", dtype=np.int32, **options)
        indptr = np.zeros(cells.n_cells + 1, dtype=np.int64)
        for block in cells.blocks("X"):
            begin = int(indptr[block.start])
            end = begin + block.values.nnz
            for stored, values in ((data, block.values.data), (indices, block.values.indices)):
                stored.resize((end,))
                stored[begin:end] = values
            indptr[block.start + 1 : block.stop + 1] = begin + block.values.indptr[1:]
        group.create_dataset("indptr", data=indptr, compression="gzip")
        put_frame(file, "obs", cells.obs())
        put_frame(file, "var", cells.var("X"))
        for name in ("layers", "obsm", "obsp", "uns", "varm", "varp"):
            _mark(file.create_group(name), "dict", "0.1.0")


def _put_plain(group: Any, name: str, value: Any) -> None:
    if isinstance(value, dict):
        inner = group.create_group(name)
        _mark(inner, "dict", "0.1.0")
        for key in value:
            _put_plain(inner, key, value[key])
    elif isinstance(value, np.ndarray):
        _put_array(group, name, value)
    elif isinstance(value, str):
        _mark(group.create_dataset(name, data=value, dtype=TEXT), "string", "0.2.0")
    else:
        _mark(group.create_dataset(name, data=value), "numeric-scalar", "0.2.0")


def _put_array(group: Any, name: str, values: np.ndarray) -> None:
    text = values.dtype.kind in "OUT"
    options = {"compression": "gzip"} if values.size > 1 else {}
    stored = group.create_dataset(
        name, data=values.astype(object) if text else values, dtype=TEXT if text else None, **options
    )
    _mark(stored, "string-array" if text else "array", "0.2.0")


def _mark(element: Any, kind: str, version: str) -> None:
    element.attrs["encoding-type"] = kind
    element.attrs["encoding-version"] = version


def _is_nothing(value: Any) -> bool:
    return value is None or (
        isinstance(value, Mapping | list | tuple | set | frozenset | np.ndarray) and not len(value)
    )
