"""One file of a corpus, looked at through a few ranges of its bytes: what it holds, and where its chunks lie."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from whycell.corpus.contents import Contents
from whycell.corpus.depth import FEW, MOST, Depth, sample_rows
from whycell.corpus.fields import cell_fields, primary_cells, runs_of, with_terms
from whycell.corpus.parts import PARTS, file_row, key_of, write_part
from whycell.data.block_cache import open_h5
from whycell.data.examine_values import matrix_rank
from whycell.data.hdf5_tree import Hdf5
from whycell.data.layouts import MatrixLayout, write_layout
from whycell.data.remote import RemoteFile
from whycell.data.remote_matrix import matrix_layout
from whycell.data.values import ValueKind, judge_values
from whycell.errors import FormatError, WhycellError

__all__ = ["Scanned", "died_with", "scan_file", "scan_into"]


@dataclass
class Scanned:
    """What was found in one file, part by part as the catalogue keeps it.

    Parameters
    ----------
    row
        Of ``files``.
    parts
        ``{"runs" | "var" | "dist" | "labels": {column: values}}``.
    layout
        Where the chunks of the matrix lie.
    """

    row: dict[str, Any]
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    layout: MatrixLayout | None = None


class _Watched(RemoteFile):
    """A file that remembers whether bytes that it has did not come: then it is worth another look some day."""

    lost = False

    def read(self, offset: int, size: int) -> bytes:
        try:
            return super().read(offset, size)
        except FormatError:
            self.lost = self.lost or offset + size <= self.size
            raise


def scan_into(catalog: Path, address: str) -> dict[str, Any]:
    """Scan one file into a catalogue, unless it is there already and has not changed.

    Parameters
    ----------
    catalog
        The folder.
    address
        A path or an address.

    Returns
    -------
    The row of ``files``, with ``"new"``: whether the file was read now.
    """
    key = key_of(address)
    try:
        source = _Watched(address)
    except Exception as error:
        row = _unreadable(address, error) | {"again": True}
        write_part(catalog, "files", key=key, columns={name: [value] for name, value in row.items()})
        return row | {"new": True}
    kept = file_row(catalog, key)
    if kept is not None and not kept["again"] and (kept["etag"], kept["size"]) == (source.etag, source.size):
        return kept | {"new": False}
    try:
        scanned = scan_file(source)
    except Exception as error:  # whatever a file does to its readers, it becomes a row
        scanned = Scanned(
            _unreadable(address, error) | {"etag": source.etag, "size": source.size, "again": source.lost}
        )
    finally:
        source.close()
    _clear(catalog, key)
    scanned.row |= {"bytes_read": source.bytes_read, "requests": source.requests}
    for part, columns in scanned.parts.items():
        write_part(catalog, part, key=key, columns=columns)
    if scanned.layout is not None:
        write_layout(scanned.layout, catalog, key=key, force=True)
    write_part(catalog, "files", key=key, columns={name: [value] for name, value in scanned.row.items()})
    return scanned.row | {"new": True}


def _clear(catalog: Path, key: str) -> None:
    """Take away what an earlier state of the file left, the mark first."""
    for part in ("files", *PARTS):
        (catalog / part / f"{key}.parquet").unlink(missing_ok=True)


def scan_file(source: RemoteFile) -> Scanned:
    """Everything the catalogue keeps of one file.

    Parameters
    ----------
    source
        The bytes of the file.

    Raises
    ------
    FormatError
        It is no h5ad, damaged, or cannot be reached.
    """
    try:
        tree = Hdf5(source)
        return _scan(Contents(tree, source.name), source, tree)
    except FormatError:
        raise
    except Exception:  # what the walker does not know, or stumbles over, h5py may read or name
        with open_h5(source) as file:
            return _scan(Contents(file, source.name), source, None)


def _scan(contents: Contents, source: RemoteFile, tree: Hdf5 | None) -> Scanned:
    if not contents.matrices or not contents.n_cells:
        n = f"{contents.n_cells:,} cells and {'no' if not contents.matrices else len(contents.matrices)} matrix"
        msg = f"{source.name} has {n} of numbers with one row a cell: there is nothing to scan."
        raise FormatError(msg)
    where, layout, kind, sample = _choose(contents, source, tree)
    depths, n_sampled = _depths(contents, source, layout, glance=sample, counted=kind.kind == "counts")
    ids, symbols, gene_rule = contents.genes(where)
    if len(ids) != layout.shape[1]:
        msg = f"{source.name} contradicts itself: {layout.shape[1]} columns in {where}, {len(ids)} genes beside it."
        raise FormatError(msg)
    cells, rules = cell_fields(contents, source.name)
    labels, cells = with_terms(cells, rules)
    runs = runs_of(cells, primary_cells(contents), contents.n_cells)
    rules |= {"gene_id": {"column": gene_rule, "rule": "values" if gene_rule == "index" else "name"}}
    row = _row(source.name) | {
        "etag": source.etag,
        "size": source.size,
        "status": "ok",
        "reason": layout.reason,
        "matrix": where,
        "values": kind.kind,
        "encoding": layout.encoding,
        "n_cells": contents.n_cells,
        "n_genes": layout.shape[1],
        "nnz": layout.nnz,
        "dtype": contents.matrices[where].dtype,
        "organism": ", ".join(map(str, cells["organism"].categories)),
        "title": contents.uns("title"),
        "schema_version": contents.uns("schema_version"),
        "columns": json.dumps(rules, sort_keys=True),
        "n_sampled": n_sampled,
    }
    found = [depth.row() for depth in depths]
    parts = {
        "runs": runs,
        "var": {"position": np.arange(len(ids), dtype=np.int32), "gene_id": ids, "symbol": symbols},
        "dist": {name: [each[name] for each in found] for name in Depth("", "", np.zeros(0)).row()},
        "labels": labels,
    }
    return Scanned(row, parts, layout)


def _choose(
    contents: Contents, source: RemoteFile, tree: Hdf5 | None
) -> tuple[str, MatrixLayout, ValueKind, tuple[Any, bool] | None]:
    """The matrix to read later, as `examine_values` would choose it: counts first, whatever their place."""
    layouts = {where: matrix_layout(source, where, tree=tree) for where in contents.matrices}
    runs = MOST if len(layouts) == 1 and contents.numbers("counts") is None else FEW  # one journey where one will do
    samples = {where: sample_rows(source, layout, runs=runs) for where, layout in layouts.items()}
    kinds = {
        where: ValueKind("unknown", reason="not looked at") if sample is None else judge_values(sample[0])
        for where, sample in samples.items()
    }
    usable = [where for where in kinds if kinds[where].usable] or [
        where for where in kinds if kinds[where].kind == "unknown"
    ]
    widest = max((contents.matrices[where].shape[1] for where in usable), default=0)
    order = sorted(
        usable,
        key=lambda where: (
            not kinds[where].usable,
            matrix_rank(contents.matrices[where], _ranked(kinds[where]), widest=widest),
        ),
    )
    where = order[0] if order else next(iter(contents.matrices))
    return where, layouts[where], kinds[where], samples[where]


def _ranked(kind: ValueKind) -> ValueKind:
    return kind if kind.usable else ValueKind("double_log")


def _depths(
    contents: Contents, source: RemoteFile, layout: MatrixLayout, *, glance: tuple[Any, bool] | None, counted: bool
) -> tuple[list[Depth], int]:
    """Counts and genes of the cells, from obs where it says, else from the row pointers and from a sample.

    Of values that are no counts there are no totals: the sum of logarithms says nothing of depth.
    """
    found = {}
    for what in ("counts", "genes"):
        values = contents.numbers(what)
        if values is not None and len(values) == contents.n_cells:
            found[what] = Depth(what, f"obs:{contents.columns[what].column}", values)
    if "genes" not in found and layout.encoding == "csr" and layout.indptr is not None:
        found["genes"] = Depth("genes", "indptr", np.diff(layout.indptr))
    if len(found) == 2:
        return [found["counts"], found["genes"]], 0 if glance is None else glance[0].shape[0]
    done = glance is None or glance[1] or (len(contents.matrices) == 1 and contents.numbers("counts") is None)
    sample = glance if done else sample_rows(source, layout, runs=MOST)
    if sample is not None:
        matrix, whole = sample
        source_name = "values" if whole else "chunks"
        totals = np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel()
        if counted:
            found.setdefault("counts", Depth("counts", source_name, totals, sampled=not whole))
        detected = np.diff(matrix.indptr)
        found.setdefault("genes", Depth("genes", source_name, detected, sampled=not whole))
    n_sampled = 0 if sample is None else sample[0].shape[0]
    return [found[what] for what in ("counts", "genes") if what in found], n_sampled


def _row(address: str) -> dict[str, Any]:
    from importlib.metadata import version

    nothing = dict.fromkeys(
        ("etag", "reason", "matrix", "values", "encoding", "dtype", "organism", "title", "schema_version", "columns"),
        "",
    )
    numbers = dict.fromkeys(("size", "n_cells", "n_genes", "nnz", "n_sampled", "bytes_read", "requests"))
    return {"address": address, "status": "", "again": False, "version": version("whycell"), **nothing, **numbers}


def died_with(address: str, error: Exception | None) -> dict[str, Any]:
    """The row of a file that took its worker down, or its place to write.

    Parameters
    ----------
    address
        Of the file.
    error
        What the engine says of it.
    """
    return _unreadable(address, error or FormatError("it could not be scanned")) | {"again": True}


def _unreadable(address: str, error: Exception) -> dict[str, Any]:
    reason = str(error) if isinstance(error, WhycellError) else f"{type(error).__name__}: {error}"
    return _row(address) | {"status": "unreadable", "reason": " ".join(reason.split())[:500]}
