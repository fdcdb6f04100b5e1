"""What biology already knows: cell types, the names people give them, and genes under their many names."""

from whycell.knowledge.genes import GeneMapping, GeneTable, resolve_genes, symbol_of
from whycell.knowledge.labels import LabelMap, is_unknown_label, map_labels, read_label_map
from whycell.knowledge.terms import ROOT, Ontology, Term

__all__ = [
    "ROOT",
    "GeneMapping",
    "GeneTable",
    "LabelMap",
    "Ontology",
    "Term",
    "is_unknown_label",
    "map_labels",
    "read_label_map",
    "resolve_genes",
    "symbol_of",
]
