"""A person's label -> a term of the Cell Ontology, with the rule that led there.

The rules, in order; the first that answers is taken and written down:

``label_map``
    The person's own table. It stands first although it is the last resort where nothing else matches: who names a
    label in a table has decided what it means, and a synonym that happens to match must not overrule them. A label
    that the table does not hold goes through the other rules as if there were none.
``unknown``
    A reserved word (:data:`UNKNOWN_WORDS`): no type was given. Such cells teach nothing and are scored nowhere.
``id``, ``obsolete->id``
    ``CL:0000236``, also ``CL_0000236`` and its web address; an obsolete id is followed to its live replacement.
``name``
    A term's name, whatever the case; underscores are blanks, and runs of blanks are one.
``synonym``
    An *exact* synonym, compared in the same way, of one term only.
``plural``
    A term's name or exact synonym after one trailing "s" is taken off ("B cells"); one term only.
``none``
    Nothing matched. The label stays a class of its own, directly under the root and without an id; it is never
    mapped to something that looks near.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from whycell.errors import FormatError, LabelError
from whycell.knowledge.terms import Ontology

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["UNKNOWN_WORDS", "LabelMap", "is_unknown_label", "map_labels", "normalise_label", "read_label_map"]

#: Words that say "no type was given"; compared without case, underscores, hyphens and brackets, one plural "s" apart.
UNKNOWN_WORDS: frozenset[str] = frozenset(
    {
        "",
        "?",
        "ambiguous",
        "doublet",
        "empty",
        "empty droplet",
        "junk",
        "low quality",
        "low quality cell",
        "multiplet",
        "n/a",
        "na",
        "nan",
        "native cell",
        "none",
        "not available",
        "not applicable",
        "not assigned",
        "null",
        "other",
        "unannotated",
        "unassigned",
        "unclassified",
        "undefined",
        "undetermined",
        "unidentified",
        "unk",
        "unknown",
        "unknown cell",
        "unknown cell type",
        "unlabeled",
        "unlabelled",
    }
)

_ID = re.compile(r"(?:https?://purl\.obolibrary\.org/obo/)?CL[:_](\d{7})", re.IGNORECASE)


@dataclass(frozen=True)
class LabelMap:
    """What every label was mapped to, and by which rule.

    Parameters
    ----------
    label_to_id
        ``{label: term id}``; an empty id where the label maps to no term.
    rules
        ``{label: rule}``, one of the words that the module describes.
    release
        Release of the ontology.
    names
        ``{term id: its name}`` of the ids in use.
    unused
        Labels of the person's table that no label matched: a misspelling shows here.
    """

    label_to_id: dict[str, str]
    rules: dict[str, str]
    release: str
    names: dict[str, str]
    unused: tuple[str, ...] = ()

    @property
    def unmapped(self) -> tuple[str, ...]:
        """Labels that map to no term and are kept as classes of their own."""
        return tuple(label for label, rule in self.rules.items() if rule != "unknown" and not self.label_to_id[label])

    @property
    def unknown(self) -> tuple[str, ...]:
        """Labels that say that no type was given."""
        return tuple(label for label, rule in self.rules.items() if rule == "unknown")

    def frame(self) -> pd.DataFrame:
        """One row a label: ``label, term_id, term_name, rule``; the order is that of the labels."""
        import pandas as pd

        rows = [(label, id_, self.names.get(id_, ""), self.rules[label]) for label, id_ in self.label_to_id.items()]
        return pd.DataFrame(rows, columns=["label", "term_id", "term_name", "rule"])


def map_labels(labels: Iterable[str], ontology: Ontology, *, label_map: Mapping[str, str] | None = None) -> LabelMap:
    """Map each distinct label to a term, or to none.

    Parameters
    ----------
    labels
        Labels of cells, or the distinct ones; order of first appearance is kept. Anything else than text is read
        through ``str``, so that a missing value is the word "nan".
    ontology
        Where the terms come from.
    label_map
        The person's own table ``{label: term id}``; an empty id makes the label a class of its own, and a word such
        as "unknown" sets its cells aside.

    Raises
    ------
    LabelError
        The person's table names an id that leads to no live term.

    Examples
    --------
    >>> from whycell.knowledge.labels import map_labels
    >>> from whycell.knowledge.terms import Ontology
    >>> mapped = map_labels(["B cells", "CL:0000623", "CD19+ B", "doublets"], Ontology.load("2025-07-30"))
    >>> mapped.label_to_id["B cells"], mapped.rules
    ('CL:0000236', {'B cells': 'plural', 'CL:0000623': 'id', 'CD19+ B': 'none', 'doublets': 'unknown'})
    """
    book = _phrase_book(ontology)
    own = _OwnTable(label_map or {}, ontology)
    found = {label: own.find(label) or _find(label, ontology, book) for label in dict.fromkeys(map(str, labels))}
    ids = {label: match.id for label, match in found.items()}
    return LabelMap(
        label_to_id=ids,
        rules={label: match.rule for label, match in found.items()},
        release=ontology.release,
        names={id_: ontology.name(id_) for id_ in ids.values() if id_},
        unused=own.unused(),
    )


def is_unknown_label(label: object) -> bool:
    """Whether a label says that no type was given: a reserved word, an empty text or a missing value.

    Examples
    --------
    >>> [is_unknown_label(x) for x in ("Unknown", "Doublets", "low-quality cells", "nan", "B cell")]
    [True, True, True, True, False]
    """
    text = " ".join(re.sub(r"[_\-\s()\[\]<>]+", " ", str(label)).casefold().split())
    singular = text.removesuffix("s") if len(text) > 5 else text  # "others", not "nas" or "s"
    return text in UNKNOWN_WORDS or singular in UNKNOWN_WORDS


def normalise_label(label: str) -> str:
    """Without case, underscores as blanks, runs of blanks as one: how labels and names are compared."""
    return " ".join(label.replace("_", " ").casefold().split())


def read_label_map(path: str | Path) -> dict[str, str]:
    """Read a person's table of labels: one ``label<TAB>id`` a line.

    A first line whose second column is neither an id nor empty is a heading. Further columns, empty lines and lines
    that begin with "#" are passed over.

    Raises
    ------
    FormatError
        The file is missing or not text, or a line has no tab, or its second column is no id.
    LabelError
        One label is given two ids.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"Cannot read the label map {path}: {error}. It must be a text file, one label<TAB>id a line."
        raise FormatError(msg) from error

    table: dict[str, str] = {}
    heading_may_come = True
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = [field.strip() for field in line.split("\t")]
        acceptable = len(fields) > 1 and (_as_id(fields[1]) is not None or is_unknown_label(fields[1]))
        if not acceptable and not (heading_may_come and len(fields) > 1):
            msg = (
                f"{path}, line {number}: got {line[:60]!r}, wanted a label, a tab and an id such as 'CL:0000236' "
                "(or nothing after the tab, to keep the label as a class of its own)."
            )
            raise FormatError(msg)
        heading_may_come = False
        if not acceptable:
            continue
        label, id_ = fields[0], _as_id(fields[1]) or fields[1]
        if table.setdefault(label, id_) != id_:
            msg = f"{path}, line {number}: {label!r} is given both {table[label]!r} and {id_!r}; keep one of the lines."
            raise LabelError(msg)
    return table


