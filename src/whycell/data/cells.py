"""The front door: one thing, read in and checked; and the one writer of our columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py

from whycell.data.blocks import Block, Cells, MatrixInfo
from whycell.data.h5ad import H5ad, open_h5, reading
from whycell.data.write import check_output, write_annotation
from whycell.errors import FormatError, UsageError

__all__ = ["Block", "Cells", "MatrixInfo", "check_output", "open_cells", "write_annotation"]


def open_cells(source: Any) -> Cells:
    """Open cells from wherever they are.

    Parameters
    ----------
    source
        Path of an ``.h5ad``, a 10x ``.h5``, a ``.zarr`` folder or a folder with ``matrix.mtx``; or an AnnData. What it
        is, is judged by its content, not by its name. A `Cells` is handed back as it is.

    Returns
    -------
    Cells

    Raises
    ------
    FormatError
        Where it is missing, cut off, or none of these; one sentence that names the path.

    Examples
    --------
    >>> with open_cells("query.h5ad") as cells:             # doctest: +SKIP
    ...     for block in cells.blocks("X", rows=4096):
    ...         total = block.values.sum(axis=1)
    """
    if isinstance(source, Cells):
        return source
    if isinstance(source, str | Path):
        path = Path(source).expanduser()
        return _open_folder(path) if path.is_dir() else _open_file(path)
    if hasattr(source, "obs_names") and hasattr(source, "var_names"):
        from whycell.data.memory import InMemory  # importing anndata takes longer than reading most files

        return InMemory(source)
    msg = f"Cells cannot be read from a {type(source).__name__}; give a path or an AnnData."
    raise UsageError(msg)


def _open_file(path: Path) -> Cells:
    with open_h5(path) as file, reading(path):
        tenx = "obs" not in file and any(_is_tenx(file[key]) for key in file)
    if tenx:
        from whycell.data.tenx import TenX

        return TenX(path)
    return H5ad(path)


def _is_tenx(element: Any) -> bool:
    return isinstance(element, h5py.Group) and "barcodes" in element and "indptr" in element


def _open_folder(path: Path) -> Cells:
    if any((path / name).exists() for name in (".zgroup", "zarr.json", ".zattrs")):
        from whycell.data.stores import Zarr

        return Zarr(path)
    if any(path.glob("*matrix.mtx")) or any(path.glob("*matrix.mtx.gz")):
        from whycell.data.mtx import MtxFolder

        return MtxFolder(path)
    msg = f"{path} is a folder without a zarr store or a matrix.mtx; give an .h5ad, .zarr, 10x .h5 or mtx folder."
    raise FormatError(msg)
