"""Do the coordinates group cells by type rather than by batch?"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["ami", "ari", "batch_mixing", "silhouette"]


def ari(a: Any, b: Any) -> float:
    """Adjusted Rand index of groupings ``a`` and ``b``: 1 the same, 0 by chance. Source: Hubert and Arabie 1985."""
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(a, b))


def ami(a: Any, b: Any) -> float:
    """Adjusted mutual information of groupings ``a`` and ``b``: 1 the same, 0 by chance. Source: Vinh et al. 2010."""
    from sklearn.metrics import adjusted_mutual_info_score

    return float(adjusted_mutual_info_score(a, b))


def silhouette(coordinates: np.ndarray, labels: Any, *, most_cells: int = 5000, seed: int = 0) -> float:
    """Mean silhouette width of the labels in -1..1, over at most ``most_cells`` cells drawn with ``seed``.

    The full score needs every distance, hence the draw. NaN for fewer than two labels, or where every cell has a label
    of its own. Source: Rousseeuw 1987 (scikit-learn).
    """
    from sklearn.metrics import silhouette_score

    coordinates, labels = np.asarray(coordinates), np.asarray(labels).astype(str)
    if len(labels) > most_cells:
        drawn = np.random.default_rng(seed).choice(len(labels), most_cells, replace=False)
        coordinates, labels = coordinates[drawn], labels[drawn]
    if not 2 <= len(np.unique(labels)) <= len(labels) - 1:
        return float("nan")
    return float(silhouette_score(coordinates, labels))


def batch_mixing(coordinates: np.ndarray, batches: Any, *, labels: Any | None = None, neighbours: int = 15) -> float:
    """How freely batches mix: share of a cell's neighbours from other batches / the share that chance would give.

    Mean over cells of observed divided by expected, where a cell's expectation is the share of the other cells that are
    of another batch; 1 where batches mix freely, 0 where they lie apart. With ``labels`` the neighbours are sought
    within the same label, so that a batch which holds a type alone is not taken for a batch effect; cells whose label
    is in one batch only are left out. NaN where no cell is left. Source: the observed-over-expected form of the
    neighbourhood test of kBET (Buettner et al. 2019).
    """
    from sklearn.neighbors import NearestNeighbors

    coordinates = np.asarray(coordinates)
    batches = np.asarray(batches).astype(str)
    labels = np.zeros(len(batches), dtype=str) if labels is None else np.asarray(labels).astype(str)
    found: list[np.ndarray] = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        names, codes = np.unique(batches[rows], return_inverse=True)
        if len(names) < 2:
            continue
        k = min(neighbours, len(rows) - 1)
        search = NearestNeighbors(n_neighbors=k).fit(coordinates[rows])
        near = search.kneighbors(return_distance=False)  # without the cell itself
        observed = (codes[near] != codes[:, None]).mean(axis=1)
        expected = (len(rows) - np.bincount(codes)[codes]) / (len(rows) - 1)
        found.append(observed / expected)
    return float(np.concatenate(found).mean()) if found else float("nan")
