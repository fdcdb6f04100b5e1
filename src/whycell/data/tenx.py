"""The feature-barcode ``.h5`` of 10x Genomics as `Cells`.

It stores genes by cells in columns, which is cells by genes in rows. Only genes are kept: antibodies, guides and
other features are counted in other units.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from whycell.data.blocks import Cells, MatrixInfo
from whycell.data.frames import read_value, texts
from whycell.data.h5ad import file_fingerprint, open_h5, reading, sparse_reader
from whycell.data.ranges import LocalFile
from whycell.data.rows import RowReader, tidy
from whycell.errors import FormatError

__all__ = ["Droplets", "TenX", "feature_frame"]

GENES = "Gene Expression"


class Droplets(Cells):
    """What 10x's two formats share: no obs but the barcodes, one matrix, features of which genes are kept."""

    _features: pd.DataFrame
    _keep: np.ndarray

    def _take_features(self, features: pd.DataFrame) -> None:
        kept = features["feature_types"] == GENES if "feature_types" in features else np.ones(len(features), dtype=bool)
        self._keep = np.flatnonzero(kept)
        self._features = features.iloc[self._keep]
        self.obs_columns = []

    def obs(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """No columns; index = barcodes."""
        return pd.DataFrame(index=pd.Index(self.obs_names, dtype=object))[self._named(columns)]

    def var(self, where: str = "X") -> pd.DataFrame:
        """The genes, index = symbols, column ``gene_ids``."""
        self._check(where)
        return self._features.copy()

    def uns(self, key: str, *, default: Any = None) -> Any:
        """These formats have no uns: always ``default``."""
        return default

    def fingerprint(self) -> str:
        """``"sha256:..."`` of the bytes of the file, or of the three files."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return self._digest()

    @abstractmethod
    def _digest(self) -> str: ...


class TenX(Droplets):
    """A 10x ``.h5`` of Cell Ranger 2 (one group a genome; the first with the most cells) or 3 and later.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    FormatError
        Where it is damaged, or no feature is a gene.
    """

    kind: ClassVar[str] = "10x"

    def __init__(self, path: Path) -> None:
        self.path: Path | None = path
        self.name = path.name
        self._path = path
        self._file = open_h5(path)
        self._source: LocalFile | None = None
        try:
            with reading(path):
                self._group = self._find_group()
                self._source = LocalFile(path)
                self._take_features(self._read_features())
                self.obs_names = _text(self._group["barcodes"])
                n_features, n_cells = (int(n) for n in self._group["shape"][:])
                self._same_length(n_features, n_cells)
        except BaseException:
            self.close()
            raise
        self._shape = (n_cells, n_features)
        data = self._group["data"]
        shape = (n_cells, len(self._keep))
        self.matrices = {"X": MatrixInfo("X", shape, "csr", str(data.dtype), int(data.shape[0]))}
        self._rows: RowReader | None = None

    def _find_group(self) -> Any:
        groups = [self._file[key] for key in self._file if "barcodes" in self._file[key]]
        best = max(groups, key=lambda group: int(group["barcodes"].shape[0]))
        missing = [part for part in ("data", "indices", "indptr", "shape") if part not in best]
        if missing:
            msg = f"{self._path} looks like 10x output but has no {missing[0]}: it is damaged, copy it again."
            raise FormatError(msg)
        return best

    def _read_features(self) -> pd.DataFrame:
        group = self._group
        if "features" not in group:
            return feature_frame(_text(group["gene_names"]), {"gene_ids": _text(group["genes"])})
        features = group["features"]
        columns = {"gene_ids": _text(features["id"]), "feature_types": _text(features["feature_type"])}
        if "genome" in features:
            columns["genome"] = _text(features["genome"])
        return feature_frame(_text(features["name"]), columns)

    def _same_length(self, n_features: int, n_cells: int) -> None:
        if not len(self._keep):
            msg = f"{self._path} holds no {GENES} features, only others; give the gene expression output."
            raise FormatError(msg)
        if n_cells != len(self.obs_names) or (self._keep.max() >= n_features):
            msg = f"{self._path} contradicts itself: shape for {n_cells} cells, {len(self.obs_names)} barcodes."
            raise FormatError(msg)

    def _reader(self, where: str) -> RowReader:
        if self._rows is None:
            with reading(self._path):
                rows = sparse_reader(self._group, self._shape, self._source, str(self._path), encoding="csr")
            self._rows = rows if len(self._keep) == self._shape[1] else _SomeColumns(rows, self._keep)
        return self._rows

    def _digest(self) -> str:
        return file_fingerprint(self._path)

    def close(self) -> None:
        """Close the file."""
        if getattr(self, "_source", None) is not None:
            self._source.close()  # type: ignore[union-attr]
        if getattr(self, "_file", None):
            self._file.close()


class _SomeColumns:
    """Rows of another reader, with some of its columns."""

    def __init__(self, rows: RowReader, keep: np.ndarray) -> None:
        self.shape = (rows.shape[0], len(keep))
        self._rows = rows
        self._place = np.full(rows.shape[1], -1, dtype=np.int32)
        self._place[keep] = np.arange(len(keep), dtype=np.int32)

    def weight(self, start: int, stop: int) -> int:
        return self._rows.weight(start, stop)

    def submit(self, pool: Executor, start: int, stop: int) -> Future[Any]:
        whole = self._rows.submit(pool, start, stop)
        return pool.submit(self._cut, whole)

    def _cut(self, promise: Future[Any]) -> Any:
        whole = promise.result()
        place = self._place[whole.indices]
        kept = place >= 0
        indptr = np.concatenate([[0], np.cumsum(kept, dtype=np.int64)])[whole.indptr]
        return tidy(whole.data[kept], place[kept], indptr, self.shape[1], "matrix")


def feature_frame(names: np.ndarray, columns: dict[str, np.ndarray]) -> pd.DataFrame:
    """The table of features that `Droplets` keeps: index = symbols."""
    return pd.DataFrame(columns, index=pd.Index(names, dtype=object))


def _text(dataset: Any) -> np.ndarray:
    return texts(read_value(dataset))
