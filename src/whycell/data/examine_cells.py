"""What stands beside the matrix: cell names, obs columns, empty cells. The part of the doctor that looks at cells."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from whycell.data.blocks import Cells
from whycell.data.examine_values import Look
from whycell.data.schema import is_reserved, primary_cells
from whycell.data.sentences import examples
from whycell.results import Finding

__all__ = ["examine_cells"]

_MANY = 20_000_000  # entries of obs beyond which only the columns that matter are read
_CALL = "--cell_ontology_term_id"  # CAP's name: who annotated before left such a column


def examine_cells(cells: Cells, chosen: Look, gene_names: Sequence[str]) -> list[Finding]:
    """Findings on cells and their columns.

    Parameters
    ----------
    cells
        The open file.
    chosen
        The matrix to be read.
    gene_names
        (n_genes,) of that matrix.
    """
    return [*_names(cells), *_columns(cells), *_empty_cells(cells, chosen), *_zero_genes(chosen, gene_names)]


def _names(cells: Cells) -> list[Finding]:
    names = pd.Series(cells.obs_names)
    twice = names.duplicated(keep=False)
    if not twice.any():
        return []
    shown = examples(list(pd.unique(names[twice])))
    n_names = names[twice].nunique()
    share = "one name" if n_names == 1 else f"{n_names:,} names"
    message = f"{int(twice.sum()):,} cells share {share} where each should have its own: {shown}."
    cure = (
        "Cells are told apart by their place, so all are typed; tables joined by name later would mix them up: "
        "adata.obs_names_make_unique()."
    )
    return [Finding("duplicate_cell_names", "warning", message, cure, mended=True)]


def _columns(cells: Cells) -> list[Finding]:
    names = cells.obs_columns
    findings = [*_reserved(names), *_annotated_before(names)]
    if cells.n_cells * len(names) > _MANY:
        names = [name for name in names if name == "is_primary_data"]
    obs = cells.obs(list(dict.fromkeys(names)))
    obs = obs.loc[:, ~obs.columns.duplicated()]
    return [*findings, *_secondary(obs), *_missing(obs)]


def _reserved(names: list[str]) -> list[Finding]:
    taken = [name for name in names if is_reserved(name)]
    hidden = [name for name in taken if name.startswith("__")]
    if hidden:
        message = f"obs has {len(hidden)} column(s) whose names start with '__': {examples(hidden)}."
        cure = "The CELLxGENE schema forbids such names; rename them before you submit the file. whycell leaves them."
        return [Finding("reserved_columns", "warning", message, cure)]
    if not taken:
        return []
    message = f"obs has {len(taken)} column(s) of the CELLxGENE schema: {examples(taken)}."
    cure = "They are read where asked for and never written; calls go to columns of their own."
    return [Finding("reserved_columns", "info", message, cure, mended=True)]


def _annotated_before(names: list[str]) -> list[Finding]:
    keys = [name.removesuffix(_CALL) for name in names if name.endswith(_CALL)]
    ours = [key for key in keys if f"{key}_leaf_confidence" in names]
    if not ours:
        return []
    message = f"This file was typed before: obs has the columns of {examples([repr(key) for key in ours])}."
    cure = "Give the new calls another name (--key second), or replace the old ones (--force)."
    return [Finding("annotated_before", "info", message, cure)]


def _secondary(obs: pd.DataFrame) -> list[Finding]:
    primary = primary_cells(obs)
    n = 0 if primary is None else int((~primary).sum())
    if n == 0:
        return []
    message = f"{n:,} of {len(obs):,} cells have is_primary_data False: the same cells are in another dataset too."
    cure = (
        "Typing them is fine. For training or scoring, drop them, or a cell may be both learned and tested: "
        "adata = adata[adata.obs['is_primary_data']]."
    )
    return [Finding("not_primary_data", "warning", message, cure)]


def _missing(obs: pd.DataFrame) -> list[Finding]:
    found = {}
    for name in obs.columns:
        column = obs[name]
        if isinstance(column.dtype, pd.CategoricalDtype) or column.dtype == object:
            n = int(column.isna().sum())
            if n:
                found[str(name)] = n
    if not found:
        return []
    listed = examples([f"{name!r} ({n:,})" for name, n in found.items()])
    message = f"Of {len(obs):,} cells, some have no value in {len(found)} obs column(s): {listed}."
    cure = (
        "As a label, a missing value teaches nothing; as a donor or cluster it belongs to none. Name it if it means "
        "something: adata.obs['x'] = adata.obs['x'].cat.add_categories('unknown').fillna('unknown')."
    )
    return [Finding("missing_categories", "warning", message, cure, mended=True)]


def _empty_cells(cells: Cells, chosen: Look) -> list[Finding]:
    rows = chosen.empty_rows()
    if rows.size == 0 or chosen.kind.kind == "empty":
        return []
    shown = examples([str(cells.obs_names[row]) for row in rows[:4]])
    message = f"{rows.size:,} of {chosen.out_of} have no count in any gene: {shown}."
    cure = "They are called unknown. To drop them: adata = adata[adata.X.sum(axis=1).A1 > 0]."
    return [Finding("empty_cells", "warning", message, cure, mended=True)]


def _zero_genes(chosen: Look, gene_names: Sequence[str]) -> list[Finding]:
    columns = chosen.zero_genes()
    n = chosen.values.shape[1]
    if columns.size == 0 or chosen.kind.kind == "empty":
        return []
    shown = examples([gene_names[i] for i in columns[:4]])
    message = f"{columns.size:,} of {n:,} genes {'is' if columns.size == 1 else 'are'} zero in {chosen.seen}: {shown}."
    if columns.size <= 0.5 * n:
        return [Finding("all_zero_genes", "info", message, "Taken as measured and not found; nothing to do.")]
    cure = (
        "So many look filled in: genes that were not measured should be left out, not set to zero, or they argue "
        "against the types that express them. To drop them: adata = adata[:, adata.X.sum(axis=0).A1 > 0]."
    )
    return [Finding("all_zero_genes", "warning", message, cure)]
