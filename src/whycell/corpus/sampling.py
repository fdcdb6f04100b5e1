"""A sample of a plan's cells, from as many labels, donors and studies as some pieces of it hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from whycell.corpus.fragments import Piece

__all__ = ["CountSample", "choose_pieces", "sample_of"]

PIECES = 64
CELLS = 8192


@dataclass(frozen=True)
class CountSample:
    """Some cells of a plan over the genes of all their files.

    Parameters
    ----------
    counts
        (n_cells, n_genes) float32 as stored.
    genes
        One row a gene: ``gene_id``, ``symbol``.
    cells
        One row a cell: ``label, label_id, donor, study, address, row``.
    measured
        By study, (n_genes,) bool: what its files measure.
    """

    counts: sparse.csr_matrix
    genes: pd.DataFrame
    cells: pd.DataFrame
    measured: dict[str, np.ndarray]


def choose_pieces(pieces: Sequence[Piece], *, most: int = PIECES, seed: int = 0) -> list[Piece]:
    """Some pieces: in a seeded order, those first that bring a label, donor or study not yet there.

    Parameters
    ----------
    pieces
        All of a plan.
    most
        How many at most.
    seed
        Of the order.
    """
    order = np.random.default_rng([seed, len(pieces)]).permutation(len(pieces))
    held: set[tuple[str, str]] = set()
    new: list[int] = []
    rest: list[int] = []
    for i in order.tolist():
        labels = pieces[i].labels
        brings = {(name, str(value)) for name in ("label", "donor", "study") for value in labels[name].unique()}
        (new if brings - held else rest).append(i)
        held |= brings
    return [pieces[i] for i in sorted([*new, *rest][:most])]


def sample_of(found: Sequence[tuple[Piece, Any, pd.DataFrame]], *, n_cells: int = CELLS, seed: int = 0) -> CountSample:
    """Join the rows of some pieces, evenly thinned, over the genes of all of them.

    Parameters
    ----------
    found
        Triples of piece, its rows and the genes of its columns.
    n_cells
        How many cells at most, about.
    seed
        Of the choice of rows.
    """
    rng = np.random.default_rng([seed, 1])
    share = max(1, n_cells // max(1, len(found)))
    place: dict[str, int] = {}
    table: list[tuple[str, str]] = []
    columns: dict[int, np.ndarray] = {}
    blocks, cells, seen = [], [], []
    for piece, rows, genes in found:
        if id(genes) not in columns:
            columns[id(genes)] = _columns(genes, place, table)
        kept = np.sort(rng.permutation(rows.shape[0])[:share])
        blocks.append((rows[kept], columns[id(genes)]))
        cells.append(piece.cells().iloc[kept])
        seen.append((cells[-1]["study"].unique(), columns[id(genes)]))
    measured: dict[str, np.ndarray] = {}
    for studies, where in seen:
        for study in studies:
            measured.setdefault(str(study), np.zeros(len(table), dtype=bool))[where] = True
    counts = sparse.vstack([_widened(*block, len(table)) for block in blocks], format="csr")
    names = pd.DataFrame(table, columns=["gene_id", "symbol"])
    return CountSample(counts, names, pd.concat(cells, ignore_index=True), measured)


def _columns(genes: pd.DataFrame, place: dict[str, int], table: list[tuple[str, str]]) -> np.ndarray:
    """The column of each gene among those of all files: by its id, else its symbol, else one of its own."""
    found = np.empty(len(genes), dtype=np.int32)
    for i, (gene_id, symbol) in enumerate(zip(genes["gene_id"], genes["symbol"], strict=True)):
        name = gene_id or symbol or f"\0{len(table)}"
        if name not in place:
            place[name] = len(table)
            table.append((gene_id, symbol))
        found[i] = place[name]
    return found


def _widened(rows: Any, columns: np.ndarray, n: int) -> Any:
    parts = (rows.data.astype(np.float32), columns[rows.indices], rows.indptr)
    wide = sparse.csr_matrix(parts, shape=(rows.shape[0], n))
    wide.sum_duplicates()
    return wide
