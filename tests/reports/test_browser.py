"""The pages in a real Chromium: what a person points at, clicks and reads."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whycell.reports.annotation import annotation_page
from whycell.reports.evaluation import evaluation_page
from whycell.results import Annotation, Evaluation

CELLS = 20_000


@pytest.fixture(scope="module")
def result(make_annotation: Callable[..., Annotation]) -> Annotation:
    return make_annotation(CELLS)


@pytest.fixture(scope="module")
def address(result: Annotation, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(annotation_page(result), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    """A new page that fails the test on any message in the console, error, dialogue or request beyond its own file."""
    page = browser.new_page(viewport={"width": 1280, "height": 1400})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.on(
        "request", lambda request: said.append(request.url) if not request.url.startswith(("file:", "data:")) else 0
    )
    yield page
    page.close()
    assert said == []


@pytest.fixture
def report(tab: Any, address: str) -> Any:
    tab.goto(address)
    tab.wait_for_function("window.whycell && window.whycell.drawn()")
    return tab


def _alone(result: Annotation, call: str) -> int:
    """A cell of that call with no other near it on the map, so that pointing at it is unambiguous."""
    rows = np.flatnonzero((result.calls["call"] == call).to_numpy())
    distances = (
        np.linalg.norm(result.map_xy[rows, None] - result.map_xy[None, ::1], axis=-1) if len(rows) < 50 else None
    )
    if distances is None:
        rows = rows[np.argsort(-np.abs(result.map_xy[rows] - result.map_xy.mean(axis=0)).sum(axis=1))[:40]]
        distances = np.linalg.norm(result.map_xy[rows, None] - result.map_xy[None], axis=-1)
    distances[np.arange(len(rows)), rows] = np.inf
    return int(rows[distances.min(axis=1).argmax()])


def _point(page: Any, cell: int) -> str:
    place = page.evaluate("i => whycell.place(i)", cell)
    page.mouse.move(place["x"] - 40, place["y"] - 40)
    page.mouse.move(place["x"], place["y"])
    page.wait_for_function("i => whycell.hovered() === i", arg=cell)
    return str(page.inner_text("#tip"))


@pytest.mark.parametrize("call", ["T cell", "naive B cell", "<script>alert(1)</script>"])
def test_pointing_at_a_cell_tells_its_call(report: Any, result: Annotation, call: str) -> None:
    cell = _alone(result, call)
    row = result.calls.iloc[cell]
    told = _point(report, cell)
    assert told.splitlines()[0] == call
    assert str(row.name) in told
    for name, value in (("runner-up", row.runner_up), ("donor", result.donors[cell]), ("leaf", row.leaf)):
        assert re.search(rf"{name}\s+{re.escape(value)}", told)
    for name in ("confidence", "novelty"):
        shown = re.search(rf"{name}\s+([\d.]+)", told)
        assert shown
        assert abs(float(shown[1]) - row[name]) < 0.0051
    assert (re.search(r"flags\s+(.+)", told) or [""])[1] == (row.flag.replace(";", ", ") or "none")


def test_the_legend_filters_and_filters_add_up(report: Any, result: Annotation) -> None:
    calls = result.calls
    report.click("#legend .item[data-label='T cell']")
    wanted = (calls["call"] == "T cell").to_numpy()
    assert report.evaluate("whycell.shown()") == wanted.sum()
    report.click("#legend .item[data-label='naive B cell']")
    wanted |= (calls["call"] == "naive B cell").to_numpy()
    assert report.evaluate("whycell.shown()") == wanted.sum()
    assert report.get_attribute("#legend .item[data-label='T cell']", "aria-pressed") == "true"

    report.check("input[value=donor]", force=True)
    report.click("#legend .item[data-label='<i>donor</i> 3']")
    wanted &= result.donors == "<i>donor</i> 3"
    assert report.evaluate("whycell.shown()") == wanted.sum()
    assert report.inner_text("#shown").startswith(f"{wanted.sum():,} of 20,000 cells")

    hidden = _alone(result, "natural killer cell")
    place = report.evaluate("i => whycell.place(i)", hidden)
    report.mouse.move(place["x"], place["y"])
    assert report.evaluate("whycell.hovered()") != hidden
    report.click("#show-all")
    assert report.evaluate("whycell.shown()") == CELLS


def test_colours_by_number_put_every_cell_into_the_legend(report: Any) -> None:
    for by in ("confidence", "novelty"):
        report.check(f"input[value={by}]", force=True)
        counts = report.locator("#legend .item-n").all_inner_texts()
        assert sum(int(count.replace(",", "")) for count in counts) == CELLS


def test_the_map_is_used_without_a_mouse(report: Any, result: Annotation) -> None:
    report.focus("#cells-map")
    report.keyboard.press("ArrowRight")
    first = report.evaluate("whycell.hovered()")
    report.keyboard.press("ArrowRight")
    second = report.evaluate("whycell.hovered()")
    assert first >= 0
    assert result.map_xy[second, 0] > result.map_xy[first, 0]
    assert result.calls["call"].iloc[second] in report.inner_text("#said")
    report.keyboard.press("Escape")
    assert report.evaluate("whycell.hovered()") == -1
    report.fill("#find", str(result.calls.index[123]))
    assert report.evaluate("whycell.hovered()") == 123


def test_a_cell_is_still_found_after_zooming(report: Any, result: Annotation) -> None:
    cell = _alone(result, "T cell")
    place = report.evaluate("i => whycell.place(i)", cell)
    report.mouse.dblclick(place["x"], place["y"])
    assert _point(report, cell).splitlines()[0] == "T cell"


def test_labels_are_text_and_the_table_sorts_and_downloads(report: Any, result: Annotation, tmp_path: Path) -> None:
    assert report.locator("script", has_text="alert(1)").count() == 0
    assert report.locator("#types-table th[scope=row]", has_text="<script>alert(1)</script>").count() == 1
    report.click("#types-table thead button >> text=Cells")
    cells = [int(t.replace(",", "")) for t in report.locator("#types-table tbody td:nth-child(3)").all_inner_texts()]
    assert cells == sorted(cells, reverse=True)
    with report.expect_download() as download:
        report.click("[data-tsv=types-tsv]")
    download.value.save_as(tmp_path / "types.tsv")
    lines = (tmp_path / "types.tsv").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("type\tid\tcells\tshare")
    assert len(lines) == result.calls["call"].nunique() + 1


def test_the_tables_show_without_javascript(browser: Any, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.is_visible("#types-table")
    assert page.is_visible("text=What the doctor found in the file")
    assert page.is_visible("noscript p")
    assert not page.is_visible("#show-all")
    context.close()


def test_an_evaluation_opens_without_a_word(tab: Any, evaluation: Evaluation, tmp_path: Path) -> None:
    path = tmp_path / "evaluation.html"
    path.write_text(evaluation_page(evaluation), encoding="utf-8")
    tab.goto(path.as_uri())
    assert tab.is_visible(".alerts >> text=Fewer than five donors.")
    assert tab.locator("svg.figure").count() >= 6
    assert tab.locator("script:not([type])").count() == 1
    tab.click("#scores thead button >> text=accuracy")
    assert tab.inner_text("#scores tbody tr >> nth=0").startswith("whycell")
