"""The journey on the page runs from beginning to end, and prints what the page says."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "corpus.md"


def test_the_journey_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(code, str(PAGE), "exec"), {})
    printed = capsys.readouterr().out
    assert "4 1200 1" in printed
    assert "CL:0000236" in printed
    assert (tmp_path / "catalog.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert (tmp_path / "model" / "about.json").exists()
