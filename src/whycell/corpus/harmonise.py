"""One name for what every file calls its own way: columns found by name, by synonym or by their values.

The rules, in order; the first that answers is taken and written down:

``name``
    The column is called as the CELLxGENE schema calls it.
``synonym``
    Its name, without case, dots, blanks and underscores, is in a table of what others call it.
``values``
    Nine in ten of its distinct values are identifiers of the ontology that the field takes (``CL:``, ``UBERON:``,
    ``EFO:``, ``MONDO:``).
``uns``, ``file``
    Not a column: said once for the whole file, or taken from what the file is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

__all__ = ["FIELDS", "Field", "Found", "find_columns", "find_one"]

_SHARE = 0.9  # of the distinct values must be identifiers
_TASTE = 200  # distinct values looked at


@dataclass(frozen=True)
class Field:
    """Something that files say of their cells.

    Parameters
    ----------
    name
        What the catalogue calls it.
    columns
        What the schema calls it.
    synonyms
        What others call it, lower case without dots, blanks, hyphens and underscores; the likeliest first.
    pattern
        What its values look like; empty where that says nothing.
    """

    name: str
    columns: tuple[str, ...]
    synonyms: tuple[str, ...] = ()
    pattern: str = ""


#: Every field of a cell that the catalogue keeps.
FIELDS: tuple[Field, ...] = (
    Field(
        "cell_type",
        ("cell_type",),
        (
            "celltype",
            "celltypes",
            "cellontologyclass",
            "celltypeoriginal",
            "authorcelltype",
            "annotation",
            "cellannotation",
            "annotations",
            "celltypeannotation",
            "celllabel",
            "celltypelabel",
            "celllabels",
            "celltypemajor",
            "freeannotation",
            "bulklabels",
        ),
    ),
    Field(
        "cell_type_id",
        ("cell_type_ontology_term_id",),
        ("cellontologyid", "cellontologytermid", "clid", "celltypeid", "celltypeontologyid", "celltypeontology"),
        r"(?:http://purl\.obolibrary\.org/obo/)?CL[:_]\d{7}",
    ),
    Field(
        "donor",
        ("donor_id",),
        (
            "donor",
            "donorid",
            "individual",
            "individualid",
            "patient",
            "patientid",
            "subject",
            "subjectid",
            "participant",
            "participantid",
            "participantdonorid",
            "mouseid",
            "animalid",
            "mouse",
        ),
    ),
    Field(
        "study", ("study",), ("studyid", "datasetid", "dataset", "studyname", "projectid", "project", "gseid", "gse")
    ),
    Field("tissue", ("tissue",), ("organ", "organtissue", "tissuename", "tissueoriginal", "tissuegeneral")),
    Field(
        "tissue_id",
        ("tissue_ontology_term_id",),
        ("tissueontologyid", "uberonid", "organontologytermid"),
        r"UBERON[:_]\d{7}.*",
    ),
    Field(
        "assay", ("assay",), ("technology", "platform", "method", "protocol", "chemistry", "librarypreparationprotocol")
    ),
    Field("assay_id", ("assay_ontology_term_id",), ("assayontologyid", "efoid"), r"EFO[:_]\d{7}.*"),
    Field("disease", ("disease",), ("diagnosis", "diseasestate", "diseasestatus", "healthstatus")),
    Field(
        "disease_id",
        ("disease_ontology_term_id",),
        ("diseaseontologyid", "mondoid"),
        r"(?:MONDO[:_]\d{7}|PATO[:_]0000461).*",
    ),
    Field("sex", ("sex",), ("gender", "donorsex", "biologicalsex")),
    Field("organism", ("organism_ontology_term_id", "organism"), ("species", "organismname")),
    Field("is_primary", ("is_primary_data",)),
    Field(
        "counts",
        ("n_counts", "total_counts"),
        (
            "ncount",
            "ncountrna",
            "ncounts",
            "totalcounts",
            "numi",
            "numis",
            "totalumis",
            "umicount",
            "totalumi",
            "rawsum",
            "ncountscell",
            "countdepth",
        ),
    ),
    Field(
        "genes",
        ("n_genes", "n_genes_by_counts"),
        (
            "nfeature",
            "nfeaturerna",
            "nfeatures",
            "ngene",
            "ngenes",
            "ngenesbycounts",
            "genecount",
            "detectedgenes",
            "nnz",
            "numgenes",
            "numbergenes",
        ),
    ),
)


@dataclass(frozen=True)
class Found:
    """Where a field was found.

    Parameters
    ----------
    field
        Its name.
    column
        The column of the file.
    rule
        One of the words that the module describes.
    """

    field: str
    column: str
    rule: str


def find_columns(names: Sequence[str], *, peek: Callable[[str], Iterable[object]]) -> dict[str, Found]:
    """Which column of a file holds each field.

    Parameters
    ----------
    names
        The columns, in the order of the file.
    peek
        Some distinct values of a column; asked only of columns that no name explains, and only where a field that can
        be told by its values is still missing.

    Returns
    -------
    By name of the field; fields that were not found are absent. No column serves two fields.

    Examples
    --------
    >>> found = find_columns(["Cell.Type", "patient", "x"], peek=lambda name: ["CL:0000236"] if name == "x" else [])
    >>> {field: (each.column, each.rule) for field, each in found.items()}
    {'cell_type': ('Cell.Type', 'synonym'), 'donor': ('patient', 'synonym'), 'cell_type_id': ('x', 'values')}
    """
    found: dict[str, Found] = {}
    for rule in (_by_name, _by_synonym):
        for field in FIELDS:
            taken = {each.column for each in found.values()}
            if field.name not in found and (column := rule(field, [n for n in names if n not in taken])):
                found[field.name] = Found(field.name, column, "name" if rule is _by_name else "synonym")
    missing = [field for field in FIELDS if field.pattern and field.name not in found]
    if missing:
        taken = {each.column for each in found.values()}
        for column in (name for name in names if name not in taken):
            values = _some(peek(column))
            field = next((f for f in missing if f.name not in found and _is_of(f, values)), None)
            if field is not None:
                found[field.name] = Found(field.name, column, "values")
    return found


def find_one(field: Field, names: Sequence[str]) -> Found | None:
    """Where one field is, by the names alone.

    Parameters
    ----------
    field
        What is looked for.
    names
        The columns there are.
    """
    for rule, word in ((_by_name, "name"), (_by_synonym, "synonym")):
        column = rule(field, names)
        if column:
            return Found(field.name, column, word)
    return None


def _by_name(field: Field, names: Sequence[str]) -> str:
    return next((name for name in field.columns if name in names), "")


def _by_synonym(field: Field, names: Sequence[str]) -> str:
    plain = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in reversed(names)}
    return next((plain[word] for word in field.synonyms if word in plain), "")


def _some(values: Iterable[object]) -> list[str]:
    words = (str(value).strip() for _, value in zip(range(_TASTE), values, strict=False))
    return [word for word in words if word and word.lower() not in ("nan", "none", "unknown", "na")]


def _is_of(field: Field, values: Sequence[str]) -> bool:
    if not values:
        return False
    return sum(1 for value in values if re.fullmatch(field.pattern, value)) >= _SHARE * len(values)
