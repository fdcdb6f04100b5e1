"""AnnData in zarr stores, of format 2 or 3, as `Cells`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import anndata
import numpy as np
import pandas as pd
import zarr

from whycell.data.blocks import Cells, MatrixInfo
from whycell.data.chunks import open_array
from whycell.data.elements import plain
from whycell.data.frames import column_names, index_of, is_group, read_column, texts
from whycell.data.h5ad import sparse_reader
from whycell.data.rows import DenseRows, RowReader
from whycell.errors import FormatError

__all__ = ["Zarr", "append_zarr", "is_consolidated"]


class Zarr(Cells):
    """A folder written by ``AnnData.write_zarr``.

    Parameters
    ----------
    path
        The folder.

    Raises
    ------
    FormatError
        Where it is damaged or holds no AnnData.
    """

    kind: ClassVar[str] = "zarr"

    def __init__(self, path: Path) -> None:
        self.path: Path | None = path
        self._path = path
        self.name = path.name
        try:
            self._root = zarr.open_group(path, mode="r")
        except Exception as error:  # zarr's errors have no common root
            msg = f"{path} cannot be opened as a zarr store ({error}); copy it again."
            raise FormatError(msg) from error
        if "obs" not in self._root or "var" not in self._root:
            listed = ", ".join(sorted(self._root)[:8]) or "nothing"
            msg = f"{path} is a zarr store but not an AnnData: it holds {listed}, wanted X, obs and var."
            raise FormatError(msg)
        self.obs_columns = column_names(self._root["obs"])
        self.matrices = self._survey()
        self._readers: dict[str, RowReader] = {}

    def _survey(self) -> dict[str, MatrixInfo]:
        places = [place for place in ("X", "raw/X") if place in self._root]
        if "layers" in self._root:
            layers: Any = self._root["layers"]
            places += [f"layers/{name}" for name in sorted(layers)]
        found = {place: self._info(place) for place in places}
        for info in found.values():
            if info.shape[0] != self.n_cells:
                got = f"{self.n_cells} cells in obs, {info.shape[0]} rows in {info.where}"
                msg = f"{self._path} contradicts itself: {got}; write it again."
                raise FormatError(msg)
        return found

    def _info(self, where: str) -> MatrixInfo:
        element: Any = self._root[where]
        if not is_group(element):
            return MatrixInfo(where, (int(element.shape[0]), int(element.shape[1])), "dense", str(element.dtype), None)
        kind, shape = str(element.attrs.get("encoding-type", "")), element.attrs.get("shape")
        if kind[:3] not in ("csr", "csc") or shape is None or "data" not in element:
            got = repr(kind or "something unknown")
            msg = f"{self._path}:{where} is stored as {got}, wanted a csr, csc or dense matrix."
            raise FormatError(msg)
        data = element["data"]
        return MatrixInfo(where, (int(shape[0]), int(shape[1])), kind[:3], str(data.dtype), int(data.shape[0]))

    @cached_property
    def obs_names(self) -> np.ndarray:  # type: ignore[override]
        """(n_cells,) str."""
        obs: Any = self._root["obs"]
        return texts(self._element(obs, index_of(obs)))

    def obs(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Columns of obs, index = cell names; all of them where none is named."""
        obs: Any = self._root["obs"]
        frame = pd.DataFrame({name: self._element(obs, name) for name in self._named(columns)})
        return frame.set_axis(pd.Index(self.obs_names, dtype=object), axis=0)

    def var(self, where: str = "X") -> pd.DataFrame:
        """The genes of one matrix, index = their names; ``raw/X`` has its own."""
        self._check(where)
        var: Any = self._root["raw/var" if where == "raw/X" else "var"]
        frame = pd.DataFrame({name: self._element(var, name) for name in column_names(var)})
        names = texts(self._element(var, index_of(var)))
        return frame.set_axis(pd.Index(names, dtype=object), axis=0)

    def uns(self, key: str, *, default: Any = None) -> Any:
        """One entry of uns, decoded; ``default`` where it is absent."""
        entries: Any = self._root.get("uns", {})
        return self._element(entries, key) if key in entries else default

    def _obsm(self) -> Mapping[str, Any]:
        stored: Any = self._root.get("obsm", {})
        return {key: stored[key] for key in sorted(stored) if not is_group(stored[key])}

    def fingerprint(self) -> str:
        """``"sha256:..."`` of the names and bytes of all files of the store."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for path in sorted(p for p in self._path.rglob("*") if p.is_file()):
            digest.update(f"{path.relative_to(self._path).as_posix()}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
        return "sha256:" + digest.hexdigest()

    def close(self) -> None:
        """Forget what was turned from columns to rows."""
        for reader in getattr(self, "_readers", {}).values():
            getattr(reader, "close", lambda: None)()

    def _element(self, group: Any, name: str) -> Any:
        try:
            if "__categories" in group:  # stores written before 2021
                return read_column(group, name)
            value = anndata.io.read_elem(group[name])
        except Exception as error:  # zarr's errors have no common root
            msg = f"{self._path}:{group.path}/{name} cannot be read ({error}): the store is damaged; copy it again."
            raise FormatError(msg) from error
        return texts(value) if isinstance(value, np.ndarray) and value.dtype.kind == "T" else value

    def _reader(self, where: str) -> RowReader:
        if where not in self._readers:
            info, element = self.matrices[where], self._root[where]
            name = f"{self._path}:{where}"
            self._readers[where] = (
                DenseRows(open_array(element, None), name)
                if info.encoding == "dense"
                else sparse_reader(element, info.shape, None, name, encoding=info.encoding)
            )
        return self._readers[where]


def append_zarr(path: Path, columns: pd.DataFrame, uns: tuple[str, Mapping[str, Any]] | None) -> None:
    """Add columns to obs and one entry to uns of a zarr store, in place; existing ones are replaced."""
    root = zarr.open_group(path, mode="r+", use_consolidated=False)
    consolidated = is_consolidated(path)
    obs: Any = root["obs"]
    order = column_names(obs)
    for name in columns.columns:
        column = columns[name]
        anndata.io.write_elem(obs, str(name), column.array if column.dtype == "category" else column.to_numpy())
    obs.attrs["column-order"] = order + [str(name) for name in columns.columns if str(name) not in order]
    if uns is not None:
        if "uns" not in root:
            anndata.io.write_elem(root, "uns", {})
        anndata.io.write_elem(root["uns"], uns[0], plain(uns[1]))
    if consolidated:
        zarr.consolidate_metadata(path)


def is_consolidated(path: Path) -> bool:
    """Whether the store at ``path`` carries a copy of its metadata in one place, which every change must renew."""
    if (path / ".zmetadata").exists():
        return True
    meta = path / "zarr.json"
    return meta.exists() and '"consolidated_metadata": {' in meta.read_text(encoding="utf-8")
