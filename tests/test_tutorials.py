"""Every tutorial runs from its first cell to its last, and shows what its text says."""

import re
import runpy
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

TUTORIALS = sorted((Path(__file__).resolve().parents[1] / "docs" / "tutorials").glob("*.py"))


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_it_runs(tutorial: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    with mpl.rc_context({"backend": "Agg"}):
        left = runpy.run_path(str(tutorial))
    assert capsys.readouterr().out
    if tutorial.stem == "type_your_cells":
        obs, is_b = left["query"].obs, left["is_b"]
        assert (obs.loc[is_b, "whycell"] == "B cell").mean() > 0.5
        assert obs.loc[is_b, "blind_novelty"].median() > 3 * obs.loc[~is_b, "blind_novelty"].median()
    if tutorial.stem == "dna":
        assert left["recall"] > 0.8
        assert "TGACGTCA" in left["found"].summary["consensus"].iloc[0].upper()


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_its_links_lead_somewhere(tutorial: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", tutorial.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (tutorial.parent / link).exists()] == []


def test_the_example_on_the_page_of_typing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = (TUTORIALS[0].parents[1] / "typing.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    rng = np.random.default_rng(0)
    labels = np.array(["B cell", "natural killer cell"] * 60)
    rate = np.where(np.arange(40) < 20, 1.0, 3.0)
    X = rng.poisson(np.where((labels == "B cell")[:, None], rate, rate[::-1]))
    genes = [f"ENSG{i:011d}" for i in range(40)]
    names = {"X": X, "labels": labels, "ensembl_ids": genes, "donors": np.arange(120) % 4}
    exec(example, {**names, "X_new": X[:, ::-1], "other_ids": genes[::-1]})
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["about.json", "weights.safetensors"]
