"""Open Problems' label-projection task, in and out, so that the typer can be entered there.

The layout (``openproblems-bio/task_label_projection``): ``train.h5ad`` and ``test.h5ad`` hold ``layers["counts"]`` and
``layers["normalized"]``, ``obs["batch"]``, ``var["feature_id"]``, ``uns["dataset_id"]``, ``uns["normalization_id"]``;
``train`` alone has ``obs["label"]``, ``solution.h5ad`` the labels of the test cells. ``prediction.h5ad`` holds
``obs["label_pred"]`` and ``uns["dataset_id", "normalization_id", "method_id"]``. The answer must be a label of the
training file, so this is the leaf and never a call that backs off.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from whycell.compute import n_threads
from whycell.data.whole import written_whole
from whycell.errors import FormatError, LabelError, OutputError
from whycell.jobs.record import fingerprint_file, write_run
from whycell.jobs.specs import Spec, build
from whycell.knowledge.labels import is_unknown_label, map_labels
from whycell.knowledge.terms import Ontology
from whycell.metrics.flat import class_counts, f1_scores

__all__ = ["export_task", "project_labels", "score_prediction"]

METHOD_ID = "whycell"


def project_labels(
    train: Path | str,
    test: Path | str,
    output: Path | str,
    *,
    model: str | Spec = "whycell",
    seed: int = 0,
    threads: int = 0,
    device: str = "auto",
    force: bool = False,
) -> pd.Series:
    """Learn from ``train.h5ad``, answer for ``test.h5ad``, write ``prediction.h5ad``.

    Batches count as donors. Labels are mapped to the Cell Ontology by name where they can be.

    Returns
    -------
    (n_test,) labels, index = cell names.

    Raises
    ------
    FormatError
        A file lacks a field of the layout.
    OutputError
        The output stands already, and not ``force``.
    """
    output = Path(output)
    if output.exists() and not force:
        msg = f"{output} stands already; choose another name, or replace it with --force"
        raise OutputError(msg)
    learned, asked = _read(train, labelled=True), _read(test, labelled=False)
    labels = learned.obs["label"].astype(str).to_numpy()
    known = ~np.array([is_unknown_label(label) for label in labels], dtype=bool)
    if not known.any():
        msg = f"{train} has no cell with a label; wanted obs['label']"
        raise LabelError(msg)
    ontology = Ontology.load()
    spec = model if isinstance(model, Spec) else Spec(model)
    typer = build(spec, seed=seed, threads=n_threads(threads), device=device).fit(
        _counts(learned, train)[known],
        labels[known],
        genes=_genes(learned),
        donors=learned.obs["batch"].astype(str).to_numpy()[known],
        studies=None,
        ontology=ontology,
        label_ids=map_labels(np.unique(labels[known]), ontology).label_to_id,
        measured=None,
    )
    probabilities, classes = typer.predict_proba(_counts(asked, test), genes=_genes(asked))
    found = pd.Series(np.array(classes, dtype=object)[probabilities.argmax(axis=1)], asked.obs_names, name="label_pred")
    method = METHOD_ID if spec.name == METHOD_ID else f"{METHOD_ID}_{spec.model}"
    answer = ad.AnnData(
        obs=pd.DataFrame({"label_pred": found.astype(str)}, index=asked.obs_names),
        uns={**_ids(asked), "method_id": method},
    )
    _write(answer, output)
    write_run(
        output,
        "project",
        inputs={str(path): fingerprint_file(path) for path in (train, test)},
        seed=seed,
        parameters={"model": spec.model, **dict(spec.parameters)},
    )
    return found


def export_task(
    cells: ad.AnnData,
    folder: Path | str,
    *,
    label: str,
    batch: str,
    test_batches: Collection[str],
    dataset_id: str,
    counts: str | None = None,
) -> None:
    """Write ``train.h5ad``, ``test.h5ad`` and ``solution.h5ad`` from one labelled AnnData.

    Parameters
    ----------
    label, batch
        Columns of obs.
    test_batches
        Batches to hold out.
    counts
        Layer of the raw counts; X where not given.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    held_out = cells.obs[batch].astype(str).isin(set(map(str, test_batches))).to_numpy()
    if held_out.all() or not held_out.any():
        some = ", ".join(map(str, cells.obs[batch].unique()[:5]))
        msg = f"test_batches leave nothing to train on, or nothing to test; the column {batch!r} holds {some}"
        raise LabelError(msg)
    raw = sparse.csr_matrix(cells.X if counts is None else cells.layers[counts]).astype(np.float32)
    totals = np.asarray(raw.sum(axis=1)).ravel()
    normal = (sparse.diags(np.divide(1e4, totals, out=np.zeros_like(totals), where=totals > 0)) @ raw).tocsr()
    normal.data = np.log1p(normal.data)
    var = pd.DataFrame({"feature_id": cells.var_names.astype(str)}, index=cells.var_names.astype(str))
    var["feature_name"] = cells.var["symbol"].astype(str) if "symbol" in cells.var else var["feature_id"]
    obs = pd.DataFrame(
        {"label": cells.obs[label].astype(str), "batch": cells.obs[batch].astype(str)},
        index=cells.obs_names.astype(str),
    )
    uns = {"dataset_id": dataset_id, "normalization_id": "log_cp10k"}
    for name, rows, columns in (
        ("train", ~held_out, ["label", "batch"]),
        ("test", held_out, ["batch"]),
        ("solution", held_out, ["label", "batch"]),
    ):
        layers = {"counts": raw[rows], "normalized": normal[rows].astype(np.float32)}
        _write(ad.AnnData(obs=obs.loc[rows, columns], var=var, layers=layers, uns=uns), folder / f"{name}.h5ad")


