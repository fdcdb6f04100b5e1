"""The examples on the page run, and give what the page shows."""

import doctest
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "genes-and-labels.md"


def test_the_examples_of_the_page() -> None:
    done = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert done.attempted > 5
    assert done.failed == 0


def test_the_docstrings() -> None:
    from whycell.knowledge import genes, labels, terms

    for module in (genes, labels, terms):
        done = doctest.testmod(module)
        assert done.attempted > 0
        assert done.failed == 0
