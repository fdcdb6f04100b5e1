"""The names that whycell writes into an AnnData, spelled once.

``DEFAULT_KEY`` is the ``--key`` of the command line; every column carries it as its prefix, so that two runs with two
keys live side by side. The names with two hyphens are those of the cell-annotation schema (CAP).
"""

from dataclasses import dataclass

__all__ = ["DEFAULT_KEY", "FLAGS", "UNKNOWN", "ObsKeys"]

DEFAULT_KEY = "whycell"
UNKNOWN = "unknown"

#: The words that may stand, joined by ";", in the flag column, and what each one means.
FLAGS: dict[str, str] = {
    "low_counts": "fewer counts than nearly every cell the model learned from",
    "few_genes": "fewer detected genes than nearly every cell the model learned from",
    "possible_doublet": "looks like two trained types at once, with more counts than either",
    "novel": "unlike anything the model learned from",
    "low_overlap": "the file measures few of the model's genes",
}


@dataclass(frozen=True)
class ObsKeys:
    """The obs columns of one annotation.

    Parameters
    ----------
    key
        The prefix, ``--key`` on the command line.
    """

    key: str = DEFAULT_KEY

    @property
    def call(self) -> str:
        return self.key

    @property
    def call_term_id(self) -> str:
        return f"{self.key}--cell_ontology_term_id"

    @property
    def call_term(self) -> str:
        return f"{self.key}--cell_ontology_term"

    @property
    def confidence(self) -> str:
        return f"{self.key}_confidence"

    @property
    def leaf(self) -> str:
        return f"{self.key}_leaf"

    @property
    def leaf_term_id(self) -> str:
        return f"{self.key}_leaf_term_id"

    @property
    def leaf_confidence(self) -> str:
        return f"{self.key}_leaf_confidence"

    @property
    def runner_up(self) -> str:
        return f"{self.key}_runner_up"

    @property
    def novelty(self) -> str:
        return f"{self.key}_novelty"

    @property
    def flag(self) -> str:
        return f"{self.key}_flag"

    @property
    def disagreement(self) -> str:
        return f"{self.key}_disagreement"

    @property
    def cluster_call(self) -> str:
        return f"{self.key}_cluster"

    @property
    def cluster_confidence(self) -> str:
        return f"{self.key}_cluster_confidence"

    @property
    def rationale(self) -> str:
        return f"{self.key}--rationale"

    @property
    def marker_gene_evidence(self) -> str:
        return f"{self.key}--marker_gene_evidence"

    @property
    def explanation(self) -> str:
        return f"{self.key}_explanation"

    @property
    def contributions(self) -> str:
        return f"{self.key}_contributions"

    @property
    def agop(self) -> str:
        return f"{self.key}_agop"

    @property
    def features(self) -> str:
        return f"{self.key}_features"

    def explained(self) -> tuple[str, str]:
        """The columns that an explanation writes."""
        return self.rationale, self.marker_gene_evidence

    def all(self) -> tuple[str, ...]:
        """Every column an annotation may write, in the order written."""
        return (
            self.call,
            self.call_term_id,
            self.call_term,
            self.confidence,
            self.leaf,
            self.leaf_term_id,
            self.leaf_confidence,
            self.runner_up,
            self.novelty,
            self.flag,
            self.disagreement,
            self.cluster_call,
            self.cluster_confidence,
        )
