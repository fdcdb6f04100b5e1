"""What a label of any level means: sets of leaves, worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whycell.errors import LabelError
from whycell.knowledge.terms import Ontology
from whycell.models.leaves import LeafSpace, build_leaves

# Kang and others 2018, Zheng and others 2017 (sorted), 10x PBMC 3k: their labels, and the terms we read them as.
KANG = {
    "B cells": "CL:0000236",
    "CD4 T cells": "CL:0000624",
    "CD8 T cells": "CL:0000625",
    "NK cells": "CL:0000623",
    "CD14+ Monocytes": "CL:0001054",
    "FCGR3A+ Monocytes": "CL:0002396",
    "Dendritic cells": "CL:0000451",
    "Megakaryocytes": "CL:0000556",
}
ZHENG = {
    "CD19+ B": "CL:0000236",
    "CD4+/CD45RA+/CD25- Naive T": "CL:0000895",
    "CD4+/CD45RO+ Memory": "CL:0000897",
    "CD4+/CD25 T Reg": "CL:0000792",
    "CD4+ T Helper2": "CL:0000546",
    "CD8+ Cytotoxic T": "CL:0000794",
    "CD8+/CD45RA+ Naive Cytotoxic": "CL:0000900",
    "CD56+ NK": "CL:0000623",
    "CD14+ Monocyte": "CL:0001054",
    "CD34+": "CL:0008001",
}
PBMC = {
    "B": "CL:0000236",
    "Memory CD4 T": "CL:0000897",
    "Naive CD4 T": "CL:0000895",
    "CD8 T": "CL:0000625",
    "NK": "CL:0000623",
    "CD14+ Mono": "CL:0001054",
    "FCGR3A+ Mono": "CL:0002396",
    "DC": "CL:0000451",
    "Platelet": "CL:0000233",
}
T, CD4, CD4_MEMORY, CD4_NAIVE = "CL:0000084", "CL:0000624", "CL:0000897", "CL:0000895"
CD14, CD16 = "CL:0001054", "CL:0002396"


@pytest.fixture(scope="module")
def ontology() -> Ontology:
    return Ontology.load()


def leaves(ontology: Ontology, *hands: dict[str, str]) -> tuple[LeafSpace, dict[tuple[int, str], set[str]]]:
    """The leaves of studies with these labels, and the leaves (by term, or label) that each label may mean."""
    labels = np.array([label for hand in hands for label in hand], dtype=object)
    ids = {label: term for hand in hands for label, term in hand.items()}
    authority = np.repeat(np.arange(len(hands)), [len(hand) for hand in hands])
    space, meaning = build_leaves(labels, ids, authority, ontology)
    names = np.where(space.term_ids != "", space.term_ids, space.labels)
    said = {(h, label): set(names[m]) for h, label, m in zip(authority, labels, meaning, strict=True)}
    return space, said


def test_one_hand_that_wrote_both_keeps_a_rest_leaf(ontology) -> None:
    """ "T cell" beside "CD4": the first means a T cell that is not CD4, and is a leaf of its own."""
    space, said = leaves(ontology, {"T": T, "CD4": CD4, "B": "CL:0000236"})
    assert set(space.term_ids) == {T, CD4, "CL:0000236"}
    assert said == {(0, "T"): {T}, (0, "CD4"): {CD4}, (0, "B"): {"CL:0000236"}}
    below_t = dict(zip(space.nodes, space.below, strict=True))[T]
    assert set(space.term_ids[below_t]) == {T, CD4}, "the call 'T cell' counts both"


def test_a_coarse_label_of_another_hand_is_shared_out(ontology) -> None:
    """The same two labels, each from another study: then "T cell" may be any of the finer ones, and is no leaf."""
    space, said = leaves(ontology, {"T": T, "B": "CL:0000236"}, {"CD4": CD4, "CD8": "CL:0000625"})
    assert T not in space.term_ids
    assert said[0, "T"] == {CD4, "CL:0000625"}


def test_a_rest_leaf_counts_for_the_coarse_labels_of_others(ontology) -> None:
    space, said = leaves(
        ontology,
        {"CD4": CD4, "memory": CD4_MEMORY},
        {"CD4 too": CD4, "B": "CL:0000236"},
        {"T": T, "naive": CD4_NAIVE, "NK": "CL:0000623"},
    )
    assert {CD4, CD4_MEMORY, CD4_NAIVE, T} <= set(space.term_ids)
    assert said[0, "CD4"] == {CD4, CD4_NAIVE}, "not memory, which this hand names; naive, which it does not"
    assert said[1, "CD4 too"] == {CD4, CD4_MEMORY, CD4_NAIVE}
    assert said[2, "T"] == {T, CD4, CD4_MEMORY}, "whatever T cell that this hand has no name for"


def test_a_leaf_with_two_parents_is_below_both_and_counted_once(ontology) -> None:
    parents = ontology.parents("CL:0000897")
    assert len(parents) > 1, "the term this test is about"
    space, said = leaves(ontology, {"memory": CD4_MEMORY, "CD8": "CL:0000625"}, {"one": parents[0], "two": parents[1]})
    assert CD4_MEMORY in said[1, "one"] & said[1, "two"]
    p = np.full(space.n_leaves, 1 / space.n_leaves)
    of_nodes = space.below @ p
    assert of_nodes.max() <= 1 + 1e-12
    for node, held in zip(space.nodes, space.below, strict=True):
        assert set(space.term_ids[held]) == {t for t in space.term_ids if t in ontology.descendants(node)}


def test_a_class_without_id_stands_alone_under_the_root(ontology) -> None:
    space, said = leaves(ontology, {"odd": "", "CD4": CD4}, {"odd": "", "other": "", "T": T})
    assert said[0, "odd"] == said[1, "odd"] == {"odd"}
    assert said[1, "T"] == {CD4}
    node = space.nodes.tolist().index("label:odd")
    assert space.below[node].sum() == 1
    assert space.node_names[node] == "odd"
    assert not space.below[[str(n).startswith("CL:") for n in space.nodes]][:, space.labels == "odd"].any()


def test_stop_terms_are_no_nodes(ontology) -> None:
    space, _ = leaves(ontology, KANG, ZHENG, PBMC)
    assert not set(space.nodes) & set(ontology.stop_terms)


def test_the_three_studies_of_blood(ontology) -> None:
    space, said = leaves(ontology, KANG, ZHENG, PBMC)
    cd4 = {"CL:0000895", "CL:0000897", "CL:0000792", "CL:0000546"}
    cd8 = {"CL:0000794", "CL:0000900"}
    others = {"CL:0000236", "CL:0000623", "CL:0000451", CD14, CD16, "CL:0000233", "CL:0000556", "CL:0008001"}
    assert sorted(space.term_ids) == sorted(cd4 | cd8 | others)
    assert said[0, "CD4 T cells"] == cd4, "Kang's CD4 cells may be any of the kinds that the others taught"
    assert said[0, "CD8 T cells"] == said[2, "CD8 T"] == cd8
    assert said[0, "CD14+ Monocytes"] == said[2, "CD14+ Mono"] == {CD14}, "these hands name the CD16 monocytes too"
    assert said[1, "CD14+ Monocyte"] == {CD14, CD16}, "this one does not, and the ontology puts them below"
    assert sum(len(may) > 1 for may in said.values()) == 4, "every other label is one leaf"
    names = dict(zip(space.term_ids, space.labels, strict=True))
    assert names["CL:0000236"] == "B", "as often each, so the first in the alphabet names the leaf"


def test_one_class_is_not_enough(ontology) -> None:
    with pytest.raises(LabelError, match=r"One class is not enough to learn from: got T cell\. At least two"):
        leaves(ontology, {"T": T, "t cells": T})


@settings(max_examples=40)
@given(data=st.data())
def test_whatever_the_labels(data: st.DataObject) -> None:
    ontology = Ontology.load()
    pool = [*{**KANG, **ZHENG, **PBMC}.values(), T, "CL:0000542", "CL:0000738", "CL:0000576", ""]
    hands = [
        {f"{h}:{t or 'none'}": t for t in data.draw(st.sets(st.sampled_from(pool), min_size=2, max_size=6))}
        for h in range(data.draw(st.integers(1, 4)))
    ]
    try:
        space, said = leaves(ontology, *hands)
    except LabelError:
        return
    for (hand, label), may in said.items():
        term = hands[hand][label]
        assert may, "a label always means something"
        if term:
            assert may <= {t for t in space.term_ids if t and t in ontology.descendants(term)}
        for other in hands[hand]:
            if other != label and {term, hands[hand][other]} != {""}:
                finer = ontology.is_ancestor(term, hands[hand][other]) if term and hands[hand][other] else False
                if finer:
                    assert not may & said[hand, other], "one hand's labels exclude one another"
    assert space.below[space.leaf_node(), np.arange(space.n_leaves)].all()
    assert len({*space.nodes}) == len(space.nodes)
