"""A directed graph of terms in the form that scores need: integers, sparse rows and weights.

Every score of this room that knows the hierarchy takes a :class:`TermTree`. Terms travel as arrays of ids; ``""`` (and
the words ``unknown`` and ``na``) mean that no term was named. They are turned to integers once, and each score is
worked out on the distinct (truth, call) pairs only: a million cells rarely hold more than a few thousand of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from whycell.errors import LabelError

if TYPE_CHECKING:
    from whycell.knowledge.terms import Ontology

__all__ = ["NO_TERM", "Pairs", "TermTree", "pair_terms", "row_blocks"]

#: What stands in an array of terms where no term was named.
NO_TERM = frozenset({"", "unknown", "na", "nan"})

_PAIRS_A_BLOCK = 1 << 16


@dataclass(frozen=True)
class TermTree:
    """Terms with their direct parents, a weight each, and the ones that say nothing.

    Parameters
    ----------
    ids
        (n_terms,) term ids.
    parents
        (n_terms, n_terms) bool; ``parents[i, j]`` where j is a direct parent of i.
    closure
        (n_terms, n_terms) bool; ``closure[i, j]`` where j is i or an ancestor of i.
    information
        (n_terms,) information content, at least 0; Seco's intrinsic one unless given.
    stop
        (n_terms,) bool: terms too general to count as an answer; they stand in no set and are no truth.
    """

    ids: np.ndarray
    parents: sparse.csr_matrix
    closure: sparse.csr_matrix
    information: np.ndarray
    stop: np.ndarray

    @classmethod
    def from_parents(
        cls,
        ids: Sequence[str],
        parents: Mapping[str, Iterable[str]],
        *,
        stop: Iterable[str] = (),
        information: np.ndarray | None = None,
    ) -> TermTree:
        """Build from each id's direct parents; ancestors are sets, so several parents are never counted twice.

        ``information`` (n_terms,) is Seco's intrinsic content where not given: IC(c) = 1 - ln|D(c)| / ln N, with D the
        descendants incl. c itself and N the number of terms (Seco et al. 2004).
        """
        ids = list(ids)
        index = {term: i for i, term in enumerate(ids)}
        direct = {i: [index[p] for p in parents.get(term, ()) if p in index] for i, term in enumerate(ids)}
        reach = _reach(direct)
        n = len(ids)
        closure = _boolean(((i, j) for i in range(n) for j in reach[i]), n)
        below = np.asarray(closure.sum(axis=0), dtype=np.float64).ravel()
        if information is None:
            information = 1 - np.log(below) / np.log(max(n, 2))
        stop_ids = set(stop)
        return cls(
            np.array(ids, dtype=str),
            _boolean(((i, j) for i in range(n) for j in direct[i]), n),
            closure,
            np.asarray(information, dtype=np.float64),
            np.array([term in stop_ids for term in ids], dtype=bool),
        )

    @classmethod
    def of(cls, ontology: Ontology, *, stop: Iterable[str] | None = None, extra: Iterable[str] = ()) -> TermTree:
        """The Cell Ontology, plus ``extra`` classes directly under the root.

        Parameters
        ----------
        ontology
            A pinned release.
        stop
            Ids to use instead of the ontology's stop-terms.
        extra
            Names of classes that map to no term; they become leaves under the root with the largest content, 1.
        """
        root = "CL:0000000"
        ids = [str(term) for term in ontology.ids]
        parents: dict[str, Iterable[str]] = {term: ontology.parents(term) for term in ids}
        added = sorted(set(extra) - set(ids))
        parents.update(dict.fromkeys(added, (root,)))
        return cls.from_parents(
            [*ids, *added],
            parents,
            stop=ontology.stop_terms if stop is None else stop,
            # A class of one study must not change what the ontology's own terms are worth.
            information=np.concatenate([ontology.information_content(), np.ones(len(added))]),
        )

    @cached_property
    def index(self) -> dict[str, int]:
        """Id to position."""
        return {str(term): i for i, term in enumerate(self.ids)}

    @cached_property
    def steps(self) -> sparse.csr_matrix:
        """(n_terms, n_terms) int: 1 + the fewest is_a steps from i up to j, stored where ``closure`` is."""
        direct = {i: self.parents.indices[a:b].tolist() for i, (a, b) in enumerate(self._bounds(self.parents))}
        reach = _reach(direct)
        rows = [(i, j, steps + 1) for i in range(len(self.ids)) for j, steps in reach[i].items()]
        i, j, value = (np.array(x, dtype=np.int32) for x in zip(*rows, strict=True))
        found = sparse.csr_matrix((value, (i, j)), shape=self.closure.shape)
        found.sort_indices()
        return found

    @cached_property
    def downwards(self) -> sparse.csc_matrix:
        """``steps`` by column, for the way down: column j holds what lies at or below j."""
        return self.steps.tocsc()

    def below_table(self, terms: np.ndarray, above: np.ndarray) -> np.ndarray:
        """(n, m) bool: code ``above[j]`` is ``terms[i]`` or an ancestor of it; False where a term is -1."""
        distinct, which = np.unique(terms, return_inverse=True)
        table = np.zeros((len(distinct), len(above)), dtype=bool)
        known = distinct >= 0
        table[known] = self.closure[distinct[known]][:, above].toarray()
        return np.asarray(table[which])

    @staticmethod
    def _bounds(matrix: sparse.csr_matrix) -> Iterator[tuple[int, int]]:
        return zip(matrix.indptr[:-1].tolist(), matrix.indptr[1:].tolist(), strict=True)

    def codes(self, terms: Any) -> np.ndarray:
        """(n,) positions of the terms named, -1 where none is.

        Integers are taken as codes already. Raises :class:`LabelError` for an id that the tree does not hold.
        """
        if isinstance(terms, np.ndarray) and np.issubdtype(terms.dtype, np.integer):
            return terms
        if isinstance(terms, pd.Series):
            terms = terms.array
        if not isinstance(terms, pd.Categorical):
            terms = np.asarray(terms)
            terms = pd.Categorical(terms.astype(object) if terms.dtype.kind in "US" else terms)
        distinct = ["" if pd.isna(term) else str(term) for term in terms.categories]
        lost = [term for term in distinct if term not in self.index and term.lower() not in NO_TERM]
        if lost:
            msg = (
                f"{len(lost)} terms are not among the {len(self.ids)} held: {', '.join(map(repr, lost[:3]))}. "
                "Wanted live Cell Ontology ids like 'CL:0000236' ('' for unknown); "
                "were they written with another ontology release?"
            )
            raise LabelError(msg)
        lookup = np.array([*(self.index.get(term, -1) for term in distinct), -1], dtype=np.int64)
        return np.asarray(lookup[np.asarray(terms.codes)])

    def names(self, codes: np.ndarray) -> np.ndarray:
        """(n,) ids of the codes, ``""`` where a code is -1."""
        return np.asarray(np.append(self.ids, "")[codes])

    def usable(self, truth: Any) -> np.ndarray:
        """(n,) bool: truths that can be scored, that is neither unknown nor a stop-term."""
        codes = self.codes(truth)
        return np.asarray((codes >= 0) & ~np.append(self.stop, True)[codes])

    def is_below(self, term: Any, above: Any) -> np.ndarray:
        """(n,) bool: ``above[i]`` is ``term[i]`` or one of its ancestors; False where either is unknown."""
        a, b = np.broadcast_arrays(self.codes(term), self.codes(above))
        found = np.zeros(a.shape, dtype=bool)
        known = (a >= 0) & (b >= 0)
        if known.any():
            found[known] = np.asarray(self.closure[a[known], b[known]]).ravel()
        return found

    def members(self, *, keep_stop: bool = False) -> sparse.csr_matrix:
        """(n_terms + 1, n_terms) float: the set A(v) minus stop-terms of each v; the last row is empty, for -1."""
        rows = self.closure.astype(np.float64)
        if not keep_stop:
            rows = rows @ sparse.diags((~self.stop).astype(np.float64))
            rows.eliminate_zeros()
        grown = sparse.vstack([rows, sparse.csr_matrix((1, rows.shape[1]))], format="csr")
        grown.sort_indices()
        return grown

    def closure_of(self, terms: Any) -> np.ndarray:
        """(n_terms,) bool: the given terms and everything above them, stop-terms included."""
        codes = np.unique(self.codes(terms))
        codes = codes[codes >= 0]
        return np.asarray(self.closure[codes].sum(axis=0)).ravel() > 0


@dataclass(frozen=True)
class Pairs:
    """The distinct (truth, call) pairs of many cells.

    Parameters
    ----------
    truth, call
        (m,) codes of the distinct pairs.
    which
        (n,) the pair of each cell.
    """

    truth: np.ndarray
    call: np.ndarray
    which: np.ndarray

    @cached_property
    def counts(self) -> np.ndarray:
        """(m,) cells of each pair."""
        return np.bincount(self.which, minlength=len(self.truth))


def pair_terms(truth: Any, call: Any, *, tree: TermTree) -> Pairs:
    """Distinct pairs of two arrays of terms of the same length."""
    a, b = tree.codes(truth), tree.codes(call)
    if a.shape != b.shape:
        msg = (
            f"{len(a)} truths and {len(b)} calls: wanted one call for every truth. Were they read from different files?"
        )
        raise LabelError(msg)
    width = len(tree.ids) + 1
    keys, which = np.unique((a + 1) * width + (b + 1), return_inverse=True)
    return Pairs(keys // width - 1, keys % width - 1, which)


def row_blocks(n: int, size: int = _PAIRS_A_BLOCK) -> Iterator[slice]:
    """Slices of at most ``size`` that cover ``range(n)``, so that memory does not grow with n."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def _reach(direct: Mapping[int, Sequence[int]]) -> dict[int, dict[int, int]]:
    """Of each node the nodes it reaches upwards, itself included, with the fewest steps to each."""
    try:
        order = list(TopologicalSorter(direct).static_order())
    except CycleError as error:
        msg = f"the is_a graph has a circle through {error.args[1]}; wanted one without circles"
        raise LabelError(msg) from error
    reach: dict[int, dict[int, int]] = {}
    for node in order:
        found = {node: 0}
        for parent in direct[node]:
            for above, steps in reach[parent].items():
                found[above] = min(found.get(above, steps + 1), steps + 1)
        reach[node] = found
    return reach


def _boolean(entries: Iterable[tuple[int, int]], n: int) -> sparse.csr_matrix:
    """(n, n) bool matrix with True at the entries."""
    at = np.array(list(entries), dtype=np.int32).reshape(-1, 2)
    matrix = sparse.csr_matrix((np.ones(len(at), dtype=bool), (at[:, 0], at[:, 1])), shape=(n, n))
    matrix.sort_indices()
    return matrix