class _Match(NamedTuple):
    id: str
    rule: str


class _PhraseBook(NamedTuple):
    names: dict[str, str]
    synonyms: dict[str, str]


@cache
def _phrase_book(ontology: Ontology) -> _PhraseBook:
    """Normalised name -> id and exact synonym -> id, each without the phrases that stand for several terms."""
    live = [(id_, term) for id_, term in ontology.items() if not term.obsolete]
    return _PhraseBook(
        names=_only_unique((normalise_label(term.name), id_) for id_, term in live),
        synonyms=_only_unique((normalise_label(s), id_) for id_, term in live for s in term.synonyms),
    )


def _only_unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    ambiguous: set[str] = set()
    for phrase, id_ in pairs:
        if found.setdefault(phrase, id_) != id_:
            ambiguous.add(phrase)
    return {phrase: id_ for phrase, id_ in found.items() if phrase not in ambiguous}


def _as_id(label: str) -> str | None:
    match = _ID.fullmatch(label.strip())
    return f"CL:{match[1]}" if match else None


def _find(label: str, ontology: Ontology, book: _PhraseBook) -> _Match:
    if is_unknown_label(label):
        return _Match("", "unknown")
    id_ = _as_id(label)
    if id_ is not None:
        live = ontology.resolve(id_)
        if live is None:
            return _Match("", "none")
        return _Match(live, "id" if live == id_ else "obsolete->id")
    phrase = normalise_label(label)
    if phrase in book.names:
        return _Match(book.names[phrase], "name")
    if phrase in book.synonyms:
        return _Match(book.synonyms[phrase], "synonym")
    singular = phrase.removesuffix("s")
    if singular != phrase:
        found = book.names.get(singular) or book.synonyms.get(singular)
        if found:
            return _Match(found, "plural")
    return _Match("", "none")


class _OwnTable:
    """The person's table: the label as written, else as normalised where that is unambiguous."""

    def __init__(self, table: Mapping[str, str], ontology: Ontology) -> None:
        self._exact = {label: self._target(label, value, ontology) for label, value in table.items()}
        self._by_phrase = _only_unique((normalise_label(label), label) for label in table)
        self._used: set[str] = set()

    @staticmethod
    def _target(label: str, value: str, ontology: Ontology) -> _Match:
        value = str(value).strip()
        if not value:
            return _Match("", "label_map")
        if is_unknown_label(value):
            return _Match("", "unknown")
        live = ontology.resolve(_as_id(value) or value)
        if live is None:
            msg = (
                f"The label map gives {label!r} the id {value!r}, which leads to no live term of Cell Ontology "
                f"release {ontology.release}. Ids look like 'CL:0000236'; leave it empty for a class of its own."
            )
            raise LabelError(msg)
        return _Match(live, "label_map")

    def find(self, label: str) -> _Match | None:
        key = label if label in self._exact else self._by_phrase.get(normalise_label(label))
        if key is None:
            return None
        self._used.add(key)
        return self._exact[key]

    def unused(self) -> tuple[str, ...]:
        return tuple(label for label in self._exact if label not in self._used)
