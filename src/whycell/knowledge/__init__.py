"""What biology already knows: cell types, the names people give them, and genes under their many names."""

from whycell.knowledge.terms import ROOT, Ontology, Term

__all__ = ["ROOT", "Ontology", "Term"]
