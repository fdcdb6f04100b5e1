"""Why this and not that: the two sides of every cell's explanation, as sets of leaves."""

# n - cell, k - leaf

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from whycell.errors import UsageError
from whycell.knowledge.labels import map_labels
from whycell.knowledge.terms import Ontology
from whycell.models.answer import Answer, top_two
from whycell.models.leaves import LeafSpace

__all__ = ["AGAINST", "REST", "RUNNER_UP", "SIBLING", "Sides", "find_node", "sides_of", "some_sides"]

RUNNER_UP, SIBLING, REST = "runner-up", "sibling", "rest"
AGAINST = (RUNNER_UP, SIBLING, REST)


@dataclass(frozen=True)
class Sides:
    """What is explained, and against what, for some cells.

    Parameters
    ----------
    leaves, others
        (n, k) bool, disjoint, neither empty.
    explained, against, note
        (n,) names of the two, and what a reader must know: that the cell was left unknown, or that the alternative
        asked for was the call itself.
    """

    leaves: np.ndarray
    others: np.ndarray
    explained: np.ndarray
    against: np.ndarray
    note: np.ndarray


def sides_of(answer: Answer, against: str, *, node: int | None = None) -> Sides:
    """The two sides of every cell's explanation.

    A cell left unknown is explained at its most probable leaf; a call is explained as all the leaves below it.

    Parameters
    ----------
    answer
        The calls.
    against
        ``"runner-up"``: the most probable leaf outside the call; ``"sibling"``: the other leaves below the nearest term
        above; ``"rest"``: all other leaves. Ignored where ``node`` is given.
    node
        Row of ``answer.space.nodes``: the alternative for all cells. Where a call lies in it altogether the runner-up
        takes its place.
    """
    space, n = answer.space, len(answer.node)
    first, _ = top_two(answer.probabilities)
    own = np.eye(space.n_leaves, dtype=bool)
    leaves = np.where((answer.node >= 0)[:, None], space.below[np.maximum(answer.node, 0)], own[first])
    explained = np.where(answer.node >= 0, space.node_names[np.maximum(answer.node, 0)], space.leaf_names[first])
    note = np.where(answer.node >= 0, "", "left unknown: this explains its most probable type").astype(object)
    novel = np.array(["novel" in str(flag).split(";") for flag in answer.flag], dtype=bool)
    note[novel] = [_and(old, "flagged novel: the model learned nothing like it") for old in note[novel]]
    everything = leaves.all(axis=1)
    leaves, explained = leaves.copy(), explained.astype(object)
    leaves[everything], explained[everything] = own[first[everything]], space.leaf_names[first[everything]]
    runner = np.where(leaves, -1.0, answer.probabilities).argmax(axis=1)
    others, names = own[runner], space.leaf_names[runner].astype(object)
    if node is not None:
        rest = space.below[node] & ~leaves
        has = rest.any(axis=1)
        others, names = np.where(has[:, None], rest, others), np.where(has, space.node_names[node], names)
        lacks = f"it is {space.node_names[node]} itself: explained against its runner-up"
        note[~has] = [_and(old, lacks) for old in note[~has]]
    elif against == REST:
        others, names = ~leaves, np.full(n, "all other types", dtype=object)
    elif against == SIBLING:
        others, names = _siblings(leaves, space)
    return Sides(leaves, others, explained, names, note.astype(object))


def _and(one: str, other: str) -> str:
    return f"{one}; {other}" if one else other


def some_sides(sides: Sides, at: slice) -> Sides:
    """The ``sides`` of some of the cells."""
    return Sides(sides.leaves[at], sides.others[at], sides.explained[at], sides.against[at], sides.note[at])


def find_node(name: str, space: LeafSpace, *, release: str) -> int:
    """Row in ``space.nodes`` of a type that a person names: an id, a name or a synonym of any case, with or without
    "cell" behind it; or some words of a name ("CD8 T cell"), where one term lies above all others that have them.

    Parameters
    ----------
    name
        As given.
    space
        The model's leaves and nodes.
    release
        Of the Cell Ontology, for synonyms.

    Raises
    ------
    UsageError
        The model has no such type, or several.
    """
    row_of = {str(label).lower(): int(row) for label, row in zip(space.labels, space.leaf_node(), strict=True)}
    for names in (space.node_names, space.nodes):
        row_of |= {str(known).lower(): row for row, known in enumerate(names)}
    for tried in (name.strip(), f"{name.strip()} cell"):
        id_ = map_labels([tried], Ontology.load(release)).label_to_id.get(tried, "")
        for key in (tried.lower(), id_.lower()):
            if key in row_of:
                return row_of[key]
    words = _words(name)
    rows = [row for row, known in enumerate(space.node_names) if words and words <= _words(str(known))]
    tops = [row for row in rows if not (space.below[rows].any(axis=0) & ~space.below[row]).any()]
    if tops:
        return max(tops, key=lambda row: (-len(_words(str(space.node_names[row]))), -row))
    what = f"several types like {name!r}" if rows else f"no type {name!r}"
    held = space.node_names[rows] if rows else space.leaf_names
    msg = f"The model has {what}; {'they' if rows else 'its types'} are: {', '.join(map(str, held))}" + (
        "." if rows else ", and terms above them."
    )
    raise UsageError(msg)


def _words(text: str) -> set[str]:
    return {word.removesuffix("s") for word in re.findall(r"[a-z0-9]+", text.lower())}


def _siblings(leaves: np.ndarray, space: LeafSpace) -> tuple[np.ndarray, np.ndarray]:
    """The other leaves of the smallest term that holds the call and more; all others where there is none."""
    kinds, back = np.unique(leaves, axis=0, return_inverse=True)
    size = space.below.sum(axis=1)
    others, names = [], []
    for kind in kinds:
        holds = (space.below | ~kind).all(axis=1) & (size > kind.sum())
        up = int(np.flatnonzero(holds)[np.argmin(size[holds])]) if holds.any() else -1
        others.append(space.below[up] & ~kind if up >= 0 else ~kind)
        names.append(f"other {space.node_names[up]}" if up >= 0 else "all other types")
    return np.array(others)[back.ravel()], np.array(names, dtype=object)[back.ravel()]
