"""Names that people gave: the donor of every cell, and what the genes of a model are called."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whycell._keys import UNKNOWN
from whycell.data.cells import Cells
from whycell.errors import GroupError
from whycell.knowledge.genes import symbol_of

__all__ = ["Donors", "donors_of", "symbols_of"]

_DONOR_COLUMNS = ("donor_id", "donor")
_SYMBOL_COLUMNS = ("feature_name", "gene_symbols", "gene_symbol", "symbol", "gene_name", "gene_names")


@dataclass(frozen=True)
class Donors:
    """The donor of every cell: codes (n_cells,), their names, and the column."""

    codes: np.ndarray
    names: np.ndarray
    column: str | None


def donors_of(cells: Cells, column: str | None) -> Donors:
    """Donors as a column of obs says them.

    Parameters
    ----------
    cells
        The open file.
    column
        Its name; ``None`` takes ``donor_id`` or ``donor`` where there is one, else all cells are of one.

    Raises
    ------
    GroupError
        There is no such column.
    """
    column = column or next((c for c in _DONOR_COLUMNS if c in cells.obs_columns), None)
    if column is None:
        return Donors(np.zeros(cells.n_cells, dtype=np.int64), np.empty(0, dtype=object), None)
    if column not in cells.obs_columns:
        msg = f"{cells.name} has no column {column!r} in obs; it has: {', '.join(cells.obs_columns) or 'none'}."
        raise GroupError(msg)
    values = cells.obs([column])[column].astype(object)
    names, codes = np.unique(values.where(values.notna(), UNKNOWN).astype(str), return_inverse=True)
    return Donors(codes.astype(np.int64), names, column)


def symbols_of(genes: np.ndarray, columns: np.ndarray, *, cells: Cells, where: str) -> np.ndarray:
    """(g,) names of the model's genes: approved symbols; where our table has none for an id, the file's own.

    Parameters
    ----------
    genes
        (g,) ids.
    columns
        (n_columns,) the model's gene of each column of the file.
    cells, where
        The file and its matrix.
    """
    ids = genes.astype(str)
    symbols = np.array(symbol_of(ids.tolist()), dtype=object)
    bare = symbols == ids
    var = cells.var(where)
    column = next((c for c in _SYMBOL_COLUMNS if c in var.columns), None)
    if column is not None and bare.any():
        of_gene = {int(g): str(name) for g, name in zip(columns, var[column], strict=True) if g >= 0}
        symbols[bare] = [of_gene.get(g) or symbols[g] for g in np.flatnonzero(bare).tolist()]
    return symbols
