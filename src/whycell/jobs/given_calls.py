"""Anybody's calls: two tables of cells, one with the truth and one with what a program said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from whycell._keys import UNKNOWN
from whycell.errors import FormatError, LabelError
from whycell.jobs.crossfit import CALL_TABLE, Tested
from whycell.knowledge.terms import Ontology
from whycell.metrics.tree import NO_TERM

__all__ = ["read_given"]

TERM = "cell_ontology_term_id"
_NAME = "calls"


def read_given(truth: Path, calls: Path, *, ontology: Ontology) -> tuple[Tested, list[str]]:
    """Read ``truth.tsv`` and ``calls.tsv`` and pair them by cell.

    Columns ``cell, cell_ontology_term_id``, in the calls also ``confidence``, in either also ``donor``. Obsolete ids
    follow ``replaced_by``; what has no live successor counts as unknown and is named in a warning. A cell without a
    call counts as not called.

    Returns
    -------
    The calls, and sentences on what did not fit.
    """
    left, right = _read(truth), _read(calls)
    notes: list[str] = []
    missing = ~left["cell"].isin(right["cell"])
    if missing.all():
        msg = (
            f"no cell of {truth.name} is in {calls.name}: {left['cell'].iloc[0]!r} against {right['cell'].iloc[0]!r}; "
            "wanted the same names in the column cell"
        )
        raise LabelError(msg)
    if missing.any():
        notes.append(f"{int(missing.sum())} of {len(left)} cells have no call; they count as unknown.")
    strange = int((~right["cell"].isin(left["cell"])).sum())
    if strange:
        notes.append(f"{strange} calls are of cells without a truth; they are left out.")
    both = left.merge(right, on="cell", how="left", suffixes=("", "_call"))
    donor = both["donor"] if "donor" in both else both.get("donor_call", pd.Series("", index=both.index))
    true_ids = _live(both[TERM], ontology, "truth", notes)
    call_ids = _live(both[f"{TERM}_call"], ontology, "call", notes)
    confidence = both["confidence"] if "confidence" in both else both.get("confidence_call", np.nan)
    confidence = pd.to_numeric(pd.Series(confidence, index=both.index), errors="coerce")
    if confidence.notna().any():
        if ((confidence < 0) | (confidence > 1)).any():
            msg = f"{calls.name} has confidence {confidence.max():g}; wanted probabilities from 0 to 1"
            raise LabelError(msg)
        confidence = confidence.fillna(0.0)
    values: dict[str, Any] = {
        "model": _NAME,
        "cell": both["cell"],
        "donor": donor.fillna("").astype(str),
        "study": "",
        "fold": "",
        "truth_label": _names(true_ids, ontology),
        "truth_id": true_ids,
        "call_label": _names(call_ids, ontology),
        "call_id": call_ids,
        "confidence": confidence.astype(np.float32),
        "leaf_label": _names(call_ids, ontology),
        "leaf_id": call_ids,
        "leaf_confidence": confidence.astype(np.float32),
        "runner_up": "",
        "novelty": np.float32(np.nan),
        "reach": np.where(np.isin(true_ids, ["", *ontology.stop_terms]), "", "inside"),
        "trained": true_ids != "",
        "ideal_id": true_ids,
    }
    return Tested(pd.DataFrame(values)[list(CALL_TABLE)]), notes


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    except (OSError, ValueError, pd.errors.ParserError) as error:
        msg = f"{path} cannot be read as a table: {error}; wanted tab-separated columns cell and {TERM}"
        raise FormatError(msg) from error
    absent = [column for column in ("cell", TERM) if column not in table]
    if absent or table.empty:
        got = ", ".join(map(str, table.columns[:6])) or "nothing"
        msg = f"{path} holds the columns {got}; wanted cell and {TERM}, tab-separated, with a header and a row a cell"
        raise FormatError(msg)
    twice = table["cell"][table["cell"].duplicated()]
    if len(twice):
        msg = f"{path} names {twice.nunique()} cells twice, {twice.iloc[0]!r} among them; wanted one row a cell"
        raise FormatError(msg)
    return table


def _live(column: pd.Series, ontology: Ontology, what: str, notes: list[str]) -> np.ndarray:
    """Live ids; ``""`` for words such as unknown, and for obsolete ids without a successor."""
    lookup: dict[str, str] = {}
    dead = []
    for value in column.fillna("").unique():
        text = value.strip()
        if text.lower() in NO_TERM:
            lookup[value] = ""
            continue
        if not text.startswith("CL:"):
            msg = f"got {what} {text!r}; wanted Cell Ontology ids like 'CL:0000236', or 'unknown'"
            raise LabelError(msg)
        found = ontology.resolve(text)
        lookup[value] = found or ""
        if found is None:
            dead.append(text)
    if dead:
        notes.append(
            f"{len(dead)} ids of the {what} are not live in release {ontology.release} and count as unknown: "
            f"{', '.join(sorted(dead)[:5])}."
        )
    return np.array([lookup[value] for value in column.fillna("")], dtype=object)


def _names(ids: np.ndarray, ontology: Ontology) -> np.ndarray:
    name: Callable[[str], str] = {i: ontology.name(i) if i else UNKNOWN for i in set(ids)}.__getitem__
    return np.array([name(i) for i in ids], dtype=object)
