"""The Cell Ontology: closures against brute force and against the wheel's own, obsolete terms, information content."""

import copy
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from whycell.errors import FormatError, LabelError
from whycell.knowledge.terms import ROOT, Ontology, Term, ancestor_sets, available_releases, closure_matrix

B_CELL, T_CELL, LYMPHOCYTE, NATURAL_KILLER = "CL:0000236", "CL:0000084", "CL:0000542", "CL:0000623"


@pytest.fixture(scope="module")
def ontology() -> Ontology:
    return Ontology.load()


@st.composite
def dags(draw: st.DrawFn) -> list[list[int]]:
    """Parents of each node of a random DAG, the nodes in no particular order, parents sometimes named twice."""
    n = draw(st.integers(1, 12))
    order = draw(st.permutations(range(n)))
    parents: list[list[int]] = [[] for _ in range(n)]
    for place in range(1, n):
        above = draw(st.lists(st.integers(0, place - 1), max_size=4))
        parents[order[place]] = [order[a] for a in above]
    return parents


def reachable(parents: list[list[int]]) -> np.ndarray:
    """Brute force: the powers of the adjacency matrix, until nothing changes."""
    reach = np.eye(len(parents), dtype=bool)
    step = reach.copy()
    for node, above in enumerate(parents):
        step[node, above] = True
    for _ in parents:
        reach = (reach.astype(int) @ step.astype(int)) > 0
    return reach


@given(dags())
def test_the_closure_is_reachability(parents: list[list[int]]) -> None:
    closure = closure_matrix(ancestor_sets(parents))
    assert closure.dtype == bool
    np.testing.assert_array_equal(closure.toarray(), reachable(parents))


@given(dags(), st.data())
def test_deepest_is_an_antichain_that_covers_what_was_given(parents: list[list[int]], data: st.DataObject) -> None:
    ontology = from_rows(parents)
    asked = data.draw(st.lists(st.sampled_from(ontology.ids.tolist()), max_size=8))
    deepest = ontology.deepest(asked)
    assert set(deepest) <= set(asked)
    assert not any(a != b and ontology.is_ancestor(a, b) for a in deepest for b in deepest)
    assert all(any(ontology.is_ancestor(a, b) for b in deepest) for a in asked)


@given(dags())
def test_information_never_falls_on_the_way_down(parents: list[list[int]]) -> None:
    ontology = from_rows(parents)
    content = ontology.information_content()
    assert np.all((content >= -1e-12) & (content <= 1 + 1e-12))
    for id_ in ontology.ids:
        assert all(content[ontology.index[id_]] >= content[ontology.index[p]] for p in ontology.parents(id_))


def from_rows(parents: list[list[int]]) -> Ontology:
    return Ontology(
        {f"CL:{i:07d}": Term(f"t{i}", tuple(sorted({f"CL:{p:07d}" for p in above}))) for i, above in enumerate(parents)}
    )


def test_a_term_with_two_parents_is_counted_once() -> None:
    # root <- left, right <- leaf: two paths from the leaf to the root, one leaf.
    diamond = from_rows([[], [0], [0], [1, 2]])
    probability = np.array([0.0, 0.1, 0.2, 0.7])
    np.testing.assert_allclose(diamond.closure.T @ probability, [1.0, 0.8, 0.9, 0.7])
    assert diamond.descendants("CL:0000000") == set(diamond.ids)
    assert diamond.children("CL:0000000") == ("CL:0000001", "CL:0000002")


def test_a_cycle_and_a_missing_parent_are_refused() -> None:
    with pytest.raises(FormatError, match="form a cycle"):
        ancestor_sets([[1], [2], [0]])
    with pytest.raises(FormatError, match=r"names the parent 'CL:0000009', which is not a live term"):
        Ontology({"CL:0000001": Term("a", ("CL:0000009",))})


@pytest.mark.parametrize("release", available_releases())
def test_the_closure_equals_the_ancestors_that_the_wheel_lists(release: str) -> None:
    spec = find_spec("cellxgene_ontology_guide")
    path = Path(spec.submodule_search_locations[0]) / "data" / f"CL-ontology-v{release}.json.zst"
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        records = json.loads(stream.read())
    ontology = Ontology.load(release)
    live = {id_ for id_, record in records.items() if not record["deprecated"]}
    assert set(ontology.ids) == live
    assert list(ontology.ids) == sorted(ontology.ids)
    assert {id_: ontology.ancestors(id_) for id_ in live} == {i: {i, *records[i]["ancestors"]} for i in live}


