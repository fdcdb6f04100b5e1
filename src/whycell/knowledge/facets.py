"""What a language model is asked of a gene: one question a facet, so that each answer can be weighed by itself."""

from __future__ import annotations

__all__ = ["NAMES_CELL_TYPES", "QUESTIONS", "SYSTEM", "question"]

SYSTEM = "You are a careful geneticist. You state what is established, and say so where nothing is known."

QUESTIONS = {
    "associated": "Which other genes and proteins does it act with, regulate, or answer to?",
    "tissues": "In which tissues and organs is it expressed, and where most strongly?",
    "cell-types": "In which cell types is it expressed, and of which is it characteristic?",
    "drugs": "Which drugs and classes of drugs act on it or on its product, and which change its expression?",
    "pathways": "In which pathways and biological processes does it take part, and in what role?",
    "ageing": "What is known of it in ageing and in diseases of age?",
}
#: Facets whose answers can hold the labels of a benchmark: scores with and without them stand side by side.
NAMES_CELL_TYPES = ("cell-types",)

_MANNER = "Give specific statements only, in at most 120 words, without introduction or general remarks."


def question(facet: str, *, symbol: str, name: str, summary: str) -> str:
    """The prompt of one gene and facet.

    Parameters
    ----------
    facet
        One of ``QUESTIONS``.
    symbol, name, summary
        Of the gene; the summary may be empty.
    """
    known = f"\nWhat is recorded of it: {summary}" if summary else ""
    return f"The human gene {symbol} ({name}).{known}\n\n{QUESTIONS[facet]} {_MANNER}"
