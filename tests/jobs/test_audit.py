"""An audit, start to finish: planted faults are found; the table, as a person edits it, is what train obeys."""

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from whycell import tl
from whycell.errors import FormatError, LabelError, OutputError, UsageError
from whycell.jobs.audit import audit
from whycell.jobs.dropping import read_drop
from whycell.jobs.references import load_references
from whycell.jobs.suspects import COLUMNS
from whycell.jobs.train import train
from whycell.reports.audit import audit_page

MARKERS = {
    "T cell": ("CD3D", "CD3E", "CD3G", "CD2", "IL7R", "CD27", "CD28", "CD5", "CD6", "CCR7"),
    "B cell": ("CD19", "MS4A1", "CD79A", "CD79B", "CD22", "PAX5", "CD72", "BANK1", "BLK", "FCRL1"),
    "monocyte": ("CD14", "S100A8", "S100A9", "LYZ", "CST3", "FCN1", "VCAN", "CD33", "CSF1R", "ITGAM"),
    "natural killer cell": ("NKG7", "KLRD1", "GNLY", "PRF1", "GZMB", "NCAM1", "KLRF1", "NCR1", "FGFBP2", "SPON2"),
}
TYPES = list(MARKERS)
GENES = [gene for group in MARKERS.values() for gene in group]


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """Cells of four types, twelve with a label flipped (name -> true type), and two copied at the end."""
    rng = np.random.default_rng(0)
    true = rng.integers(4, size=360)
    counts = rng.poisson(np.where(np.arange(len(GENES)) // 10 == true[:, None], 4.0, 0.5)).astype(np.float32)
    labels = true.copy()
    rows = rng.choice(360, 12, replace=False)
    labels[rows] = (labels[rows] + rng.integers(1, 4, 12)) % 4
    at = np.r_[np.arange(360), 0, 1]
    obs = pd.DataFrame({"cell_type": np.array(TYPES)[labels[at]], "donor": [f"d{i % 3}" for i in at]})
    obs.index = [*(f"c{i}" for i in range(360)), "copy-1", "copy-2"]
    path = tmp_path_factory.mktemp("faulty") / "faulty.h5ad"
    ad.AnnData(sp.csr_matrix(counts[at]), obs=obs, var=pd.DataFrame(index=GENES)).write_h5ad(path)
    return path, {f"c{i}": TYPES[true[i]] for i in rows}


@pytest.fixture(scope="module")
def table(faulty: tuple[Path, dict[str, str]]) -> Path:
    path = faulty[0].parent / "audit.tsv"
    with pytest.MonkeyPatch.context() as patch:  # UMAP takes longer to load than everything else here
        patch.setattr("whycell.jobs.audit.cell_map", lambda x, **_: ("PCA", x[0][:, :2]))
        audit([faulty[0]], path, label="cell_type", report=path.with_suffix(".html"), n_models=10, threads=1)
    return path


def test_planted_faults_are_flagged_with_their_evidence(faulty: tuple[Path, dict[str, str]], table: Path) -> None:
    found = pd.read_csv(table, sep="\t", keep_default_na=False)
    assert tuple(found.columns) == COLUMNS
    wrong = found[found["flag"].str.contains("mislabelled")]
    assert len(set(wrong["cell"]) & set(faulty[1])) >= 9
    assert len(set(wrong["cell"]) - set(faulty[1])) <= 3
    assert (wrong["drop"] == "yes").all()
    assert wrong["evidence"].str.contains("models that did not see it").all()
    own = wrong[wrong["cell"].isin(list(faulty[1]))]
    assert (own["suggested"] == own["cell"].map(faulty[1])).all()
    copies = found[found["flag"].str.contains("duplicate")]
    assert set(copies["cell"]) == {"copy-1", "copy-2"}
    assert copies["evidence"].str.contains("the same values as").all()
    run = json.loads((table.parent / "run.json").read_text())
    assert (run["command"], run["output"]) == ("audit", "audit.tsv")


def test_train_leaves_out_what_the_edited_table_says(
    faulty: tuple[Path, dict[str, str]], table: Path, tmp_path: Path
) -> None:
    found = pd.read_csv(table, sep="\t", dtype=str, keep_default_na=False)
    found.loc[found["flag"] == "duplicate", "drop"] = "No "
    edited = tmp_path / "edited.tsv"
    found.to_csv(edited, sep="\t", index=False)
    card = train([faulty[0]], tmp_path / "model", label="cell_type", drop=edited, threads=1)
    n = int((found["drop"] == "yes").sum())
    assert n >= 9
    assert card["dropped"]["cells"] == n
    assert "duplicate" not in card["dropped"]["by_flag"]
    assert card["cells_left_out"] >= n
    run = json.loads((tmp_path / "model" / "run.json").read_text())
    assert run["inputs"][str(edited)] == card["dropped"]["fingerprint"]


@pytest.mark.parametrize(
    ("column", "value", "error", "told"),
    [
        ("drop", "maybe", FormatError, r"says 'maybe' in column drop; write yes or no"),
        ("cell", "nobody", UsageError, r"names 1 cells that the references do not hold, the first is 'nobody'"),
        ("file", "other.h5ad", UsageError, r"names cells of other\.h5ad, which is not among the references"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(
    column: str,
    value: str,
    error: type[Exception],
    told: str,
    faulty: tuple[Path, dict[str, str]],
    table: Path,
    tmp_path: Path,
) -> None:
    found = pd.read_csv(table, sep="\t", dtype=str, keep_default_na=False)
    found.loc[0, column] = value
    found.to_csv(tmp_path / "edited.tsv", sep="\t", index=False)
    loaded = load_references([faulty[0]], label="cell_type", threads=1)
    with pytest.raises(error, match=told):
        read_drop(tmp_path / "edited.tsv", loaded)


def test_nothing_is_overwritten_unasked(faulty: tuple[Path, dict[str, str]], table: Path) -> None:
    with pytest.raises(OutputError, match="exists already"):
        audit([faulty[0]], table, label="cell_type")


def test_the_page_is_whole_and_escaped(faulty: tuple[Path, dict[str, str]], table: Path) -> None:
    page = table.with_suffix(".html").read_text()
    assert "look mislabelled" in page
    assert any(name in page for name in faulty[1])
    assert "<img" not in page
    result = audit([faulty[0]], label="cell_type", n_models=10, threads=1)
    result.suspects.loc[0, "cell"] = "<script>alert(1)</script>"
    again = audit_page(result)
    assert "<script>alert" not in again
    assert again == audit_page(result)


def test_an_anndata_gets_columns_and_keeps_its_order(faulty: tuple[Path, dict[str, str]]) -> None:
    adata = ad.read_h5ad(faulty[0])
    result = tl.audit(adata, label="cell_type", n_models=10, threads=1)
    flagged = adata.obs_names[adata.obs["audit_flag"].str.contains("mislabelled")]
    assert set(flagged) == set(result.suspects.loc[result.suspects["flag"].str.contains("mislabelled"), "cell"])
    assert adata.obs["audit_score"].dropna().between(0, 1).all()
    with pytest.raises(OutputError, match="audit_score"):
        tl.audit(adata, label="cell_type")


def test_patients_in_a_table_are_audited_the_same_way(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=400)
    frame = pd.DataFrame(rng.standard_normal((400, 5)) + 3.5 * np.eye(3, 5)[y], columns=list("abcde"))
    frame.insert(0, "patient", [f"p{i}" for i in range(400)])
    wrong = rng.choice(400, 16, replace=False)
    y[wrong] = (y[wrong] + 1) % 3
    frame["diagnosis"] = np.array(["well", "ill", "very ill"])[y]
    frame.loc[3, "a"] = np.nan
    frame.to_csv(tmp_path / "patients.csv", index=False)
    result = audit([tmp_path / "patients.csv"], tmp_path / "audit.tsv", label="diagnosis", n_models=10, threads=1)
    named = set(result.suspects.loc[result.suspects["flag"].str.contains("mislabelled"), "cell"])
    planted = {f"p{i}" for i in wrong}
    assert len(named & planted) >= 10
    assert len(named - planted) <= 4
    with pytest.raises(LabelError, match="no column 'dx'"):
        audit([tmp_path / "patients.csv"], label="dx")
