"""The shapes of our answers: frozen, plain arrays and plain types, readable years later without the model.

``reports`` reads these and nothing else.
"""

from whycell.results.answers import Annotation, Evaluation, Finding, TreeNode

__all__ = ["Annotation", "Evaluation", "Finding", "TreeNode"]
