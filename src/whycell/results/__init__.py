"""The shapes of our answers: frozen, plain arrays and plain types, readable years later without the model.

``reports`` reads these and nothing else.
"""

from whycell.results.answers import Annotation, Evaluation, Finding, TreeNode
from whycell.results.audit import Audit
from whycell.results.contexts import Contexts
from whycell.results.examples import ExampleEvidence, Teaching
from whycell.results.explanation import Explanation, TopGenes, TypeGenes
from whycell.results.features import Agop, Ansatz, Importance, TypeFeatures
from whycell.results.grammar import GrammarFindings, PairGrammar
from whycell.results.groups import Groups
from whycell.results.kinds import Kinds
from whycell.results.lookup import CellLookup, Lookup
from whycell.results.machines import MachineFit
from whycell.results.motifs import Motif, MotifFindings
from whycell.results.representation import Sweep, Views
from whycell.results.screen import KnockoutScreen, PairScreen
from whycell.results.unseen import Unseen
from whycell.results.variants import DrawnVariant, VariantFindings

__all__ = [
    "Agop",
    "Annotation",
    "Ansatz",
    "Audit",
    "CellLookup",
    "Contexts",
    "DrawnVariant",
    "Evaluation",
    "ExampleEvidence",
    "Explanation",
    "Finding",
    "GrammarFindings",
    "Groups",
    "Importance",
    "Kinds",
    "KnockoutScreen",
    "Lookup",
    "MachineFit",
    "Motif",
    "MotifFindings",
    "PairGrammar",
    "PairScreen",
    "Sweep",
    "Teaching",
    "TopGenes",
    "TreeNode",
    "TypeFeatures",
    "TypeGenes",
    "Unseen",
    "VariantFindings",
    "Views",
]
