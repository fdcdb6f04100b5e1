"""The two passes over a file: the background that references are made of, then the explanations."""

# n - cell, g - gene of the model

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import scipy.sparse as sp

from whycell.compute import Talk, in_order
from whycell.data.cells import Cells
from whycell.jobs.explain_stream import Asked, Part, blocks_of
from whycell.jobs.explain_types import TypeTally
from whycell.jobs.stream import Calls
from whycell.models.answer import Answer, top_two

__all__ = ["Found", "Reading", "explain_rows", "fill_background", "some_answer"]

_MOST_IN_BACKGROUND = 20_000
Rows = tuple[np.ndarray, sp.csr_matrix]


@dataclass(frozen=True)
class Reading:
    """How a file is read.

    Parameters
    ----------
    cells, where
        The file and its matrix.
    chunk, threads
        Cells read at a time, and cores; the answers depend on neither.
    talk
        Told of progress.
    """

    cells: Cells
    where: str
    chunk: int
    threads: int
    talk: Talk

    def rows(self, rows: np.ndarray | None) -> Iterator[Rows]:
        """Rows and values, block by block; ``rows`` (m,) rising, ``None`` for all."""
        return blocks_of(self.cells, self.where, rows, chunk=self.chunk, threads=self.threads)


@dataclass(frozen=True)
class Found:
    """What the second pass found.

    Parameters
    ----------
    rows
        (n,) positions in the file of the cells explained.
    calls
        Their calls, as in ``results.Annotation.calls``.
    part
        Their explanations.
    tally
        The same by type.
    """

    rows: np.ndarray
    calls: pd.DataFrame
    part: Part
    tally: TypeTally


def fill_background(asked: Asked, reading: Reading, donor: np.ndarray, *, seed: int) -> None:
    """Add up the expression of the file's cells by donor and leaf; of some of them, drawn by seed, where it is large.

    Parameters
    ----------
    asked
        Its background is filled.
    reading
        Of the file.
    donor
        (n_cells,) int.
    """
    n = reading.cells.n_cells
    drawn = None
    if n > _MOST_IN_BACKGROUND:
        drawn = np.sort(np.random.default_rng(seed).permutation(n)[:_MOST_IN_BACKGROUND])

    def work(item: Rows) -> tuple[np.ndarray, np.ndarray]:
        rows, values = item
        linear, answer = asked.answer(values, int(rows[0]))
        return asked.background.tally(answer, asked.pipeline.expression(linear), donor[rows])

    with reading.talk.progress("references", len(drawn) if drawn is not None else n) as bar:
        for groups, sums in in_order(work, reading.rows(drawn), threads=reading.threads):
            asked.background.add(groups, sums)
            bar.advance(int(sums[:, 0].sum()))


def explain_rows(
    asked: Asked, reading: Reading, donor: np.ndarray, *, rows: np.ndarray | None, only: int | None
) -> Found:
    """Explain cells.

    Parameters
    ----------
    asked
        What and how.
    reading
        Of the file.
    donor
        (n_cells,) int.
    rows
        (m,) positions; ``None`` for all.
    only
        Row of the model's nodes: explain the cells called it or something below it.
    """

    def work(item: Rows) -> tuple[int, np.ndarray, Answer | None, Part | None]:
        here, values = item
        linear, answer = asked.answer(values, int(here[0]))
        if only is not None:
            kept = np.flatnonzero(_is_called(answer, only))
            here, linear, answer = here[kept], linear[kept], some_answer(answer, kept)
        if not len(here):
            return len(values.indptr) - 1, here, None, None
        return len(values.indptr) - 1, here, answer, asked.explain(linear, answer, donor[here])

    answerer = asked.answerer
    calls = Calls(answerer, reading.cells.n_cells, np.empty(0, dtype=np.int64))
    tally, parts, taken = TypeTally(answerer.space), [], [np.empty(0, dtype=np.int64)]
    total = reading.cells.n_cells if rows is None else len(rows)
    with reading.talk.progress("explaining", total) as bar:
        for n, here, answer, part in in_order(work, reading.rows(rows), threads=reading.threads):
            bar.advance(n)
            if answer is None or part is None:
                continue
            calls.add(int(here[0]), answer)
            tally.add(part.groups)
            parts.append(replace(part, groups=[]))
            taken.append(here)
    at = np.concatenate(taken)
    if not parts:
        return Found(at, pd.DataFrame(), Part.nothing(), tally)
    return Found(at, calls.frame(reading.cells.obs_names[at]), Part.joined(parts), tally)


def _is_called(answer: Answer, node: int) -> np.ndarray:
    """Cells called the node or a term below it; cells left unknown by their most probable leaf."""
    below = answer.space.below
    wanted = below[node]
    first, _ = top_two(answer.probabilities)
    inside = ~(below[np.maximum(answer.node, 0)] & ~wanted).any(axis=1)
    return np.asarray(np.where(answer.node >= 0, inside, wanted[first]))


def some_answer(answer: Answer, kept: np.ndarray) -> Answer:
    """The ``answer`` of some of its cells."""
    fields = ("probabilities", "node", "confidence", "novelty", "flag", "coordinates")
    return replace(answer, **{name: getattr(answer, name)[kept] for name in fields})
