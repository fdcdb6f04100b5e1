"""A label leads to a term by a rule that is written down, or to none."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whycell.errors import FormatError, LabelError
from whycell.knowledge.labels import is_unknown_label, map_labels, normalise_label, read_label_map
from whycell.knowledge.terms import Ontology, Term

# The labels of scanpy.datasets.pbmc68k_reduced(), in obs["bulk_labels"].
PBMC68K = [
    "CD14+ Monocyte",
    "Dendritic",
    "CD56+ NK",
    "CD4+/CD25 T Reg",
    "CD19+ B",
    "CD8+ Cytotoxic T",
    "CD4+/CD45RO+ Memory",
    "CD8+/CD45RA+ Naive Cytotoxic",
    "CD4+/CD45RA+/CD25- Naive T",
    "CD34+",
]


@pytest.fixture(scope="module")
def ontology() -> Ontology:
    return Ontology.load("2025-07-30")


@pytest.mark.parametrize(
    ("label", "id_", "rule"),
    [
        ("CL:0000236", "CL:0000236", "id"),
        ("CL_0000236", "CL:0000236", "id"),
        ("http://purl.obolibrary.org/obo/CL_0000236", "CL:0000236", "id"),
        ("CL:0000003", "CL:0000000", "obsolete->id"),  # native cell -> cell
        ("CL:0000009", "", "none"),  # replaced by a term of the Plant Ontology
        ("CL:9999999", "", "none"),
        ("B cell", "CL:0000236", "name"),
        ("  b_CELL ", "CL:0000236", "name"),
        ("Platelet", "CL:0000233", "name"),
        ("B lymphocyte", "CL:0000236", "synonym"),
        ("NK cell", "CL:0000623", "synonym"),
        ("B cells", "CL:0000236", "plural"),
        ("Dendritic Cells", "CL:0000451", "plural"),
        ("NK cells", "CL:0000623", "plural"),
        ("B", "", "none"),
        ("B cellss", "", "none"),
        ("Unknown", "", "unknown"),
        ("doublets", "", "unknown"),
    ],
)
def test_the_rule_of_a_label(label: str, id_: str, rule: str, ontology: Ontology) -> None:
    mapped = map_labels([label], ontology)
    assert (mapped.label_to_id[label], mapped.rules[label]) == (id_, rule)


def test_sorted_populations_map_to_nothing_rather_than_to_something_near(ontology: Ontology) -> None:
    mapped = map_labels(PBMC68K, ontology)
    assert set(mapped.rules.values()) == {"none"}
    assert mapped.unmapped == tuple(PBMC68K)
    assert mapped.label_to_id == dict.fromkeys(PBMC68K, "")


def test_a_persons_table_wins(ontology: Ontology) -> None:
    table = {
        "CD19+ B": "CL:0000236",
        "B cell": "CL:0000788",
        "CD34+": "",
        "junk drawer": "unknown",
        "Typo": "CL:0000084",
    }
    mapped = map_labels(["CD19+ B", "cd19+  b", "B cell", "CD34+", "junk drawer", "T cell"], ontology, label_map=table)
    assert mapped.label_to_id["B cell"] == "CL:0000788"
    assert mapped.label_to_id["cd19+  b"] == "CL:0000236"
    assert list(mapped.rules.values()) == ["label_map", "label_map", "label_map", "label_map", "unknown", "name"]
    assert mapped.unmapped == ("CD34+",)
    assert mapped.unknown == ("junk drawer",)
    assert mapped.unused == ("Typo",)
    assert mapped.frame().loc[2].tolist() == ["B cell", "CL:0000788", "naive B cell", "label_map"]


def test_a_persons_table_may_not_name_what_is_not_there(ontology: Ontology) -> None:
    with pytest.raises(LabelError, match=r"gives 'CD34\+' the id 'CL:1', which leads to no live term"):
        map_labels(["CD34+"], ontology, label_map={"CD34+": "CL:1"})
    followed = map_labels(["x"], ontology, label_map={"x": "CL:0000003"})
    assert followed.label_to_id == {"x": "CL:0000000"}


def test_a_phrase_of_two_terms_is_of_none() -> None:
    ontology = Ontology(
        {
            "CL:0000001": Term("alpha cell", synonyms=("A", "shared", "beta cell")),
            "CL:0000002": Term("beta cell", synonyms=("shared",)),
            "CL:0000003": Term("Twin"),
            "CL:0000004": Term("twin"),
            "CL:0000005": Term("gone", obsolete=True),
        }
    )
    mapped = map_labels(["shared", "beta cell", "twin", "twins", "gone", "a"], ontology)
    assert list(mapped.label_to_id.values()) == ["", "CL:0000002", "", "", "", "CL:0000001"]
    assert mapped.rules["beta cell"] == "name"  # before the synonym of another term


def test_every_live_name_leads_to_its_own_term(ontology: Ontology) -> None:
    names = {ontology.name(id_): id_ for id_ in ontology.ids}
    assert map_labels(names, ontology).label_to_id == names


@given(st.text())
def test_any_text_gets_one_rule(text: str) -> None:
    ontology = Ontology.load("2025-07-30")
    mapped = map_labels([text, text], ontology)
    assert list(mapped.rules) == [text]
    assert normalise_label(normalise_label(text)) == normalise_label(text)


@pytest.mark.parametrize(
    "word",
    ["unknown", "UNKNOWN", "na", "N/A", "nan", "", "  ", "-", "unassigned", "Doublet", "doublets", "junk", "none"],
)
def test_words_for_no_type(word: str) -> None:
    assert is_unknown_label(word)


@pytest.mark.parametrize("word", ["B cell", "s", "NAs", "unknown T cell", "Doublet-like B", "0", "mono"])
def test_words_that_may_be_types(word: str) -> None:
    assert not is_unknown_label(word)


def test_missing_values_are_no_type(ontology: Ontology) -> None:
    mapped = map_labels([float("nan"), None, "B cell"], ontology)  # type: ignore[list-item]
    assert mapped.unknown == ("nan", "None")


def test_reading_a_table(tmp_path: Path) -> None:
    path = tmp_path / "map.tsv"
    path.write_text("label\tcl_id\tcl_name\n# mine\nCD19+ B\tCL_0000236\tB cell\n\nCD34+\t\nrest\tunknown\n")
    assert read_label_map(path) == {"CD19+ B": "CL:0000236", "CD34+": "", "rest": "unknown"}
    path.write_text("CD19+ B\tCL:0000236\n")
    assert read_label_map(path) == {"CD19+ B": "CL:0000236"}


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("a\tCL:0000236\nb,CL:0000084\n", FormatError, r"line 2: got 'b,CL:0000084', wanted a label, a tab and an id"),
        ("a\tCL:0000236\nb\tT cell\n", FormatError, "line 2"),
        ("a CL:0000236\n", FormatError, "line 1"),
        ("a\tCL:0000236\na\tCL:0000084\n", LabelError, "line 2: 'a' is given both 'CL:0000236' and 'CL:0000084'"),
    ],
)
def test_a_table_that_cannot_be_read(text: str, error: type[Exception], message: str, tmp_path: Path) -> None:
    path = tmp_path / "map.tsv"
    path.write_text(text)
    with pytest.raises(error, match=message):
        read_label_map(path)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"Cannot read the label map .*absent\.tsv"):
        read_label_map(tmp_path / "absent.tsv")


def test_the_three_studies_map_by_our_judgement(shared_data: Path, ontology: Ontology) -> None:
    table = read_label_map(shared_data / "cells" / "label_to_cl.tsv")
    mapped = map_labels(table, ontology, label_map=table)
    assert mapped.unmapped == ()
    assert mapped.unused == ()
    assert set(mapped.rules.values()) == {"label_map"}
