"""What is wrong with a file, and what mends it.

`examine` answers four questions, each in a module beside this one: which matrix to read and what its numbers are
(`examine_values`), which genes it measured and whether a model knows them (`examine_genes`), and whether the cells and
their columns are in order (`examine_cells`). Large files are judged on a sample, and the sentences say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from whycell.data.blocks import Cells
from whycell.data.examine_cells import examine_cells
from whycell.data.examine_genes import examine_genes, find_genes
from whycell.data.examine_values import choose_matrix, examine_values
from whycell.data.values import ValueKind
from whycell.errors import DataError, ExpressionError, FormatError, GeneError
from whycell.knowledge.genes import GeneMapping
from whycell.results import Finding

__all__ = ["Diagnosis", "examine"]

_LEVELS = ("error", "warning", "info")
_GENE_CODES = frozenset(
    {
        "transposed",
        "integer_gene_names",
        "unknown_genes",
        "too_few_genes",
        "mouse_genes",
        "human_genes",
        "wrong_organism",
    }
)


@dataclass(frozen=True)
class Diagnosis:
    """What the doctor found.

    Parameters
    ----------
    findings
        Errors first, then warnings, then what is well.
    where
        The matrix to read: ``"X"``, ``"raw/X"`` or ``"layers/NAME"``; ``None`` where the file could not be opened or
        has none.
    kind
        What that matrix holds; give it to ``values.to_linear``.
    genes
        Stable gene ids of its columns, in order.
    gene_column
        The var column they were found in; ``None`` for the index.
    """

    findings: tuple[Finding, ...]
    where: str | None = None
    kind: ValueKind | None = None
    genes: GeneMapping | None = None
    gene_column: str | None = None

    @property
    def usable(self) -> bool:
        """Whether the file can be typed as it is: no finding is an error."""
        return not any(finding.level == "error" for finding in self.findings)

    def frame(self) -> pd.DataFrame:
        """One row a finding: ``level, code, message, cure, mended``."""
        columns = ["level", "code", "message", "cure", "mended"]
        return pd.DataFrame([asdict(finding) for finding in self.findings], columns=columns)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        genes = None
        if self.genes is not None:
            genes = {
                "naming": self.genes.naming,
                "species": self.genes.species,
                "share_resolved": float(self.genes.share_resolved),
                "n_genes": len(self.genes.ids),
                "column": self.gene_column,
            }
        return {
            "usable": self.usable,
            "where": self.where,
            "kind": None if self.kind is None else self.kind.to_dict(),
            "genes": genes,
            "findings": [asdict(finding) for finding in self.findings],
        }

    def raise_if_unusable(self) -> None:
        """Raise the first error as an exception of the kind it is about.

        Raises
        ------
        FormatError, ExpressionError, GeneError
            With the message and the cure of the finding.
        """
        for finding in self.findings:
            if finding.level == "error":
                msg = f"{finding.message} {finding.cure}".strip()
                raise _error_of(finding.code)(msg)


def examine(
    cells: Cells, *, model_genes: Sequence[str] | None = None, min_share: float = 0.1, species: str = "human"
) -> Diagnosis:
    """Examine an open file.

    Parameters
    ----------
    cells
        From ``open_cells``. Nothing is changed.
    model_genes
        Ensembl ids of the genes of a model, to judge the overlap; ``None`` judges the file alone.
    min_share
        Share of ``model_genes`` that the file must have.
    species
        ``"human"`` or ``"mouse"``: what the cells should be from.

    Returns
    -------
    Diagnosis

    Raises
    ------
    FormatError
        Where the file turns out to be damaged while it is read.
    """
    if not cells.matrices or cells.n_cells == 0:
        n = f"{cells.n_cells:,} cells and {'no' if not cells.matrices else len(cells.matrices)} matrix"
        cure = "Give a file with expression values in X, raw or a layer."
        return Diagnosis((Finding("no_values", "error", f"{cells.name} has {n}.", cure),))
    chosen, kinds = choose_matrix(cells)
    genes = find_genes(cells.var(chosen.where))
    about_genes = examine_genes(cells, genes, model_genes=model_genes, min_share=min_share, species=species)
    findings = [*examine_values(chosen, kinds), *about_genes]
    if not any(finding.code == "transposed" for finding in about_genes):  # else its "cells" are genes
        findings += examine_cells(cells, chosen, list(genes.names))
    findings.sort(key=lambda finding: _LEVELS.index(finding.level))
    return Diagnosis(tuple(findings), chosen.where, chosen.kind, genes.mapping, genes.column)


def _error_of(code: str) -> type[DataError]:
    if code in _GENE_CODES:
        return GeneError
    return FormatError if code in ("missing_file", "truncated_file", "not_h5ad") else ExpressionError