def test_a_third_of_the_terms_have_several_parents(ontology: Ontology) -> None:
    # The reason for sets: were this to change, the comments that rest on it would be wrong.
    share = np.mean([len(ontology.parents(id_)) > 1 for id_ in ontology.ids])
    assert 0.3 < share < 0.4


def test_known_terms(ontology: Ontology) -> None:
    assert ontology.release == available_releases()[-1]
    assert ontology.name(B_CELL) == "B cell"
    assert "B lymphocyte" in ontology.synonyms(B_CELL)
    assert ontology.is_ancestor(LYMPHOCYTE, B_CELL)
    assert ontology.is_ancestor(B_CELL, B_CELL)
    assert not ontology.is_ancestor(B_CELL, LYMPHOCYTE)
    assert ontology.ancestors(ROOT) == {ROOT}
    assert ontology.deepest([LYMPHOCYTE, B_CELL, T_CELL, B_CELL]) == (B_CELL, T_CELL)
    assert ontology.positions([B_CELL, "", "CL:0000548"]).tolist() == [ontology.index[B_CELL], -1, -1]


def test_matrix_sets_and_content_agree(ontology: Ontology) -> None:
    row, column = ontology.index[B_CELL], ontology.index[LYMPHOCYTE]
    assert set(ontology.ids[ontology.closure[row].indices]) == ontology.ancestors(B_CELL)
    assert set(ontology.ids[ontology.closure[:, column].tocsc().indices]) == ontology.descendants(LYMPHOCYTE)
    content = ontology.information_content()
    assert content[ontology.index[ROOT]] == pytest.approx(0.0)
    below = len(ontology.descendants(LYMPHOCYTE))
    assert content[column] == pytest.approx(1 - np.log(below) / np.log(len(ontology)))


def test_stop_terms(ontology: Ontology) -> None:
    assert ontology.stop_terms == {"CL:0000000", "CL:0000255", "CL:0000257", "CL:0000548"}
    # CL:0000001 has 19 of 20 terms below it; whatever its id, it says nothing.
    chain = from_rows([[], [0], *([[1]] * 18)])
    assert "CL:0000001" in chain.stop_terms
    assert "CL:0000002" not in chain.stop_terms


def test_obsolete_terms_lead_only_to_live_ones() -> None:
    def gone(to: str) -> Term:
        return Term("gone", obsolete=True, replaced_by=to)

    ontology = Ontology(
        {
            "CL:0000001": Term("here"),
            "CL:0000002": gone("CL:0000001"),
            "CL:0000003": gone("CL:0000002"),
            "CL:0000004": gone("PO:0000079"),
            "CL:0000005": gone(""),
            "CL:0000006": gone("CL:0000007"),
            "CL:0000007": gone("CL:0000006"),
        }
    )
    assert ontology.ids.tolist() == ["CL:0000001"]
    found = [ontology.resolve(f"CL:000000{i}") for i in range(1, 9)]
    assert found == ["CL:0000001"] * 3 + [None] * 5
    assert ontology.name("CL:0000004") == "gone"
    with pytest.raises(LabelError, match=r"'CL:0000002' is obsolete in .* resolve\(\) gives its replacement"):
        ontology.ancestors("CL:0000002")
    with pytest.raises(LabelError, match=r"'B cell' is not a term of .* Ids look like"):
        ontology.name("B cell")


def test_every_replacement_in_the_release_is_live(ontology: Ontology) -> None:
    obsolete = [id_ for id_, term in ontology.items() if term.obsolete]
    resolved = [ontology.resolve(id_) for id_ in obsolete]
    assert len(obsolete) > 200
    assert all(id_ is None or ontology.is_live(id_) for id_ in resolved)
    assert 0.3 < np.mean([id_ is not None for id_ in resolved]) < 0.7


def test_a_release_that_is_not_there() -> None:
    with pytest.raises(LabelError, match=r"release '1999-01-01' is not installed; held are .*2025-07-30"):
        Ontology.load("1999-01-01")
    assert Ontology.load("v2025-07-30") is Ontology.load("2025-07-30")


def test_a_copy_of_a_release_is_the_release(ontology: Ontology) -> None:
    assert copy.deepcopy(ontology) is ontology
    other = copy.deepcopy(from_rows([[], [0]]))
    assert other.ancestors("CL:0000001") == {"CL:0000000", "CL:0000001"}


def test_loading_needs_nothing_heavy() -> None:
    code = (
        "import sys; from whycell.knowledge.terms import Ontology; Ontology.load()\n"
        "print(*(m for m in ('scipy', 'pandas', 'pyarrow', 'cellxgene_ontology_guide') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
