"""A folder with ``matrix.mtx``, as 10x Genomics and GEO hand it out, as `Cells`."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from scipy import sparse

from whycell.data.blocks import MatrixInfo
from whycell.data.h5ad import file_fingerprint
from whycell.data.rows import RowReader, SlicedRows
from whycell.data.tenx import Droplets, feature_frame
from whycell.errors import FormatError

__all__ = ["MtxFolder"]

LINES = 1 << 22  # entries of a matrix.mtx parsed at a time: about 100 MB


class MtxFolder(Droplets):
    """A folder with ``matrix.mtx``, ``barcodes.tsv`` and ``features.tsv`` or ``genes.tsv``, each perhaps gzipped.

    Text has no rows to go to, so the matrix is parsed once, when first read, and kept in memory (8 bytes an entry).

    Parameters
    ----------
    path
        The folder.

    Raises
    ------
    FormatError
        Where one of the three files is missing, damaged or contradicts the others.
    """

    kind: ClassVar[str] = "mtx"

    def __init__(self, path: Path) -> None:
        self.path: Path | None = path
        self.name = path.name
        self._path = path
        self._matrix = self._member("matrix.mtx")
        self._tables = [self._member("barcodes.tsv"), self._member("features.tsv", "genes.tsv")]
        self.obs_names = _table(self._tables[0])[0].to_numpy(dtype=object)
        table = _table(self._tables[1])
        columns = {"gene_ids": table[0].to_numpy(dtype=object)}
        if 2 in table:
            columns["feature_types"] = table[2].to_numpy(dtype=object)
        self._take_features(feature_frame(table[1 if 1 in table else 0].to_numpy(dtype=object), columns))
        self._shape, nnz, self._header = self._size(len(table))
        shape = (self._shape[0], len(self._keep))
        self.matrices = {"X": MatrixInfo("X", shape, "csr", "float32", nnz)}
        self._rows: RowReader | None = None

    def _member(self, *names: str) -> Path:
        for name in names:
            for pattern in (name, f"{name}.gz", f"*{name}", f"*{name}.gz"):  # GEO puts the sample's name before
                found = sorted(self._path.glob(pattern))
                if len(found) > 1:
                    msg = f"{self._path} has {len(found)} files {pattern}; put each sample into a folder of its own."
                    raise FormatError(msg)
                if found:
                    return found[0]
        msg = f"{self._path} has no {' or '.join(names)} beside its matrix; copy the whole folder."
        raise FormatError(msg)

    def _size(self, n_features: int) -> tuple[tuple[int, int], int, int]:
        """Shape as cells by features, entries, and lines before the first entry."""
        lines = 0
        try:
            with _open_text(self._matrix) as file:
                first = file.readline()
                lines += 1
                if not first.startswith("%%MatrixMarket matrix coordinate"):
                    msg = f"{self._matrix} does not start as a MatrixMarket coordinate file; copy it again."
                    raise FormatError(msg)
                for line in file:
                    lines += 1
                    if not line.startswith("%"):
                        rows, columns, nnz = (int(word) for word in line.split())
                        break
                else:
                    msg = f"{self._matrix} ends before its sizes: it is cut off; copy it again."
                    raise FormatError(msg)
        except (OSError, EOFError, UnicodeDecodeError) as error:
            msg = f"{self._matrix} cannot be read ({error}): it is damaged or cut off; copy it again."
            raise FormatError(msg) from error
        if (rows, columns) != (n_features, len(self.obs_names)):
            got = f"{rows} x {columns}"
            msg = f"{self._matrix} is {got}; beside it are {n_features} features and {len(self.obs_names)} barcodes."
            raise FormatError(msg)
        return (columns, rows), nnz, lines

    def _reader(self, where: str) -> RowReader:
        if self._rows is None:
            self._rows = SlicedRows(self._parse(), str(self._matrix))
        return self._rows

    def _parse(self) -> Any:
        """The whole matrix, cells by genes, from text a few million lines at a time."""
        nnz = self.matrices["X"].nnz or 0
        rows, columns = np.empty(nnz, dtype=np.int32), np.empty(nnz, dtype=np.int32)
        data = np.empty(nnz, dtype=np.float32)
        at = 0
        try:
            types = {"gene": np.int32, "cell": np.int32, "value": np.float32}
            reader = pd.read_csv(
                self._matrix,
                sep=r"\s+",
                header=None,
                skiprows=self._header,
                names=list(types),
                dtype=types,
                chunksize=LINES,
            )
            for part in reader:
                end = at + len(part)
                rows[at:end] = part["cell"]
                columns[at:end] = part["gene"]
                data[at:end] = part["value"]
                at = end
        except (OSError, EOFError, ValueError) as error:
            msg = f"{self._matrix} cannot be read near entry {at} ({error}): it is damaged or cut off; copy it again."
            raise FormatError(msg) from error
        if at != nnz:
            msg = f"{self._matrix} has {at} entries, its header says {nnz}: it is cut off; copy it again."
            raise FormatError(msg)
        matrix = sparse.csr_matrix((data, (rows - 1, columns - 1)), shape=self._shape, dtype=np.float32)
        return matrix if len(self._keep) == self._shape[1] else matrix[:, self._keep]

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for path in (self._matrix, *self._tables):
            digest.update(f"{path.name}={file_fingerprint(path)}\n".encode())
        return "sha256:" + digest.hexdigest()


def _table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, sep="\t", header=None, dtype=str, keep_default_na=False, quoting=3)
    except (OSError, EOFError, ValueError) as error:
        msg = f"{path} cannot be read ({error}): it is damaged or cut off; copy it again."
        raise FormatError(msg) from error


def _open_text(path: Path) -> Any:
    return gzip.open(path, "rt") if path.suffix == ".gz" else path.open("rt")
