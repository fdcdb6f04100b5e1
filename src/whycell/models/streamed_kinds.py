"""What the cells of a corpus mean: its labels, donors and studies met once, so that a block of cells is a lookup."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from whycell.corpus.store import Store
from whycell.errors import LabelError
from whycell.knowledge.labels import map_labels
from whycell.knowledge.terms import Ontology
from whycell.models.held_out import HeldOutGroups
from whycell.models.leaves import LeafSpace, build_leaves
from whycell.models.projection import POWERS

__all__ = ["KEYS", "Kinds", "find_kinds"]

#: What decides the meaning and the weight of a cell.
KEYS = ("study", "donor", "label", "label_id")
_FEWEST_CELLS = 5


@dataclass(frozen=True)
class Kinds:
    """Every combination of study, donor and label of a corpus.

    Parameters
    ----------
    table
        One row a combination: the columns of `KEYS`, ``n`` cells that train and ``n_held`` that do not, ``kind`` (-1
        where its cells teach nothing), ``weight``, ``study_code`` and ``donor_code``.
    space
        The leaves.
    meanings
        (n_kinds, n_leaves) bool.
    ids
        Cell Ontology id of each label, "" for none.
    studies, donors
        Names by code; donors as ``study / donor``.
    left_out
        Labels of fewer than five cells, which teach nothing.
    """

    table: pd.DataFrame
    space: LeafSpace
    meanings: np.ndarray
    ids: Mapping[str, str]
    studies: np.ndarray
    donors: np.ndarray
    left_out: tuple[str, ...]

    def rows_of(self, cells: pd.DataFrame) -> np.ndarray:
        """(n,) row of ``table`` of each cell; -1 for a combination that is not there."""
        codes = []
        for key in KEYS:
            column = cells[key].astype("category")
            position = {name: i for i, name in enumerate(self._names[key])}
            at = np.array([position.get(str(name), -1) for name in column.cat.categories], dtype=np.int64)
            codes.append(at[column.cat.codes.to_numpy()] if len(at) else np.full(len(cells), -1))
        number = self._number(codes)
        at = np.minimum(np.searchsorted(self._numbers, number), max(len(self._numbers) - 1, 0))
        return np.where(self._numbers[at] == number, at, -1)

    @property
    def taught(self) -> np.ndarray:
        """(n_rows of the table,) bool, whether cells of a combination train."""
        return ((self.table["kind"] >= 0) & (self.table["n"] > 0)).to_numpy()

    @property
    def n_train(self) -> int:
        """Cells that train."""
        return int(self.table["n"][self.table["kind"] >= 0].sum())

    @cached_property
    def _names(self) -> dict[str, list[str]]:
        return {key: sorted(set(self.table[key])) for key in KEYS}

    @cached_property
    def _numbers(self) -> np.ndarray:
        """(n_rows,) one number a combination, rising, since the table is sorted."""
        codes = [np.searchsorted(self._names[key], self.table[key].to_numpy(dtype=str)) for key in KEYS]
        return self._number(codes)

    def _number(self, codes: list[np.ndarray]) -> np.ndarray:
        number = np.zeros(len(codes[0]), dtype=np.int64)
        unknown = np.zeros(len(codes[0]), dtype=bool)
        for key, code in zip(KEYS, codes, strict=True):
            number = number * len(self._names[key]) + np.maximum(code, 0)
            unknown |= code < 0
        return np.where(unknown, -1, number)


def find_kinds(store: Store, held_out: HeldOutGroups, *, ontology: Ontology) -> Kinds:
    """Read what the cells of a store are, block by block.

    Parameters
    ----------
    store
        The corpus.
    held_out
        Who takes no part in training.
    ontology
        The Cell Ontology.

    Raises
    ------
    LabelError
        Where fewer than two classes remain.
    """
    columns = KEYS if held_out.unit != "cell" else (*KEYS, "address", "row")
    counts: dict[tuple[str, ...], np.ndarray] = {}
    for block in range(store.n_blocks):
        cells = store.cells(block, columns=columns)
        held = held_out.mask(cells)
        for which, part in ((0, cells[~held]), (1, cells[held])):
            for key, n in part.groupby(list(KEYS), observed=True).size().items():  # type: ignore[assignment]
                counts.setdefault(tuple(map(str, key)), np.zeros(2, dtype=np.int64))[which] += n
    table = pd.DataFrame(sorted(counts), columns=list(KEYS))
    table[["n", "n_held"]] = np.stack([counts[key] for key in sorted(counts)])
    ids = _ids(table, ontology)
    total = table.groupby("label")["n"].sum()
    known = (table["label"] != "") | (table["label_id"] != "")
    rare = sorted(total.index[(total < _FEWEST_CELLS)])
    use = (known & ~table["label"].isin(rare)).to_numpy()
    if not use.any():
        msg = f"No cell of {store.folder} can be learned from: no label has {_FEWEST_CELLS} cells."
        raise LabelError(msg)
    donors = (table["study"] + " / " + table["donor"]).to_numpy(dtype=object)
    donor_names, donor = np.unique(donors, return_inverse=True)
    studies, study = np.unique(table["study"].to_numpy(dtype=object), return_inverse=True)
    space, meaning = build_leaves(table["label"].to_numpy(dtype=object)[use], ids, donor[use], ontology)
    meanings, kind = np.unique(meaning, axis=0, return_inverse=True)
    table["kind"] = -1
    table.loc[use, "kind"] = kind.ravel()
    table["study_code"], table["donor_code"] = study, donor
    table["weight"] = 0.0
    table.loc[use, "weight"] = _weights(table[use])
    return Kinds(table, space, meanings, ids, studies, donor_names, tuple(rare))


def _ids(table: pd.DataFrame, ontology: Ontology) -> dict[str, str]:
    """The id that travelled with a label, the commonest where there are several; else that of its text."""
    mapped = map_labels(np.unique(table["label"].to_numpy(dtype=str)), ontology).label_to_id
    out = {str(label): term for label, term in mapped.items()}
    given = table[table["label_id"].map(ontology.is_live)]
    sizes = given.assign(size=given["n"] + given["n_held"]).groupby(["label", "label_id"])["size"].sum().reset_index()
    for row in sizes.sort_values(["size", "label_id"]).itertuples():
        out[str(row.label)] = str(row.label_id)
    # A stop-term ("cell") says nothing; as a class of its own it stays visible without pulling calls up to it.
    return {label: "" if term in ontology.stop_terms else term for label, term in out.items()}


def _weights(table: pd.DataFrame) -> np.ndarray:
    """``projection.balance`` of cells that are counted, not listed; mean one over the cells that train."""
    n = table["n"].to_numpy(dtype=np.float64)
    weights = np.ones(len(table))
    for column, power in zip(("kind", "donor_code", "study_code"), POWERS, strict=True):
        codes = np.unique(table[column], return_inverse=True)[1]
        sums, counts = np.bincount(codes, weights=weights * n), np.bincount(codes, weights=n)
        present = counts[counts > 0]
        factor = np.divide(counts, sums, out=np.zeros_like(sums), where=sums > 0)
        weights = weights * (factor * (present.mean() / np.maximum(counts, 1)) ** power)[codes]
    return np.asarray(weights / max((weights * n).sum() / max(n.sum(), 1), 1e-12))