def score_prediction(prediction: Path | str, solution: Path | str) -> dict[str, float]:
    """Open Problems' own metrics: ``accuracy, f1_weighted, f1_macro, f1_micro``, classes being truths and predictions.

    Unlike :func:`whycell.metrics.flat.macro_f1`, their macro average counts a class that is only predicted as 0.
    """
    said, right = ad.read_h5ad(prediction), ad.read_h5ad(solution)
    if "label_pred" not in said.obs or "label" not in right.obs:
        msg = f"wanted obs['label_pred'] in {prediction} and obs['label'] in {solution}"
        raise FormatError(msg)
    if list(said.obs_names) != list(right.obs_names):
        msg = f"{prediction} and {solution} do not hold the same cells in the same order"
        raise FormatError(msg)
    counts = class_counts(right.obs["label"].astype(str), said.obs["label_pred"].astype(str))
    hits, support, predicted = counts.hits.sum(0), counts.support.sum(0), counts.predicted.sum(0)
    scores = f1_scores(hits, support, predicted)
    share = float(hits.sum() / support.sum())
    return {
        "accuracy": share,
        "f1_weighted": float(np.average(scores, weights=support)),
        "f1_macro": float(scores.mean()),
        "f1_micro": share,
    }


def _read(path: Path | str, *, labelled: bool) -> ad.AnnData:
    try:
        found = ad.read_h5ad(path)
    except (OSError, KeyError, ValueError) as error:
        msg = f"{path} cannot be read as h5ad: {error}"
        raise FormatError(msg) from error
    wanted = ["batch", "label"] if labelled else ["batch"]
    absent = [f"obs[{name!r}]" for name in wanted if name not in found.obs]
    absent += [] if "counts" in found.layers else ["layers['counts']"]
    absent += [f"uns[{name!r}]" for name in ("dataset_id", "normalization_id") if name not in found.uns]
    if absent:
        msg = f"{path} lacks {', '.join(absent)}; wanted a file of Open Problems' label-projection task"
        raise FormatError(msg)
    return found


def _counts(cells: ad.AnnData, path: Path | str) -> sparse.csr_matrix:
    counts = sparse.csr_matrix(cells.layers["counts"]).astype(np.float32)
    if counts.nnz and counts.data.min() < 0:
        msg = f"layers['counts'] of {path} holds negative values; wanted raw counts"
        raise FormatError(msg)
    return counts


def _genes(cells: ad.AnnData) -> np.ndarray:
    column: Any = cells.var.get("feature_id", cells.var_names)
    return np.array([str(name).partition(".")[0] for name in column], dtype=object)


def _ids(cells: ad.AnnData) -> dict[str, str]:
    return {key: str(cells.uns[key]) for key in ("dataset_id", "normalization_id")}


def _write(cells: ad.AnnData, path: Path) -> None:
    with written_whole(path, force=True) as scratch:
        cells.write_h5ad(scratch, compression="gzip")
