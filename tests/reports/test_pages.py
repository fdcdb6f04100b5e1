"""What the text of a page must hold, whatever draws it."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whycell.reports.annotation import annotation_page, type_table
from whycell.reports.card import card_parts
from whycell.reports.evaluation import evaluation_page
from whycell.reports.page import json_block
from whycell.reports.palette import QUALITATIVE, colours_by_name
from whycell.reports.text import percent
from whycell.reports.tree import nested_tree
from whycell.results import Annotation, Evaluation, TreeNode


class _Reader(HTMLParser):
    """Every tag with its attributes, and the text outside scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.text += data


def _check(page: str, *, scripts: int) -> _Reader:
    read = _Reader(page)
    code = [attributes for tag, attributes in read.tags if tag == "script" and "type" not in attributes]
    assert len(code) == scripts
    assert not [t for t, attributes in read.tags if any(a.startswith("on") for a in attributes)]
    assert not [tag for tag, attributes in read.tags if tag == "img" or (tag == "i" and not attributes)]
    assert "<script>alert(1)</script>" in read.text
    for tag, attributes in read.tags:
        assert "src" not in attributes
        assert tag != "link" or attributes["href"] == "data:,"
        assert tag != "a" or re.match(r"#|https://purl\.obolibrary\.org/obo/CL_\d{7}$", attributes["href"] or "")
    assert "://" not in re.sub(r"https://purl\.obolibrary\.org/obo/CL_\d{7}", "", page)
    return read


def test_an_annotation_page_stands_alone_and_escapes_everything(make_annotation: Callable[..., Annotation]) -> None:
    result = make_annotation(clusters=True)
    page = annotation_page(result)
    read = _check(page, scripts=2)
    assert page == annotation_page(result)
    for word in ("query.h5ad", "What the doctor found", "mended while reading", "0.940 (0.930 to 0.950)", "CC BY 4.0"):
        assert word in read.text
    assert "also under cell" in read.text
    assert "some/where" not in read.text.split("How it was made")[0]


def test_a_page_is_made_of_little_too(make_annotation: Callable[..., Annotation]) -> None:
    result = make_annotation(40, donors=False)
    bare = replace(
        result, tree=(), findings=(), card={}, provenance={}, map_rows=np.zeros(0, int), map_xy=np.zeros((0, 2))
    )
    text = _Reader(annotation_page(bare)).text
    assert "Nothing to remark." in text
    assert "The card does not say on whom the model was tested." in text
    calls = result.calls.assign(confidence=np.nan, novelty=np.nan, flag=None, runner_up=None)
    assert "nan" not in _Reader(annotation_page(replace(bare, calls=calls))).text.replace("unnamed", "")
    assert annotation_page(replace(bare, calls=result.calls.iloc[:0]))


def test_an_evaluation_page_stands_alone_and_escapes_everything(evaluation: Evaluation) -> None:
    page = evaluation_page(evaluation)
    read = _check(page, scripts=1)
    assert page == evaluation_page(evaluation)
    assert read.text.index("Fewer than five donors.") < read.text.index("Scores")
    for word in ("sha256:abc", "yes, better", "0.930 to 0.950", "naive B cell"):
        assert word in read.text
    ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_an_evaluation_without_anything_but_scores(evaluation: Evaluation) -> None:
    frames = {name: getattr(evaluation, name).iloc[:0] for name in ("comparisons", "per_class", "per_donor", "calls")}
    bare = replace(evaluation, **frames, curves={}, confusion={}, warnings=(), provenance={})
    assert "Nothing was compared." in evaluation_page(bare)


def test_types_are_counted_once_each(make_annotation: Callable[..., Annotation]) -> None:
    result = make_annotation(500)
    types = type_table(result.calls)
    assert types["cells"].sum() == 500
    assert types["type"].iloc[-1] == "unknown"
    assert dict(zip(types["type"], types["cells"], strict=True)) == result.calls["call"].value_counts().to_dict()


@given(st.recursive(st.none() | st.text() | st.floats() | st.integers(), st.lists, max_leaves=8))
def test_no_data_can_leave_its_block(value: object) -> None:
    block = str(json_block("x", {"v": value}))
    inside = block[block.index(">") + 1 : -len("</script>")]
    assert not set("<>&") & set(inside)
    read = json.loads(inside)["v"]
    if isinstance(value, str):
        assert read == value


