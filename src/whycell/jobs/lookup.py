"""From a text to cell types, genes and cells; from a cell to its genes, what is written of them, and its types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from whycell._keys import DEFAULT_KEY, ObsKeys
from whycell.compute import Talk
from whycell.data.cells import Cells, open_cells
from whycell.data.values import to_linear
from whycell.encode.gene_vectors import GeneVectors
from whycell.errors import UsageError
from whycell.jobs.lookup_cells import Expression, gene_weights, measure, score_cells
from whycell.jobs.unseen import below
from whycell.jobs.words import Words
from whycell.knowledge.genes import symbol_of
from whycell.models.folder import read_about
from whycell.models.text_scores import text_embedding
from whycell.models.unseen import KIND, load_unseen
from whycell.results.lookup import CellLookup, Lookup

__all__ = ["facets_of", "lookup", "lookup_cell"]

_GENES_TOLD = 3


def lookup(
    text: str,
    typed: Any = None,
    *,
    words: Words,
    known_only: bool = False,
    most: int = 10,
    key: str = DEFAULT_KEY,
    threads: int = 0,
    talk: Talk | None = None,
) -> Lookup:
    """The cell types, the genes and, in a file, the cells that a text speaks of.

    Types and genes are ranked by the cosine of their texts' vectors with that of the text; cells by what they express
    of the nearest genes, see ``jobs.lookup_cells``.

    Parameters
    ----------
    text
        Any words: ``"produces insulin"``.
    typed
        A file of cells, or an AnnData; best one that ``annotate`` wrote.
    words
        As ``jobs.words.open_words`` gives them.
    known_only
        Only types that the model can call.
    most
        Rows of each table.
    key
        Under which ``annotate`` wrote.
    threads, talk
        Cores, and who is told.

    Raises
    ------
    UsageError
        An empty text, or ``known_only`` without a model.

    Examples
    --------
    >>> words = open_words("vectors.parquet")                      # doctest: +SKIP
    >>> lookup("produces insulin", words=words).types              # doctest: +SKIP
    """
    talk = talk or Talk()
    if not text.strip():
        msg = 'There is no text to look up; give some words, such as "produces insulin".'
        raise UsageError(msg)
    if known_only and words.nodes is None:
        msg = "Types that a model knows were asked for, and no model; name it with --model."
        raise UsageError(msg)
    query = words.of([text], talk=talk)[0]
    types = _types(words, words.definitions(talk=talk) @ query, most, known_only=known_only)
    if typed is None:
        near = words.vectors.vectors @ query
        best = np.argsort(-near, kind="stable")[:most]
        return Lookup(text, types, _genes(words, words.vectors.genes[best], near[best]), provenance=words.about)
    with open_cells(typed) as cells:
        expression = measure(cells, threads=threads, talk=talk)
        near = _near_columns(words.vectors, expression.ids, query)
        columns, weights = gene_weights(expression, near)
        scores = score_cells(expression, columns, weights, threads=threads, talk=talk)
        shown = columns[:most]
        genes = _genes(words, expression.ids[shown], near[shown]).assign(cells=expression.detected[shown])
        calls = _column(cells, ObsKeys(key).call)
        best = np.argsort(-scores, kind="stable")[:most]
        found = pd.DataFrame(
            {
                "cell": expression.cells.obs_names[best],
                "score": scores[best],
                "call": "" if calls is None else calls[best],
                "genes": _speakers(expression, best, columns, weights),
            }
        )
        about = {**words.about, "file": cells.name, "n_cells": cells.n_cells}
    return Lookup(text, types, genes, found, None if calls is None else _by_call(calls, scores), about)


def lookup_cell(
    cell: str,
    typed: Any,
    *,
    words: Words,
    unseen: Path | None = None,
    even_so: bool = False,
    most: int = 10,
    key: str = DEFAULT_KEY,
    threads: int = 0,
    talk: Talk | None = None,
) -> CellLookup:
    """A cell's types with their definitions, and the genes it expresses above the others with what is written of them.

    Parameters
    ----------
    cell
        Its name in the file.
    typed
        A file that ``annotate`` wrote, or an AnnData.
    words, most, key, threads, talk
        As ``lookup`` takes them.
    unseen
        What ``whycell genes unseen`` wrote: also types that training never saw, where it was found to help.
    even_so
        Show them where it was found not to.

    Raises
    ------
    UsageError
        No cell, or several, of that name; a file that was not typed; or a map that was learned from other vectors.
    """
    with open_cells(typed) as cells:
        row = _row_of(cells, cell)
        types = _types_of_cell(words, cells, row, ObsKeys(key))
        expression = measure(cells, threads=threads, talk=talk)
        x = expression.rows(np.array([row])).toarray()[0]
        linear = to_linear(cells.read_rows(expression.where, np.array([row])), expression.kind, first_row=row)
        about = {**words.about, "file": cells.name, "n_cells": cells.n_cells}
    above = np.where((x > 0) & (expression.ids != ""), x - expression.mean, -np.inf)
    best = np.argsort(-above, kind="stable")[: min(most, int(np.isfinite(above).sum()))]
    term = str(types["term_id"].iloc[0])
    fits = np.full(len(best), np.nan)
    if term in words.ontology.index:
        fits = _near_columns(words.vectors, expression.ids[best], words.definitions([term], talk=talk)[0])
    table = _genes(words, expression.ids[best], fits).rename(columns={"similarity": "fits"})
    table.insert(2, "expression", x[best])
    table.insert(3, "above", above[best])
    note = ""
    if unseen is not None:
        more, note = _unseen(words, Path(unseen), linear, expression.ids, call=term, even_so=even_so, most=most)
        types = pd.concat([types, more], ignore_index=True)
    return CellLookup(cell, types, table, note, about)


def facets_of(unseen: Path) -> list[str]:
    """Kinds of text that a map was learned on; other ones do not fit it.

    Parameters
    ----------
    unseen
        What ``whycell genes unseen`` wrote.
    """
    return [str(facet) for facet in read_about(Path(unseen), kind=KIND)["vectors"]["facets"]]


def _unseen(
    words: Words, folder: Path, counts: sp.csr_matrix, ids: np.ndarray, *, call: str, even_so: bool, most: int
) -> tuple[pd.DataFrame, str]:
    """Terms that training never saw, the nearest first, and a sentence on what they are worth."""
    map_, about = load_unseen(folder)
    made = about["vectors"]
    if (made["fingerprint"], made["facets"]) != (words.vectors.fingerprint, list(words.vectors.facets)):
        msg = (
            f"The map {folder.name} was learned on vectors of {made['encoder']} with the facets "
            f"{', '.join(made['facets'])}; give those with --gene-vectors and --facets, or learn it anew."
        )
        raise UsageError(msg)
    by_way = {row["way"]: row for row in about["summary"]}
    way = about["helps"] or "map below the call"
    own, other = by_way[way]["lin"], by_way["call"]["lin"]
    columns = ["what", "term_id", "name", "score", "definition"]
    if not about["helps"] and not even_so:
        note = (
            f"On types left out the map is no better than the call alone (likeness to the truth {own:.2f}, the call's "
            f"{other:.2f}), so it stays off; --even-so shows it."
        )
        return pd.DataFrame(columns=columns), note
    cell = text_embedding(counts, ids, vectors=words.vectors)
    allowed = None if way == "map" else below(map_, [call], ontology=words.ontology)
    best = [int(i) for i in map_.best(cell, most=most, allowed=allowed)[0] if i >= 0]
    scores = map_.scores(cell)[0]
    rows = [("unseen", str(map_.terms[i]), words.ontology.name(map_.terms[i]), float(scores[i])) for i in best]
    note = (
        f"Unseen types are a guess by words: on types left out the first is right in {by_way[way]['top1']:.0%} of "
        f"cells, one of the first five in {by_way[way]['top5']:.0%}."
    )
    return pd.DataFrame([(*row, words.definition(row[1])) for row in rows], columns=columns), note


def _types(words: Words, similarity: np.ndarray, most: int, *, known_only: bool) -> pd.DataFrame:
    ids = words.ontology.ids.astype(str)
    usable = np.array([id_ not in words.ontology.stop_terms for id_ in ids])
    known = np.array([id_ in (words.nodes or ()) for id_ in ids])
    if known_only:
        usable &= known
    best = np.argsort(np.where(usable, -similarity, np.inf), kind="stable")[: min(most, int(usable.sum()))]
    frame = pd.DataFrame({"term_id": ids[best], "name": [words.ontology.name(i) for i in ids[best]]})
    frame["similarity"] = similarity[best].astype(float)
    if words.nodes is not None:
        frame["known"] = known[best]
    return frame.assign(definition=[words.definition(i) for i in ids[best]])


def _genes(words: Words, ids: np.ndarray, similarity: np.ndarray) -> pd.DataFrame:
    names = [str(i) for i in ids]
    texts = [words.texts.get(name, "") for name in names]
    return pd.DataFrame(
        {"gene_id": names, "symbol": symbol_of(names), "similarity": similarity.astype(float), "text": texts}
    )


def _near_columns(vectors: GeneVectors, ids: np.ndarray, query: np.ndarray) -> np.ndarray:
    """(n_columns,) cosine of each column's gene with a text; NaN where the gene has no vector."""
    matrix = vectors.matrix(ids)
    return np.where(np.abs(matrix).sum(axis=1) > 0, matrix @ query, np.nan)


