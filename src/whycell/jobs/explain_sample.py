"""Some of the cells explained, read once more: those that are tested, and those on the map."""

# n - cell, g - gene of the model

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whycell.compute import in_order
from whycell.jobs.explain_checks import Checked, Tested, check
from whycell.jobs.explain_pass import Found, Reading, some_answer
from whycell.jobs.explain_references import REFERENCES
from whycell.jobs.explain_stream import Asked
from whycell.jobs.explain_targets import Sides, sides_of

__all__ = ["Drawn", "draw_by_type", "for_map", "put_to_the_test"]

_MOST_ON_MAP = 5_000
_GENES_A_TYPE, _MOST_GENES = 4, 40


@dataclass(frozen=True)
class Drawn:
    """What the map shows.

    Parameters
    ----------
    rows
        (m,) positions among the cells explained.
    coordinates
        (m, d) of the model.
    genes, values
        (k,) genes of the model, and (m, k) their contributions.
    """

    rows: np.ndarray
    coordinates: np.ndarray
    genes: np.ndarray
    values: np.ndarray


def draw_by_type(types: np.ndarray, n: int, *, seed: int) -> np.ndarray:
    """(at most n,) positions, rising: as many of each type as there are, in turn, at random within a type.

    Parameters
    ----------
    types
        (n_cells,) call of each cell.
    n
        How many.
    """
    order = np.random.default_rng(seed).permutation(len(types))
    turn = np.empty(len(types), dtype=np.int64)
    for name in np.unique(types):
        mine = order[types[order] == name]
        turn[mine] = np.arange(len(mine))
    ranked = order[np.argsort(turn[order], kind="stable")]
    return np.sort(ranked[:n])


def put_to_the_test(
    asked: Asked, reading: Reading, found: Found, donor: np.ndarray, *, n: int, seed: int
) -> tuple[np.ndarray, Checked]:
    """Check the explanations of some cells of every type.

    Parameters
    ----------
    asked, reading, found
        What, of which file, and what was found.
    donor
        (n_cells,) int.
    n
        How many cells.
    seed
        Of their choice and of what is random in the checks.

    Returns
    -------
    (m,) positions among the cells explained, and what came of it.
    """
    types = found.calls["call"].astype(str).to_numpy()
    at = draw_by_type(types, n, seed=seed)
    expression, references, sides = [], {kind: [] for kind in REFERENCES}, []
    for rows, values in reading.rows(found.rows[at]):
        linear, answer = asked.answer(values, int(rows[0]))
        sides.append(sides_of(answer, asked.against, node=asked.node))
        expression.append(asked.pipeline.expression(linear))
        for kind, kept in references.items():
            kept.append(asked.background.references(sides[-1], donor[rows], kind)[0])
    made = {kind: np.concatenate(kept) for kind, kept in references.items()}
    whole = Sides(*(np.concatenate([getattr(s, f) for s in sides]) for f in Sides.__dataclass_fields__))
    kept = {kind: made[kind] for kind in REFERENCES if kind not in (asked.reference, "zeros")}
    tested = Tested(np.concatenate(expression), made[asked.reference], whole, types[at], kept)
    return at, check(asked.pipeline, tested, method=asked.method, seed=seed)


def for_map(asked: Asked, reading: Reading, found: Found, donor: np.ndarray, *, mean: np.ndarray, seed: int) -> Drawn:
    """Coordinates of cells drawn by seed, and what the telling genes contribute in each.

    Parameters
    ----------
    asked, reading, found
        What, of which file, and what was found.
    donor
        (n_cells,) int.
    mean
        (n_types, g) mean contributions by type: the strongest few of every type are shown.
    """
    at = np.sort(np.random.default_rng(seed).permutation(len(found.rows))[:_MOST_ON_MAP])
    strongest = np.argsort(-mean, axis=1, kind="stable")[:, :_GENES_A_TYPE]
    genes = np.array(list(dict.fromkeys(strongest.T.ravel().tolist()))[:_MOST_GENES], dtype=np.int64)

    def work(item: tuple[np.ndarray, object]) -> tuple[np.ndarray, np.ndarray]:
        rows, values = item
        linear, answer = asked.answer(values, int(rows[0]))  # type: ignore[arg-type]
        parts = []
        for start in range(0, len(rows), 512):
            part = np.arange(start, min(start + 512, len(rows)))
            sides = sides_of(some_answer(answer, part), asked.against, node=asked.node)
            reference, _ = asked.background.references(sides, donor[rows[part]], asked.reference)
            parts.append(
                asked.pipeline.contributions(
                    asked.pipeline.expression(linear[part]),
                    reference,
                    leaves=sides.leaves,
                    others=sides.others,
                    method=asked.method,
                )[:, genes]
            )
        return answer.coordinates, np.concatenate(parts)

    done = list(in_order(work, reading.rows(found.rows[at]), threads=reading.threads))
    return Drawn(at, np.concatenate([d[0] for d in done]), genes, np.concatenate([d[1] for d in done]))
