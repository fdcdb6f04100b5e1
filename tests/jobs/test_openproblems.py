"""Open Problems' label-projection layout, there and back."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from whycell.errors import FormatError, LabelError, OutputError
from whycell.jobs.openproblems import export_task, project_labels, score_prediction


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 3, 240)
    profiles = rng.gamma(0.5, 3, (3, 50))
    obs = pd.DataFrame(
        {"kind": np.array(["B cell", "NK cell", "mystery"])[kinds], "lane": rng.choice(list("abc"), 240)}
    )
    obs.index = [f"cell{i}" for i in range(240)]
    var = pd.DataFrame(index=[f"ENSG{i:011d}.3" for i in range(50)])
    cells = ad.AnnData(rng.poisson(profiles[kinds]).astype(np.float32), obs, var)
    folder = tmp_path_factory.mktemp("task")
    export_task(cells, folder, label="kind", batch="lane", test_batches=["c"], dataset_id="toy")
    return folder, cells


def test_there_and_back(task):
    folder, cells = task
    found = project_labels(folder / "train.h5ad", folder / "test.h5ad", folder / "prediction.h5ad", model="logistic")
    written = ad.read_h5ad(folder / "prediction.h5ad")
    assert written.obs["label_pred"].astype(str).tolist() == found.tolist()
    assert set(written.uns) == {"dataset_id", "normalization_id", "method_id"}
    assert set(found) <= set(cells.obs["kind"]), "the answer is a label of the training file"
    assert "label" not in ad.read_h5ad(folder / "test.h5ad").obs
    scores = score_prediction(folder / "prediction.h5ad", folder / "solution.h5ad")
    truth = cells.obs.loc[found.index, "kind"]
    for average in ("macro", "weighted", "micro"):
        assert scores[f"f1_{average}"] == pytest.approx(f1_score(truth, found, average=average))
    assert scores["accuracy"] > 0.9
    with pytest.raises(OutputError, match="stands already"):
        project_labels(folder / "train.h5ad", folder / "test.h5ad", folder / "prediction.h5ad", model="majority")


def test_what_is_not_of_the_task_is_refused(task, tmp_path):
    folder, cells = task
    cells.write_h5ad(tmp_path / "plain.h5ad")
    with pytest.raises(FormatError, match=r"lacks obs\['batch'\]"):
        project_labels(tmp_path / "plain.h5ad", folder / "test.h5ad", tmp_path / "p.h5ad")
    with pytest.raises(LabelError, match="'lane' holds"):
        export_task(cells, tmp_path, label="kind", batch="lane", test_batches=["z"], dataset_id="toy")
