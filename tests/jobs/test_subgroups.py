"""The whole job: a table, cells and pictures in, groups and a page out; what a kill leaves is gone on with."""

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from whycell.compute import Talk
from whycell.errors import GroupError, LabelError, OutputError, UsageError
from whycell.jobs import subgroups as job
from whycell.jobs.subgroups import subgroups
from whycell.jobs.subgroups_inputs import read_samples


@pytest.fixture(autouse=True)
def few_clouds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "_CLOUDS", 39)
    monkeypatch.setattr(job, "_ROUNDS", 4)
    monkeypatch.setattr("whycell.jobs.overview.find_spec", lambda _: None)  # UMAP takes longer to start than all this


@pytest.fixture
def patients(tmp_path: Path) -> Path:
    """120 ill in two ways, 120 well; four hospitals; a gap, a word, and a column that says nothing."""
    rng = np.random.default_rng(0)
    kind = np.repeat([0, 1, 2], [60, 60, 120])
    values = rng.standard_normal((240, 4))
    values[:, 0] += np.array([4.0, 0.0, 0.0])[kind]
    values[:, 1] += np.array([0.0, 4.0, 0.0])[kind]
    frame = pd.DataFrame(values, columns=["urea", "iron", "age", "height"])
    frame.insert(0, "patient", [f"P{i}" for i in range(240)])
    frame["ill"] = np.where(kind < 2, "ill", "well")
    frame["hospital"] = np.tile(["a", "b", "c", "d"], 60)
    frame["constant"] = 1
    frame.loc[3, "age"] = np.nan
    frame["remark"] = "none"
    path = tmp_path / "patients.tsv"
    frame.to_csv(path, sep="\t", index=False)
    return path


class Heard(Talk):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def test_two_illnesses_under_one_name_are_told_apart_and_explained(patients: Path, tmp_path: Path) -> None:
    talk, out, page = Heard(), tmp_path / "groups", tmp_path / "groups.html"
    result = subgroups(
        patients,
        out,
        target="ill",
        group="hospital",
        n_models=1000,
        report=page,
        show=("P0",),
        executor="local:1",
        talk=talk,
    )
    assert dict(zip(result.classes["label"], result.classes["groups"], strict=True)) == {"ill": 2, "well": 1}
    ill = result.samples.set_index("sample").loc[[f"P{i}" for i in range(120)], "group"]
    first, second = ill.iloc[:60].mode()[0], ill.iloc[60:].mode()[0]
    assert first != second
    assert (ill.iloc[:60] == first).mean() > 0.9
    assert (ill.iloc[60:] == second).mean() > 0.9
    row = result.classes.set_index("label").loc["ill"]
    assert row["held_out_donors"] > 0.7
    best = result.features[result.features["group"] == first].iloc[0]
    assert (best["feature"], best["q_value"] < 1e-6) in {("urea", True), ("iron", True)}
    assert any("1,000 linear models" in said and "are seen" in said for said in talk.said)
    assert {p.name for p in out.iterdir()} == {*job_files()}
    assert json.loads((out / "groups.json").read_text())["classes"][0]["groups"] == 2
    text = page.read_text()
    assert all(word in text for word in ("ill / 1", "ill / 2", "urea", "Who taught it", "Supporters and opponents"))
    assert np.load(out / "weights.npy").shape == (240, 240)
    with pytest.raises(OutputError, match="--force"):
        subgroups(patients, out, target="ill", n_models=1000)


def job_files() -> list[str]:
    from whycell.jobs.subgroups_folder import FILES

    return list(FILES)


