"""Explaining a file chunk by chunk: memory is bounded by the chunk, and what is kept are a few genes a cell."""

# n - cell, g - gene of the model, t - kept genes

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd
import scipy.sparse as sp

from whycell.data.cells import Cells
from whycell.data.values import ValueKind, to_linear
from whycell.jobs.explain_references import Background, exact_sum
from whycell.jobs.explain_targets import Sides, sides_of, some_sides
from whycell.models.answer import Answer, Answerer
from whycell.models.explaining import Pipeline
from whycell.results import TopGenes

__all__ = ["Asked", "Part", "blocks_of", "strongest"]

Item, Done = TypeVar("Item"), TypeVar("Done")
_STEP = 512  # cells whose contributions to all genes are held at once


@dataclass(frozen=True)
class Asked:
    """How cells are explained.

    Parameters
    ----------
    answerer, pipeline, columns
        The model, the model for this file, and its gene of each column.
    background
        Of references.
    against, node
        The alternative, as :func:`whycell.jobs.explain_targets.sides_of` takes it.
    reference, method, top
        Kind of reference, rule, and genes kept each way.
    kind
        What the file's matrix holds.
    """

    answerer: Answerer
    pipeline: Pipeline
    columns: np.ndarray
    background: Background
    against: str
    node: int | None
    reference: str
    method: str
    top: int
    kind: ValueKind

    def answer(self, values: sp.csr_matrix, first_row: int) -> tuple[sp.csr_matrix, Answer]:
        """Linear values and calls of some rows; ``first_row`` names them in messages."""
        linear = to_linear(values, self.kind, first_row=first_row)
        return linear, self.answerer.answer(linear, self.columns, depth=self.kind.kind == "counts")

    def explain(self, linear: sp.csr_matrix, answer: Answer, donor: np.ndarray) -> Part:
        """Explain cells.

        Parameters
        ----------
        linear
            (n, n_columns) linear values.
        answer
            Their calls.
        donor
            (n,) int.
        """
        sides = sides_of(answer, self.against, node=self.node)
        steps = [slice(start, start + _STEP) for start in range(0, len(donor), _STEP)]
        return Part.joined([self._step(linear[at], some_sides(sides, at), donor[at], answer.node[at]) for at in steps])

    def _step(self, linear: sp.csr_matrix, sides: Sides, donor: np.ndarray, node: np.ndarray) -> Part:
        pipeline = self.pipeline
        expression = pipeline.expression(linear)
        reference, words = self.background.references(sides, donor, self.reference)
        found = pipeline.contributions(
            expression, reference, leaves=sides.leaves, others=sides.others, method=self.method
        )
        here = pipeline.log_odds(expression, sides.leaves, sides.others)
        there = pipeline.log_odds(reference, sides.leaves, sides.others)
        groups = np.column_stack([node, donor])
        speaking_for, speaking_against = (
            _kept(found, expression, reference, strongest(sign * found, self.top), sign) for sign in (1, -1)
        )
        return Part(
            cells=pd.DataFrame(
                {
                    "explained": sides.explained,
                    "against": sides.against,
                    "reference": words,
                    "log_odds": here,
                    "reference_log_odds": there,
                    "residual": here - there - found.sum(axis=1, dtype=np.float64),
                    "note": sides.note,
                }
            ),
            speaking_for=speaking_for,
            speaking_against=speaking_against,
            groups=_grouped(groups, found, speaking_for.gene),
        )


@dataclass(frozen=True)
class Part:
    """Explanations of some cells.

    Parameters
    ----------
    cells
        One row a cell: the columns of ``results.Explanation.cells`` that come of the explanation.
    speaking_for, speaking_against
        The strongest genes.
    groups
        By (node of the call, donor): cells, (g,) summed contributions, and (g,) cells in which a gene is among the
        strongest for it.
    """

    cells: pd.DataFrame
    speaking_for: TopGenes
    speaking_against: TopGenes
    groups: list[tuple[tuple[int, int], int, np.ndarray, np.ndarray]]

    @classmethod
    def joined(cls, parts: list[Part]) -> Part:
        """Some parts as one."""
        tops = [
            TopGenes(*(np.concatenate(arrays) for arrays in zip(*(_arrays(top) for top in side), strict=True)))
            for side in ([p.speaking_for for p in parts], [p.speaking_against for p in parts])
        ]
        cells = pd.concat([p.cells for p in parts], ignore_index=True)
        return cls(cells, tops[0], tops[1], [group for p in parts for group in p.groups])

    @classmethod
    def nothing(cls) -> Part:
        """No cells."""
        empty = TopGenes(np.zeros((0, 0), np.int32), *(np.zeros((0, 0), np.float32) for _ in range(3)))
        return cls(pd.DataFrame(), empty, empty, [])


def strongest(values: np.ndarray, top: int) -> np.ndarray:
    """(n, t) positions of the ``top`` highest of ``values`` (n, g), highest first; ties to the first gene."""
    top = min(top, values.shape[1])
    some = np.argpartition(-values, top - 1, axis=1)[:, :top] if top < values.shape[1] else _all_columns(values)
    some.sort(axis=1)
    order = np.argsort(-np.take_along_axis(values, some, axis=1), axis=1, kind="stable")
    return np.take_along_axis(some, order, axis=1)


def blocks_of(
    cells: Cells, where: str, rows: np.ndarray | None, *, chunk: int, threads: int
) -> Iterator[tuple[np.ndarray, sp.csr_matrix]]:
    """Rows and values, block by block in the order of the file.

    Parameters
    ----------
    cells, where
        The file and its matrix.
    rows
        Rising positions; ``None`` for all.
    chunk
        Cells read at a time.
    threads
        Cores.
    """
    if rows is None:
        for block in cells.blocks(where, rows=chunk, threads=threads):
            yield np.arange(block.start, block.stop), block.values
        return
    for start in range(0, len(rows), chunk):
        some = rows[start : start + chunk]
        yield some, cells.read_rows(where, some, threads=threads)


def _all_columns(values: np.ndarray) -> np.ndarray:
    return np.repeat(np.arange(values.shape[1])[None], len(values), axis=0)


def _kept(found: np.ndarray, expression: np.ndarray, reference: np.ndarray, gene: np.ndarray, sign: int) -> TopGenes:
    values = [np.take_along_axis(array, gene, axis=1) for array in (found, expression, reference)]
    return TopGenes(np.where(sign * values[0] > 0, gene, -1).astype(np.int32), *values)


def _grouped(
    groups: np.ndarray, found: np.ndarray, top: np.ndarray
) -> list[tuple[tuple[int, int], int, np.ndarray, np.ndarray]]:
    names, inverse = np.unique(groups, axis=0, return_inverse=True)
    out = []
    for i, (node, donor) in enumerate(names):
        mine = inverse.ravel() == i
        genes = top[mine]
        tops = np.bincount(genes[genes >= 0], minlength=found.shape[1])
        out.append(((int(node), int(donor)), int(mine.sum()), exact_sum(found[mine]), tops))
    return out


def _arrays(top: TopGenes) -> tuple[np.ndarray, ...]:
    return top.gene, top.contribution, top.expression, top.reference
