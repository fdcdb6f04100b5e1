"""The one writer of our columns: the input's bytes, then what was added.

The input is copied byte for byte and the new columns are appended to the copy, so the compressed chunks of X stay what
they were. All work happens on a temporary name in the folder of the output; one rename makes it appear. Killed at any
moment, the disk holds the old file or the new one, and the same input and columns give the same bytes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from whycell.data.blocks import Cells
from whycell.data.elements import put_column, put_value
from whycell.data.frames import column_names, is_group
from whycell.data.schema import is_reserved
from whycell.errors import OutputError, UsageError

__all__ = ["append_h5ad", "check_output", "write_annotation"]


def write_annotation(
    cells: Cells,
    output: str | Path | None,
    columns: pd.DataFrame,
    *,
    uns: tuple[str, Mapping[str, Any]] | None = None,
    layers: Mapping[str, sparse.csr_matrix] | None = None,
    varm: Mapping[str, np.ndarray] | None = None,
    varp: Mapping[str, sparse.csr_matrix] | None = None,
    force: bool = False,
    inplace: bool = False,
) -> None:
    """Write the input with columns added to obs, one entry added to uns, and, where given, layers and arrays in
    varm and varp.

    Parameters
    ----------
    cells
        The input, as `open_cells` gave it.
    output
        Where to write: an h5ad for h5ad, 10x, mtx and memory, a zarr store for zarr. ``None`` with ``inplace``.
    columns
        (n_cells, k), rows in the order of the file: categoricals of str, str, numbers or bools.
    uns
        Key and plain values; nested dicts, str, numbers, bools and lists. ``None`` and empty values are left out.
    layers
        By name, (n_cells, n_genes of X) sparse.
    varm
        By name, (n_genes of X, k).
    varp
        By name, (n_genes of X, n_genes of X) sparse.
    force
        Replace an existing output, columns, layers and uns entry.
    inplace
        Replace the input by the result (or change the AnnData itself).

    Raises
    ------
    OutputError
        Where something is in the way and ``force`` is not given, or the disk refuses.
    UsageError
        Where the columns do not fit the cells, or not exactly one of output and ``inplace`` is given.
    """
    names = [str(name) for name in columns.columns]
    key = None if uns is None else uns[0]
    arrays = {"layers": layers or {}, "varm": varm or {}, "varp": varp or {}}
    check_output(cells, output, names, uns_key=key, layers=tuple(arrays["layers"]), force=force, inplace=inplace)
    _check_columns(cells, columns)
    _check_arrays(cells, arrays)
    if cells.path is None and inplace:
        _into_memory(cells, columns, uns)
        for room, named in arrays.items():
            getattr(cells.adata, room).update(named)  # type: ignore[attr-defined]
        return
    # A link stays a link; what it points at is replaced.
    target = Path(os.path.realpath(cells.path or "")) if inplace else Path(output or "").expanduser()
    with _aside(target) as temporary:
        _copy(cells, temporary)
        if temporary.is_dir():
            from whycell.data.stores import append_zarr

            append_zarr(temporary, columns, uns)
        else:
            append_h5ad(temporary, columns, uns)
        if any(arrays.values()):
            _append_arrays(temporary, arrays)


def check_output(
    cells: Cells,
    output: str | Path | None,
    columns: Sequence[str],
    *,
    uns_key: str | None = None,
    layers: Sequence[str] = (),
    force: bool = False,
    inplace: bool = False,
) -> None:
    """Whether `write_annotation` would find anything in its way; call it before the long work.

    Parameters
    ----------
    cells, output, force, inplace
        As in `write_annotation`.
    columns
        Names of the columns that will be written.
    uns_key
        Key of the entry in uns that will be written.
    layers
        Names of the layers that will be written.

    Raises
    ------
    OutputError
        Where the output exists, its folder does not, a column exists, or a name is reserved.
    UsageError
        Where not exactly one of output and ``inplace`` is given.
    """
    if (output is None) != inplace:
        msg = "Exactly one of an output path and inplace is needed."
        raise UsageError(msg)
    _check_names(columns)
    if output is not None:
        _check_place(cells, Path(output).expanduser(), force=force)
    elif cells.kind in ("10x", "mtx"):
        msg = f"{cells.name} is not an h5ad or zarr and cannot be changed in place; give an output path."
        raise UsageError(msg)
    taken = [name for name in columns if name in cells.obs_columns]
    if taken and not force:
        msg = f"{cells.name} already has the obs column {taken[0]!r}; choose another key, or force."
        raise OutputError(msg)
    taken = [name for name in layers if f"layers/{name}" in cells.matrices]
    if taken and not force:
        msg = f"{cells.name} already has the layer {taken[0]!r}; choose another key, or force."
        raise OutputError(msg)
    if uns_key is not None and not force and cells.uns(uns_key) is not None:
        msg = f"{cells.name} already has {uns_key!r} in uns; choose another key, or force."
        raise OutputError(msg)


def _check_names(columns: Sequence[str]) -> None:
    for name in columns:
        if is_reserved(name):
            msg = f"{name!r} is reserved by the CELLxGENE schema and is never written; choose another key."
            raise OutputError(msg)
        if "/" in name or not name:
            msg = f"{name!r} cannot be the name of a column: HDF5 takes '/' for a folder; choose another key."
            raise OutputError(msg)


def _check_place(cells: Cells, output: Path, *, force: bool) -> None:
    if not output.parent.is_dir():
        msg = f"The folder {output.parent} does not exist; make it first."
        raise OutputError(msg)
    if not output.exists():
        return
    if cells.path is not None and output.samefile(cells.path):
        msg = f"{output} is the input; ask for inplace, or give another path."
        raise OutputError(msg)
    if not force:
        msg = f"{output} exists; force replaces it."
        raise OutputError(msg)


def _check_columns(cells: Cells, columns: pd.DataFrame) -> None:
    if len(columns) != cells.n_cells:
        msg = f"{len(columns)} rows were given for the {cells.n_cells} cells of {cells.name}."
        raise UsageError(msg)
    named = not isinstance(columns.index, pd.RangeIndex)
    if named and not (columns.index.astype(str).to_numpy(dtype=object) == cells.obs_names).all():
        msg = f"The rows given are not the cells of {cells.name} in their order; reindex them by obs_names."
        raise UsageError(msg)
    for name in columns.columns:
        column = columns[name]
        if column.dtype == object and not all(isinstance(value, str) for value in column):
            msg = f"The column {name!r} holds values that are not text; make it a categorical for missing ones."
            raise UsageError(msg)


@contextmanager
def _aside(target: Path) -> Iterator[Path]:
    """A temporary name beside ``target`` that takes its place when all went well, and else leaves no trace."""
    temporary = target.parent / f".{target.name}.{os.getpid()}.part"
    try:
        yield temporary
        if temporary.is_dir() and target.is_dir():  # a folder cannot be replaced in one step
            old = target.parent / f".{target.name}.{os.getpid()}.old"
            target.rename(old)
            temporary.rename(target)
            shutil.rmtree(old)
        else:
            os.replace(temporary, target)
    except BaseException as error:
        _remove(temporary)
        if isinstance(error, OSError) and not isinstance(error, OutputError):
            msg = f"{target} could not be written: {error}."
            raise OutputError(msg) from error
        raise


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _copy(cells: Cells, temporary: Path) -> None:
    """The input on a temporary name: its very bytes where it is an h5ad or zarr, else a new h5ad."""
    if cells.path is not None and cells.kind == "zarr":
        shutil.copytree(cells.path, temporary)
    elif cells.path is not None and cells.kind == "h5ad":
        shutil.copyfile(cells.path, temporary)
        # An input that may not be written to is no reason for an answer that may not.
        temporary.chmod(cells.path.stat().st_mode & 0o777 | 0o200)
    elif cells.kind == "memory":
        cells.adata.write_h5ad(temporary, compression="gzip", convert_strings_to_categoricals=False)  # type: ignore[attr-defined]
    else:
        from whycell.data.elements import new_h5ad

        new_h5ad(cells, temporary)


def append_h5ad(path: Path, columns: pd.DataFrame, uns: tuple[str, Mapping[str, Any]] | None) -> None:
    """Add columns to obs and one entry to uns of an h5ad, in place; existing ones of these names are replaced."""
    with h5py.File(path, "r+") as file:
        obs = file["obs"]
        if not is_group(obs):
            msg = f"{path} keeps obs as records, as before 2020, where nothing can be added; save it anew with anndata."
            raise OutputError(msg)
        order = column_names(obs)
        for name in columns.columns:
            put_column(obs, str(name), columns[name])
            old = obs.get("__categories")
            if old is not None and name in old:
                del old[name]
        order += [str(name) for name in columns.columns if str(name) not in order]
        obs.attrs["column-order"] = order
        if uns is not None:
            entries = file.require_group("uns")
            for attribute, value in (("encoding-type", "dict"), ("encoding-version", "0.1.0")):
                if attribute not in entries.attrs:
                    entries.attrs[attribute] = value
            put_value(entries, uns[0], uns[1])


def _check_arrays(cells: Cells, arrays: Mapping[str, Mapping[str, Any]]) -> None:
    if not any(arrays.values()):
        return
    n_genes = len(cells.var("X"))
    for name, array in arrays["layers"].items():
        if array.shape != (cells.n_cells, n_genes):
            msg = (
                f"The layer {name!r} has shape {array.shape}; {cells.name} has {cells.n_cells} cells, {n_genes} genes."
            )
            raise UsageError(msg)
    for name, array in (*arrays["varm"].items(), *arrays["varp"].items()):
        if array.shape[0] != n_genes:
            msg = f"The array {name!r} has {array.shape[0]} rows; X of {cells.name} has {n_genes} genes."
            raise UsageError(msg)


def _append_arrays(path: Path, arrays: Mapping[str, Mapping[str, Any]]) -> None:
    """Add layers and arrays in varm and varp, as anndata writes them; existing ones of these names are replaced."""
    import anndata  # takes longer to import than most files to write

    if path.is_dir():
        import zarr

        from whycell.data.stores import is_consolidated

        consolidated = is_consolidated(path)
        _write_arrays(anndata, zarr.open_group(path, mode="r+", use_consolidated=False), arrays, {})
        if consolidated:
            zarr.consolidate_metadata(path)
        return
    with h5py.File(path, "r+") as file:
        _write_arrays(anndata, file, arrays, {"compression": "gzip", "compression_opts": 1})


def _write_arrays(anndata: Any, root: Any, arrays: Mapping[str, Mapping[str, Any]], packing: Mapping[str, Any]) -> None:
    for room, named in arrays.items():
        for name, array in named.items():
            if room not in root:
                anndata.io.write_elem(root, room, {})
            anndata.io.write_elem(root[room], name, array, dataset_kwargs=packing)


def _into_memory(cells: Cells, columns: pd.DataFrame, uns: tuple[str, Mapping[str, Any]] | None) -> None:
    adata = cells.adata  # type: ignore[attr-defined]
    for name in columns.columns:
        adata.obs[name] = columns[name].to_numpy() if columns[name].dtype != "category" else columns[name].array
    if uns is not None:
        adata.uns[uns[0]] = dict(uns[1])
