"""Typing a file chunk by chunk: reading, reckoning and keeping overlap, and memory does not grow with the cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from whycell._keys import UNKNOWN
from whycell.compute import Talk, in_order
from whycell.data.cells import Block, Cells
from whycell.data.values import ValueKind, to_linear
from whycell.models.answer import Answer, Answerer, top_two

__all__ = ["Calls", "answers"]


def answers(
    cells: Cells,
    answerer: Answerer,
    columns: np.ndarray,
    *,
    where: str,
    kind: ValueKind,
    chunk: int,
    threads: int,
    talk: Talk,
) -> Iterator[tuple[int, Answer]]:
    """Answers block by block, in the order of the file.

    Parameters
    ----------
    cells, where, kind
        The file, its matrix, and what that holds.
    answerer, columns
        The model, and its gene for each column.
    chunk
        Cells read at a time; the answers do not depend on it.
    threads
        Cores.
    talk
        Told of progress.

    Yields
    ------
    First row, answer.
    """

    def work(block: Block) -> tuple[int, Answer]:
        linear = to_linear(block.values, kind, first_row=block.start)
        obsm = {key: cells.obsm(key, start=block.start, stop=block.stop) for key in answerer.obsm_keys}
        return block.start, answerer.answer(linear, columns, depth=kind.kind == "counts", obsm=obsm)

    with talk.progress("typing", cells.n_cells) as bar:
        for start, answer in in_order(work, cells.blocks(where, rows=chunk, threads=threads), threads=threads):
            bar.advance(len(answer.node))
            yield start, answer


@dataclass
class Calls:
    """What is kept of the answers: a few numbers a cell.

    Parameters
    ----------
    answerer
        The model, for the names.
    n_cells
        Cells of the file.
    map_rows
        Rows whose coordinates are kept for the map.
    clusters
        (n_cells,) int cluster of each cell, or ``None``.
    """

    answerer: Answerer
    n_cells: int
    map_rows: np.ndarray
    clusters: np.ndarray | None = None
    parts: list[tuple[np.ndarray, ...]] = field(default_factory=list)
    coordinates: list[np.ndarray] = field(default_factory=list)
    cluster_sums: np.ndarray | None = None

    def add(self, start: int, answer: Answer) -> None:
        """Keep one block."""
        p = answer.probabilities
        first, second = top_two(p)
        best = p[np.arange(len(p)), first].astype(np.float32)
        self.parts.append(
            (
                answer.node.astype(np.int32),
                answer.confidence.astype(np.float32),
                first.astype(np.int32),
                best,
                second.astype(np.int32),
                answer.novelty.astype(np.float32),
                answer.flag,
                *(() if answer.disagreement is None else (answer.disagreement.astype(np.float32),)),
            )
        )
        low, high = np.searchsorted(self.map_rows, [start, start + len(p)])
        if high > low:
            self.coordinates.append(answer.coordinates[self.map_rows[low:high] - start])
        if self.clusters is not None:
            if self.cluster_sums is None:
                self.cluster_sums = np.zeros((int(self.clusters.max(initial=-1)) + 2, p.shape[1]))
            np.add.at(self.cluster_sums, self.clusters[start : start + len(p)], p)

    def frame(self, names: np.ndarray) -> pd.DataFrame:
        """The columns of ``results.Annotation.calls``, text as categories."""
        space = self.answerer.space
        node, confidence, leaf, leaf_confidence, second, novelty, flag, *apart = (
            np.concatenate(part) for part in zip(*self.parts, strict=True)
        )
        own = np.array(["" if str(n).startswith("label:") else str(n) for n in space.nodes] + [""], dtype=object)
        called = np.append(space.node_names, UNKNOWN)
        return pd.DataFrame(
            {
                "call": _categories(node, called),
                "call_term_id": _categories(node, own),
                "confidence": confidence,
                "leaf": _categories(leaf, space.leaf_names),
                "leaf_term_id": _categories(leaf, space.term_ids),
                "leaf_confidence": leaf_confidence,
                "runner_up": _categories(second, space.leaf_names),
                "novelty": novelty,
                "flag": pd.Categorical(flag),
                **({"disagreement": apart[0]} if apart else {}),
            },
            index=pd.Index(names, name="cell"),
        )


def _categories(codes: np.ndarray, names: np.ndarray) -> pd.Categorical:
    """Only the names in use, sorted, so that the same calls give the same bytes whatever else the model knows."""
    used, inverse = np.unique(names[np.unique(codes)].astype(str), return_inverse=True)
    code_of = np.full(len(names), -1)
    code_of[np.unique(codes)] = inverse
    return pd.Categorical.from_codes(code_of[codes], categories=used.tolist())