def _speakers(expression: Expression, rows: np.ndarray, columns: np.ndarray, weights: np.ndarray) -> list[str]:
    """Of each cell the genes that put it where it stands."""
    parts = (expression.rows(rows)[:, columns].toarray() - expression.mean[columns]) * weights
    symbols = np.asarray(symbol_of([str(i) for i in expression.ids[columns]]))
    return [", ".join(symbols[j] for j in np.argsort(-row, kind="stable")[:_GENES_TOLD] if row[j] > 0) for row in parts]


def _by_call(calls: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    table = pd.DataFrame({"call": calls, "score": scores}).groupby("call", sort=True)["score"].agg(["size", "mean"])
    table = table.rename(columns={"size": "cells", "mean": "score"}).reset_index()
    return table.sort_values("score", ascending=False, kind="stable", ignore_index=True)


def _column(cells: Cells, name: str) -> np.ndarray | None:
    if name not in cells.obs_columns:
        return None
    return cells.obs([name])[name].astype(object).fillna("").astype(str).to_numpy()


def _row_of(cells: Cells, cell: str) -> int:
    found = np.flatnonzero(np.asarray(cells.obs_names).astype(str) == cell)
    if len(found) == 1:
        return int(found[0])
    some = ", ".join(map(str, cells.obs_names[:3]))
    told = f"{len(found)} cells named" if len(found) else "no cell named"
    msg = f"{cells.name} has {told} {cell!r}; its {cells.n_cells:,} cells have names such as {some}."
    raise UsageError(msg)


def _types_of_cell(words: Words, cells: Cells, row: int, keys: ObsKeys) -> pd.DataFrame:
    columns = {
        "call": (keys.call, keys.call_term_id, keys.confidence),
        "leaf": (keys.leaf, keys.leaf_term_id, keys.leaf_confidence),
        "runner-up": (keys.runner_up, "", ""),
    }
    by_name = {str(term.name): id_ for id_, term in words.ontology.items() if not term.obsolete}
    rows = []
    for what, (name, term, score) in columns.items():
        held = [column for column in (name, term, score) if column in cells.obs_columns]
        if name not in held:
            continue
        said = cells.obs(held).iloc[row]
        id_ = str(said[term]) if term in held else by_name.get(str(said[name]), "")
        value = float(said[score]) if score in held else float("nan")
        rows.append((what, id_, str(said[name]), value, words.definition(id_)))
    if not rows:
        msg = f"{cells.name} holds no calls under the key {keys.key!r}; run `whycell annotate` on it first."
        raise UsageError(msg)
    return pd.DataFrame(rows, columns=["what", "term_id", "name", "score", "definition"])
