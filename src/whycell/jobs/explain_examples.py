"""Say which training cells, donors and studies taught a call, and which spoke against it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from whycell._keys import DEFAULT_KEY, UNKNOWN
from whycell.compute import Talk
from whycell.data.cells import Cells, open_cells
from whycell.data.doctor import Diagnosis, examine
from whycell.data.values import to_linear
from whycell.errors import OutputError, UsageError
from whycell.jobs.explain_model import model_of
from whycell.jobs.explain_targets import find_node
from whycell.jobs.likeness import columns_for
from whycell.jobs.record import write_run
from whycell.jobs.sides import write_text
from whycell.models.answer import Answer, Answerer, top_two
from whycell.models.examples import Examples, load_examples
from whycell.models.store import fingerprint
from whycell.results import ExampleEvidence, Teaching

__all__ = ["ONE_DONOR", "explain_examples"]

#: Share of the support from which on a type is said to rest on one donor, or one study.
ONE_DONOR = 0.8
_MOST_CELLS = 20_000  # of a file; a type's teachers are the same on more
_BULKY = ("model_genes", "space", "numbers", "label_map", "other_genes")


def explain_examples(
    query: Any,
    output: Path | None = None,
    *,
    model: str | None = None,
    cell: str | None = None,
    of_type: str | None = None,
    inplace: bool = False,
    report: Path | None = None,
    tsv: Path | None = None,
    key: str = DEFAULT_KEY,
    top: int = 10,
    seed: int = 0,
    threads: int = 0,
    force: bool = False,
    talk: Talk | None = None,
) -> ExampleEvidence:
    """Say which training cells made the model type cells as it did.

    Parameters
    ----------
    query
        A path, or an AnnData.
    output, inplace
        Refused: this lens writes no cells, only ``report`` and ``tsv``.
    model
        Folder or name; ``None`` is the one recorded in the file, checked by its fingerprint.
    cell, of_type
        Explain one cell, by its name, or the cells of one type together; every type called where neither is given.
    report, tsv
        Also write a page, a table.
    key
        First part of the names of the columns: that of ``annotate``.
    top
        Training cells named, each way.
    seed
        Of the choice of 20,000 cells in larger files.
    threads
        Cores for reading.
    force
        Replace what is there.
    talk
        Told of progress.

    Returns
    -------
    ExampleEvidence

    Raises
    ------
    WhycellError
        Whatever is wrong with what was asked, the file, the model or the places to write to.
    """
    talk = talk or Talk()
    _check(output, cell, of_type, top=top, inplace=inplace)
    for place in (report, tsv):
        if place is not None and Path(place).exists() and not force:
            msg = f"{place} exists already; choose another name, or replace it with --force."
            raise OutputError(msg)
    with open_cells(query) as cells:
        answerer, about, folder = model_of(cells, model, key=key, talk=talk)
        examples = load_examples(folder, about)
        diagnosis = examine(cells, model_genes=list(answerer.genes), species=about.get("species", "human"))
        diagnosis.raise_if_unusable()
        rows = _rows(cells, cell, seed=seed)
        answer = _answers(cells, rows, diagnosis, answerer, threads=threads)
        names = np.asarray(cells.obs_names, dtype=object)[rows]
        if cell is not None:
            asked = [_of_cell(answer, str(names[0]))]
        else:
            release = about["ontology"]["release"]
            node = None if of_type is None else find_node(of_type, answerer.space, release=release)
            asked = _of_types(answer, answerer, node, cells=cells)
        group = np.repeat(np.arange(len(asked)), [len(each.x) for each in asked])
        scores = examples.influences(
            np.concatenate([each.x for each in asked]), np.concatenate([each.may for each in asked]), group=group
        )
        found = [_teaching(each, examples, own, top=top) for each, own in zip(asked, scores, strict=True)]
        result = ExampleEvidence(
            targets=tuple(found),
            of_types=cell is None,
            quality={**examples.quality, "cells": len(examples.kind), "of": examples.of},
            card={name: value for name, value in about.items() if name not in _BULKY},
            provenance={
                "whycell_version": version("whycell"),
                "model": about.get("name", folder.name),
                "model_fingerprint": fingerprint(about),
                "ontology_release": about["ontology"]["release"],
                "input": cells.name,
                "input_fingerprint": cells.fingerprint(),
                "cells_looked_at": len(rows),
                "cells_in_file": cells.n_cells,
                "seed": seed,
            },
        )
        _write(result, report=report, tsv=tsv)
        if report or tsv:
            write_run(
                Path(report or tsv or ""),
                "explain",
                inputs={str(cells.path or cells.name): result.provenance["input_fingerprint"]},
                seed=seed,
                parameters={"lens": "examples", "model": str(folder), "cell": cell, "of_type": of_type, "top": top},
            )
    for each in result.targets:
        for sentence in each.warnings:
            talk.warn(f"{each.name}: {sentence}")
    return result


@dataclass(frozen=True)
class _Asked:
    name: str
    call: str
    term_id: str
    confidence: float
    x: np.ndarray  # (t, n_inputs)
    may: np.ndarray  # (t, k)


def _check(output: Path | None, cell: str | None, of_type: str | None, *, top: int, inplace: bool) -> None:
    if output is not None or inplace:
        msg = "The lens of examples writes no cells; leave out -o and --inplace, and ask for --report or --tsv."
        raise UsageError(msg)
    if cell is not None and of_type is not None:
        msg = f"Got both the cell {cell!r} and the type {of_type!r}; one of them can be explained at a time."
        raise UsageError(msg)
    if top < 1:
        msg = f"top is {top}; one training cell at least is needed."
        raise UsageError(msg)


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


def _of_types(answer: Answer, answerer: Answerer, node: int | None, *, cells: Cells) -> list[_Asked]:
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
        if node is not None and (may.all() or not mine.any()):
            why = "every type of the model lies below it" if may.all() else f"no cell of {cells.name} looked at is one"
            msg = f"The type {name!r} cannot be explained: {why}."
            raise UsageError(msg)
        if may.all():
            continue
        sure = float(answer.confidence[mine].mean())
        leaves = np.broadcast_to(may, (int(mine.sum()), len(may)))
        out.append(_Asked(name, name, _term(answer, each), sure, answer.coordinates[mine], leaves))
    if not out:
        msg = f"No cell of {cells.name} was called a type; there is nothing to explain."
        raise UsageError(msg)
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
            **{what: getattr(examples, what)[order] for what in ("cell", "label", "donor", "study")},
            "score": scores[order],
            "share": scores[order] / (total or 1.0),
        }
    )


def _write(result: ExampleEvidence, *, report: Path | None, tsv: Path | None) -> None:
    if tsv is not None:
        text = result.long_frame().to_csv(sep="\t", index=False, float_format="%.6g", lineterminator="\n")
        write_text(Path(tsv), text)
    if report is not None:
        from whycell.reports.examples import examples_page

        write_text(Path(report), examples_page(result))
