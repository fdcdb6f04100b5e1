"""Known markers of cell types, as the Cell Ontology itself words them.

Curators write protein markers into names, synonyms and definitions: "CD14-positive monocyte", "the phenotype
CD16-positive and CD84-positive", "negative for the lineage markers CD3, CD19, and CD20". They are read off by pattern
and turned into genes by `knowledge.genes`; a protein of several chains, or an antibody's name that the gene table
leaves open, by a short list below. What a term says is "low" is neither a marker of it nor inherited. Many terms name
none, "natural killer cell" among them. Each marker says where it was read:

``name``, ``synonym``, ``definition``
    Of the term itself.
``above: TERM``
    Of a term above it: what every T cell carries, a CD8 T cell carries too. Only presence is inherited.
``yours``
    From a file that the user gave.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from whycell.errors import FormatError, GeneError
from whycell.knowledge.genes import GeneTable
from whycell.knowledge.labels import map_labels
from whycell.knowledge.terms import Ontology, definitions_of

__all__ = ["Marker", "markers_of", "read_markers"]

#: Proteins of several chains, and names that more than one gene answers to (HGNC's gene groups; UniProt's names).
CHAINS = {
    "CD3": ("CD3D", "CD3E", "CD3G"),
    "CD8": ("CD8A", "CD8B"),
    "CD16": ("FCGR3A", "FCGR3B"),
    "CD25": ("IL2RA",),
    "CD1c": ("CD1C",),
    "BDCA-2": ("CLEC4C",),
    "IgD": ("IGHD",),
    "IgM": ("IGHM",),
    "c-Kit": ("KIT",),
    "MHC Class II": ("HLA-DRA", "HLA-DRB1", "HLA-DPA1", "HLA-DPB1"),
    "MHC class II": ("HLA-DRA", "HLA-DRB1", "HLA-DPA1", "HLA-DPB1"),
    "MHC-II": ("HLA-DRA", "HLA-DRB1", "HLA-DPA1", "HLA-DPB1"),
    "T cell receptor complex": ("CD3D", "CD3E", "CD3G"),
    "alpha-beta T cell receptor": ("CD3D", "CD3E", "CD3G", "TRAC", "TRBC1", "TRBC2"),
    "gamma-delta T cell receptor complex": ("TRDC", "TRGC1", "TRGC2"),
}
_PROTEIN = r"(?:CD\d+[a-zA-Z]?|MHC [Cc]lass II|MHC-II|BDCA-2|Ig[DM]|c-Kit|[A-Z][A-Za-z]*\d+[A-Za-z]?)"
_PRESENT = re.compile(rf"(?<![\w-])({_PROTEIN})(?:-(?:positive|high|bright|hi)\b|\+)")
_LOW = re.compile(rf"(?<![\w-])({_PROTEIN})-(?:low|dim|lo|intermediate)\b")
_ABSENT = re.compile(rf"(?<![\w-])({_PROTEIN})-(?:negative|null)\b")
_DENIED = re.compile(
    rf"(?:negative for|lacks?|lacking)(?: the)?(?: lineage)?(?: markers?)? ((?:(?:and |or )?{_PROTEIN},? ?)+)"
)
_EXPRESSED = re.compile(rf"(?:express(?:es|ing)|(?<!low )(?<!no )expression of|and the) ({_PROTEIN})(?=[ ,.])")
_RECEPTORS = re.compile(r"express(?:es|ing|ion of) an? ((?:alpha-beta |gamma-delta )?T cell receptor(?: complex)?)")
_ISOFORMS = ("CD45",)  # splice forms, which counts of genes do not tell apart


@dataclass(frozen=True)
class Marker:
    """One gene that a type is known by.

    Parameters
    ----------
    term_id
        The type.
    gene
        Ensembl id.
    name
        What the source calls it.
    sign
        1 where the type has it, -1 where it is said to lack it (0, at low level, only while they are read).
    source
        Where it was read; see the module's head.
    """

    term_id: str
    gene: str
    name: str
    sign: int
    source: str


def markers_of(term_id: str, ontology: Ontology) -> tuple[Marker, ...]:
    """Known markers of a type, one a gene.

    Parameters
    ----------
    term_id
        Of the Cell Ontology; one that it does not hold has none.
    """
    if not ontology.is_live(term_id):
        return ()
    found = {marker.gene: marker for marker in _own(term_id, ontology.release)}
    above = sorted(ontology.ancestors(term_id) - {term_id}, key=lambda a: (-len(ontology.ancestors(a)), a))
    for term in above:
        for marker in _own(term, ontology.release):
            if marker.sign > 0 and marker.gene not in found:
                source = f"above: {ontology.name(term)}"
                found[marker.gene] = Marker(term_id, marker.gene, marker.name, 1, source)
    return tuple(sorted((m for m in found.values() if m.sign), key=lambda m: (-m.sign, m.gene)))


def read_markers(path: Path | str, ontology: Ontology) -> tuple[Marker, ...]:
    """Markers of a user's own: lines of term, tab, gene; a gene with a leading ``-`` is one that the type lacks.

    Parameters
    ----------
    path
        The file. Terms are ids, names or synonyms; genes are symbols or Ensembl ids. Lines that begin with ``#`` are
        passed over.

    Raises
    ------
    FormatError
        It cannot be read, or a line is not of that form.
    GeneError
        A gene is unknown.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read as a table of markers: {error}."
        raise FormatError(msg) from error
    table, found = GeneTable.load("human"), []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split("\t")]
        if len(parts) < 2 or not all(parts[:2]):
            msg = f"Line {number} of {path} is {line!r}; wanted a term, a tab and a gene."
            raise FormatError(msg)
        name = parts[1].lstrip("-+")
        id_, rule = table.find(name)
        genes = (id_,) if id_ else _genes(name)
        if not genes:
            msg = f"Line {number} of {path} names the gene {name!r}, which is {rule}; give a symbol or an Ensembl id."
            raise GeneError(msg)
        term = map_labels([parts[0]], ontology).label_to_id.get(parts[0]) or parts[0]
        found += [Marker(term, gene, name, -1 if parts[1].startswith("-") else 1, "yours") for gene in genes]
    return tuple(found)


