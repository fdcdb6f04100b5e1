"""What taught a call: the training cells, donors and studies that speak for it and against it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from whycell._keys import UNKNOWN
from whycell.data.cells import Cells
from whycell.data.doctor import Diagnosis
from whycell.data.values import to_linear
from whycell.errors import UsageError
from whycell.jobs.explain_targets import find_node
from whycell.jobs.likeness import columns_for
from whycell.models.answer import Answer, Answerer, top_two
from whycell.models.examples import Examples
from whycell.models.store import fingerprint
from whycell.results import ExampleEvidence, Teaching

__all__ = ["ONE_DONOR", "Opened", "teachers"]

#: Share of the support from which on a type is said to rest on one donor, or one study.
ONE_DONOR = 0.8
_MOST_CELLS = 20_000  # of a file; a type's teachers are the same on more
_BULKY = ("model_genes", "space", "numbers", "label_map", "other_genes")


@dataclass(frozen=True)
class Opened:
    """A file that was examined, and the model to ask.

    Parameters
    ----------
    cells, diagnosis
        The open file, and what the doctor says of it.
    answerer, about, folder
        The model, its card, and where it lies.
    """

    cells: Cells
    diagnosis: Diagnosis
    answerer: Answerer
    about: dict[str, Any]
    folder: Path


def teachers(
    opened: Opened,
    examples: Examples,
    *,
    cell: str | None = None,
    of_type: str | None = None,
    top: int = 10,
    seed: int = 0,
    threads: int = 0,
) -> ExampleEvidence | None:
    """What taught the calls of an open file; ``None`` where no cell has a call that other types speak against.

    Parameters
    ----------
    opened
        The file and the model.
    examples
        The model's training cells.
    cell, of_type, top, seed, threads
        As in ``explain_examples``.
    """
    cells, answerer, about = opened.cells, opened.answerer, opened.about
    rows = _rows(cells, cell, seed=seed)
    answer = _answers(cells, rows, opened.diagnosis, answerer, threads=threads)
    if cell is not None:
        asked = [_of_cell(answer, str(np.asarray(cells.obs_names, dtype=object)[rows[0]]))]
    else:
        release = about["ontology"]["release"]
        node = None if of_type is None else find_node(of_type, answerer.space, release=release)
        asked = _of_types(answer, answerer, node)
    if not asked:
        return None
    group = np.repeat(np.arange(len(asked)), [len(each.x) for each in asked])
    scores = examples.influences(
        np.concatenate([each.x for each in asked]), np.concatenate([each.may for each in asked]), group=group
    )
    return ExampleEvidence(
        targets=tuple(_teaching(each, examples, own, top=top) for each, own in zip(asked, scores, strict=True)),
        of_types=cell is None,
        quality={**examples.quality, "cells": len(examples.kind), "of": examples.of},
        card={name: value for name, value in about.items() if name not in _BULKY},
        provenance={
            "whycell_version": version("whycell"),
            "model": about.get("name", opened.folder.name),
            "model_fingerprint": fingerprint(about),
            "ontology_release": about["ontology"]["release"],
            "input": cells.name,
            "input_fingerprint": cells.fingerprint(),
            "cells_looked_at": len(rows),
            "cells_in_file": cells.n_cells,
            "seed": seed,
        },
    )


@dataclass(frozen=True)
class _Asked:
    name: str
    call: str
    term_id: str
    confidence: float
    x: np.ndarray  # (t, n_inputs)
    may: np.ndarray  # (t, k)


def _rows(cells: Cells, cell: str | None, *, seed: int) -> np.ndarray:
    if cell is not None:
        found = np.flatnonzero(np.asarray(cells.obs_names, dtype=object) == cell)
        if len(found) != 1:
            many = "no cell" if not len(found) else f"{len(found)} cells"
            msg = f"{cells.name} has {many} named {cell!r}; one is needed: its first is {cells.obs_names[0]!r}."
            raise UsageError(msg)
        return found
    n = cells.n_cells
    return np.sort(np.random.default_rng(seed).permutation(n)[:_MOST_CELLS])


def _answers(cells: Cells, rows: np.ndarray, diagnosis: Diagnosis, answerer: Answerer, *, threads: int) -> Answer:
    columns = columns_for(cells, diagnosis, answerer)
    values = to_linear(cells.read_rows(str(diagnosis.where), rows, threads=threads), diagnosis.kind)  # type: ignore[arg-type]
    return answerer.answer(values, columns, depth=diagnosis.kind is not None and diagnosis.kind.kind == "counts")


def _of_cell(answer: Answer, name: str) -> _Asked:
    """The call of one cell; where it was left unknown, its most probable leaf."""
    space, node = answer.space, int(answer.node[0])
    leaf = int(top_two(answer.probabilities)[0][0])
    may = space.below[node] if node >= 0 else np.eye(space.n_leaves, dtype=bool)[leaf]
    if may.all():  # a term above everything known: nothing speaks against it
        may = np.eye(space.n_leaves, dtype=bool)[leaf]
    called = str(space.node_names[node]) if node >= 0 else f"{UNKNOWN}, most like {space.leaf_names[leaf]}"
    return _Asked(name, called, _term(answer, node), float(answer.confidence[0]), answer.coordinates, may[None])


def _of_types(answer: Answer, answerer: Answerer, node: int | None) -> list[_Asked]:
    space = answerer.space
    nodes = [node] if node is not None else sorted(set(answer.node[answer.node >= 0].tolist()))
    out = []
    for each in nodes:
        may = space.below[each]
        if node is None:
            mine = answer.node == each
        else:
            mine = (answer.node >= 0) & ~(space.below[np.maximum(answer.node, 0)] & ~may).any(axis=1)
        name = str(space.node_names[each])
        if may.all() or not mine.any():  # nothing speaks against a term above every type, nor of a type without cells
            continue
        sure = float(answer.confidence[mine].mean())
        leaves = np.broadcast_to(may, (int(mine.sum()), len(may)))
        out.append(_Asked(name, name, _term(answer, each), sure, answer.coordinates[mine], leaves))
    return out


def _term(answer: Answer, node: int) -> str:
    name = "" if node < 0 else str(answer.space.nodes[node])
    return "" if name.startswith("label:") else name


def _teaching(asked: _Asked, examples: Examples, scores: np.ndarray, *, top: int) -> Teaching:
    scores = scores.astype(np.float64)
    sums = {what: _sums(getattr(examples, what), scores, what) for what in ("donor", "study", "label")}
    donors = sums["donor"] if _is_known(examples.donor) else sums["donor"].iloc[:0]
    studies = sums["study"] if _is_known(examples.study) else sums["study"].iloc[:0]
    shares = donors["share"].to_numpy()
    return Teaching(
        name=asked.name,
        call=asked.call,
        call_term_id=asked.term_id,
        confidence=asked.confidence,
        n_cells=len(asked.x),
        supporters=_cells(examples, scores, np.argsort(-scores, kind="stable")[:top], positive=True),
        opponents=_cells(examples, scores, np.argsort(scores, kind="stable")[:top], positive=False),
        donors=donors,
        studies=studies,
        labels=sums["label"],
        n_supporting=int((scores > 0).sum()),
        n_opposing=int((scores < 0).sum()),
        donors_effective=float(1 / (shares**2).sum()) if len(shares) and shares.any() else float("nan"),
        warnings=tuple(_resting_on(donors, "donor") + _resting_on(studies, "study")),
    )


def _is_known(values: np.ndarray) -> bool:
    """Whether the training named donors (or studies): without a column all cells are of ``all``."""
    return bool((values != "all").any())


def _resting_on(table: pd.DataFrame, what: str) -> list[str]:
    if len(table) < 2 or not table["share"].iat[0] > ONE_DONOR:
        return []
    return [f"rests on one {what}: {table['share'].iat[0]:.0%} of the support comes from {table[what].iat[0]}."]


def _sums(groups: np.ndarray, scores: np.ndarray, what: str) -> pd.DataFrame:
    frame = pd.DataFrame({what: groups, "for": np.maximum(scores, 0), "against": np.minimum(scores, 0)})
    found = frame.groupby(what, sort=True).agg(
        cells=("for", "size"), support=("for", "sum"), opposition=("against", "sum")
    )
    found["net"] = found["support"] + found["opposition"]
    found["share"] = found["support"] / max(float(found["support"].sum()), 1e-12)
    return found.sort_values("support", ascending=False, kind="stable").reset_index()


def _cells(examples: Examples, scores: np.ndarray, order: np.ndarray, *, positive: bool) -> pd.DataFrame:
    order = order[scores[order] > 0] if positive else order[scores[order] < 0]
    total = float(np.maximum(scores, 0).sum()) if positive else float(np.minimum(scores, 0).sum())
    return pd.DataFrame(
        {
            "cell": examples.cell[order],
            "label": examples.label[order],
            "donor": examples.donor[order] if _is_known(examples.donor) else "",
            "study": examples.study[order] if _is_known(examples.study) else "",
            "score": scores[order],
            "share": scores[order] / (total or 1.0),
        }
    )
