"""Markers read off the ontology's words, each with where it was read."""

from pathlib import Path

import pytest

from whycell.errors import FormatError
from whycell.knowledge.genes import symbol_of
from whycell.knowledge.markers import Marker, markers_of, read_markers
from whycell.knowledge.terms import Ontology


@pytest.fixture(scope="module")
def ontology() -> Ontology:
    return Ontology.load("2025-07-30")  # pinned: what is read must not change with a new release


def named(markers: tuple[Marker, ...]) -> dict[str, tuple[int, str]]:
    symbols = symbol_of([marker.gene for marker in markers])
    return {symbol: (marker.sign, marker.source) for symbol, marker in zip(symbols, markers, strict=True)}


def test_names_and_definitions_are_read_with_their_sign(ontology: Ontology) -> None:
    assert named(markers_of("CL:0001054", ontology)) == {
        "CD14": (1, "name"),
        **dict.fromkeys(("CD3D", "CD3E", "CD3G", "CD19", "MS4A1"), (-1, "definition")),
    }


def test_what_is_low_is_no_marker_and_not_inherited(ontology: Ontology) -> None:
    found = named(markers_of("CL:0002396", ontology))  # CD14-low, CD16-positive monocyte
    assert found["FCGR3A"] == (1, "name")
    assert "CD14" not in found


def test_presence_is_inherited_and_absence_is_not(ontology: Ontology) -> None:
    found = named(markers_of("CL:0000895", ontology))  # naive thymus-derived CD4-positive, alpha-beta T cell
    assert found["CD4"] == (1, "name")
    assert found["CCR7"] == (1, "definition")
    assert found["CD3E"][1].startswith("above: ")
    assert found["IL2RA"] == (-1, "definition")
    assert {sign for sign, source in found.values() if source.startswith("above")} == {1}


def test_a_class_of_its_own_has_none(ontology: Ontology) -> None:
    assert markers_of("label:odd", ontology) == ()


def test_every_term_can_be_read(ontology: Ontology) -> None:
    for term, _ in ontology.items():
        for marker in markers_of(term, ontology):
            assert marker.gene.startswith("ENSG")
            assert marker.sign in (1, -1)


def test_a_line_without_a_tab_is_named(ontology: Ontology, tmp_path: Path) -> None:
    (tmp_path / "mine.tsv").write_text("T cell\tCD3E\nB cell CD19\n")
    with pytest.raises(FormatError, match="Line 2"):
        read_markers(tmp_path / "mine.tsv", ontology)
