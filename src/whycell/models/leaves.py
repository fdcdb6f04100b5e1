"""What a model tells apart, when its training labels sit at different levels of the Cell Ontology.

A label is evidence for its term and never against the terms below it: a cell labelled "T cell" may be any T cell. So
each label stands for a *set* of leaves, and the probability of a term is the sum over the leaves at or below it.

Within one authority (a donor of a study: one hand that labelled) labels exclude one another: where the same hand wrote
both "CD14-positive monocyte" and its descendant "CD14-low, CD16-positive monocyte", the first means "and not the
second". The part of the first that remains is a leaf of its own. Where no hand did so there is no such leaf, and a
coarse label is wholly shared out among the finer ones that other studies taught.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from whycell.errors import LabelError
from whycell.knowledge.terms import Ontology

__all__ = ["LeafSpace", "build_leaves"]


@dataclass(frozen=True)
class LeafSpace:
    """Leaves, the nodes above them, and what each training label means.

    Parameters
    ----------
    labels
        (n_leaves,) the training label that names each leaf.
    term_ids
        (n_leaves,) Cell Ontology id, "" for a class of its own.
    nodes
        (n_nodes,) ids of every term that may be called; a class without id stands as ``"label:" + its name``.
    node_names
        (n_nodes,) what a person reads.
    below
        (n_nodes, n_leaves) bool: the leaf is at or below the node.
    information
        (n_nodes,) information content (Seco); 1 for a class of its own.
    """

    labels: np.ndarray
    term_ids: np.ndarray
    nodes: np.ndarray
    node_names: np.ndarray
    below: np.ndarray
    information: np.ndarray

    @property
    def n_leaves(self) -> int:
        return len(self.labels)

    @property
    def leaf_names(self) -> np.ndarray:
        """(n_leaves,) what a person reads: the term's name, or the label of a class of its own."""
        return np.asarray(self.node_names[self.leaf_node()])

    def leaf_node(self) -> np.ndarray:
        """(n_leaves,) row in ``nodes`` of each leaf's own term."""
        position = {node: i for i, node in enumerate(self.nodes)}
        keys = [term or _own(label) for term, label in zip(self.term_ids, self.labels, strict=True)]
        return np.array([position[key] for key in keys])


def build_leaves(
    labels: np.ndarray,
    label_ids: Mapping[str, str],
    authority: np.ndarray,
    ontology: Ontology,
) -> tuple[LeafSpace, np.ndarray]:
    """Leaves of a set of labelled cells, and the leaves that each cell's label may stand for.

    Parameters
    ----------
    labels
        (n_cells,) training labels.
    label_ids
        Cell Ontology id of each label, "" where there is none.
    authority
        (n_cells,) the hand that labelled each cell.
    ontology
        The Cell Ontology.

    Returns
    -------
    space : the leaves
    meaning : (n_cells, n_leaves) bool

    Raises
    ------
    LabelError
        Where fewer than two classes remain.
    """
    keys = np.array([label_ids.get(label) or _own(label) for label in labels], dtype=object)
    terms = sorted(set(keys))
    under = {a: {b for b in terms if b != a and _is_below(b, a, ontology)} for a in terms}
    hands = pd.DataFrame({"hand": authority, "key": keys}).drop_duplicates()
    written = {hand: set(group) for hand, group in hands.groupby("hand")["key"]}
    kept_apart = {key for keys_ in written.values() for key in keys_ if under[key] & keys_}
    leaves = [term for term in terms if not under[term] or term in kept_apart]
    if len(leaves) < 2:
        msg = (
            f"One class is not enough to learn from: got {_names(terms, ontology)}. At least two cell types that are "
            "not above one another are needed; check the label column."
        )
        raise LabelError(msg)
    space = _space(leaves, keys, labels, ontology)
    index = {leaf: i for i, leaf in enumerate(leaves)}
    meaning_of = {}
    for hand, own in written.items():
        for key in own:
            taken = {low for other in under[key] & own for low in ({other} | under[other])}
            may = ({key} | under[key]) - taken
            row = np.zeros(len(leaves), dtype=bool)
            row[[index[leaf] for leaf in may if leaf in index]] = True
            meaning_of[hand, key] = row
    pairs = pd.MultiIndex.from_arrays([authority, keys])
    codes, unique = pairs.factorize()
    table = np.stack([meaning_of[hand, key] for hand, key in unique])
    return space, table[codes]


def _space(leaves: Sequence[str], keys: np.ndarray, labels: np.ndarray, ontology: Ontology) -> LeafSpace:
    with_id = [leaf for leaf in leaves if ontology.is_live(leaf)]
    above = set().union(*(ontology.ancestors(leaf) for leaf in with_id)) - ontology.stop_terms if with_id else set()
    nodes = sorted(above) + [leaf for leaf in leaves if not ontology.is_live(leaf)]
    common = pd.DataFrame({"key": keys, "label": labels}).groupby("key")["label"]
    # The commonest label names the leaf; ties go to the first in the alphabet, so that the order of cells is no matter.
    named = {key: min(group.value_counts().items(), key=lambda item: (-item[1], item[0]))[0] for key, group in common}
    information = dict(zip(ontology.ids, ontology.information_content(), strict=True))
    below = np.array([[_is_below(leaf, node, ontology) or leaf == node for leaf in leaves] for node in nodes])
    return LeafSpace(
        labels=np.array([named[leaf] for leaf in leaves], dtype=object),
        term_ids=np.array([leaf if ontology.is_live(leaf) else "" for leaf in leaves], dtype=object),
        nodes=np.array(nodes, dtype=object),
        node_names=np.array([ontology.name(n) if ontology.is_live(n) else named[n] for n in nodes], dtype=object),
        below=below,
        information=np.array([information.get(node, 1.0) for node in nodes]),
    )


def _own(label: str) -> str:
    return f"label:{label}"


def _is_below(low: str, high: str, ontology: Ontology) -> bool:
    return ontology.is_live(low) and ontology.is_live(high) and ontology.is_ancestor(high, low)


def _names(terms: Sequence[str], ontology: Ontology) -> str:
    return ", ".join(ontology.name(t) if ontology.is_live(t) else t.removeprefix("label:") for t in terms) or "nothing"
