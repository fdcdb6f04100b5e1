"""Labels of cell types, tissues, assays and diseases as terms of their ontologies, each with the rule that led there.

Cell types go through `knowledge.labels`. The other ontologies are read from the same installed releases, by approved
name and by exact synonym; a phrase that stands for several terms stands for none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from whycell.knowledge.labels import is_unknown_label, map_labels, normalise_label
from whycell.knowledge.terms import Ontology

__all__ = ["Term", "terms_of_labels", "terms_of_pairs"]

_ONTOLOGY = {"tissue": "UBERON", "assay": "EFO", "disease": "MONDO"}
_HEALTHY = frozenset({"normal", "healthy", "control", "healthy control", "none", "ctrl"})
_ID = re.compile(r"(?:https?://purl\.obolibrary\.org/obo/)?([A-Za-z]+)[:_](\w+)")


@dataclass(frozen=True)
class Term:
    """What a label means.

    Parameters
    ----------
    id
        The term, empty where none was found.
    name
        Its name in the ontology.
    rule
        ``given`` (a column of the file says so), ``given->obsolete`` followed to its replacement, or a rule of
        `knowledge.labels`.
    """

    id: str
    name: str
    rule: str


def terms_of_labels(kind: str, labels: Sequence[str]) -> list[Term]:
    """The term of each label of one kind.

    Parameters
    ----------
    kind
        ``"cell_type"``, ``"tissue"``, ``"assay"`` or ``"disease"``.
    labels
        Distinct labels.
    """
    if kind == "cell_type":
        mapped = map_labels(labels, Ontology.load())
        ids = [mapped.label_to_id[label] for label in labels]
        return [
            Term(id_, mapped.names.get(id_, ""), mapped.rules[label]) for label, id_ in zip(labels, ids, strict=True)
        ]
    return [_term(_ONTOLOGY[kind], label) for label in labels]


def terms_of_pairs(kind: str, labels: Sequence[str], ids: Sequence[str]) -> list[Term]:
    """The term of each pair of a label and the identifier that the file gives beside it.

    Parameters
    ----------
    kind
        As of `terms_of_labels`.
    labels, ids
        Pairs; an empty id leaves its label to `terms_of_labels`.
    """
    alone = [label for label, id_ in zip(labels, ids, strict=True) if not _clean(id_)]
    by_label = dict(zip(alone, terms_of_labels(kind, alone), strict=True)) if alone else {}
    return [
        _given(kind, label, _clean(id_)) if _clean(id_) else by_label[label]
        for label, id_ in zip(labels, ids, strict=True)
    ]


def _given(kind: str, label: str, id_: str) -> Term:
    if kind == "cell_type":
        ontology = Ontology.load()
        live = ontology.resolve(id_)
        if live is None:
            return Term(id_, label, "given")
        return Term(live, ontology.name(live), "given" if live == id_ else "given->obsolete")
    return Term(id_, label, "given")


def _term(ontology: str, label: str) -> Term:
    if ontology == "MONDO" and normalise_label(label) in _HEALTHY:
        return Term("PATO:0000461", "normal", "name")
    if is_unknown_label(label):
        return Term("", "", "unknown")
    names, synonyms, label_of = _phrases(ontology)
    if label_of.get(_clean(label)):
        return Term(_clean(label), label_of[_clean(label)], "id")
    phrase = normalise_label(label)
    for book, rule in ((names, "name"), (synonyms, "synonym")):
        if book.get(phrase):
            return Term(book[phrase], label_of[book[phrase]], rule)
    return Term("", "", "none")


def _clean(id_: str) -> str:
    """``UBERON:0000178`` of ``UBERON_0000178``, of a web address, and of ``UBERON:0000178 (cell culture)``."""
    match = _ID.match(id_.strip())
    return f"{match[1]}:{match[2]}" if match else ""


@cache
def _phrases(ontology: str) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Name -> id, exact synonym -> id (several: empty), and id -> name, of the newest installed release."""
    import zstandard

    spec = find_spec("cellxgene_ontology_guide")
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    files = sorted(path for place in places for path in Path(place, "data").glob(f"{ontology}-ontology-v*.json.zst"))
    names: dict[str, str] = {}
    synonyms: dict[str, str] = {}
    label_of: dict[str, str] = {}
    if not files:
        return names, synonyms, label_of
    with files[-1].open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        records = json.loads(stream.read())
    for id_, record in records.items():
        if record.get("deprecated"):
            continue
        label_of[id_] = record["label"]
        _note(names, record["label"], id_)
        for synonym in record.get("synonyms", ()):
            _note(synonyms, synonym, id_)
    return names, synonyms, label_of


def _note(book: dict[str, str], phrase: str, id_: str) -> None:
    key = normalise_label(phrase)
    book[key] = id_ if book.get(key, id_) == id_ else ""
