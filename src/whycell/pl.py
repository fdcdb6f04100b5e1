"""Plots: take an annotated AnnData and a key, return a figure. Nothing is shown or saved here.

A notebook shows a returned figure by itself; ``figure.savefig("map.pdf")`` keeps it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whycell._keys import DEFAULT_KEY, UNKNOWN, ObsKeys

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData
    from matplotlib.figure import Figure

__all__ = [
    "cell_map",
    "composition",
    "confusion",
    "contribution_map",
    "contributions",
    "gene_matrix",
    "gene_network",
    "reliability",
    "risk_coverage",
    "type_genes",
]

#: What may colour a map, and which column that is.
_COLOURS = ("call", "leaf", "runner_up", "confidence", "leaf_confidence", "novelty")


def cell_map(adata: AnnData, *, key: str = DEFAULT_KEY, color: str = "call", basis: str = "X_umap") -> Figure:
    """Draw the cells in the plane, coloured by what was written under ``key``.

    Parameters
    ----------
    adata
        Cells that :func:`whycell.tl.annotate` has typed.
    key
        The ``key_added`` of that run.
    color
        ``"call"``, ``"leaf"``, ``"runner_up"``, ``"confidence"``, ``"leaf_confidence"`` or ``"novelty"``; or any column
        of ``obs``. Confidences are drawn as doubt, so that what needs a look stands out.
    basis
        Key of ``obsm`` that holds the coordinates; the first two columns are drawn.

    Raises
    ------
    whycell.errors.UsageError
        There is no such key, column or basis.
    """
    from whycell.errors import UsageError
    from whycell.reports import figures

    if basis not in adata.obsm:
        msg = (
            f"obsm has no {basis!r}, only {_list(adata.obsm)}; make a map first (scanpy.tl.umap), or name another basis"
        )
        raise UsageError(msg)
    values = _column(adata, getattr(ObsKeys(key), color) if color in _COLOURS else color)
    if color.endswith("confidence"):
        values = 1 - values
    title = f"1 − {color.replace('_', ' ')}" if color.endswith("confidence") else ""
    return figures.cell_map(adata.obsm[basis][:, :2], values, method=basis.removeprefix("X_").upper(), title=title)


def composition(adata: AnnData, *, key: str = DEFAULT_KEY, groups: str | None = None) -> Figure:
    """Draw the share of every call in every group, as stacked bars.

    Parameters
    ----------
    adata
        Cells that :func:`whycell.tl.annotate` has typed.
    key
        The ``key_added`` of that run.
    groups
        Column of ``obs``, such as the donor; ``None`` draws all cells as one.
    """
    from whycell.reports import figures

    calls = _column(adata, ObsKeys(key).call)
    return figures.composition(calls, None if groups is None else _column(adata, groups))


def confusion(adata: AnnData, truth: str, *, key: str = DEFAULT_KEY) -> Figure:
    """Draw true labels against calls; every row sums to one.

    Parameters
    ----------
    adata
        Cells that :func:`whycell.tl.annotate` has typed.
    truth
        Column of ``obs`` that holds the labels to compare with.
    key
        The ``key_added`` of that run.
    """
    import pandas as pd

    from whycell.reports import figures

    counts = pd.crosstab(_column(adata, truth), _column(adata, ObsKeys(key).call))
    # Each row beside the calls it went to: calls in the order of the label that most of their cells have.
    order = sorted(
        counts.columns, key=lambda call: (call == UNKNOWN, counts.index.get_loc(counts[call].idxmax()), call)
    )
    return figures.confusion(counts[order])


def reliability(adata: AnnData, truth: str, *, key: str = DEFAULT_KEY) -> Figure:
    """Draw how often calls of a given confidence are right; the diagonal is honesty.

    A call is right where it is the true term or lies above it in the Cell Ontology. Cells called ``unknown``, and
    cells whose true label is no ontology term, are left out.

    Parameters
    ----------
    adata
        Cells that :func:`whycell.tl.annotate` has typed.
    truth
        Column of ``obs`` that holds true labels: names, synonyms or ids of the Cell Ontology.
    key
        The ``key_added`` of that run.
    """
    from whycell.metrics.calibration import reliability_table
    from whycell.reports import figures

    return figures.reliability({key: reliability_table(*_judged(adata, truth, key=key))})


def risk_coverage(adata: AnnData, truth: str, *, key: str = DEFAULT_KEY) -> Figure:
    """Draw the share wrong among the most confident calls, as more and more are kept.

    What counts as right, and which cells are left out, is as in :func:`reliability`.

    Parameters
    ----------
    adata
        Cells that :func:`whycell.tl.annotate` has typed.
    truth
        Column of ``obs`` that holds true labels: names, synonyms or ids of the Cell Ontology.
    key
        The ``key_added`` of that run.
    """
    from whycell.metrics.coverage import risk_coverage as curve
    from whycell.reports import figures

    return figures.risk_coverage({key: curve(*_judged(adata, truth, key=key))})


def contributions(adata: AnnData, cell: str, *, key: str = DEFAULT_KEY) -> Figure:
    """Draw the genes of one cell as bars, for its call to the right and against it to the left.

    Parameters
    ----------
    adata
        Cells that :func:`whycell.tl.explain` has explained.
    cell
        Name of the cell.
    key
        The ``key_added`` of that run.
    """
    import numpy as np

    from whycell.errors import UsageError
    from whycell.reports import reasons

    layer = _contributions(adata, key, "layers")
    if cell not in adata.obs_names:
        msg = f"there is no cell {cell!r}; there are {_list(adata.obs_names)}"
        raise UsageError(msg)
    row = np.asarray(layer[adata.obs_names.get_loc(cell)].todense()).ravel()
    told = np.flatnonzero(row)
    symbols = _symbols(adata)
    return reasons.contributions(symbols[told], row[told], title=f"{cell}: {adata.obs[key].get(cell, '')}")


def contribution_map(adata: AnnData, gene: str, *, key: str = DEFAULT_KEY, basis: str = "X_umap") -> Figure:
    """Draw what one gene says of every cell, on a map of cells.

    Parameters
    ----------
    adata
        Cells that :func:`whycell.tl.explain` has explained.
    gene
        Its symbol, or its name in ``adata.var_names``.
    key
        The ``key_added`` of that run.
    basis
        Key of ``obsm`` that holds the coordinates; the first two columns are drawn.
    """
    import numpy as np

    from whycell.errors import UsageError
    from whycell.reports import reasons

    layer = _contributions(adata, key, "layers")
    at = np.flatnonzero((_symbols(adata) == gene) | (adata.var_names == gene))
    if not len(at) or basis not in adata.obsm:
        lacks = f"gene {gene!r} in var" if not len(at) else f"{basis!r} in obsm, only {_list(adata.obsm)}"
        msg = f"there is no {lacks}"
        raise UsageError(msg)
    values = np.asarray(layer[:, at[0]].todense()).ravel()
    return reasons.contribution_map(
        adata.obsm[basis][:, :2], values, method=basis.removeprefix("X_").upper(), title=gene
    )


def type_genes(adata: AnnData, *, key: str = DEFAULT_KEY, top: int = 3) -> Figure:
    """Draw the mean contributions of genes to the types, as a heat map.

    Parameters
    ----------
    adata
        Cells that :func:`whycell.tl.explain` has explained.
    key
        The ``key_added`` of that run.
    top
        Strongest genes of every type that are shown.
    """
    import numpy as np

    from whycell.reports import reasons

    mean = np.asarray(_contributions(adata, key, "varm")).T
    strongest = np.argsort(-mean, axis=1, kind="stable")[:, :top]
    genes = list(dict.fromkeys(strongest.ravel().tolist()))
    types = [str(name) for name in adata.uns[ObsKeys(key).explanation]["types"]]
    return reasons.type_genes(types, _symbols(adata)[genes], mean[:, genes])


def gene_matrix(adata: AnnData, of_type: str, *, key: str = DEFAULT_KEY, genes: int = 25) -> Figure:
    """Draw the matrix of genes by genes that a type is decided along, as a heat map.

    Parameters
    ----------
    adata
        Cells that :func:`whycell.tl.features` was run on.
    of_type
        Name of the type.
    key
        The ``key_added`` of that run.
    genes
        Genes of highest score that are shown.
    """
    from whycell.reports import feature_figures

    names, values = _agop_of(adata, of_type, key, genes)
    return feature_figures.gene_matrix(names, values, title=of_type)


def gene_network(adata: AnnData, of_type: str, *, key: str = DEFAULT_KEY, genes: int = 25, edges: int = 60) -> Figure:
    """Draw the genes that a type is decided along as a network: joined where the model reads them together.

    Parameters
    ----------
    adata
        Cells that :func:`whycell.tl.features` was run on.
    of_type
        Name of the type.
    key
        The ``key_added`` of that run.
    genes
        Genes of highest score that are shown.
    edges
        Strongest joins that are drawn.
    """
    from whycell.reports import feature_figures

    names, values = _agop_of(adata, of_type, key, genes)
    return feature_figures.gene_network(names, values, title=of_type, edges=edges)


def _agop_of(adata: AnnData, of_type: str, key: str, genes: int) -> tuple[np.ndarray, np.ndarray]:
    """Symbols and matrix of the genes of highest score of a type."""
    import numpy as np

    from whycell.errors import UsageError

    prefix = f"{ObsKeys(key).agop}:"
    name = prefix + of_type.replace("/", "|")
    if name not in adata.varp:
        held = [each.removeprefix(prefix) for each in adata.varp if each.startswith(prefix)]
        msg = f"varp has no features of {of_type!r}, only of {_list(held)}; run whycell.tl.features first"
        raise UsageError(msg)
    matrix = adata.varp[name].tocsr()
    score = matrix.diagonal()
    at = np.argsort(-score, kind="stable")[:genes]
    at = at[score[at] > 0]
    return _symbols(adata)[at], matrix[at][:, at].toarray()


def _contributions(adata: AnnData, key: str, room: str) -> Any:
    from whycell.errors import UsageError

    name = ObsKeys(key).contributions
    if name not in getattr(adata, room):
        msg = f"{room} has no {name!r}; run whycell.tl.explain first (or whycell explain --layer), or name another key"
        raise UsageError(msg)
    return getattr(adata, room)[name]


def _symbols(adata: AnnData) -> np.ndarray:
    """What a person calls the genes: the approved symbol where the index holds ids, else the index."""
    import numpy as np

    from whycell.knowledge.genes import symbol_of

    return np.array(symbol_of([str(name) for name in adata.var_names]), dtype=object)


def _judged(adata: AnnData, truth: str, *, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Confidence of every judged call, and whether it is right."""
    import numpy as np

    from whycell.errors import LabelError
    from whycell.knowledge.labels import map_labels
    from whycell.knowledge.terms import Ontology

    keys, ontology = ObsKeys(key), Ontology.load()
    labels, called = _column(adata, truth), _column(adata, keys.call_term_id)
    term_of = map_labels(np.unique(labels), ontology).label_to_id
    true = np.array([term_of[label] for label in labels])
    kept = (true != "") & (called != "")
    if not kept.any():
        msg = f"none of the labels in obs[{truth!r}] is a term of the Cell Ontology ({_list(term_of)}); map them first"
        raise LabelError(msg)
    right = np.array([call in ontology.ancestors(term) for call, term in zip(called[kept], true[kept], strict=True)])
    return _column(adata, keys.confidence)[kept], right


def _column(adata: AnnData, name: str) -> np.ndarray:
    """A column of obs as numbers or as text; missing text is empty."""
    from whycell.errors import UsageError

    if name not in adata.obs:
        msg = f"obs has no column {name!r}, only {_list(adata.obs)}; run whycell.tl.annotate first, or name another key"
        raise UsageError(msg)
    column = adata.obs[name]
    if column.dtype.kind in "fiu":
        return column.to_numpy()
    return column.astype(object).where(column.notna(), "").astype(str).to_numpy(dtype=str)


def _list(names: object, most: int = 6) -> str:
    known = [repr(str(name)) for name in names]  # type: ignore[attr-defined]
    return ", ".join(known[:most]) + (f" and {len(known) - most} more" if len(known) > most else "") or "none"
