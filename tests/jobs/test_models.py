"""Models by name and by folder, and their cards."""

from pathlib import Path
from typing import Any

import pytest

from whycell.errors import ModelError
from whycell.jobs import models


def test_a_folder_is_found_and_its_card_is_read(pbmc: Path) -> None:
    assert models.find(pbmc / "model") == pbmc / "model"
    card = models.card(pbmc / "model")
    assert card["name"] == "seven hundred"
    assert card["n_genes"] == len(card["genes"])
    assert card["n_classes"] == len(card["classes"])
    assert card["species"] == "human"
    assert any("not tested on a new donor" in sentence for sentence in card["warnings"])


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match="There is no model 'liver'; give a folder written by `whycell train`, or one of"
    ):
        models.find("liver")
    with pytest.raises(ModelError, match="is not a saved model"):
        models.card(tmp_path)
    for sly in ("../models", "..", "human-blood/../human-blood"):
        with pytest.raises(ModelError):
            models.card(sly)


def test_the_shelf(pbmc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_shelf", lambda: tmp_path / "none")
    assert models.available() == []
    with pytest.raises(ModelError, match=r"\(none shipped\)"):
        models.find(None)
    shelf: Any = tmp_path / "shelf"
    (shelf / models.BUILT_IN).mkdir(parents=True)
    for path in (pbmc / "model").iterdir():
        (shelf / models.BUILT_IN / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(models, "_shelf", lambda: shelf)
    assert models.find(None) == models.find(models.BUILT_IN) == shelf / models.BUILT_IN
    assert [card["name"] for card in models.available()] == ["seven hundred"]
