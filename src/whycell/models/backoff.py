"""From probabilities of classes to a call: the most that can be said with a stated confidence.

The probability of a node is the sum over the classes at or below it, each counted once. The call is the node with the
most information whose probability clears a threshold; under the top of the ontology it is ``unknown``. Any model that
gives probabilities can be asked in this way, which is what makes comparisons fair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from whycell._keys import UNKNOWN
from whycell.knowledge.terms import Ontology
from whycell.metrics.nodes import node_probabilities
from whycell.metrics.tree import TermTree, row_blocks

__all__ = ["OWN_CLASS", "BackOff", "class_term", "own_classes"]

#: Prefix of the stand-in id of a class that maps to no term.
OWN_CLASS = "x:"


def class_term(label: str, term_id: str) -> str:
    """The term of a class in a tree: its id, or a stand-in where it maps to none."""
    return term_id or OWN_CLASS + label


def own_classes(label_ids: Mapping[str, str]) -> list[str]:
    """Stand-in ids of the labels that map to no term."""
    return sorted(class_term(label, "") for label, term in label_ids.items() if not term)


class BackOff:
    """Calls over the nodes above a set of classes.

    Parameters
    ----------
    labels
        (k,) classes, in the order of the columns of the probabilities.
    label_ids
        Term id of every label, ``""`` where it maps to none: such a class lies directly under the root.
    """

    def __init__(self, labels: Sequence[str], *, label_ids: Mapping[str, str], ontology: Ontology) -> None:
        self.labels = np.array(list(labels), dtype=object)
        terms = [class_term(label, label_ids.get(label, "")) for label in labels]
        self.tree = TermTree.of(ontology, extra=[term for term in terms if term.startswith(OWN_CLASS)])
        self.classes = self.tree.codes(np.array(terms, dtype=object))
        self.class_ids = np.array([label_ids.get(label, "") for label in labels], dtype=object)
        nodes = np.flatnonzero(self.tree.closure_of(self.classes) & ~self.tree.stop)
        #: (m,) nodes that can be called, the most telling first.
        self.nodes = nodes[np.lexsort((self.tree.ids[nodes], -self.tree.information[nodes]))]
        self._names = np.array(
            [
                term.removeprefix(OWN_CLASS) if term.startswith(OWN_CLASS) else ontology.name(term)
                for term in map(str, self.tree.ids[self.nodes])
            ]
            + [UNKNOWN],
            dtype=object,
        )

    @property
    def node_ids(self) -> np.ndarray:
        """(m,) ids of the nodes, stand-ins for classes without a term."""
        return np.asarray(self.tree.ids[self.nodes])

    def of_nodes(self, probabilities: np.ndarray) -> np.ndarray:
        """(n, m) probabilities of the nodes from those of the classes (n, k)."""
        return node_probabilities(probabilities, self.classes, self.nodes, tree=self.tree)

    def choose(self, of_nodes: np.ndarray, threshold: float) -> np.ndarray:
        """(n,) column of the most telling node that clears the threshold, the likelier of two equals, -1 for none."""
        content = self.tree.information[self.nodes]
        worth = np.where(of_nodes >= threshold - 1e-9, content[None, :] + 1e-6 * of_nodes, -1.0)
        best = worth.argmax(axis=1)
        return np.where(worth[np.arange(len(best)), best] >= 0, best, -1)

    def call(
        self, probabilities: np.ndarray, *, threshold: float = 0.95, novelty: np.ndarray | None = None
    ) -> pd.DataFrame:
        """One row a cell, with the columns of a model's call.

        Parameters
        ----------
        probabilities
            (n, k) over the classes; rows sum to 1.
        novelty
            (n,) larger is more novel; 1 - the largest probability where not given.

        Returns
        -------
        DataFrame with ``call, call_term_id, confidence, leaf, leaf_term_id, leaf_confidence, runner_up, novelty``. The
        confidence of an unknown call is 0.
        """
        at, confidence = np.empty(len(probabilities), dtype=np.int64), np.zeros(len(probabilities), dtype=np.float32)
        for rows in row_blocks(len(probabilities), 8192):
            chance = self.of_nodes(probabilities[rows])
            at[rows] = self.choose(chance, threshold)
            confidence[rows] = np.where(at[rows] >= 0, chance[np.arange(len(chance)), at[rows]], 0)
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
        best = probabilities[np.arange(len(order)), order[:, 0]]
        second = self.labels[order[:, 1]] if len(self.labels) > 1 else np.full(len(order), "", dtype=object)
        ids = np.array([*("" if str(i).startswith(OWN_CLASS) else str(i) for i in self.node_ids), ""], dtype=object)
        return pd.DataFrame(
            {
                "call": self._names[at],
                "call_term_id": ids[at],
                "confidence": np.clip(confidence, 0, 1),
                "leaf": self.labels[order[:, 0]],
                "leaf_term_id": self.class_ids[order[:, 0]],
                "leaf_confidence": np.clip(best, 0, 1).astype(np.float32),
                "runner_up": second,
                "novelty": (1 - best if novelty is None else novelty).astype(np.float32),
            }
        )
