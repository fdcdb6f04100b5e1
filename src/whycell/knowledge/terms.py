"""The Cell Ontology: ancestors, descendants, information content, obsolete terms.

Everything here is decided by sets (is this term reachable from that one?), never by counting paths or edges: a third
of the terms have several parents, so a path count would weigh the same cell type several times.

The releases come from the wheel of ``cellxgene-ontology-guide``; its files are read directly, which takes a tenth of
the time of its parser and no network.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whycell.errors import FormatError, LabelError

if TYPE_CHECKING:
    import scipy.sparse as sp

__all__ = [
    "ROOT",
    "Ontology",
    "Term",
    "ancestor_sets",
    "available_releases",
    "closure_matrix",
    "definitions_of",
]

ROOT = "CL:0000000"

# The terms that the CELLxGENE schema forbids as too broad (and the root): no call, no score ever rests on them.
_BROAD = frozenset({ROOT, "CL:0000255", "CL:0000257", "CL:0000548"})
_BROAD_SHARE = 0.9

_PREFIX, _SUFFIX = "CL-ontology-v", ".json.zst"


@dataclass(frozen=True, slots=True)
class Term:
    """One term of an ontology.

    Parameters
    ----------
    name
        Its label.
    parents
        Ids of its direct ``is_a`` parents, sorted.
    synonyms
        Its exact synonyms.
    obsolete
        Whether the release has withdrawn it.
    replaced_by
        For an obsolete term, the id that stands in its place (of any ontology), or empty.
    """

    name: str
    parents: tuple[str, ...] = ()
    synonyms: tuple[str, ...] = ()
    obsolete: bool = False
    replaced_by: str = ""


class Ontology:
    """One release of the Cell Ontology, or any DAG of terms.

    Parameters
    ----------
    terms
        ``{id: Term}``, obsolete ones included; every parent of a live term must be a live term.
    release
        The name of the release, recorded in every model and output.

    Raises
    ------
    FormatError
        A parent is missing, or the parents form a cycle.

    Examples
    --------
    >>> from whycell.knowledge.terms import Ontology
    >>> ontology = Ontology.load("2025-07-30")
    >>> ontology.name("CL:0000236")
    'B cell'
    >>> ontology.is_ancestor("CL:0000542", "CL:0000236")     # a B cell is a lymphocyte
    True
    """

    def __init__(self, terms: Mapping[str, Term], *, release: str = "") -> None:
        self.release = release
        self._terms = dict(terms)
        live = sorted(id_ for id_, term in self._terms.items() if not term.obsolete)
        self.ids: np.ndarray = np.array(live, dtype=str)
        self.index: dict[str, int] = {id_: i for i, id_ in enumerate(live)}
        self._ancestor_rows = ancestor_sets([self._parent_rows(id_) for id_ in live])

    @classmethod
    def load(cls, release: str | None = None) -> Ontology:
        """A release of the Cell Ontology from the installed ``cellxgene-ontology-guide``; read once, then kept.

        Parameters
        ----------
        release
            A date such as ``"2025-07-30"``; ``None`` takes the newest that is installed.

        Raises
        ------
        LabelError
            No such release is installed.
        """
        held = available_releases()
        if not held:
            msg = "The package cellxgene-ontology-guide holds no Cell Ontology; install its version 1.11 or newer."
            raise FormatError(msg)
        wanted = held[-1] if release is None else release.removeprefix("v")
        if wanted not in held:
            msg = (
                f"Cell Ontology release {release!r} is not installed; held are {', '.join(held)}. "
                "Another version of the package cellxgene-ontology-guide may carry it."
            )
            raise LabelError(msg)
        return _load(wanted)

    def __repr__(self) -> str:
        return f"Ontology(release={self.release!r}, {len(self.ids)} live terms)"

    def __len__(self) -> int:
        return len(self.ids)

    def __reduce__(self) -> tuple[Any, ...]:
        # A worker process reads the installed release again rather than receive it: 2 MB less through the pipe.
        if self.release in available_releases() and _load(self.release) is self:
            return (_load, (self.release,))
        return (_rebuild, (self._terms, self.release))

    def _parent_rows(self, id_: str) -> list[int]:
        missing = [p for p in self._terms[id_].parents if p not in self.index]
        if missing:
            msg = f"{id_} names the parent {missing[0]!r}, which is not a live term of release {self.release!r}."
            raise FormatError(msg)
        return [self.index[p] for p in self._terms[id_].parents]

    def _row(self, id_: str) -> int:
        try:
            return self.index[id_]
        except KeyError:
            known = self._terms.get(id_)
            why = "obsolete in" if known else "not a term of"
            cure = "resolve() gives its replacement" if known else "Ids look like 'CL:0000236'"
            msg = f"{id_!r} is {why} Cell Ontology release {self.release or '(unnamed)'}. {cure}."
            raise LabelError(msg) from None

    # --- one term -------------------------------------------------------------------------------------------------

    def name(self, id_: str) -> str:
        """The label of a term, obsolete ones included; an id that is not held raises ``LabelError``."""
        if id_ not in self._terms:
            self._row(id_)  # raises, and says why
        return self._terms[id_].name

    def synonyms(self, id_: str) -> tuple[str, ...]:
        """The exact synonyms of a live term."""
        self._row(id_)
        return self._terms[id_].synonyms

    def parents(self, id_: str) -> tuple[str, ...]:
        """The direct ``is_a`` parents of a live term, sorted."""
        self._row(id_)
        return self._terms[id_].parents

    def children(self, id_: str) -> tuple[str, ...]:
        """The terms whose direct parent this is, sorted."""
        return self._children[self._row(id_)]

    def ancestors(self, id_: str) -> frozenset[str]:
        """Every term above a live term, and the term itself."""
        return frozenset(self.ids[j].item() for j in self._ancestor_rows[self._row(id_)])

    def descendants(self, id_: str) -> frozenset[str]:
        """Every term below a live term, and the term itself."""
        return frozenset(self.ids[i].item() for i in self._descendant_rows[self._row(id_)])

    def is_live(self, id_: str) -> bool:
        """Whether the id is a term of this release that is not obsolete."""
        return id_ in self.index

    def is_ancestor(self, a: str, b: str) -> bool:
        """Whether ``a`` is ``b`` or above it."""
        return self._row(a) in self._ancestor_rows[self._row(b)]

    def resolve(self, id_: str) -> str | None:
        """The live term for an id: itself, or what an obsolete one was replaced by; ``None`` where there is none.

        Replacements are followed as far as they go, and only to a live term of this ontology: of the obsolete terms
        of the Cell Ontology a quarter were moved to other ontologies (plants, fungi, cell lines), which no cell of a
        dataset can be called.
        """
        seen: set[str] = set()
        while id_ not in self.index:
            term = self._terms.get(id_)
            if term is None or not term.replaced_by or id_ in seen:
                return None
            seen.add(id_)
            id_ = term.replaced_by
        return id_

    def items(self) -> Iterable[tuple[str, Term]]:
        """Every ``(id, Term)`` of the release, obsolete ones included."""
        return self._terms.items()

    # --- many terms -----------------------------------------------------------------------------------------------

    def positions(self, ids: Iterable[str]) -> np.ndarray:
        """Row of each id in ``ids``; -1 where it is not a live term (the empty id of an unmapped label, say)."""
        return np.fromiter((self.index.get(str(i), -1) for i in ids), dtype=np.int64)

    def deepest(self, ids: Iterable[str]) -> tuple[str, ...]:
        """Those of the given terms that have no other given term below them, in the order given, each once."""
        given = list(dict.fromkeys(ids))
        rows = [self._row(i) for i in given]
        above = {j for i in rows for j in self._ancestor_rows[i] if j != i}
        return tuple(id_ for id_, row in zip(given, rows, strict=True) if row not in above)

    @cached_property
    def closure(self) -> sp.csr_matrix:
        """(n_terms, n_terms) bool: entry (i, j) is true where term j is term i or above it."""
        return closure_matrix(self._ancestor_rows)

    @cached_property
    def stop_terms(self) -> frozenset[str]:
        """Terms too broad to say anything: the forbidden ones, and any with more than 90 % of all terms below it."""
        n = len(self.ids)
        wide = {self.ids[j].item() for j, below in enumerate(self._descendant_rows) if len(below) > _BROAD_SHARE * n}
        return _BROAD | wide

    def information_content(self) -> np.ndarray:
        """(n_terms,) in [0, 1]: ``1 - ln|D(c)| / ln N``, with D(c) the term and all below it, N the live terms.

        The root has 0 and a leaf 1. Source: Seco, Veale and Hayes, ECAI 2004 (intrinsic information content).
        """
        return self._information_content.copy()

    @cached_property
    def _information_content(self) -> np.ndarray:
        sizes = np.array([len(below) for below in self._descendant_rows], dtype=float)
        # max(): an ontology of one term has nothing to divide by, and its only term says nothing new or everything.
        content: np.ndarray = 1.0 - np.log(sizes) / max(math.log(len(sizes)), 1e-12)
        return content

    @cached_property
    def _descendant_rows(self) -> list[set[int]]:
        below: list[set[int]] = [set() for _ in self._ancestor_rows]
        for i, above in enumerate(self._ancestor_rows):
            for j in above:
                below[j].add(i)
        return below

    @cached_property
    def _children(self) -> list[tuple[str, ...]]:
        children: list[list[str]] = [[] for _ in self.index]
        for id_ in self.index:
            for parent in self._terms[id_].parents:
                children[self.index[parent]].append(id_)
        return [tuple(c) for c in children]


def ancestor_sets(parents: Sequence[Iterable[int]]) -> list[set[int]]:
    """For each node of a DAG, the set of its ancestors and itself.

    Parameters
    ----------
    parents
        For each node, the rows of its parents.

    Raises
    ------
    FormatError
        The parents form a cycle.
    """
    lists = [tuple(p) for p in parents]
    children: list[list[int]] = [[] for _ in lists]
    waiting = [0] * len(lists)
    for node, above in enumerate(lists):
        for parent in set(above):
            children[parent].append(node)
            waiting[node] += 1

    found: list[set[int]] = [{node} for node in range(len(lists))]
    ready = [node for node, n in enumerate(waiting) if n == 0]
    for node in ready:  # grows while it is walked: every node comes after all its parents
        for child in children[node]:
            found[child] |= found[node]
            waiting[child] -= 1
            if waiting[child] == 0:
                ready.append(child)
    if len(ready) < len(lists):
        stuck = next(node for node, n in enumerate(waiting) if n > 0)
        msg = f"The parents form a cycle: node {stuck} is above itself. An ontology must be a DAG."
        raise FormatError(msg)
    return found


def closure_matrix(ancestors: Sequence[Iterable[int]]) -> sp.csr_matrix:
    """Sets of ancestors as a bool matrix (n, n); entry (i, j) is true where j is among the ancestors of i."""
    import scipy.sparse as sp

    rows = [sorted(a) for a in ancestors]
    indptr = np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int32)
    indices = np.fromiter((j for r in rows for j in r), dtype=np.int32, count=int(indptr[-1]))
    return sp.csr_matrix((np.ones(len(indices), dtype=bool), indices, indptr), shape=(len(rows), len(rows)))


def available_releases() -> tuple[str, ...]:
    """The Cell Ontology releases that are installed, oldest first, as dates."""
    return tuple(sorted(p.name.removeprefix(_PREFIX).removesuffix(_SUFFIX) for p in _folder().glob(f"{_PREFIX}*")))


@cache
def _folder() -> Path:
    # find_spec does not run the package: its __init__ imports a parser that we do not need.
    spec = find_spec("cellxgene_ontology_guide")
    if spec is None or not spec.submodule_search_locations:
        msg = "The package cellxgene-ontology-guide, which carries the Cell Ontology, is missing: install it with pip."
        raise FormatError(msg)
    return Path(spec.submodule_search_locations[0]) / "data"


@cache
def _load(release: str) -> Ontology:
    return Ontology({id_: _term(id_, r) for id_, r in _records(release).items()}, release=release)


@cache
def definitions_of(release: str) -> dict[str, dict[str, Any]]:
    """What a ``release`` says in words of every term: ``label``, ``synonyms`` and ``description``, each where it has
    one."""
    said = ("label", "synonyms", "description")
    return {id_: {key: record[key] for key in said if key in record} for id_, record in _records(release).items()}


@cache
def _records(release: str) -> dict[str, dict[str, Any]]:
    import zstandard

    path = _folder() / f"{_PREFIX}{release}{_SUFFIX}"
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        records: dict[str, dict[str, Any]] = json.loads(stream.read())
    return {id_: record for id_, record in records.items() if id_.startswith("CL:")}


def _term(id_: str, record: Mapping[str, Any]) -> Term:
    above: dict[str, int] = record["ancestors"]
    # In the release 2025-02-13 one term (stomach smooth muscle) is written down as its own parent.
    parents = sorted(parent for parent, distance in above.items() if distance == 1 and parent != id_)
    if above and not parents:
        # Eight parts of cells ("banded nucleus") reach the root only through terms of other ontologies.
        parents = [ROOT]
    return Term(
        name=record["label"],
        parents=tuple(parents),
        synonyms=tuple(record.get("synonyms", ())),
        obsolete=bool(record["deprecated"]),
        replaced_by=record.get("replaced_by", ""),
    )


def _rebuild(terms: Mapping[str, Term], release: str) -> Ontology:
    return Ontology(terms, release=release)
