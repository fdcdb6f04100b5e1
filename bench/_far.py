"""The far file of the benchmarks: cells x genes as CELLxGENE files are laid out, made once, and a server 30 ms away.

100,000 cells x 30,000 genes with 2,117 genes a cell, as anndata writes it with gzip: X first (data, then indices, then
indptr), obs and var at the end. Cells lie in runs of donor and type. About 500 MB.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

__all__ = ["DELAY", "RATE", "far_file", "far_server", "servers"]

DELAY = 0.03
RATE = 80  # MB/s of one connection, where the server can be told
_TYPES, _DONORS, _PER_CELL = 40, 25, 2117


def far_file(*, n_cells: int = 100_000, n_genes: int = 30_000, seed: int = 0) -> Path:
    """The file, made where it is not there yet, in the folder of temporary files."""
    folder = Path(os.environ.get("WHYCELL_BENCH_FILES", Path(tempfile.gettempdir()) / "whycell-bench"))
    path = folder / f"far-{n_cells}x{n_genes}.h5ad"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(f".{os.getpid()}.part")
        _write(scratch, n_cells, n_genes, np.random.default_rng(seed))
        scratch.replace(path)
    return path


def _write(path: Path, n_cells: int, n_genes: int, rng: np.random.Generator) -> None:
    import h5py
    from anndata.io import write_elem

    kind = np.sort(rng.integers(0, _TYPES, n_cells).reshape(_DONORS, -1), axis=1).ravel()
    donor = np.repeat(np.arange(_DONORS), n_cells // _DONORS)
    indptr, indices, data = _values(kind, n_genes, rng)
    gzip: dict[str, Any] = {"compression": "gzip"}
    with h5py.File(path, "w") as file:
        file.attrs["encoding-type"], file.attrs["encoding-version"] = "anndata", "0.1.0"
        group = file.create_group("X")
        group.attrs["encoding-type"], group.attrs["encoding-version"] = "csr_matrix", "0.1.0"
        group.attrs["shape"] = np.array([n_cells, n_genes])
        for name, parts, kind_of in (("data", data, "<f4"), ("indices", indices, "<i4")):
            stored = group.create_dataset(name, (int(indptr[-1]),), kind_of, maxshape=(None,), **gzip)
            _fill(stored, parts)
        group.create_dataset("indptr", data=indptr.astype("<i4"), maxshape=(None,), **gzip)
        obs, var = _frames(kind, donor, np.diff(indptr), data, n_genes, rng)
        write_elem(file, "obs", obs, dataset_kwargs=gzip)
        write_elem(file, "var", var, dataset_kwargs=gzip)
        write_elem(file, "obsm", {"X_umap": rng.standard_normal((n_cells, 2)).astype(np.float32)}, dataset_kwargs=gzip)
        write_elem(file, "uns", {"title": "far", "schema_version": "5.2.0"})
        for name in ("layers", "obsp", "varm", "varp"):
            write_elem(file, name, {})


def _values(
    kind: np.ndarray, n_genes: int, rng: np.random.Generator
) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """Which genes each cell has, by how often its type has them, and how many counts of each."""
    wide = np.exp(rng.normal(0, 1.5, (1, n_genes)) + rng.normal(0, 0.7, (_TYPES, n_genes)))
    often = np.minimum(wide * (_PER_CELL * n_genes / 30_000 / wide.sum(axis=1, keepdims=True)), 0.95)
    for _ in range(20):  # what was cut at 0.95 goes to the others
        often = np.minimum(often * (_PER_CELL * n_genes / 30_000 / often.sum(axis=1, keepdims=True)), 0.95)
    often = often.astype(np.float32)
    counts, indices, data = [np.zeros(1, np.int64)], [], []
    for start in range(0, len(kind), 500):
        block = kind[start : start + 500]
        has = rng.random((len(block), n_genes), dtype=np.float32) < often[block]
        counts.append(has.sum(axis=1))
        columns = np.nonzero(has)[1].astype(np.uint16 if n_genes <= 1 << 16 else np.uint32)
        depth = rng.random(columns.size, dtype=np.float32)
        level = 1 + 2 * often[np.repeat(block, counts[-1]), columns]
        indices.append(columns)
        data.append(np.clip(1 - np.log(depth + 1e-6) * level * 0.6, 1, 250).astype(np.uint8))
    return np.cumsum(np.concatenate(counts)), indices, data


def _fill(stored: Any, parts: list[np.ndarray]) -> None:
    """Write parts one after another, cut where chunks end: a chunk written twice would leave a hole."""
    step = stored.chunks[0] * 64
    whole = np.concatenate(parts)
    for start in range(0, whole.size, step):
        stored[start : start + step] = whole[start : start + step].astype(stored.dtype)


def _frames(
    kind: np.ndarray, donor: np.ndarray, detected: np.ndarray, data: list[np.ndarray], n_genes: int, rng: Any
) -> tuple[Any, Any]:
    import pandas as pd

    n = len(kind)
    ends = np.cumsum(detected)
    sums = np.add.reduceat(np.concatenate(data), ends - detected, dtype=np.int64)

    def category(codes: np.ndarray, names: list[str]) -> Any:
        return pd.Categorical.from_codes(codes, names)

    one = np.zeros(n, dtype=np.int8)
    obs = pd.DataFrame(
        {
            "cell_type": category(kind, [f"type {i}" for i in range(_TYPES)]),
            "cell_type_ontology_term_id": category(kind, [f"CL:{i:07d}" for i in range(_TYPES)]),
            "donor_id": category(donor, [f"donor {i}" for i in range(_DONORS)]),
            "tissue": category(donor % 3, ["blood", "lung", "liver"]),
            "tissue_ontology_term_id": category(donor % 3, ["UBERON:0000178", "UBERON:0002048", "UBERON:0002107"]),
            "assay": category(one, ["10x 3' v3"]),
            "assay_ontology_term_id": category(one, ["EFO:0009922"]),
            "disease": category(one, ["normal"]),
            "disease_ontology_term_id": category(one, ["PATO:0000461"]),
            "sex": category(donor % 2, ["female", "male"]),
            "organism": category(one, ["Homo sapiens"]),
            "is_primary_data": np.ones(n, dtype=bool),
            "n_counts": sums.astype(np.float32),
            "n_genes": detected.astype(np.int32),
            "percent_mito": rng.random(n).astype(np.float32),
            "observation_joinid": [f"{x:010x}" for x in rng.integers(0, 1 << 40, n)],
        },
        index=pd.Index([f"{x:016x}-1" for x in rng.integers(0, 1 << 62, n)]),
    )
    var = pd.DataFrame(
        {
            "feature_name": [f"GENE{i}" for i in range(n_genes)],
            "feature_length": rng.integers(200, 9000, n_genes),
        },
        index=pd.Index([f"ENSG{i:011d}" for i in range(n_genes)]),
    )
    return obs, var


def servers() -> ModuleType:
    """The servers that the tests use too."""
    path = Path(__file__).resolve().parents[1] / "tests" / "corpus" / "servers.py"
    spec = importlib.util.spec_from_file_location("corpus_servers", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def far_server(folder: Path, *, delay: float = DELAY) -> Iterator[tuple[str, str]]:
    """Address of a folder behind a delay, and what serves it: nginx where it can wait, else pure Python."""
    of = servers()
    if of.NGINX is not None and of.LUA.exists():
        with (
            tempfile.TemporaryDirectory() as work,
            of.serve_nginx(folder, Path(work), delay=delay, rate=RATE) as server,
        ):
            yield server.address, f"nginx, {RATE} MB/s a connection"
    else:
        with of.RangeServer(folder, delay=delay) as server:
            yield server.address, "python"
