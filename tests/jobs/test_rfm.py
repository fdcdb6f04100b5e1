"""``whycell rfm``: fitted, tested beside others, read, saved, asked again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from whycell.cli.app import app
from whycell.jobs.rfm import fit, predict
from whycell.reports.rfm import machine_page


def _table(path: Path, *, classes: bool) -> Path:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(160, 3)), columns=["a", "b", "noise"])
    value = frame["a"] * frame["b"]
    frame["patient"] = [f"P{i // 10}" for i in range(160)]
    frame["site"] = rng.choice(["north", "south"], 160)
    frame["y"] = np.where(value > 0, "ill", "well") if classes else value
    frame.to_csv(path, index=False)
    return path


def test_an_interaction_is_found_that_a_linear_model_cannot_see(tmp_path: Path) -> None:
    table = _table(tmp_path / "t.csv", classes=True)
    result = fit(table, tmp_path / "m", target="y", group="patient", permutations=9)
    scores = result.scores.set_index(["model", "metric"])["value"]
    assert scores["feature machine", "accuracy"] > 0.75 > 0.65 > scores["linear", "accuracy"]
    gap = result.scores.set_index(["model", "metric"]).loc[("minus linear", "accuracy")]
    assert 0 < gap["low"] < gap["value"] < gap["high"]
    assert set(result.features["feature"].head(2)) == {"a", "b"}
    assert (result.features.set_index("feature")["p_value"][["a", "b"]] <= 0.1).all()
    assert result.features["standard_error"].gt(0).all()
    assert result.n_groups == 16
    assert not set(result.predictions.columns) ^ {"row", "fold", "truth", "prediction", "probability"}
    page = machine_page(result)
    assert page == machine_page(result)
    assert "Scores on rows held out" in page
    told = predict(table, tmp_path / "p.tsv", model=tmp_path / "m")
    assert list(told.columns) == ["row", "prediction", "p ill", "p well"]
    np.testing.assert_allclose(told[["p ill", "p well"]].sum(axis=1), 1)


def test_the_command_line_fits_numbers_and_predicts_them(tmp_path: Path) -> None:
    table, model, page = _table(tmp_path / "t.csv", classes=False), tmp_path / "m", tmp_path / "r.html"
    told = [
        "rfm",
        "fit",
        str(table),
        "--target",
        "y",
        "-o",
        str(model),
        "--report",
        str(page),
        "--permutations",
        "0",
        "-q",
    ]
    done = CliRunner().invoke(app, told)
    assert done.exit_code == 0, done.output
    assert "feature machine\tr2" in done.output
    assert page.stat().st_size > 10_000
    assert {p.name for p in model.iterdir()} == {"weights.safetensors", "about.json", "run.json"}
    asked = ["rfm", "predict", str(table), "--model", str(model), "-o", str(tmp_path / "p.tsv"), "-q"]
    assert CliRunner().invoke(app, asked).exit_code == 0
    found = pd.read_csv(tmp_path / "p.tsv", sep="\t")["prediction"]
    assert np.corrcoef(found, pd.read_csv(table)["y"])[0, 1] > 0.9
    assert CliRunner().invoke(app, told).exit_code == 1  # what is there is not replaced


@pytest.mark.parametrize("target", ["absent"])
def test_a_wrong_target_is_one_sentence(tmp_path: Path, target: str) -> None:
    table = _table(tmp_path / "t.csv", classes=True)
    done = CliRunner().invoke(app, ["rfm", "fit", str(table), "--target", target, "-o", str(tmp_path / "m")])
    assert done.exit_code == 1
    assert not (tmp_path / "m").exists()
