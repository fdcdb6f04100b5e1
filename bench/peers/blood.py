"""The three blood studies, as raw counts with labels mapped to Cell Ontology ids.

The files are not in the repository: the folder is given by ``WHYCELL_DATA`` or found as ``shared/data/cells`` or
``data/cells`` in a folder above this one.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import scipy.sparse as sp

__all__ = ["STUDIES", "Study", "find_cells", "label_map", "load_study", "log_cp10k", "on_genes", "shared_symbols"]

STUDIES = ("kang_ctrl_8donors", "zheng_facs_3774", "pbmc3k_counts")


@dataclass(frozen=True)
class Study:
    """Counts (cells x genes) and what is known of the cells."""

    name: str
    counts: sp.csr_matrix
    genes: np.ndarray  # the file's own index
    symbols: np.ndarray
    labels: np.ndarray  # as in the file
    terms: np.ndarray  # the same, as Cell Ontology ids
    donors: np.ndarray


def find_cells() -> Path:
    """The folder with the h5ad files and ``label_to_cl.tsv``."""
    given = os.environ.get("WHYCELL_DATA")
    tried = [Path(given), Path(given) / "cells"] if given else []
    for up in Path(__file__).resolve().parents:
        tried += [up / "shared" / "data" / "cells", up / "data" / "cells"]
    for folder in tried:
        if (folder / "label_to_cl.tsv").exists():
            return folder
    msg = "No folder with label_to_cl.tsv and the three studies was found; name it with WHYCELL_DATA=FOLDER."
    raise SystemExit(msg)


def label_map() -> dict[str, str]:
    """Label -> Cell Ontology id."""
    rows = (find_cells() / "label_to_cl.tsv").read_text().splitlines()[1:]
    return {label: term for label, term, *_ in (row.split("\t") for row in rows if row)}


def load_study(name: str) -> Study:
    """Read one study; a study with no donor column is one donor."""
    data = anndata.read_h5ad(find_cells() / f"{name}.h5ad")
    labels = data.obs["cell_type"].astype(str).to_numpy().astype(str)
    to_term = label_map()
    donors = data.obs["donor"].astype(str).to_numpy().astype(str) if "donor" in data.obs else np.full(len(labels), name)
    symbols = data.var.get("symbol", data.var_names)
    return Study(
        name=name,
        counts=sp.csr_matrix(data.X, dtype=np.float32),
        genes=data.var_names.to_numpy().astype(str),
        symbols=np.asarray(symbols, dtype=str),
        labels=labels,
        terms=np.array([to_term[label] for label in labels]),
        donors=donors,
    )


def shared_symbols(studies: list[Study]) -> np.ndarray:
    """Symbols that every study measured, in the order of the first."""
    common = set.intersection(*(set(study.symbols) for study in studies))
    return np.array([symbol for symbol in dict.fromkeys(studies[0].symbols) if symbol in common])


def on_genes(study: Study, symbols: np.ndarray) -> sp.csr_matrix:
    """Counts on the genes asked for; a symbol that occurs twice is summed."""
    place = {symbol: j for j, symbol in enumerate(symbols)}
    held = [(i, place[s]) for i, s in enumerate(study.symbols) if s in place]
    rows, cols = zip(*held, strict=True)
    fold = sp.csr_matrix((np.ones(len(held), np.float32), (rows, cols)), shape=(len(study.symbols), len(symbols)))
    return sp.csr_matrix(study.counts @ fold, dtype=np.float32)


def log_cp10k(counts: sp.csr_matrix) -> sp.csr_matrix:
    """log(1 + counts per ten thousand), over the genes given."""
    total = np.asarray(counts.sum(axis=1)).ravel()
    scale = sp.diags(np.where(total > 0, 1e4 / np.maximum(total, 1e-12), 0.0))
    out = sp.csr_matrix(scale @ counts, dtype=np.float32)
    np.log1p(out.data, out=out.data)
    return out
