"""What a report shows of many calls at once: the map and the tree."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
import pandas as pd

from whycell.compute import Talk
from whycell.knowledge.terms import Ontology
from whycell.results import TreeNode

__all__ = ["cell_map", "term_tree"]

_FEWEST_FOR_UMAP = 50


def cell_map(coordinates: Sequence[np.ndarray], *, seed: int, talk: Talk) -> tuple[str, np.ndarray]:
    """Two numbers a cell: UMAP where umap-learn is installed, else the first two directions of the model.

    Parameters
    ----------
    coordinates
        Blocks of (n, n_directions) float32.
    seed
        Of UMAP.
    talk
        Told when it starts, since it takes a while.

    Returns
    -------
    ``"UMAP"`` or ``"PCA"``, and (n_cells, 2) float32
    """
    x = np.concatenate(coordinates) if coordinates else np.zeros((0, 2), dtype=np.float32)
    if len(x) < _FEWEST_FOR_UMAP or find_spec("umap") is None:
        two = x[:, :2] if x.shape[1] >= 2 else np.pad(x, ((0, 0), (0, 2 - x.shape[1])))
        return "PCA", np.ascontiguousarray(two, dtype=np.float32)
    import warnings

    import umap

    talk.note(f"drawing the map of {len(x):,} cells")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*n_jobs.*")  # a seed makes UMAP use one core, which is what we ask
        drawn = umap.UMAP(n_neighbors=min(15, len(x) - 1), min_dist=0.3, random_state=seed, n_jobs=1).fit_transform(x)
    return "UMAP", np.asarray(drawn, dtype=np.float32)


def term_tree(calls: pd.DataFrame, release: str) -> tuple[TreeNode, ...]:
    """The terms that carry calls, and the ancestors where their branches meet.

    Parameters
    ----------
    calls
        With ``call`` and ``call_term_id``.
    release
        Of the Cell Ontology, as in the model's card.

    Returns
    -------
    Nodes sorted by id; unknown cells have a node of their own without parents.
    """
    ontology = Ontology.load(release)
    counted = calls.groupby(["call_term_id", "call"], observed=True).size()
    own = {(term or f"label:{name}"): (name, int(n)) for (term, name), n in counted.items() if n}
    terms = [term for term in own if ontology.is_live(term)]
    above = [ontology.ancestors(term) - ontology.stop_terms for term in terms]
    candidates = set().union(*above) if above else set()
    # An ancestor is shown where it tells something: it carries calls, or two branches meet in it.
    under = {a: frozenset(t for t, up in zip(terms, above, strict=True) if a in up) for a in candidates}
    shown = {a for a in candidates if a in own or _meets(a, under, ontology)}
    nodes = []
    for term in sorted(shown):
        ups = [a for a in shown if a != term and ontology.is_ancestor(a, term)]
        parents = tuple(sorted(a for a in ups if not any(b != a and ontology.is_ancestor(a, b) for b in ups)))
        nodes.append(
            TreeNode(
                term_id=term,
                name=ontology.name(term),
                parents=parents,
                n_called=own[term][1] if term in own else 0,
                n_below=sum(own[t][1] for t in under[term]),
            )
        )
    for key, (name, n) in sorted(own.items()):
        if key not in shown:
            nodes.append(TreeNode(term_id="", name=name, parents=(), n_called=n, n_below=n))
    return tuple(nodes)


def _meets(term: str, under: dict[str, frozenset[str]], ontology: Ontology) -> bool:
    """Whether no term below covers the same calls: the lowest place where these branches meet."""
    return len(under[term]) > 1 and not any(
        other != term and ontology.is_ancestor(term, other) and under[other] == under[term] for other in under
    )
