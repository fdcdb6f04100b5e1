"""A sample of a plan's cells, from as many labels, donors and studies as some pieces of it hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from whycell.corpus.fragments import Piece

__all__ = ["CELLS", "CountSample", "Sampled", "choose_pieces", "sample_of", "thin"]

PIECES = 64
CELLS = 8192
BYTES = 256 * 1024 * 1024  # stored bytes of all pieces sampled: they wait on disk until they are encoded


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
        piece = pieces[i]
        brings = {(name, value) for name in ("label", "donor", "study") for value in piece.names[name][piece.of]}
        (new if brings - held else rest).append(i)
        held |= brings
    chosen: list[int] = []
    room = BYTES
    for i in [*new, *rest][:most]:
        if not chosen or pieces[i].nbytes <= room:
            chosen.append(i)
            room -= pieces[i].nbytes
    return [pieces[i] for i in sorted(chosen)]


@dataclass(frozen=True)
class Sampled:
    """Some rows of a piece.

    Parameters
    ----------
    piece
        The piece.
    kept
        (n,) positions of the rows among those of the piece.
    rows
        (n, n_columns) csr_matrix.
    genes
        One row a column.
    """

    piece: Piece
    kept: np.ndarray
    rows: Any
    genes: pd.DataFrame


def thin(piece: Piece, rows: Any, genes: pd.DataFrame, *, most: int, seed: int = 0) -> Sampled:
    """At most so many rows of a piece, drawn by a seed and by what the piece is: the same in whatever order they come.

    Parameters
    ----------
    piece, rows, genes
        The piece as it was read.
    most
        Rows kept.
    seed
        Of the draw.
    """
    rng = np.random.default_rng([seed, int(piece.name(), 16)])
    kept = np.sort(rng.permutation(rows.shape[0])[:most])
    return Sampled(piece, kept, rows[kept], genes)


def sample_of(found: Sequence[Sampled]) -> CountSample:
    """Join rows of several pieces over the genes of all of them.

    Parameters
    ----------
    found
        From `thin`.
    """
    place: dict[str, int] = {}
    table: list[tuple[str, str]] = []
    columns: dict[int, np.ndarray] = {}
    blocks, cells, seen = [], [], []
    for each in found:
        if id(each.genes) not in columns:
            columns[id(each.genes)] = _columns(each.genes, place, table)
        where = columns[id(each.genes)]
        blocks.append((each.rows, where))
        cells.append(each.piece.cells().iloc[each.kept])
        seen.append((cells[-1]["study"].unique(), where))
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
