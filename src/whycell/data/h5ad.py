"""h5ad files, of any age, as `Cells`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from whycell.data.blocks import Cells, MatrixInfo
from whycell.data.chunks import open_array
from whycell.data.columns import CscRows
from whycell.data.frames import column_names, index_of, is_group, read_column, read_value, texts
from whycell.data.ranges import LocalFile
from whycell.data.rows import CsrRows, DenseRows, RowReader
from whycell.errors import FormatError, WhycellError

__all__ = ["H5ad", "file_fingerprint", "open_h5", "reading", "sparse_reader"]


def open_h5(path: Path) -> h5py.File:
    """An HDF5 file open for reading, or one sentence why not.

    Raises
    ------
    FormatError
        Where it is missing, something else, or cut off.
    """
    if not path.exists():
        msg = f"{path} does not exist; give the path of an .h5ad, .zarr, 10x .h5 or mtx folder."
        raise FormatError(msg)
    try:
        return h5py.File(path, "r")
    except PermissionError as error:
        msg = f"{path} may not be read by this user; ask for the permission."
        raise FormatError(msg) from error
    except OSError as error:
        if path.stat().st_size == 0:
            msg = f"{path} is empty (0 bytes); copy it again."
        elif "truncated" in str(error) or (h5py.is_hdf5(path) and "eof" in str(error).lower()):
            msg = f"{path} is cut off: it has {path.stat().st_size} bytes, fewer than its header says; copy it again."
        elif "lock" in str(error):
            msg = f"{path} is being written by another program; wait until that is done."
        elif h5py.is_hdf5(path):
            msg = f"{path} is an HDF5 file that cannot be opened ({error}); it is damaged, copy it again."
        else:
            msg = f"{path} is not an HDF5 file, so not an h5ad; give an .h5ad, .zarr, 10x .h5 or mtx folder."
        raise FormatError(msg) from error


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Whatever HDF5 raises over a damaged file, as one sentence that names it."""
    try:
        yield
    except WhycellError:
        raise
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, OverflowError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        msg = f"{path} is damaged ({reason}); copy it again."
        raise FormatError(msg) from error


def file_fingerprint(path: Path) -> str:
    """``"sha256:..."`` of the bytes of a file; other threads run meanwhile."""
    with path.open("rb", buffering=0) as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def sparse_reader(
    group: Any, shape: tuple[int, int], source: LocalFile | None, name: str, *, encoding: str
) -> RowReader:
    """Reader of the rows of a stored ``data, indices, indptr``.

    Parameters
    ----------
    group
        h5py or zarr group with the three arrays.
    shape
        (rows, columns) of the matrix to be read.
    source
        The bytes of the same file, or ``None``.
    name
        What a message calls it.
    encoding
        ``"csr"`` or ``"csc"``.
    """
    for part in ("data", "indices", "indptr"):
        if part not in group:
            msg = f"{name} has no {part}: it is not a sparse matrix as anndata stores it; write it again."
            raise FormatError(msg)
    data, indices = (open_array(group[part], source) for part in ("data", "indices"))
    indptr_array = open_array(group["indptr"], source)
    indptr = np.empty(indptr_array.shape, dtype=indptr_array.dtype)
    indptr_array.read_into(indptr, 0, indptr.size)
    if encoding == "csr":
        return CsrRows(data, indices, indptr, shape, name)
    return CscRows(data, indices, indptr, shape, name)


def _is_there(element: Any) -> bool:
    """Whether a matrix was stored at all: anndata may leave an empty element for none."""
    return is_group(element) or bool(element.shape)


