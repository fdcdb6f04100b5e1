"""run.json beside every output."""

import json
from pathlib import Path

import pytest

from whycell.errors import OutputError
from whycell.jobs.record import write_run


def _write(output: Path, seed: int = 0) -> dict:
    path = write_run(output, "annotate", inputs={"q.h5ad": "sha256:00"}, seed=seed, parameters={"model": None})
    assert path.name == "run.json"
    return json.loads(path.read_text())


def test_it_says_how_the_answer_was_made(tmp_path: Path) -> None:
    record = _write(tmp_path / "typed.h5ad", seed=5)
    assert record["command"] == "annotate"
    assert record["inputs"] == {"q.h5ad": "sha256:00"}
    assert record["seed"] == 5
    assert {"python", "whycell", "numpy", "torch"} <= set(record["versions"])
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_folder_holds_its_own_and_a_file_has_it_beside(tmp_path: Path) -> None:
    for name in ("model", "typed.zarr"):
        (tmp_path / name).mkdir()
        _write(tmp_path / name)
    assert (tmp_path / "model" / "run.json").exists()
    assert (tmp_path / "run.json").exists()


def test_a_second_answer_does_not_lose_the_first_one_s_record(tmp_path: Path) -> None:
    for name in ("a.h5ad", "b.h5ad"):
        (tmp_path / name).touch()
        _write(tmp_path / name, seed=1)
    record = _write(tmp_path / "b.h5ad", seed=2)
    assert [each["output"] for each in (record, *record["earlier"])] == ["b.h5ad", "a.h5ad"]
    (tmp_path / "a.h5ad").unlink()
    assert "earlier" not in _write(tmp_path / "b.h5ad")


def test_a_foreign_run_json_is_replaced_and_a_file_for_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("[1, 2")
    assert "earlier" not in _write(tmp_path / "a.h5ad")
    with pytest.raises(OutputError, match="cannot be written"):
        _write(tmp_path / "run.json" / "a.h5ad")
