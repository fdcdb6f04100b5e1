"""Rows into groups: Ward's tree, spectral clustering, Leiden; and new rows to the group whose middle is nearest."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Literal

import numpy as np

from whycell.errors import MissingExtraError, UsageError

__all__ = ["Clustering", "adjusted_rand", "centres", "consensus", "nearest", "partitions"]

Clustering = Literal["ward", "spectral", "leiden"]

_NEIGHBOURS = 20


def partitions(rows: np.ndarray, counts: Sequence[int], *, method: Clustering = "ward", seed: int = 0) -> np.ndarray:
    """Cut rows into each of several numbers of groups.

    Parameters
    ----------
    rows
        (n, d) points; unit rows make distance a matter of direction.
    counts
        Numbers of groups, each at most n.
    method
        ``"ward"``: one tree of least variance, cut; no random start, and cuts are nested. ``"spectral"``: of the graph
        of 20 nearest rows. ``"leiden"``: of the same graph, at the resolution that gives the number; needs leidenalg.
    seed
        Of the random start of ``"spectral"`` and ``"leiden"``.

    Returns
    -------
    (n, len(counts)) int, groups numbered from 0, the largest first.
    """
    rows = np.asarray(rows, dtype=np.float64)
    if method == "ward":
        from scipy.cluster.hierarchy import fcluster, linkage

        tree = linkage(_distances(rows), "ward")
        found = np.stack([fcluster(tree, k, "maxclust") for k in counts], axis=1)
    elif method == "spectral":
        found = np.stack([_spectral(rows, k, seed) for k in counts], axis=1)
    elif method == "leiden":
        found = np.stack([_leiden(rows, k, seed) for k in counts], axis=1)
    else:
        msg = f"clustering {method!r}: wanted 'ward', 'spectral' or 'leiden'"
        raise UsageError(msg)
    return np.stack([_by_size(column) for column in found.T], axis=1)


def _distances(rows: np.ndarray) -> np.ndarray:
    """Condensed distances through one matrix product: rows of weights are as wide as there are training samples."""
    from scipy.spatial.distance import squareform

    rows = rows - rows.mean(axis=0)
    lengths = (rows**2).sum(axis=1)
    squared = lengths[:, None] + lengths[None, :] - 2 * rows @ rows.T
    np.fill_diagonal(squared, 0)
    return np.asarray(squareform(np.sqrt(np.maximum(squared, 0)), checks=False))


def consensus(labellings: Sequence[np.ndarray], n_groups: int) -> np.ndarray:
    """What many clusterings of the same samples agree on: Ward's tree of the shares in which two are grouped together.

    Parameters
    ----------
    labellings
        Of each clustering, the (n,) groups.
    n_groups
        Groups of the answer.

    Returns
    -------
    (n,) int, from 0, the largest first.
    """
    together = np.mean([labels[:, None] == labels[None, :] for labels in labellings], axis=0)
    return partitions(together, [n_groups])[:, 0]


def _by_size(labels: np.ndarray) -> np.ndarray:
    _, first, codes, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    place = np.empty(len(order), dtype=int)
    place[order] = np.arange(len(order))
    return place[codes]


def _graph(rows: np.ndarray) -> np.ndarray:
    from sklearn.neighbors import kneighbors_graph

    graph = kneighbors_graph(rows, min(_NEIGHBOURS, len(rows) - 1)).toarray()
    return (graph + graph.T) / 2


def _spectral(rows: np.ndarray, k: int, seed: int) -> np.ndarray:
    from sklearn.cluster import SpectralClustering

    # A whisper of an edge everywhere: a graph in pieces has no second eigenvector worth the name.
    graph = _graph(rows) + 1e-9
    return SpectralClustering(k, affinity="precomputed", random_state=seed, n_init=10).fit_predict(graph)


def _leiden(rows: np.ndarray, k: int, seed: int) -> np.ndarray:
    if find_spec("leidenalg") is None or find_spec("igraph") is None:
        msg = (
            "clustering by Leiden needs the packages leidenalg and igraph (GPL): pip install leidenalg, or take 'ward'"
        )
        raise MissingExtraError(msg)
    import igraph
    import leidenalg

    graph = igraph.Graph.Weighted_Adjacency(_graph(rows), mode="undirected")
    low, high = 0.001, 10.0
    best: np.ndarray | None = None
    for _ in range(20):
        middle = (low * high) ** 0.5
        part = leidenalg.find_partition(
            graph, leidenalg.RBConfigurationVertexPartition, resolution_parameter=middle, weights="weight", seed=seed
        )
        labels = np.asarray(part.membership)
        n_found = labels.max() + 1
        if best is None or abs(n_found - k) < abs(best.max() + 1 - k):
            best = labels
        if n_found == k:
            break
        low, high = (middle, high) if n_found < k else (low, middle)
    return np.zeros(len(rows), int) if best is None else best


def centres(rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(n, d) rows and (n,) groups from 0 -> (k, d) the mean row of each group."""
    member = labels[None, :] == np.arange(int(labels.max()) + 1)[:, None]
    return member @ rows / member.sum(axis=1, keepdims=True)


def nearest(rows: np.ndarray, middles: np.ndarray) -> np.ndarray:
    """(n, d) rows and (k, d) middles -> (n,) which middle is nearest."""
    apart = (middles**2).sum(axis=1) - 2 * rows @ middles.T
    return np.asarray(apart.argmin(axis=1))


def adjusted_rand(first: np.ndarray, second: np.ndarray) -> float:
    """Adjusted Rand index (Hubert & Arabie 1985) of two (n,) groupings numbered from 0: 1 the same, 0 chance.

    As scikit-learn's, without its checks, which take longer than the sum.
    """
    first, second = np.asarray(first), np.asarray(second)
    width = int(second.max()) + 1
    table = np.bincount(first * width + second, minlength=(int(first.max()) + 1) * width).reshape(-1, width)
    pairs = [float((counts * (counts - 1) // 2).sum()) for counts in (table, table.sum(axis=1), table.sum(axis=0))]
    together, of_first, of_second = pairs
    chance = of_first * of_second / max(len(first) * (len(first) - 1) / 2, 1)
    most = (of_first + of_second) / 2
    return 1.0 if most == chance else (together - chance) / (most - chance)
