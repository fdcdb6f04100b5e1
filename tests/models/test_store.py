"""A saved model is whole and ours, or it is refused in one sentence."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whycell.data import whole
from whycell.errors import ModelError, OutputError
from whycell.models import store
from whycell.models.typer import CellTyper


@pytest.fixture
def saved(typer, tmp_path: Path) -> Path:
    return typer.save(tmp_path / "model")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_what_is_read_back_answers_the_same(typer, saved: Path, others) -> None:
    back = CellTyper.load(saved)
    np.testing.assert_array_equal(back.predict_proba(others.X), typer.predict_proba(others.X))
    assert back.call(others.X).equals(typer.call(others.X))
    assert back.predict(others.X).tolist() == typer.predict(others.X).tolist()
    assert {key: back.about_[key] for key in typer.about_} == typer.about_
    assert back.get_params() == typer.get_params()
    assert contents(back.save(saved.with_name("again"))) == contents(saved), "and is saved as the same bytes"


def test_the_folder_holds_two_files_and_no_code(saved: Path) -> None:
    assert list(contents(saved)) == ["about.json", "weights.safetensors"]
    held = b"".join(contents(saved).values())
    assert not any(mark in held for mark in (b"pickle", b"__reduce__", b"PK\x03\x04"))
    assert json.loads((saved / "about.json").read_text())["format"] == store.FORMAT
    assert list(saved.parent.iterdir()) == [saved], "no scratch is left beside it"


def _cut(name: str, keep: float) -> Any:
    def harm(folder: Path) -> None:
        path = folder / name
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])

    return harm


def _remove(name: str) -> Any:
    return lambda folder: (folder / name).unlink()


def _edit(**changes: Any) -> Any:
    def harm(folder: Path) -> None:
        about = json.loads((folder / "about.json").read_text())
        about.update(changes)
        (folder / "about.json").write_text(json.dumps(about))

    return harm


def _flip(folder: Path) -> None:
    held = bytearray((folder / "weights.safetensors").read_bytes())
    held[-5] ^= 1
    (folder / "weights.safetensors").write_bytes(held)


def _foreign(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "model.pkl").write_bytes(b"\x80\x04")


def _text(text: str) -> Any:
    return lambda folder: (folder / "about.json").write_text(text)


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (_cut("weights.safetensors", 0.9), "weights in .*model are not those .* truncated or replaced"),
        (_cut("weights.safetensors", 0), "truncated or replaced"),
        (_remove("weights.safetensors"), "truncated or replaced|weights"),
        (_flip, "truncated or replaced"),
        (_cut("about.json", 0.5), "about.json was not written by whycell, or is cut short"),
        (_remove("about.json"), "model is not a saved model: it has no about.json"),
        (_edit(seed=7), "about.json was edited after it was written"),
        (_edit(held_out={"accuracy": 1.0}), "about.json was edited"),
        (_edit(format=store.POOLED + 1), rf"has format {store.POOLED + 1}, this whycell reads formats {store.FORMAT}"),
        (_edit(kind="scikit-learn"), "not written by whycell"),
        (_text("[1, 2]"), "not written by whycell"),
        (_text('{"kind": "whycell.CellTyper", "format": 1}'), "edited"),
        (_foreign, "is not a saved model"),
        (shutil.rmtree, "is not a saved model"),
    ],
)
def test_a_damaged_or_foreign_folder_is_refused_in_one_sentence(saved: Path, harm: Any, sentence: str) -> None:
    harm(saved)
    with pytest.raises(ModelError, match=sentence) as refused:
        CellTyper.load(saved)
    assert "\n" not in str(refused.value)


def test_bytes_that_are_no_text_are_refused(saved: Path) -> None:
    (saved / "about.json").write_bytes(b"\xff\xfe\x00whatever")
    with pytest.raises(ModelError, match="not written by whycell"):
        CellTyper.load(saved)


def test_nothing_is_replaced_without_force_and_nothing_but_a_model_with_it(typer, saved: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="model exists already; use --force to replace it"):
        typer.save(saved)
    (saved / "run.json").write_text("{}")
    typer.save(saved, force=True)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("x")
    with pytest.raises(OutputError, match="thesis exists already; choose another name: it holds other files"):
        typer.save(tmp_path / "thesis", force=True)
    assert (tmp_path / "thesis" / "chapter.tex").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model", "thesis"]


def test_a_save_that_fails_leaves_the_model_that_was_there(
    typer, saved: Path, monkeypatch: pytest.MonkeyPatch, others
) -> None:
    before = contents(saved)

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(whole, "exchange", fail)
    with pytest.raises(OSError, match="No space left"):
        typer.save(saved, force=True)
    monkeypatch.undo()
    assert saved.is_dir(), "the old model is still at its place"
    assert contents(saved) == before
    assert list(saved.parent.iterdir()) == [saved]
    CellTyper.load(saved).predict(others.X[:3])


def test_a_first_save_that_fails_leaves_nothing(typer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(whole.os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        typer.save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
