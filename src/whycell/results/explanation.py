"""Answer of ``explain``: which genes speak for a cell's type, which against, and whether that is true of the model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from whycell.results.examples import ExampleEvidence

__all__ = ["Explanation", "TopGenes", "TypeGenes"]


@dataclass(frozen=True)
class TopGenes:
    """The genes that say most, cell by cell; all four arrays (n_cells, n_top).

    Parameters
    ----------
    gene
        Position in ``Explanation.genes``, strongest first; -1 where a cell has fewer genes on that side.
    contribution
        Log-odds added (or taken, where negative).
    expression, reference
        Normalised expression in the cell, and in what it is compared with.
    """

    gene: np.ndarray
    contribution: np.ndarray
    expression: np.ndarray
    reference: np.ndarray


@dataclass(frozen=True)
class TypeGenes:
    """What the explanations of a type's cells say together.

    Parameters
    ----------
    types
        One row a type: ``type, term_id, cells, donors, donor_agreement`` (mean correlation between the mean
        contributions of two donors; NaN below two), ``markers`` (known ones that are measured), ``markers_for`` (those
        with a positive mean), ``markers_in_top`` (those among the ten strongest).
    mean
        (n_types, n_genes) mean contribution.
    share
        (n_types, n_genes) share of the type's cells in which the gene is among the strongest for it.
    same_sign
        (n_types, n_genes) share of donors whose mean has the sign of ``mean``; 1 without donors.
    marker
        (n_types, n_genes) int8: 1 where the gene is a known marker of the type, -1 where it is known to lack it.
    """

    types: pd.DataFrame
    mean: np.ndarray
    share: np.ndarray
    same_sign: np.ndarray
    marker: np.ndarray


@dataclass(frozen=True)
class Explanation:
    """The answer to ``explain``.

    Parameters
    ----------
    cells
        One row a cell explained, index = cell names: ``row`` (position in the file), ``call, call_term_id, confidence,
        leaf, runner_up, novelty, flag``; ``explained`` and ``against``, the two sides; ``reference``, what the cell is
        compared with; ``log_odds, reference_log_odds`` and ``residual``, what the contributions leave of their
        difference; ``note``; ``rationale`` and ``evidence``, as written to the file.
    genes
        One row a gene of the model: ``id, symbol, measured``.
    speaking_for, speaking_against
        The strongest genes of each cell.
    by_type
        The same by type.
    checks
        One row a type and one for all cells, of those that were checked: ``type, cells``, then what
        ``jobs.explain_checks`` measures; ``passed`` is whether the explanation depends on what the model learned.
    curves
        One row a method and number of genes: ``method, genes, deletion, insertion``, mean change of the probability.
    cell_checks
        The checks of single cells, index = cell names; a subset of ``cells``.
    donors
        Donor of each cell explained, or ``None``.
    map_rows, map_xy, map_method
        Rows of ``cells`` on the map, coordinates (m, 2), and how they were made.
    map_genes, map_values
        (k,) positions in ``genes`` of the genes that can colour the map, and (m, k) float32 their contributions.
    markers
        One row a known marker: ``type, gene, sign, source``.
    card, provenance
        The model's card, and plain values on how this was made.
    taught
        The training cells behind the calls, where a page is written and the model keeps them.
    """

    cells: pd.DataFrame
    genes: pd.DataFrame
    speaking_for: TopGenes
    speaking_against: TopGenes
    by_type: TypeGenes
    checks: pd.DataFrame
    curves: pd.DataFrame
    cell_checks: pd.DataFrame
    donors: np.ndarray | None
    map_rows: np.ndarray
    map_xy: np.ndarray
    map_method: str
    map_genes: np.ndarray
    map_values: np.ndarray
    markers: pd.DataFrame
    card: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)
    taught: ExampleEvidence | None = None

    def frame(self) -> pd.DataFrame:
        """One row a cell and gene: ``cell, side, rank, gene, gene_id, contribution, expression, reference``."""
        parts = [
            self._side("for", self.speaking_for),
            self._side("against", self.speaking_against),
        ]
        table = pd.concat(parts, ignore_index=True)
        order = np.lexsort((table["rank"], table["side"] == "against", table["cell_row"]))
        return table.iloc[order].drop(columns="cell_row").reset_index(drop=True)

    def type_frame(self, *, top: int = 10) -> pd.DataFrame:
        """One row a type and gene, the ``top`` strongest each way: ``type, term_id, side, rank, gene, gene_id,
        contribution, share, same_sign, marker, less`` (see ``speaks_by_absence``)."""
        rows = []
        found = self.by_type
        less = self.speaks_by_absence()
        for t, (name, term_id) in enumerate(zip(found.types["type"], found.types["term_id"], strict=True)):
            order = np.argsort(-found.mean[t], kind="stable")
            strongest = [g for g in order[:top] if found.mean[t, g] > 0]
            weakest = [g for g in order[::-1][:top] if found.mean[t, g] < 0]
            for side, picked in (("for", strongest), ("against", weakest)):
                for rank, g in enumerate(picked, start=1):
                    row = (name, term_id, side, rank, self.genes["symbol"].iat[g], self.genes["id"].iat[g])
                    numbers = (found.mean[t, g], found.share[t, g], found.same_sign[t, g], found.marker[t, g])
                    rows.append((*row, *(float(v) for v in numbers), bool(less[t, g])))
        columns = ["type", "term_id", "side", "rank", "gene", "gene_id", "contribution", "share", "same_sign", "marker"]
        return pd.DataFrame(rows, columns=[*columns, "less"])

    def speaks_by_absence(self) -> np.ndarray:
        """(n_types, n_genes) bool: most of the type's cells in which the gene is among the strongest express less of it
        than what they are compared with."""
        types = {str(name): t for t, name in enumerate(self.by_type.types["type"])}
        of_cell = np.array([types.get(str(call), -1) for call in self.cells["call"]], dtype=np.int64)
        balance = np.zeros(self.by_type.mean.shape)
        for top in (self.speaking_for, self.speaking_against):
            row, rank = np.nonzero((top.gene >= 0) & (of_cell >= 0)[:, None])
            sign = np.sign(top.reference[row, rank] - top.expression[row, rank])
            np.add.at(balance, (of_cell[row], top.gene[row, rank]), sign)
        return balance > 0

    def _side(self, side: str, top: TopGenes) -> pd.DataFrame:
        row, rank = np.nonzero(top.gene >= 0)
        gene = top.gene[row, rank]
        return pd.DataFrame(
            {
                "cell_row": row,
                "cell": self.cells.index.to_numpy(dtype=object)[row],
                "side": side,
                "rank": rank + 1,
                "gene": self.genes["symbol"].to_numpy(dtype=object)[gene],
                "gene_id": self.genes["id"].to_numpy(dtype=object)[gene],
                "contribution": top.contribution[row, rank],
                "expression": top.expression[row, rank],
                "reference": top.reference[row, rank],
            }
        )
