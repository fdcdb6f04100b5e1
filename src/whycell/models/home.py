"""Cells at home in a study that the model learned from, and what may be said of them that one study alone taught.

What a single study taught was confirmed by no other laboratory, so such terms lose a part of their probability
(``tested.ONE_STUDY``). For a cell that was measured as a training study was, the doubt is smaller: how that study sees
its cells was part of the training. Whether a cell is at home in a study is judged by its coordinates alone,

    D_s(t) = min over the labels of study s of (t - mean)' W_s^-1 (t - mean)

with W_s the covariance within labels. A cell is at home in s where D_s + log det W_s is the least of all studies and
D_s is within a limit, met by 95 % of the cells of donors left out of the means and of W_s. A study of fewer than three
donors has no limit and is no home: it does not show how much a new donor differs. It still claims the cells that look
like its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from whycell.encode.cells import Gaps
from whycell.models.lessons import Cells, Learned

__all__ = ["Homes"]

_KEPT = 0.95
_FEWEST_DONORS = 3
_FEWEST_CELLS = 10
_RIDGE = 1e-3
_SEEN = 0.98


@dataclass(frozen=True)
class Homes:
    """Studies that claim cells, and those in which a cell may be at home.

    Parameters
    ----------
    means, owner
        (n_labels, n_directions) float64 mean coordinates of each label of each study, and (n_labels,) int the study.
    whiten
        (n_studies, n_directions, n_directions) float64: coordinates times this have unit covariance within labels.
    limit
        (n_studies,) squared distance within which a cell is at home; -1 where no cell is.
    trust
        (n_studies, n_nodes) factor on the probability of a node for a cell at home.
    measured
        (n_studies, n_genes) bool.
    """

    means: np.ndarray
    owner: np.ndarray
    whiten: np.ndarray
    limit: np.ndarray
    trust: np.ndarray
    measured: np.ndarray

    @classmethod
    def none(cls, n_nodes: int, n_directions: int, n_genes: int) -> Homes:
        """No home for any cell."""
        square = np.zeros((0, n_directions, n_directions))
        return cls(
            means=np.zeros((0, n_directions)),
            owner=np.zeros(0, dtype=np.int64),
            whiten=square,
            limit=np.zeros(0),
            trust=np.ones((0, n_nodes)),
            measured=np.ones((0, n_genes), dtype=bool),
        )

    @classmethod
    def learn(cls, learned: Learned, cells: Cells, *, below: np.ndarray, trust: np.ndarray) -> Homes:
        """Read off the training cells.

        Parameters
        ----------
        learned, cells
            The model, and the cells that it learned from.
        below
            (n_nodes, n_leaves) bool.
        trust
            (n_nodes,) factor on the probability of a node for cells at home nowhere.
        """
        n_genes, n_directions = learned.encoder.directions.shape
        if (trust == 1).all():
            return cls.none(len(below), n_directions, n_genes)
        columns = np.arange(n_genes, dtype=np.int32)
        x, _ = learned.encoder.encode(cells.values, columns, gaps=Gaps(cells.measured), pattern=cells.study)
        homes = []
        for s in range(len(cells.measured)):
            mine = cells.study == s
            home = _learn_one(x[mine], cells.kind[mine], cells.donor[mine])
            if home is not None:
                known = _spoken_of(cells.meanings[np.unique(cells.kind[mine])], below)
                homes.append((*home, np.where(known, 1.0, trust), cells.measured[s]))
        if not any(home[2] >= 0 for home in homes):
            return cls.none(len(below), n_directions, n_genes)
        means, whiten, limit, trusts, measured = zip(*homes, strict=True)
        return cls(
            means=np.concatenate(means),
            owner=np.repeat(np.arange(len(homes)), [len(m) for m in means]),
            whiten=np.stack(whiten),
            limit=np.array(limit),
            trust=np.stack(trusts),
            measured=np.stack(measured),
        )

    def trust_in(self, x: np.ndarray, seen: np.ndarray, trust: np.ndarray) -> np.ndarray:
        """(n_cells, n_nodes) factor on the probability of each node.

        Parameters
        ----------
        x
            (n_cells, n_directions) coordinates.
        seen
            (n_genes,) bool, genes that the file measures; without nearly all of a home's none is at home there.
        trust
            (n_nodes,) factor for cells at home nowhere.
        """
        out = np.tile(trust, (len(x), 1))
        if not (self.limit >= 0).any():
            return out
        far = np.column_stack(
            [_distance(x, self.means[self.owner == s], self.whiten[s]) for s in range(len(self.limit))]
        )
        nearest = (far - 2.0 * np.linalg.slogdet(self.whiten)[1]).argmin(axis=1)
        for s, limit in enumerate(self.limit):
            if seen[self.measured[s]].mean() >= _SEEN:
                at_home = (nearest == s) & (far[:, s] <= limit)
                out[at_home] = np.maximum(trust, self.trust[s])
        return out


def _learn_one(x: np.ndarray, kind: np.ndarray, donor: np.ndarray) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Means, whitening and limit of one study."""
    fitted = _fit(x, kind)
    if fitted is None:
        return None
    donors = np.unique(donor)
    without = [_fit(x[donor != one], kind[donor != one]) for one in donors] if len(donors) >= _FEWEST_DONORS else []
    if not without or any(fit is None for fit in without):
        return *fitted, -1.0
    far = [_distance(x[donor == one], *fit) for one, fit in zip(donors, without, strict=True) if fit is not None]
    return *fitted, float(np.quantile(np.concatenate(far), _KEPT))


def _fit(x: np.ndarray, kind: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    names, counts = np.unique(kind, return_counts=True)
    use = names[counts >= _FEWEST_CELLS]
    if not len(use) or np.isin(kind, use).sum() <= 2 * x.shape[1]:
        return None
    means = np.stack([x[kind == k].mean(axis=0, dtype=np.float64) for k in use])
    kept = np.isin(kind, use)
    off = x[kept].astype(np.float64) - means[np.searchsorted(use, kind[kept])]
    values, vectors = np.linalg.eigh(off.T @ off / len(off))
    return means, vectors / np.sqrt(np.maximum(values, 0.0) + _RIDGE * values.mean())


def _distance(x: np.ndarray, means: np.ndarray, whiten: np.ndarray) -> np.ndarray:
    z, centre = x.astype(np.float64) @ whiten, means @ whiten
    squares = (z**2).sum(axis=1)[:, None] + (centre**2).sum(axis=1) - 2.0 * z @ centre.T
    return np.asarray(squares.min(axis=1))


def _spoken_of(meanings: np.ndarray, below: np.ndarray) -> np.ndarray:
    """(n_nodes,) whether some label of the study lies within the node, or covers all of it."""
    within = ~(meanings[:, None, :] & ~below[None, :, :]).any(axis=2)
    covers = ~(~meanings[:, None, :] & below[None, :, :]).any(axis=2)
    return np.asarray((within | covers).any(axis=0))
