"""What the catalogue keeps of every cell: its words under one set of names, their terms, and runs of equal cells."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from whycell.corpus.contents import Contents
from whycell.corpus.vocabulary import Term, terms_of_labels, terms_of_pairs
from whycell.data.schema import organism_name
from whycell.errors import FormatError

__all__ = ["WORDS", "cell_fields", "primary_cells", "runs_of", "with_terms"]

#: The words that a run of cells has in common.
WORDS = ("cell_type", "cell_type_id", "donor", "study", "tissue", "tissue_id", "assay", "disease", "sex", "organism")
_LABELLED = ("cell_type", "tissue", "assay", "disease")
_COLLECTION = re.compile(r"/collections/([0-9a-f-]{36})")


def cell_fields(contents: Contents, address: str) -> tuple[dict[str, pd.Categorical], dict[str, dict[str, str]]]:
    """Every word that the catalogue keeps of a cell, and where each was found.

    Parameters
    ----------
    contents
        The file.
    address
        What a message calls it; the last resort for the name of its study.

    Returns
    -------
    Categories of (n_cells,) by field, empty ones where nothing is said, and ``{field: {"column", "rule"}}``.
    """
    n = contents.n_cells
    rules = {name: {"column": each.column, "rule": each.rule} for name, each in contents.columns.items()}
    cells = {}
    for name in (*WORDS, "assay_id", "disease_id"):
        values = contents.values(name)
        if values is not None and len(values) != n:
            msg = f"{address} contradicts itself: {n} cells, {len(values)} values in {contents.columns[name].column}."
            raise FormatError(msg)
        cells[name] = _nothing(n) if values is None else _worded(values)
    if "study" not in rules:
        collection = _COLLECTION.search(contents.uns("citation"))
        said = collection[1] if collection else contents.uns("title") or address.rsplit("/", 1)[-1]
        cells["study"] = _constant(said, n)
        rules["study"] = {"column": "citation" if collection else "title", "rule": "uns"}
        if not collection and not contents.uns("title"):
            rules["study"] = {"column": "", "rule": "file"}
    cells["organism"] = _merged(cells["organism"], [organism_name(str(c)) for c in cells["organism"].categories])
    if "organism" not in rules:
        for key in ("organism_ontology_term_id", "organism"):
            name = organism_name(contents.uns(key))
            if name:
                cells["organism"], rules["organism"] = _constant(name, n), {"column": key, "rule": "uns"}
                break
    return cells, rules


def with_terms(
    cells: dict[str, pd.Categorical], rules: dict[str, dict[str, str]]
) -> tuple[dict[str, Any], dict[str, pd.Categorical]]:
    """The term of every label, and the cells with those terms.

    Parameters
    ----------
    cells, rules
        From `cell_fields`.

    Returns
    -------
    Columns of the part ``labels``, and ``cells`` with the ids filled in.
    """
    rows: list[tuple[str, str, str, str, str, int]] = []
    for kind in _LABELLED:
        words, ids = cells[kind], cells[f"{kind}_id"]
        if kind not in rules and f"{kind}_id" in rules:
            words = ids
        pair = words.codes.astype(np.int64) * (len(ids.categories) + 1) + ids.codes + 1
        seen, back, n = np.unique(pair, return_inverse=True, return_counts=True)
        word = [_at(words, code) for code in seen // (len(ids.categories) + 1)]
        given = [_at(ids, code) for code in seen % (len(ids.categories) + 1) - 1]
        terms = _terms(kind, word, given)
        rows += [(kind, w, t.id, t.name, t.rule, int(c)) for w, t, c in zip(word, terms, n, strict=True) if w or t.id]
        codes, names = pd.factorize(np.array([t.id for t in terms], dtype=object))
        cells[f"{kind}_id"] = _without_empty(codes[back], names)
        cells[kind] = words
    columns = ("column", "value", "id", "name", "rule", "n")
    return {name: [row[i] for row in rows] for i, name in enumerate(columns)}, cells


def _terms(kind: str, words: list[str], ids: list[str]) -> list[Term]:
    known = [i for i, (word, id_) in enumerate(zip(words, ids, strict=True)) if word or id_]
    found = [Term("", "", "unknown")] * len(words)
    if not any(ids):
        answers = terms_of_labels(kind, [words[i] for i in known])
    else:
        answers = terms_of_pairs(kind, [words[i] for i in known], [ids[i] for i in known])
    for i, term in zip(known, answers, strict=True):
        found[i] = term
    return found


def primary_cells(contents: Contents) -> np.ndarray:
    """(n_cells,) bool of the ``contents``: a file that does not say, and a cell of which it does not, is primary."""
    values = contents.values("is_primary")
    if values is None:
        return np.ones(contents.n_cells, dtype=bool)
    no = np.array([str(each).strip().lower() in ("false", "0", "0.0") for each in values.categories] + [False])
    return np.asarray(~no[values.codes])


def runs_of(cells: dict[str, pd.Categorical], primary: np.ndarray, n: int) -> dict[str, Any]:
    """The longest runs of neighbouring cells of which the file says the same: columns of the part ``runs``.

    Parameters
    ----------
    cells, primary
        (n,) words and flags of every cell.
    n
        Number of cells.
    """
    change = np.zeros(n, dtype=bool)
    change[0] = True
    for codes in (*(cells[name].codes for name in WORDS), primary):
        change[1:] |= codes[1:] != codes[:-1]
    start = np.flatnonzero(change)
    stop = np.append(start[1:], n)
    columns: dict[str, Any] = {"start": start, "stop": stop, "n": stop - start}
    for name in WORDS:
        codes = cells[name].codes[start].astype(np.int32)
        indices = pa.array(codes, pa.int32(), mask=codes < 0)
        columns[name] = pa.DictionaryArray.from_arrays(indices, pa.array(list(cells[name].categories), pa.string()))
    return columns | {"is_primary": primary[start]}


def _worded(values: pd.Categorical) -> pd.Categorical:
    return _merged(values, [str(each).strip() for each in values.categories])


def _merged(values: pd.Categorical, words: list[str]) -> pd.Categorical:
    """Categories renamed; several may get one name, and those of no name become missing."""
    codes, names = pd.factorize(np.array(words, dtype=object))
    return _without_empty(np.append(codes, -1)[values.codes], names)


def _without_empty(codes: np.ndarray, names: Any) -> pd.Categorical:
    """Categories in the order of their names, whatever order the file has them in; the empty one is missing."""
    used = sorted(str(name) for name in names if str(name) and str(name).lower() != "nan")
    place = {name: i for i, name in enumerate(used)}
    new = np.array([place.get(str(name), -1) for name in names] + [-1], dtype=np.int32)
    return pd.Categorical.from_codes(new[codes], categories=pd.Index(used, dtype=object))


def _constant(word: str, n: int) -> pd.Categorical:
    return pd.Categorical.from_codes(np.zeros(n, dtype=np.int8), categories=pd.Index([word], dtype=object))


def _nothing(n: int) -> pd.Categorical:
    return pd.Categorical.from_codes(np.full(n, -1, dtype=np.int8), categories=pd.Index([], dtype=object))


def _at(values: pd.Categorical, code: int) -> str:
    return str(values.categories[code]) if code >= 0 else ""
