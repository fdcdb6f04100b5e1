"""Models by name and by folder, and their cards."""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from whycell.encode.gene_vectors import write_gene_vectors
from whycell.errors import FormatError, ModelError, UsageError
from whycell.jobs import models
from whycell.jobs.annotate import annotate
from whycell.jobs.words import vectors_at

_spec = importlib.util.spec_from_file_location("hub_server", Path(__file__).parents[1] / "data/hub_server.py")
hub_server = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(hub_server)


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


def test_a_model_is_pushed_and_typed_with_from_where_it_was_pushed(
    pbmc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    constants = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("WHYCELL_CACHE", str(tmp_path / "cache"))
    server = hub_server.HubServer()
    with server.running() as url:
        monkeypatch.setenv("HF_ENDPOINT", url)
        commit = models.push(pbmc / "model", "hf://lab/blood")
        assert commit.startswith(f"{url}/lab/blood/commit/")
        sent = set(server.commits["lab/blood"][-1][1])
        assert {"about.json", "weights.safetensors"} <= sent
        assert "run.json" not in sent
        assert models.card("hf://lab/blood")["name"] == "seven hundred"
        from_hub = annotate(pbmc / "query.h5ad", tmp_path / "typed.h5ad", model="hf://lab/blood", threads=1)
        vectors = np.eye(2, dtype=np.float32)
        made = {"gene_ids": ["1", "2"], "ensembl_ids": [["E1"], ["E2"]], "facets": ["name"] * 2, "about": {}}
        write_gene_vectors(tmp_path / "v.parquet", vectors=vectors, **made)
        models.push(tmp_path / "v.parquet", "hf://lab/vectors", private=True)
        assert server.private == {"lab/vectors"}
        assert np.array_equal(vectors_at("hf://lab/vectors/v.parquet")[0].vectors, vectors)
    from_disk = annotate(pbmc / "query.h5ad", tmp_path / "again.h5ad", model=str(pbmc / "model"), threads=1)
    assert from_hub.calls.equals(from_disk.calls)
    with pytest.raises(UsageError, match="is not on the hub"):
        models.push(pbmc / "model", "https://host/model")
    with pytest.raises(FormatError, match=r"cannot be read as gene vectors"):
        models.push(pbmc / "query.h5ad", "hf://lab/vectors")