def test_a_killed_run_goes_on_and_gives_the_same_groups(
    patients: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = subgroups(patients, tmp_path / "whole", target="ill", n_models=1000, executor="local:1")
    broken = tmp_path / "broken"
    real = job.find_subgroups
    monkeypatch.setattr(job, "find_subgroups", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        subgroups(patients, broken, target="ill", n_models=1000, executor="local:1")
    blocks = sorted((broken / "models").glob("block_*.npy"))
    assert len(blocks) == 2
    blocks[1].unlink()
    before = blocks[0].stat().st_mtime_ns
    monkeypatch.setattr(job, "find_subgroups", real)
    resumed = subgroups(patients, broken, target="ill", n_models=1000, executor="local:1")
    assert blocks[0].stat().st_mtime_ns == before
    pd.testing.assert_frame_equal(whole.samples, resumed.samples)
    assert (tmp_path / "whole/weights.npy").read_bytes() == (broken / "weights.npy").read_bytes()


def test_donors_as_units_and_samples_that_join_the_nearest_group(patients: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(patients, sep="\t")
    frame["hospital"] = np.random.default_rng(1).integers(0, 60, len(frame))
    frame.to_csv(patients, sep="\t", index=False)
    result = subgroups(
        patients,
        tmp_path / "groups",
        target="ill",
        group="hospital",
        mask_by_group=True,
        share=0.3,
        most_samples=200,
        n_groups=2,
        n_models=600,
        executor="local:1",
    )
    assert (result.classes["groups"] == 2).all()
    assert len(result.samples) == 240
    assert int((~result.samples["clustered"]).sum()) == 40
    assert set(result.teachers["sample"].astype(str)) <= set(frame["hospital"].astype(str))


def test_cells_and_pictures_are_read_without_their_labels(tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(2)
    genes = "CD3D CD3E MS4A1 CD79A LYZ NKG7 GNLY CST3 IL7R CCR7 ACTB B2M MALAT1 RPL13 RPS27 FTL TMSB4X HLA-A"
    genes = [*genes.split(), "HLA-B", "EEF1A1"]
    counts = rng.poisson(3, size=(60, len(genes))).astype(np.float32)
    adata = ad.AnnData(counts, obs=pd.DataFrame({"state": ["x", "y"] * 30}, index=[f"c{i}" for i in range(60)]))
    adata.var_names = genes
    adata.obsm["X_own"] = rng.standard_normal((60, 3)).astype(np.float32)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    cells = read_samples(tmp_path / "cells.h5ad", target="state", n_components=5)
    other = ad.read_h5ad(tmp_path / "cells.h5ad")
    other.obs["state"] = rng.permutation(other.obs["state"].to_numpy())
    other.write_h5ad(tmp_path / "others.h5ad")
    again = read_samples(tmp_path / "others.h5ad", target="state", n_components=5)
    assert cells.kind == "cells"
    assert "CD3D" in cells.feature_names
    assert np.array_equal(cells.x, again.x)
    own = read_samples(tmp_path / "cells.h5ad", target="state", representation="X_own")
    assert np.array_equal(own.x, adata.obsm["X_own"])
    for name in ("cat", "dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 255, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{i}.png")
    pictures = read_samples(tmp_path / "pictures", target="folder")
    assert pictures.labels.tolist() == ["cat"] * 3 + ["dog"] * 3
    assert pictures.pictures is not None
    assert np.isfinite(pictures.x).all()


def test_what_cannot_be_used_is_refused_in_one_sentence(patients: Path, tmp_path: Path) -> None:
    out = tmp_path / "groups"
    with pytest.raises(LabelError, match="no column 'sick'; it has: patient"):
        subgroups(patients, out, target="sick")
    with pytest.raises(GroupError, match="no column 'ward'"):
        subgroups(patients, out, target="ill", group="ward")
    with pytest.raises(LabelError, match="cut a number into ranges"):
        subgroups(patients, out, target="patient")
    with pytest.raises(UsageError, match="local:N"):
        subgroups(patients, out, target="ill", executor="slurm")
    with pytest.raises(UsageError, match="no sample is called 'P999'"):
        subgroups(patients, out, target="ill", show=("P999",))
    with pytest.raises(UsageError, match="--group"):
        subgroups(patients, out, target="ill", mask_by_group=True)
    assert not out.exists()


def test_a_class_of_few_samples_is_left_whole_and_the_page_is_written(patients: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(patients, sep="\t")
    frame.loc[:3, "ill"] = "rare"
    frame.to_csv(patients, sep="\t", index=False)
    page = tmp_path / "groups.html"
    result = subgroups(patients, tmp_path / "groups", target="ill", n_models=300, report=page, executor="local:1")
    assert result.classes.set_index("label").loc["rare", "groups"] == 1
    assert "rare" in page.read_text()
