"""The fields of the CELLxGENE schema that a typer must read, and those that it must never write.

Read from schema 5.0 to 7.1: the organism stood in ``obs`` up to 5.3 and stands in ``uns`` from 6.0 on, so both are
accepted. Source: the schema's own text, https://github.com/chanzuckerberg/single-cell-curation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from whycell.data.blocks import Cells

__all__ = [
    "CELL_TYPE_ID",
    "DONOR",
    "RESERVED_OBS",
    "donor_kinds",
    "is_reserved",
    "organism_name",
    "organisms",
    "primary_cells",
]

DONOR = "donor_id"
CELL_TYPE_ID = "cell_type_ontology_term_id"

_CURATED = (
    "assay_ontology_term_id",
    CELL_TYPE_ID,
    "development_stage_ontology_term_id",
    "disease_ontology_term_id",
    "self_reported_ethnicity_ontology_term_id",
    "sex_ontology_term_id",
    "tissue_ontology_term_id",
    "tissue_type",
    "suspension_type",
    "is_primary_data",
    "organism_ontology_term_id",
    DONOR,
    "genetic_perturbation_id",
    "genetic_perturbation_strategy",
    "array_row",
    "array_col",
    "in_tissue",
)
_PORTAL = (
    "assay",
    "cell_type",
    "development_stage",
    "disease",
    "self_reported_ethnicity",
    "sex",
    "tissue",
    "organism",
    "observation_joinid",
    "ethnicity",
    "ethnicity_ontology_term_id",
)

#: Names in obs that belong to the schema: a person may have them, whycell never writes them.
RESERVED_OBS: frozenset[str] = frozenset(_CURATED + _PORTAL)

_ORGANISMS = {
    "ncbitaxon:9606": "human",
    "homo sapiens": "human",
    "human": "human",
    "ncbitaxon:10090": "mouse",
    "mus musculus": "mouse",
    "mouse": "mouse",
}
_NOT_SAID = frozenset({"", "nan", "none", "na", "n/a", "unknown", "not available"})


def is_reserved(name: str) -> bool:
    """Whether the schema keeps this obs name for itself: one of ``RESERVED_OBS``, or it starts with two underscores."""
    return name in RESERVED_OBS or name.startswith("__")


def organisms(cells: Cells) -> tuple[str, ...]:
    """The organisms that a file says its cells are from.

    Parameters
    ----------
    cells
        The open file; ``uns`` is read first, then ``obs``.

    Returns
    -------
    tuple of str
        ``"human"``, ``"mouse"``, or what the file says where it is neither; empty where it says nothing.
    """
    for key in ("organism_ontology_term_id", "organism"):
        said = cells.uns(key)
        found = _named([said] if isinstance(said, str) else [])
        if not found and key in cells.obs_columns:
            found = _named(pd.unique(cells.obs([key])[key].dropna()))
        if found:
            return found
    return ()


def primary_cells(obs: pd.DataFrame) -> NDArray[np.bool_] | None:
    """Which cells are here for the first time: ``is_primary_data``.

    Parameters
    ----------
    obs
        One row a cell.

    Returns
    -------
    (n_cells,) bool, or ``None`` where the file does not say. A missing value counts as primary.
    """
    if "is_primary_data" not in obs.columns:
        return None
    said = obs["is_primary_data"].astype(str).str.strip().str.lower()
    return np.asarray(~said.isin(("false", "0", "0.0")))


def organism_name(said: str) -> str:
    """``"human"`` or ``"mouse"`` for what a file calls them, other names as they are, empty for words of no meaning."""
    return next(iter(_named([said])), "")


def donor_kinds(donors: Sequence[Any]) -> NDArray[np.str_]:
    """What a donor column says of every cell.

    Parameters
    ----------
    donors
        (n_cells,) values of ``donor_id`` or of any donor column.

    Returns
    -------
    (n_cells,) of ``"donor"`` (one person), ``"pooled"`` (several, not told apart) or ``"unknown"`` (not said, or a
    cell line: ``na``). ``pooled`` and ``unknown`` are the schema's reserved words; no such cell may be held out
    as if it were one more donor.
    """
    codes, names = pd.factorize(np.asarray(pd.Series(donors).astype(object)), use_na_sentinel=True)
    words = np.array([_donor_kind(str(name)) for name in names] + ["unknown"], dtype=np.str_)
    return np.asarray(words[codes])  # a missing value has code -1 and takes the last word


def _donor_kind(name: str) -> str:
    word = name.strip().lower()
    if word in _NOT_SAID:
        return "unknown"
    return "pooled" if word == "pooled" or word.startswith(("pooled ", "pooled:", "pooled [")) else "donor"


def _named(said: Iterable[Any]) -> tuple[str, ...]:
    words = [str(word).strip() for word in said]
    return tuple(dict.fromkeys(_ORGANISMS.get(w.lower(), w) for w in words if w.lower() not in _NOT_SAID))