@cache
def _own(term_id: str, release: str) -> tuple[Marker, ...]:
    """What a term says of itself; the name before the synonyms before the definition."""
    record: dict[str, Any] = definitions_of(release).get(term_id, {})
    texts = [("name", record.get("label", ""))]
    texts += [("synonym", text) for text in record.get("synonyms", ())]
    texts.append(("definition", record.get("description") or ""))
    found: dict[str, Marker] = {}
    for source, text in texts:
        for name, sign in _read(text):
            for gene in _genes(name):
                found.setdefault(gene, Marker(term_id, gene, name, sign, source))
    return tuple(found.values())


def _read(text: str) -> list[tuple[str, int]]:
    """Proteins that a text names, and whether it says that they are there."""
    denied = [name for part in _DENIED.findall(text) for name in re.findall(_PROTEIN, part)]
    absent = [*_ABSENT.findall(text), *denied]
    present = [*_PRESENT.findall(text), *_EXPRESSED.findall(text), *_RECEPTORS.findall(text)]
    named = [
        *((name, 1) for name in present),
        *((name, -1) for name in absent),
        *((name, 0) for name in _LOW.findall(text)),
    ]
    return [(name, sign) for name, sign in dict(named).items() if not name.startswith(_ISOFORMS)]


def _genes(name: str) -> Sequence[str]:
    table = GeneTable.load("human")
    symbols = CHAINS.get(name)
    if symbols is None:
        id_, rule = table.find(name)
        return (id_,) if id_ and rule in ("symbol", "previous", "alias") else ()
    return [table.find(symbol)[0] for symbol in symbols if table.find(symbol)[0]]
