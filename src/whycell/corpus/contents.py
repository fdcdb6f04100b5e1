"""What one h5ad file says of its cells and genes, through the walker or through h5py: the columns asked for, no more.

Names of cells and other long columns of text are never read: in a file of 100,000 cells they are 8 MB of 9.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from whycell.corpus.harmonise import Field, Found, find_columns, find_one
from whycell.data.blocks import MatrixInfo
from whycell.data.frames import column_names, index_of, is_group, read_column, read_value, texts
from whycell.errors import FormatError
from whycell.knowledge.genes import resolve_genes, symbol_of

__all__ = ["Contents", "Genes"]

_UNS = ("organism_ontology_term_id", "organism", "title", "schema_version", "schema_reference", "citation")
_NUMBERS = ("counts", "genes")
_SHORT = 20_000  # cells up to which a column of plain text is looked at for what its values are
_ENSEMBL = re.compile(r"ENS[A-Z]{0,4}G\d{11}(\.\d+)?")
_ID = Field("gene_id", ("gene_id", "gene_ids", "ensembl_id"), (
    "ensembl", "ensemblid", "ensemblids", "featureid", "geneid", "geneids", "ensemblgeneid", "id", "ids", "accession",
))  # fmt: skip
_SYMBOL = Field("symbol", ("feature_name", "gene_symbols"), (
    "genesymbol", "genesymbols", "genename", "genenames", "symbol", "symbols", "hgncsymbol", "name", "names",
))  # fmt: skip

Genes = tuple[list[str], list[str], str]


class Contents:
    """One open file.

    Parameters
    ----------
    file
        `data.hdf5_tree.Hdf5`, or an h5py file.
    name
        What a message calls it.

    Raises
    ------
    FormatError
        It is no h5ad, or contradicts itself.
    """

    def __init__(self, file: Any, name: str) -> None:
        self._file = file
        self.name = name
        self._refuse_strangers()
        self._load(["obs", "var", "X", "raw", "raw.X", "raw.var", "layers"])
        self._obs = file["obs"]
        grouped = is_group(self._obs)
        self.n_cells = int(self._obs[index_of(self._obs)].shape[0] if grouped else self._obs.shape[0])
        self.matrices = self._survey()
        self.columns: dict[str, Found] = find_columns(column_names(self._obs), peek=self._peek)
        self._fetch_all()

    def matrix_at(self, where: str) -> Any:
        """The stored element of a matrix; before 2019, raw was spelled with a dot."""
        element = self._file.get(where)
        return self._file.get(where.replace("raw/", "raw.")) if element is None else element

    def values(self, field: str) -> pd.Categorical | None:
        """A field of every cell as categories of text; missing codes stay missing. ``None`` where it was not found."""
        if field not in self.columns:
            return None
        column = self._column(self.columns[field].column)
        if isinstance(column, pd.Categorical):
            if column.categories.dtype == object:
                return column
            return column.rename_categories([str(each) for each in column.categories])
        series = pd.Series(column)
        codes, found = pd.factorize(series, use_na_sentinel=True)
        return pd.Categorical.from_codes(codes, categories=pd.Index([str(each) for each in found], dtype=object))

    def numbers(self, field: str) -> np.ndarray | None:
        """(n_cells,) a field of numbers; ``None`` where it was not found or is something else."""
        if field not in self.columns:
            return None
        column = pd.Series(self._column(self.columns[field].column))
        if isinstance(column.dtype, pd.CategoricalDtype) or not pd.api.types.is_numeric_dtype(column.dtype):
            return None
        return column.astype("float64").to_numpy(na_value=np.nan)

    def uns(self, key: str) -> str:
        """One entry of uns as text; empty where it is absent or no text."""
        element = self._file.get(f"uns/{key}")
        if element is None or is_group(element):
            return ""
        value = read_value(element)
        return str(value) if np.ndim(value) == 0 else ""

    def genes(self, where: str) -> Genes:
        """Ensembl ids (empty where unknown), symbols, and the rule by which the ids were found, of one matrix."""
        frame, _ = self._var(where)
        wanted, fields = self._gene_columns(frame)
        index = wanted[0]
        held = {name: texts(read_column(frame, name)).tolist() for name in dict.fromkeys(wanted)}
        candidates = [(index, "index"), *((f.column, f"{f.rule}:{f.column}") for f in fields.values() if f)]
        by_values = next(((name, rule) for name, rule in candidates if _are_ids(held[name])), None)
        symbols = held[fields["symbol"].column] if fields["symbol"] else None
        if by_values is not None:
            ids = [name.partition(".")[0] if name.startswith("ENS") else "" for name in held[by_values[0]]]
            if symbols is None or _are_ids(symbols):
                symbols = held[index] if by_values[0] != index else symbol_of(ids)
            return ids, symbols, by_values[1]
        names_ = symbols or held[index]
        return resolve_genes(names_).ids.tolist(), names_, "symbols"

    def _fetch_all(self) -> None:
        """Everything that will be asked for, on the same journeys: columns, genes, pointers and indexes of chunks."""
        paths = [path for each in self.columns.values() for path in self._leaves("obs", each.column)]
        paths += [f"uns/{key}" for key in _UNS]
        indexes = []
        for where, info in self.matrices.items():
            at = str(self.matrix_at(where).name).strip("/")
            paths += [f"{at}/indptr"] if info.encoding != "dense" else []
            indexes += [at] if info.encoding == "dense" else [f"{at}/data", f"{at}/indices"]
        for where in {"raw/X" if where == "raw/X" else "X" for where in self.matrices}:
            frame, key = self._var(where)
            paths += [path for name in self._gene_columns(frame)[0] for path in self._leaves(key, name)]
        if hasattr(self._file, "fetch"):
            there = [path for path in paths if (at := self._file.get(path)) is not None and not is_group(at)]
            self._file.fetch(there, indexes=indexes)

    def _gene_columns(self, frame: Any) -> tuple[list[str], dict[str, Found | None]]:
        """The columns of var that are read, its index first, and which of them hold ids and symbols."""
        names = column_names(frame)
        fields = {field.name: find_one(field, names) for field in (_ID, _SYMBOL)}
        index = index_of(frame) if is_group(frame) else frame.dtype.names[0]
        return [index, *(each.column for each in fields.values() if each)], fields

    def _refuse_strangers(self) -> None:
        keys = set(self._file.keys())
        if not {"obs", "var"} <= keys:
            listed = ", ".join(sorted(keys)[:8]) or "nothing"
            msg = f"{self.name} is an HDF5 file but not an h5ad: it holds {listed}, wanted X, obs and var."
            raise FormatError(msg)

    def _survey(self) -> dict[str, MatrixInfo]:
        places = ["X", "raw/X"]
        layers = self._file.get("layers")
        if layers is not None and is_group(layers):
            places += [f"layers/{name}" for name in sorted(layers.keys())]
        found = {where: self._info(where) for where in places}
        return {where: info for where, info in found.items() if info is not None and info.shape[0] == self.n_cells}

    def _info(self, where: str) -> MatrixInfo | None:
        """``None`` of whatever is no matrix of numbers: a file may keep other things there."""
        element = self.matrix_at(where)
        if element is None:
            return None
        if not is_group(element):
            if len(element.shape) != 2 or element.dtype.kind not in "fiub":
                return None
            return MatrixInfo(where, (int(element.shape[0]), int(element.shape[1])), "dense", str(element.dtype), None)
        told = element.attrs.get("encoding-type", element.attrs.get("h5sparse_format", ""))
        kind = (told.decode() if isinstance(told, bytes) else str(told))[:3]
        shape = element.attrs.get("shape", element.attrs.get("h5sparse_shape"))
        if (
            kind not in ("csr", "csc")
            or shape is None
            or "data" not in element
            or element["data"].dtype.kind not in "fiub"
        ):
            return None
        data = element["data"]
        return MatrixInfo(where, (int(shape[0]), int(shape[1])), kind, str(data.dtype), int(data.shape[0]))

    def _var(self, where: str) -> tuple[Any, str]:
        if where != "raw/X":
            return self._file["var"], "var"
        for key in ("raw/var", "raw.var"):
            if self._file.get(key) is not None:
                return self._file[key], key
        msg = f"{self.name} has raw values without the genes they belong to; write it again."
        raise FormatError(msg)

    def _column(self, name: str) -> Any:
        values = read_column(self._obs, name)
        if is_group(self._obs) or np.asarray(values).dtype.kind not in "iu":
            return values
        labels = self._file.get(f"uns/{name}_categories")  # where record arrays kept the names of their codes
        return values if labels is None else pd.Categorical.from_codes(values, categories=pd.Index(read_value(labels)))

    def _peek(self, name: str) -> Iterable[object]:
        """Distinct values, where they cost little: categories, or text of few cells."""
        if not is_group(self._obs):
            return ()
        element, old = self._obs[name], self._obs.get("__categories")
        if is_group(element):
            return read_value(element["categories"]).tolist() if "categories" in element else ()
        if old is not None and name in old:
            return read_value(old[name]).tolist()
        if element.dtype.kind in "OSU" and self.n_cells <= _SHORT:
            return pd.unique(pd.Series(texts(read_value(element)))).tolist()
        return ()

    def _leaves(self, key: str, name: str) -> list[str]:
        frame = self._file[key]
        if not is_group(frame) or name not in frame:
            return []
        element = frame[name]
        old = frame.get("__categories")
        below = [f"{key}/__categories/{name}"] if old is not None and name in old else []
        if not is_group(element):
            return [f"{key}/{name}", *below]
        return [f"{key}/{name}/{part}" for part in element if not is_group(element[part])]

    def _load(self, paths: Sequence[str]) -> None:
        if hasattr(self._file, "load"):
            self._file.load(paths)


def _are_ids(names: Sequence[str]) -> bool:
    taken = names[:: max(1, len(names) // 500)]
    return bool(taken) and sum(1 for name in taken if _ENSEMBL.match(name)) >= 0.9 * len(taken)
