"""scan, select, gather, train, annotate: the five commands on a folder of small files."""

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from whycell.cli.app import main


def whycell(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Run a command; its stdout."""
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    printed = capsys.readouterr()
    assert not stopped.value.code, printed.err[-2000:]
    return printed.out


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """700 blood cells in four files: counts as CSR, one file as log-normalised values with the counts in raw."""
    sc = pytest.importorskip("scanpy")
    cells = sc.datasets.pbmc68k_reduced()
    counts = np.round(np.expm1(cells.raw.X.toarray()) * cells.obs["n_counts"].to_numpy()[:, None] / 1e4)
    order = np.random.default_rng(0).permutation(len(cells))
    folder = tmp_path_factory.mktemp("files")
    for f, rows in enumerate(np.array_split(order, 4)):
        labels = cells.obs["bulk_labels"].to_numpy()[rows].astype(str)
        names = {"CD14+ Monocyte": "CD14-positive monocyte", "CD19+ B": "B cell", "CD56+ NK": "natural killer cell"}
        obs = pd.DataFrame(
            {
                "cell_type": pd.Categorical([names.get(label, label) for label in labels]),
                "donor_id": pd.Categorical([f"donor {f}-{i % 2}" for i in range(len(rows))]),
                "tissue": pd.Categorical(["blood"] * len(rows)),
                "is_primary_data": True,
            },
            index=cells.obs_names[rows],
        )
        var = pd.DataFrame(index=cells.raw.var_names)
        one = ad.AnnData(sparse.csr_matrix(counts[rows], dtype=np.float32), obs=obs, var=var)
        one.write_h5ad(folder / f"file-{f}.h5ad", compression="gzip")
    return folder


def test_from_files_to_calls(files, tmp_path, capsys):
    catalog, plan, corpus, model = (tmp_path / name for name in ("catalog", "plan.parquet", "corpus", "model"))
    whycell(capsys, "corpus", "scan", files, "-o", catalog, "--quiet")
    told = json.loads(
        whycell(
            capsys,
            *("corpus", "select", catalog, "--per-type", 60, "--min-donors", 2, "--where", "tissue = 'blood'"),
            *("-o", plan, "--json", "--quiet"),
        )
    )
    assert told["bound"] <= told["objective"]
    assert told["n_cells"] >= 400
    whycell(capsys, "corpus", "gather", plan, "-o", corpus, "--quiet")
    about = json.loads((corpus / "about.json").read_text())
    assert about["n"] == told["n_cells"]
    whycell(capsys, "train", corpus, "-o", model, "--quiet")
    card = json.loads((model / "about.json").read_text())
    assert card["training"]["fairness"].keys() == {"label", "study"}
    whycell(capsys, "annotate", files / "file-0.h5ad", "--model", model, "-o", tmp_path / "typed.h5ad", "--quiet")
    calls = ad.read_h5ad(tmp_path / "typed.h5ad").obs
    truth = ad.read_h5ad(files / "file-0.h5ad").obs["cell_type"].astype(str).to_numpy()
    simple = np.isin(truth, ["CD14-positive monocyte", "B cell"])
    assert (calls["whycell_leaf"].astype(str).to_numpy()[simple] == truth[simple]).mean() > 0.8