@given(st.floats(0, 1))
def test_a_share_is_never_rounded_to_a_whole_that_is_not_true(share: float) -> None:
    assert (percent(share) == "0 %") == (share == 0)
    assert (percent(share) == "100 %") == (share == 1)


NAMES = st.text(max_size=5) | st.sampled_from(["T cell", "B cell", "monocyte", "macrophage", "neutrophil", "platelet"])


@given(st.lists(NAMES, max_size=24, unique=True), st.randoms())
def test_a_colour_depends_on_the_names_alone(names: list[str], random: object) -> None:
    colours = colours_by_name(names)
    assert len(set(colours.values())) == len(names)
    shuffled = names * 2
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert colours_by_name(shuffled) == colours


MACHADO = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


@pytest.mark.parametrize("vision", MACHADO)
def test_colours_are_told_apart_by_every_eye(vision: str) -> None:
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in QUALITATIVE])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ np.array(MACHADO[vision]).T
    to_lms = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566]]
    to_lms.append([0.0883024619, 0.2817188376, 0.6299787005])
    to_lab = [[0.2104542553, 0.793617785, -0.0040720468], [1.9779984951, -2.428592205, 0.4505937099]]
    to_lab.append([0.0259040371, 0.7827717662, -0.808675766])
    lab = np.cbrt(np.clip(linear @ np.array(to_lms).T, 0, None)) @ np.array(to_lab).T  # OKLab
    for first, apart in ((12, 0.06), (24, 0.04)):
        distances = np.linalg.norm(lab[:first, None] - lab[None, :first], axis=-1)
        assert distances[np.triu_indices(first, 1)].min() > apart


def test_a_term_stands_once_under_its_first_parent() -> None:
    nodes = [
        TreeNode("a", "top", (), 0, 9),
        TreeNode("b", "middle", ("a",), 0, 9),
        TreeNode("c", "left", ("b",), 2, 7),
        TreeNode("d", "right", ("absent", "b"), 2, 2),
        TreeNode("e", "both", ("c", "d"), 5, 5),
    ]
    (top,) = nested_tree(nodes, {})
    assert (top["name"], top["passed"]) == ("middle", ["top"])
    assert [child["name"] for child in top["children"]] == ["left", "right"]
    (both,) = top["children"][0]["children"]
    assert (both["name"], both["also"]) == ("both", ["right"])
    assert top["children"][1]["children"] == []


def test_a_card_of_the_typer_is_put_into_words() -> None:
    card = {
        "classes": [
            {"label": "B", "term_id": "CL:0000236", "name": "B cell"},
            {"label": "odd", "term_id": "", "name": ""},
        ],
        "labels": [{"label": "B", "cells": 12}],
        "trained_on": {"cells": 5000, "studies": ["kang"], "donors": 8},
        "calibration": {"groups": 8, "threshold": 0.8},
        "held_out": {"unit": "donors", "cells": 5000, "accuracy": 0.94, "ece": 0.01},
        "warnings": ["not tested on a new study"],
    }
    parts = card_parts(card, name="mine")
    assert parts["name"] == "mine"
    assert parts["tested"].startswith(
        "It was tested on 5,000 cells of 8 donors, each left out of training in turn: 94.0 %"
    )
    assert parts["limits"] == ["not tested on a new study"]
    assert parts["warnings"] == ["Not tested on a new study."]
    assert [c["name"] for c in parts["scores"]["columns"]] == ["score", "held-out donors"]
    assert [[c["text"] for c in row] for row in parts["classes"]["rows"]] == [
        ["B", "CL:0000236 B cell", "12"],
        ["odd", "–", "0"],
    ]
    assert "random" in card_parts(card | {"held_out": {"unit": "random cells"}})["tested"]


def test_classes_without_an_id_stand_side_by_side() -> None:
    nodes = [TreeNode("CL:0000988", "top", (), 1, 1)]
    nodes += [TreeNode("", name, (), 5, 5) for name in ("odd", "odder", "unknown")]
    drawn = nested_tree(nodes, {})
    assert [(node["name"], node["children"]) for node in drawn] == [("odd", []), ("odder", []), ("top", [])]
