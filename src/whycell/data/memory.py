"""An AnnData in memory, or backed by its own file, as `Cells`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import anndata
import pandas as pd
from scipy import sparse

from whycell.data.blocks import Cells, MatrixInfo
from whycell.data.frames import texts
from whycell.data.rows import RowReader, SlicedRows
from whycell.errors import FormatError

__all__ = ["InMemory"]


class InMemory(Cells):
    """An AnnData. Nothing in it is changed by reading.

    Parameters
    ----------
    adata
        In memory or backed, whole or a view; its matrices dense, sparse or dask.

    Raises
    ------
    FormatError
        Where a matrix is of a kind that cannot be sliced by rows.
    """

    kind = "memory"

    def __init__(self, adata: anndata.AnnData) -> None:
        self.adata = adata
        self.path: Path | None = None
        self.name = "AnnData"
        self.obs_names = texts(adata.obs_names)
        values = {"X": adata.X} if adata.X is not None else {}
        if adata.raw is not None:
            values["raw/X"] = adata.raw.X
        values |= {f"layers/{name}": layer for name, layer in adata.layers.items()}
        self._values = values
        self.matrices = {where: _info(where, matrix) for where, matrix in values.items()}
        self._readers: dict[str, RowReader] = {}

    @property
    def obs_columns(self) -> list[str]:  # type: ignore[override]
        """Names of the obs columns, as they are now."""
        return [str(column) for column in self.adata.obs.columns]

    def obs(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """A copy of columns of obs, index = cell names; all of them where none is named."""
        obs: pd.DataFrame = self.adata.obs[self._named(columns)].copy()
        return obs

    def var(self, where: str = "X") -> pd.DataFrame:
        """A copy of the genes of one matrix, index = their names; ``raw/X`` has its own."""
        self._check(where)
        var: pd.DataFrame = (self.adata.raw.var if where == "raw/X" else self.adata.var).copy()
        return var

    def uns(self, key: str, *, default: Any = None) -> Any:
        """One entry of uns; ``default`` where it is absent."""
        return self.adata.uns.get(key, default)

    def _obsm(self) -> Mapping[str, Any]:
        held = {str(key): value for key, value in self.adata.obsm.items() if not sparse.issparse(value)}
        return {k: v.to_numpy() if isinstance(v, pd.DataFrame) else v for k, v in held.items() if hasattr(v, "shape")}

    def fingerprint(self) -> str:
        """``"sha256:..."`` of the shapes, names and values of its matrices."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        digest.update("\n".join(self.obs_names).encode())
        for where, info in self.matrices.items():
            digest.update(f"\0{where}{info.shape}".encode())
            digest.update("\n".join(self.var(where).index.astype(str)).encode())
            for block in self.blocks(where, threads=1):
                for part in (block.values.indptr, block.values.indices, block.values.data):
                    digest.update(memoryview(part).cast("B"))
        return "sha256:" + digest.hexdigest()

    def _reader(self, where: str) -> RowReader:
        if where not in self._readers:
            values = self._values[where]
            if self.matrices[where].encoding == "csc":
                values = (values if sparse.issparse(values) else values.to_memory()).tocsr()
            elif isinstance(values, pd.DataFrame):
                values = values.to_numpy()
            self._readers[where] = SlicedRows(values, f"AnnData:{where}")
        return self._readers[where]


def _info(where: str, values: Any) -> MatrixInfo:
    shape = (int(values.shape[0]), int(values.shape[1]))
    kind = getattr(values, "format", None)
    if kind is None and (hasattr(values, "dtype") or isinstance(values, pd.DataFrame)):
        dtype = values.dtype if hasattr(values, "dtype") else values.to_numpy().dtype
        if dtype.kind in "fiub":
            return MatrixInfo(where, shape, "dense", str(dtype), None)
    if kind in ("csr", "csc"):
        nnz = int(values.nnz) if sparse.issparse(values) else None
        return MatrixInfo(where, shape, kind, str(values.dtype), nnz)
    msg = f"{where} of the AnnData is a {type(values).__name__}, wanted a csr, csc or dense matrix of numbers."
    raise FormatError(msg)
