"""Types that were never trained on: a linear map from cells to what the ontology says of their types.

Cells (sums of their genes' text vectors) and definitions of cell types lie in one space, but not at the same place. On
the types seen a map is learned by ridge regression, each type weighing the same,

    W = argmin  mean over types of |W (z - mean) - d_type|^2  +  penalty |W - start I|^2

with d the definitions, centred on all candidates and brought to length one. ``start`` 1 shrinks towards the text space
itself, 0 towards nothing. Any term of the ontology is then scored by its cosine with W z. The penalty and the start are
those under which types left out one at a time stand highest among all candidates. Idea: Romera-Paredes and Torr 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from whycell.encode.gene_vectors import unit_rows
from whycell.errors import UsageError
from whycell.models.folder import read_folder, write_folder

__all__ = ["KIND", "PENALTIES", "UnseenMap", "fit_unseen", "load_unseen", "save_unseen"]

KIND = "whycell.UnseenMap"
PENALTIES = tuple((penalty, start) for start in (0.0, 1.0) for penalty in (1e-3, 1e-2, 1e-1, 1.0, 10.0))
_FEWEST_TYPES = 3


@dataclass(frozen=True)
class UnseenMap:
    """A learned map.

    Parameters
    ----------
    terms
        (n_terms,) ids of the candidates.
    targets
        (n_terms, n_dims) float32 of length one: their definitions, centred.
    centre
        (n_dims,) mean of the types' mean cells in training.
    unit
        Root mean square length of a training cell, centred.
    weights
        (n_dims, n_dims) cells from the left.
    seen
        Ids of the types trained on.
    penalty, start
        As chosen.
    """

    terms: np.ndarray
    targets: np.ndarray
    centre: np.ndarray
    unit: float
    weights: np.ndarray
    seen: tuple[str, ...]
    penalty: float
    start: float

    def scores(self, cells: np.ndarray) -> np.ndarray:
        """(n_cells, n_terms) cosine of each mapped cell with each term's definition."""
        mapped = unit_rows(((cells - self.centre) / self.unit) @ self.weights)
        return np.asarray(mapped @ self.targets.T)

    def best(self, cells: np.ndarray, *, most: int = 1, allowed: np.ndarray | None = None) -> np.ndarray:
        """(n_cells, most) positions in ``terms``, the nearest first, -1 where fewer are allowed.

        Parameters
        ----------
        cells
            (n_cells, n_dims).
        most
            How many.
        allowed
            (n_cells, n_terms) bool, or (n_terms,) for all alike; every term where ``None``.
        """
        scores = self.scores(cells)
        if allowed is not None:
            scores = np.where(allowed, scores, -np.inf)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :most]
        return np.where(np.isfinite(np.take_along_axis(scores, order, axis=1)), order, -1)


def fit_unseen(
    cells: np.ndarray,
    types: np.ndarray,
    *,
    terms: Sequence[str],
    definitions: np.ndarray,
    penalties: Sequence[tuple[float, float]] = PENALTIES,
) -> UnseenMap:
    """Learn the map on the types seen.

    Parameters
    ----------
    cells
        (n_cells, n_dims) vectors.
    types
        (n_cells,) term id of each; types that are no candidates are left out.
    terms
        (n_terms,) ids of the candidates.
    definitions
        (n_terms, n_dims) vectors of what the ontology says of them.
    penalties
        (penalty, start) to choose from.

    Raises
    ------
    UsageError
        Fewer than three types have a definition: there is nothing to choose a penalty by.
    """
    ids = np.asarray(list(terms), dtype=str)
    targets = unit_rows(definitions - definitions.mean(axis=0))
    place = {term: i for i, term in enumerate(ids)}
    seen = [t for t in np.unique(np.asarray(types).astype(str)) if t in place]
    if len(seen) < _FEWEST_TYPES:
        msg = f"{len(seen)} types have a definition among the candidates; {_FEWEST_TYPES} or more are needed."
        raise UsageError(msg)
    groups = [np.asarray(cells[np.asarray(types) == t], dtype=np.float64) for t in seen]
    at = np.array([place[t] for t in seen])
    ranks = dict.fromkeys(penalties, 0.0)
    for left in range(len(seen)):
        rest = [i for i in range(len(seen)) if i != left]
        centre, unit, gram, cross = _sums([groups[i] for i in rest], targets[at[rest]])
        for each, weights in _solved(gram, cross, penalties):
            mapped = unit_rows(((groups[left] - centre) / unit) @ weights)
            scores = mapped @ targets.T
            above = (scores > scores[:, [at[left]]]).mean(axis=1)
            ranks[each] += float(above.mean()) / len(seen)
    chosen = min(ranks, key=lambda each: ranks[each])
    centre, unit, gram, cross = _sums(groups, targets[at])
    weights = next(_solved(gram, cross, [chosen]))[1]
    return UnseenMap(ids, targets, centre, unit, weights, tuple(seen), *chosen)


def save_unseen(map_: UnseenMap, folder: Path, *, about: dict[str, Any], force: bool = False) -> Path:
    """Write a map to a folder of its own.

    Parameters
    ----------
    map_
        The map.
    folder
        Where to.
    about
        What more its card says.
    force
        Replace a map that is there.
    """
    tensors = {
        "targets": map_.targets,
        "centre": map_.centre,
        "weights": map_.weights,
        "numbers": np.array([map_.unit, map_.penalty, map_.start]),
    }
    names = {"terms": map_.terms.tolist(), "seen": list(map_.seen)}
    return write_folder(folder, tensors, kind=KIND, about={**about, **names}, force=force)


def load_unseen(folder: Path) -> tuple[UnseenMap, dict[str, Any]]:
    """A saved map, and its card.

    Parameters
    ----------
    folder
        That ``save_unseen`` wrote.
    """
    tensors, about = read_folder(folder, kind=KIND)
    unit, penalty, start = tensors["numbers"].tolist()
    terms, seen = np.array(about["terms"], dtype=str), tuple(about["seen"])
    held = (tensors["targets"], tensors["centre"], unit, tensors["weights"])
    return UnseenMap(terms, *held, seen, penalty, start), about


def _sums(groups: Sequence[np.ndarray], targets: np.ndarray) -> tuple[np.ndarray, float, np.ndarray, np.ndarray]:
    """Centre, unit, and the two sums of the normal equations, in which every type weighs the same."""
    centre = np.mean([group.mean(axis=0) for group in groups], axis=0)
    unit = float(np.sqrt(np.mean([((group - centre) ** 2).sum(axis=1).mean() for group in groups]))) or 1.0
    gram, cross = np.zeros((len(centre), len(centre))), np.zeros((len(centre), len(centre)))
    for group, target in zip(groups, targets, strict=True):
        x = (group - centre) / unit
        gram += x.T @ x / len(x) / len(groups)
        cross += np.outer(x.mean(axis=0), target) / len(groups)
    return centre, unit, gram, cross


def _solved(gram: np.ndarray, cross: np.ndarray, penalties: Sequence[tuple[float, float]]) -> Any:
    """One eigendecomposition for all penalties."""
    sizes, directions = np.linalg.eigh(gram)
    turned = directions.T @ cross
    for penalty, start in penalties:
        shrunk = 1 / (np.maximum(sizes, 0) + penalty)
        yield (penalty, start), directions @ (shrunk[:, None] * (turned + penalty * start * directions.T))
