"""Whether the genes of a file can be understood, and whether a model knows enough of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from whycell.data.blocks import Cells
from whycell.data.schema import organisms
from whycell.data.sentences import examples, percent
from whycell.knowledge.genes import GeneMapping, resolve_genes, symbol_of
from whycell.results import Finding

__all__ = ["GeneNames", "examine_genes", "find_genes"]

_TASTE = 1000  # names on which a column is judged before all of it is resolved
_BETTER = 0.02  # by this share a column must resolve better than the index to be taken instead
_MANY = 0.5  # a column of gene names resolves better than this; a column of something else does not come near
_PANEL = 1000  # fewer genes than this are a targeted panel, or a cut to variable genes
_FEW = 20
_ANIMALS = {
    "ENSRNOG": "rat",
    "ENSDARG": "zebrafish",
    "ENSMMUG": "rhesus macaque",
    "ENSMFAG": "crab-eating macaque",
    "ENSSSCG": "pig",
    "ENSGALG": "chicken",
    "ENSBTAG": "cow",
    "ENSCAFG": "dog",
    "ENSCJAG": "marmoset",
    "FBgn": "fruit fly",
    "WBGene": "worm",
}
_FOREIGN = re.compile(r"(ENS(?!MUSG)[A-Z]{3}G|FBgn|WBGene)\d{6,}")


@dataclass(frozen=True)
class GeneNames:
    """Where the names of the genes were found.

    Parameters
    ----------
    column
        The var column, or ``None`` for the index.
    names
        (n_genes,) as the file has them.
    mapping
        What they were resolved to.
    index_share
        Share of the index that resolves, on a sample.
    """

    column: str | None
    names: NDArray[np.object_]
    mapping: GeneMapping
    index_share: float

    @property
    def place(self) -> str:
        """``"the var index"`` or ``"var column 'symbol'"``."""
        return "the var index" if self.column is None else f"var column {self.column!r}"


def find_genes(var: pd.DataFrame) -> GeneNames:
    """Find the names by looking at the values: the index and every column of text are tried, whatever they are called.

    Parameters
    ----------
    var
        One row a gene, index = names.
    """
    index = np.asarray(var.index.astype(str), dtype=object)
    shares: dict[str | None, float] = {None: _share(index)}
    columns = {}
    for column in dict.fromkeys(var.columns):
        values = var[column]
        if isinstance(values, pd.DataFrame) or not _is_text(values):
            continue
        columns[str(column)] = np.asarray(values.astype(object).where(values.notna(), "").astype(str), dtype=object)
        shares[str(column)] = _share(columns[str(column)])
    best = max(shares, key=lambda column: (shares[column], column is None))
    if best is None or shares[best] < max(shares[None] + _BETTER, 0.1):
        best = None
    names = index if best is None else columns[best]
    return GeneNames(best, names, resolve_genes(list(names)), shares[None])


def examine_genes(
    cells: Cells, genes: GeneNames, *, model_genes: Sequence[str] | None, min_share: float, species: str
) -> list[Finding]:
    """Findings on naming, species, duplicates, and overlap with a model.

    Parameters
    ----------
    cells
        The open file.
    genes
        Of the matrix to be read.
    model_genes
        Ensembl ids of the model's genes, or ``None``.
    min_share
        Share of them that a file must have.
    species
        What the model types.
    """
    findings = [*_organism(cells, genes, species)]
    if strange := _strange(cells, genes):
        return findings + strange
    findings += [*_naming(genes), *_duplicates(genes)]
    if (
        genes.mapping.species in ("human", "mouse") and genes.mapping.species != species
    ):  # said already; that nothing overlaps would be noise
        return findings
    return findings + (_panel_alone(genes) if model_genes is None else _overlap(genes, model_genes, min_share))


def _strange(cells: Cells, genes: GeneNames) -> list[Finding]:
    """Names that hardly resolve, and the likeliest reason why."""
    mapping, names = genes.mapping, genes.names
    if mapping.share_resolved >= 0.1:
        return []
    if _share(cells.obs_names) > _MANY:
        message = (
            f"The matrix lies on its side: its {cells.n_cells:,} rows are named like genes "
            f"({examples(cells.obs_names)}) and its {names.size:,} columns like cells ({examples(names)})."
        )
        return [Finding("transposed", "error", message, "Cells are rows, genes are columns: adata = adata.T.")]
    if mapping.naming == "numbers":
        message = (
            f"Genes are named by numbers ({examples(names)}), and no column of var holds names: "
            "nothing says which gene is which."
        )
        cure = (
            "Numbers usually mean that the names were lost on the way: take them from the file this one was made "
            "from, adata.var_names = original.var_names. NCBI gene numbers must be mapped to symbols first."
        )
        return [Finding("integer_gene_names", "error", message, cure)]
    if (animal := _animal(names)) is not None:
        message = f"Genes are named like those of {animal}: {examples(names)}."
        cure = "Only human and mouse genes are known. Map them to human orthologues first, one to one."
        return [Finding("wrong_organism", "error", message, cure)]
    n = int(np.sum(mapping.ids != ""))
    message = (
        f"{n:,} of {names.size:,} gene names are known. This file names genes like '{examples(names)}'; known are "
        "symbols like 'CD3D' and Ensembl ids like 'ENSG00000167286'."
    )
    cure = "Put symbols or Ensembl gene ids into the index of var or into any column of it."
    return [Finding("unknown_genes", "error", message, cure)]


def _animal(names: NDArray[np.object_]) -> str | None:
    """The animal whose ids these are, where they are the ids of one that we have no table of."""
    stems = Counter(match[1] for match in map(_FOREIGN.match, names[:_TASTE]) if match)
    if not stems or stems.total() < 0.3 * min(names.size, _TASTE):
        return None
    stem = stems.most_common(1)[0][0]
    return _ANIMALS.get(stem, f"another species ({stem}…)")


def _naming(genes: GeneNames) -> list[Finding]:
    mapping = genes.mapping
    n_known = int(np.sum(mapping.ids != ""))
    known = f"{n_known:,} of {genes.names.size:,} are known ({percent(n_known / max(genes.names.size, 1))})"
    shown = examples(genes.names)
    code, what = {
        "ensembl": ("ensembl", "Ensembl ids"),
        "ensembl_versioned": ("versioned_ensembl", "Ensembl ids with a version"),
        "mixed": ("mixed_gene_names", "symbols and Ensembl ids, mixed"),
    }.get(mapping.naming, ("symbols", "symbols"))
    message = f"Genes are {what} ({shown}), in {genes.place}: {known}."
    old = int(np.sum(np.isin(mapping.rules, ("previous", "alias"))))
    cure = {
        "versioned_ensembl": "The versions are ignored; nothing to do.",
        "mixed_gene_names": "Each is resolved by itself; nothing to do.",
    }.get(code, f"{old:,} older names and aliases were resolved; nothing to do." if old else "")
    retired = int(np.sum(mapping.rules == "retired_id"))
    if retired:
        message = f"{message[:-1]}, {retired:,} of them by ids of another Ensembl release."
    findings = [Finding(code, "info", message, cure, mended=bool(cure))]
    if genes.column is not None:
        message = (
            f"The genes are named in {genes.place}; of the var index "
            f"({'none' if genes.index_share < 0.005 else percent(genes.index_share, 0)} known) nothing is used."
        )
        findings.append(Finding("genes_in_column", "info", message, "Found by its values; nothing to do.", mended=True))
    if n_known < 0.5 * genes.names.size:
        strangers = genes.names[mapping.ids == ""]
        message = (
            f"{strangers.size:,} of {genes.names.size:,} gene names are not known and are left out: "
            f"{examples(strangers)}."
        )
        cure = "If these are genes, put their symbols or Ensembl ids into any column of var; if not, nothing to do."
        findings.append(Finding("unknown_genes", "warning", message, cure))
    return findings


def _organism(cells: Cells, genes: GeneNames, species: str) -> list[Finding]:
    findings = []
    said = organisms(cells)
    others = [name for name in said if name != species]
    if others:
        message = f"The file says that its cells are from {' and '.join(said)}; wanted {species}."
        cure = (
            f"Use a model of that organism, or give only the {species} cells. If the file is wrong, correct its field."
        )
        findings.append(Finding("wrong_organism", "error", message, cure))
    mapping = genes.mapping
    if mapping.share_resolved >= 0.1 and mapping.species != species and mapping.species in ("human", "mouse"):
        n = int(np.sum(mapping.ids != ""))
        message = (
            f"These are {mapping.species} genes ({examples(genes.names)}): {n:,} of {genes.names.size:,} are known "
            f"{mapping.species} genes; wanted {species}."
        )
        cure = (
            f"Use a model of {mapping.species} cells. Writing the symbols in capitals is not enough: orthologues must "
            "be mapped one to one, and the calls are then untested."
        )
        findings.append(Finding(f"{mapping.species}_genes", "error", message, cure))
    return findings


def _duplicates(genes: GeneNames) -> list[Finding]:
    ids = pd.Series(genes.mapping.ids)
    known = ids[ids != ""]
    twice = known[known.duplicated(keep=False)]
    if twice.empty:
        return []
    shown = []
    for id_ in pd.unique(twice)[:3]:
        names = pd.unique(pd.Series(genes.names[np.asarray(ids == id_)]))
        n = int((ids == id_).sum())
        shown.append(f"{names[0]} ({n} times)" if len(names) == 1 else " = ".join(names[:3]))
    n = twice.nunique()
    many = "One gene occurs" if n == 1 else f"{n:,} genes occur"
    message = f"{many} more than once, in {twice.size:,} columns: {'; '.join(shown)}."
    cure = "The counts of such columns are summed; nothing to do."
    return [Finding("duplicated_genes", "warning", message, cure, mended=True)]


def _panel_alone(genes: GeneNames) -> list[Finding]:
    n = len(set(genes.mapping.ids) - {""})
    if n < _FEW:
        message = f"Only {n:,} known genes are in this file; cell types are told apart by hundreds."
        cure = "Give the whole matrix, not a cut of it (adata.raw.to_adata()?)."
        return [Finding("too_few_genes", "error", message, cure)]
    if n >= _PANEL:
        return []
    message = f"This file measures {n:,} genes: a targeted panel, or a matrix cut to its variable genes."
    cure = "Genes that were not measured are masked, not taken for zero. If the whole matrix is at hand, give that."
    return [Finding("gene_panel", "warning", message, cure, mended=True)]


def _overlap(genes: GeneNames, model_genes: Sequence[str], min_share: float) -> list[Finding]:
    shared = _shared(genes, model_genes)
    n, share = len(model_genes), shared / max(len(model_genes), 1)
    if share < min_share or shared == 0:
        theirs = [id_ for id_ in model_genes if id_ not in set(genes.mapping.ids)][:2]
        named = ", ".join(id_ if symbol == id_ else f"{id_} ({symbol})" for id_, symbol in _with_symbols(theirs))
        here = f"Only {shared:,}" if shared else "None"
        verb = "is" if shared < 2 else "are"
        message = (
            f"{here} of the model's {n:,} genes ({percent(share)}) {verb} in this file; at least "
            f"{percent(min_share, 0)} are needed. This file names genes like '{examples(genes.names)}'; "
            f"the model like '{named}'."
        )
        cure = (
            "Give the matrix with all genes that were measured, with human symbols or Ensembl ids; "
            "if this is a panel, train a model on references cut to it."
        )
        return [Finding("too_few_genes", "error", message, cure)]
    message = f"{shared:,} of the model's {n:,} genes ({percent(share)}) are in this file."
    if share >= 0.5:
        return [Finding("gene_overlap", "info", message)]
    cure = (
        "The others are masked, not taken for zero, so calls stay honest and become broader. "
        "If a matrix with more genes is at hand, give that."
    )
    return [Finding("gene_panel", "warning", message, cure, mended=True)]


def _shared(genes: GeneNames, model_genes: Sequence[str]) -> int:
    return len(set(genes.mapping.ids) & set(model_genes))


def _with_symbols(ids: list[str]) -> list[tuple[str, str]]:
    return list(zip(ids, symbol_of(ids), strict=True)) if ids else []


def _is_text(values: pd.Series) -> bool:
    if isinstance(values.dtype, pd.CategoricalDtype):
        return bool(values.cat.categories.dtype.kind in "OUST")
    return bool(values.dtype == object or isinstance(values.dtype, pd.StringDtype))


def _share(names: NDArray[np.object_]) -> float:
    """Share of a sample of names that resolves; the sample is spread over all of them."""
    if names.size == 0:
        return 0.0
    taken = np.unique(np.linspace(0, names.size - 1, min(names.size, _TASTE)).astype(np.int64))
    sample = names[taken]
    # One name over and over (a biotype, an organism) is no list of genes, even if some gene is called so.
    if len(set(sample)) < 0.5 * sample.size:
        return 0.0
    return float(resolve_genes(list(sample)).share_resolved)
