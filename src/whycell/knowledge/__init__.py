"""What biology already knows: cell types, the names people give them, and genes under their many names."""

from whycell.knowledge.labels import LabelMap, is_unknown_label, map_labels, read_label_map
from whycell.knowledge.terms import ROOT, Ontology, Term

__all__ = ["ROOT", "LabelMap", "Ontology", "Term", "is_unknown_label", "map_labels", "read_label_map"]
