"""Training on some rows of the references, with parameters as given or searched for inside those rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from whycell.data.splits import Fold, Split
from whycell.errors import UsageError
from whycell.jobs.specs import Spec, build
from whycell.knowledge.terms import Ontology
from whycell.metrics.calibration import log_loss
from whycell.metrics.flat import accuracy, macro_f1
from whycell.models.backoff import class_term
from whycell.models.loggers import open_logger
from whycell.models.tune import search

__all__ = ["SEARCH_METRICS", "fit_rows", "search_inside", "vectors_for"]


def fit_rows(model: Any, references: Any, rows: np.ndarray, *, ontology: Ontology) -> Any:
    """Train a model on some rows of the references."""
    obs = references.obs.iloc[rows]

    def column(name: str) -> np.ndarray | None:
        return obs[name].astype(str).to_numpy() if name in obs and obs[name].notna().any() else None

    return model.fit(
        references.X[rows],
        obs["label"].astype(str).to_numpy(),
        genes=references.genes,
        donors=column("donor"),
        studies=column("study"),
        ontology=ontology,
        label_ids=references.label_ids,
        measured=references.measured,
        **vectors_for(model, references, rows),
    )


def vectors_for(model: Any, references: Any, rows: np.ndarray) -> dict[str, Any]:
    """What a model must be handed beside counts, for some rows: ``obsm`` for one that reads embeddings, else nothing.

    Raises
    ------
    UsageError
        The references were read without them.
    """
    keys = getattr(model, "obsm_keys", ())
    held = getattr(references, "obsm", {})
    absent = [key for key in keys if key not in held]
    if absent:
        msg = f"The model {model.name!r} reads obsm[{absent[0]!r}], which does not come with these cells."
        raise UsageError(msg)
    return {"obsm": {key: held[key][rows] for key in keys}} if keys else {}


def search_inside(
    spec: Spec,
    references: Any,
    train: np.ndarray,
    split: Split,
    fold: Fold,
    *,
    ontology: Ontology,
    seed: int = 0,
    threads: int = 1,
    device: str = "auto",
) -> tuple[Spec, pd.DataFrame]:
    """The spec with the parameters that fare best on donors held out of ``train``, and the record of every trial.

    No row outside ``train`` is looked at. The name of the search holds the split's hash and the fold, so a storage that
    is resumed never mixes folds or splits.
    """
    settings = dict(spec.search)
    labels = references.obs["label"].astype(str).to_numpy()
    terms = np.array([class_term(x, references.label_ids.get(x, "")) for x in labels], dtype=object)
    column = "donor" if "donor" in references.obs and references.obs["donor"].notna().any() else "study"
    groups = references.obs[column].astype(str).to_numpy()
    metric = settings.get("metric", "log_loss")
    if metric not in SEARCH_METRICS:
        msg = f"got metric {metric!r} for the search of {spec.name!r}; wanted one of: {', '.join(SEARCH_METRICS)}"
        raise UsageError(msg)

    def score(parameters: Mapping[str, Any], rows: np.ndarray, held_out: np.ndarray) -> float:
        trial = replace(spec, parameters={**spec.parameters, **parameters}, search={})
        model = fit_rows(build(trial, seed=seed, threads=threads, device=device), references, rows, ontology=ontology)
        more = vectors_for(model, references, held_out)
        p, names = model.predict_proba(references.X[held_out], genes=references.genes, **more)
        classes = np.array([class_term(str(x), references.label_ids.get(str(x), "")) for x in names], dtype=object)
        return SEARCH_METRICS[metric](p, classes, terms[held_out])

    folder = settings.get("folder")
    with open_logger(settings.get("logger", "csv"), Path(folder) / fold.name) if folder else nullcontext() as logger:
        found = search(
            score,
            settings["space"],
            groups,
            rows=train,
            n_trials=int(settings.get("trials", 20)),
            n_inner=int(settings.get("inner_folds", 3)),
            seed=seed,
            storage=settings.get("storage"),
            name=f"{spec.name} {fold.name} {split.hash[7:19]}",
            logger=logger,
        )
    record = found.trials.copy()
    record.insert(0, "model", spec.name)
    record.insert(1, "fold", fold.name)
    return replace(spec, parameters={**spec.parameters, **found.best}, search={}), record


def _minus_log_loss(p: np.ndarray, classes: np.ndarray, truth: np.ndarray) -> float:
    own = np.where(classes[None, :] == truth[:, None], p, 0.0).sum(axis=1)
    known = np.isin(truth, classes)
    return -log_loss(own[known, None], np.zeros(int(known.sum()), dtype=np.int64))


#: What a search can maximise, from (n, k) probabilities, (k,) classes and (n,) truths.
SEARCH_METRICS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], float]] = {
    "log_loss": _minus_log_loss,
    "accuracy": lambda p, classes, truth: accuracy(truth, classes[p.argmax(axis=1)]),
    "macro_f1": lambda p, classes, truth: macro_f1(truth, classes[p.argmax(axis=1)]),
}