class H5ad(Cells):
    """An h5ad file. Compressed chunks are read and inflated by `whycell.data.ranges`, on several threads.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    FormatError
        Where it is missing, cut off, or not an h5ad.
    """

    kind = "h5ad"

    def __init__(self, path: Path) -> None:
        self.path = self._path = path
        self.name = path.name
        self._file = open_h5(path)
        self._source: LocalFile | None = None
        self._readers: dict[str, RowReader] = {}
        try:
            with reading(path):
                self._refuse_strangers()
                # Offsets that HDF5 reports do not count a user block; the few files that have one are left to h5py.
                self._source = None if self._file.userblock_size else LocalFile(path)
                self.matrices = self._survey()
                self.obs_columns = column_names(self._file["obs"])
                self._same_length()
        except BaseException:
            self.close()
            raise

    def _refuse_strangers(self) -> None:
        keys = set(self._file)
        if {"obs", "var"} <= keys:
            return
        known = {"mod": "a MuData file; write the modality you want as .h5ad", "row_attrs": "a loom file; convert it"}
        for key, what in known.items():
            if key in keys:
                msg = f"{self.path} is {what}."
                raise FormatError(msg)
        listed = ", ".join(sorted(keys)[:8]) or "nothing"
        msg = f"{self.path} is an HDF5 file but not an h5ad: it holds {listed}, wanted X, obs and var."
        raise FormatError(msg)

    def _survey(self) -> dict[str, MatrixInfo]:
        places = {"X": self._raw_key("X"), "raw/X": self._raw_key("raw/X")}
        layers = self._file.get("layers")
        if layers is not None:
            places |= {f"layers/{name}": f"layers/{name}" for name in layers}
        self._places = {where: at for where, at in places.items() if at in self._file and _is_there(self._file[at])}
        return {where: self._info(where) for where in self._places}

    def _raw_key(self, key: str) -> str:
        old = key.replace("raw/", "raw.")  # before 2019, raw was spelled with a dot
        return old if key not in self._file and old in self._file else key

    def _info(self, where: str) -> MatrixInfo:
        element = self._file[self._places[where]]
        if not is_group(element):
            if len(element.shape) != 2 or element.dtype.kind not in "fiub":
                got = f"shape {element.shape} and type {element.dtype}"
                msg = f"{self.path}:{where} has {got}, wanted a matrix of numbers."
                raise FormatError(msg)
            return MatrixInfo(where, (int(element.shape[0]), int(element.shape[1])), "dense", str(element.dtype), None)
        kind = str(element.attrs.get("encoding-type", element.attrs.get("h5sparse_format", "")))
        shape = element.attrs.get("shape", element.attrs.get("h5sparse_shape"))
        if kind[:3] not in ("csr", "csc") or shape is None or "data" not in element:
            msg = (
                f"{self.path}:{where} is stored as {kind or 'something unknown'!r}, wanted a csr, csc or dense matrix."
            )
            raise FormatError(msg)
        data = element["data"]
        if data.dtype.kind not in "fiub":
            msg = f"{self.path}:{where} holds values of type {data.dtype}, wanted numbers."
            raise FormatError(msg)
        return MatrixInfo(where, (int(shape[0]), int(shape[1])), kind[:3], str(data.dtype), int(data.shape[0]))

    def _same_length(self) -> None:
        n = self.n_cells
        for info in self.matrices.values():
            if info.shape[0] != n:
                msg = f"{self.path} contradicts itself: {n} cells in obs, {info.shape[0]} rows in {info.where}."
                raise FormatError(msg)

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        obs = self._file["obs"]
        return int(obs[index_of(obs)].shape[0]) if is_group(obs) else int(obs.shape[0])

    @cached_property
    def obs_names(self) -> np.ndarray:  # type: ignore[override]
        """(n_cells,) str."""
        with reading(self._path):
            return self._index("obs")

    def obs(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Columns of obs, index = cell names; all of them where none is named."""
        names = self._named(columns)
        with reading(self._path):
            frame = self._frame("obs", names)
        return frame.set_axis(pd.Index(self.obs_names, dtype=object), axis=0)

    def var(self, where: str = "X") -> pd.DataFrame:
        """The genes of one matrix, index = their names; ``raw/X`` has its own."""
        self._check(where)
        with reading(self._path):
            key = self._raw_key("raw/var") if where == "raw/X" else "var"
            frame = self._frame(key, column_names(self._file[key]))
            return frame.set_axis(pd.Index(self._index(key), dtype=object), axis=0)

    def uns(self, key: str, *, default: Any = None) -> Any:
        """One entry of uns, decoded to plain values; ``default`` where it is absent."""
        with reading(self._path):
            entries = self._file.get("uns")
            return default if entries is None or key not in entries else read_value(entries[key])

    def obsm(self, key: str, *, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Rows of one embedding; see `Cells.obsm`."""
        with reading(self._path):
            return super().obsm(key, start=start, stop=stop)

    def _obsm(self) -> Mapping[str, Any]:
        stored = self._file.get("obsm")
        return {} if not is_group(stored) else {key: value for key, value in stored.items() if not is_group(value)}

    def fingerprint(self) -> str:
        """``"sha256:..."`` of the bytes of the file."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return file_fingerprint(self._path)

    def close(self) -> None:
        """Close the file."""
        for reader in getattr(self, "_readers", {}).values():
            if isinstance(reader, CscRows):
                reader.close()
        if getattr(self, "_source", None) is not None:
            self._source.close()  # type: ignore[union-attr]
        if getattr(self, "_file", None):
            self._file.close()

    def _index(self, key: str) -> np.ndarray:
        frame = self._file[key]
        names = read_column(frame, index_of(frame) if is_group(frame) else frame.dtype.names[0])
        return texts(names)

    def _frame(self, key: str, columns: Sequence[str]) -> pd.DataFrame:
        stored = self._file[key]
        return pd.DataFrame({name: self._column(key, stored, name) for name in columns})

    def _column(self, key: str, stored: Any, name: str) -> Any:
        values = read_column(stored, name)
        if is_group(stored) or np.asarray(values).dtype.kind not in "iu":
            return values
        labels = self.uns(f"{name}_categories")  # where record arrays kept the names of their codes
        return values if labels is None else pd.Categorical.from_codes(values, categories=pd.Index(labels))

    def _reader(self, where: str) -> RowReader:
        if where not in self._readers:
            with reading(self._path):
                self._readers[where] = self._open_rows(where)
        return self._readers[where]

    def _open_rows(self, where: str) -> RowReader:
        info, element = self.matrices[where], self._file[self._places[where]]
        name = f"{self.path}:{where}"
        if info.encoding == "dense":
            return DenseRows(open_array(element, self._source), name)
        return sparse_reader(element, info.shape, self._source, name, encoding=info.encoding)
