"""The shapes of our answers: frozen, plain arrays and plain types, readable years later without the model.

``reports`` reads these and nothing else.
"""

from whycell.results.answers import Annotation, Evaluation, Finding, TreeNode
from whycell.results.audit import Audit
from whycell.results.explanation import Explanation, TopGenes, TypeGenes

__all__ = ["Annotation", "Audit", "Evaluation", "Explanation", "Finding", "TopGenes", "TreeNode", "TypeGenes"]
