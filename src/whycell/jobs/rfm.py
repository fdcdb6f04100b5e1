"""A recursive feature machine of a table: fitted, tested on rows held out, read, saved; and asked about new rows."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from whycell.compute import Talk
from whycell.data.tables import Table, read_samples
from whycell.data.whole import check_free, write_whole
from whycell.errors import DataError
from whycell.jobs.record import fingerprint_file, write_run
from whycell.jobs.rfm_tested import held_out, scored
from whycell.lenses.importance import importance, max_null, resampled_sums, stability
from whycell.metrics.calibration import log_loss
from whycell.models.rfm import RecursiveFeatureMachine
from whycell.models.rfm.storing import load, save
from whycell.results.machines import MachineFit

__all__ = ["fit", "predict"]

_DIRECTIONS, _LOADINGS, _BLOCKS = 5, 20, 20
_FEWEST = 20


def fit(
    path: Path | str,
    output: Path | None = None,
    *,
    target: str,
    group: str | None = None,
    task: str = "auto",
    kernel: str = "auto",
    metric: str = "auto",
    report: Path | None = None,
    permutations: int = 50,
    seed: int = 0,
    device: str = "cpu",
    force: bool = False,
    talk: Talk | None = None,
) -> MachineFit:
    """Fit a machine to a table, test it on rows held out, and say which features it reads.

    Parameters
    ----------
    path
        Table: see :func:`whycell.data.tables.read_samples`.
    output
        Folder of the machine; ``None`` writes none.
    target
        Column to predict.
    group
        Column whose rows are held out together: patients, donors, batches.
    task, kernel, metric
        As in :class:`whycell.models.rfm.RecursiveFeatureMachine`.
    report
        Also write a page.
    permutations
        Fits on permuted targets, for the p-values; 0 for none.

    Returns
    -------
    MachineFit

    Raises
    ------
    DataError
        Fewer than 20 rows.
    """
    talk = talk or Talk()
    check_free(output, report, force=force)
    table = read_samples(path, target=target, group=group)
    for what, why in table.left_out.items():
        talk.note(f"left out: {what} ({why})")
    if len(table.features) < _FEWEST:
        msg = f"{path} has {len(table.features)} rows with a target; wanted {_FEWEST} at least, to test on some."
        raise DataError(msg)
    if table.target is None:
        raise TypeError
    make = partial(RecursiveFeatureMachine, task=task, kernel=kernel, metric=metric, device=device)
    machine = make().fit(table.features, table.target, groups=table.groups)
    task = machine.task_
    classes = np.unique(table.target.astype(str)) if task == "classification" else np.array([])
    again = partial(RecursiveFeatureMachine, task=task, kernel=kernel, metric=metric, device=device)
    answers = held_out(table, again, task=task, classes=classes, seed=seed, talk=talk)
    scores, reliability = scored(answers, task=task, groups=table.groups)
    talk.note("which features: fits without each group, and on permuted targets")
    read = _read(machine, table, permutations=permutations, seed=seed)
    result = MachineFit(
        task=task,
        target=target,
        classes=tuple(map(str, classes)),
        n=len(table.features),
        n_groups=0 if table.groups is None else len(set(table.groups)),
        scores=scores,
        predictions=_predictions(answers, table, classes),
        reliability=reliability,
        trials=machine.trials_,
        left_out=table.left_out,
        provenance={
            "table": Path(path).name,
            "whycell": version("whycell"),
            "seed": seed,
            **_chosen(machine),
            "accuracy by leave-one-out" if task == "classification" else "R² by leave-one-out": machine.loo_score_,
        },
        **read,
    )
    parameters = {"target": target, "group": group, "task": task, "kernel": kernel, "metric": metric}
    if output is not None:
        about = {"target": target, "scores": scores.to_dict(orient="records"), "left_out": table.left_out}
        save(machine.machine_, output, about=about, force=force)
        write_run(output, "rfm fit", inputs={str(path): fingerprint_file(path)}, seed=seed, parameters=parameters)
    if report is not None:
        from whycell.reports.rfm import machine_page

        write_whole(report, machine_page(result))
    return result


def predict(
    path: Path | str, output: Path | None = None, *, model: Path | str, force: bool = False, talk: Talk | None = None
) -> pd.DataFrame:
    """Ask a saved machine about the rows of a table.

    Parameters
    ----------
    path
        A table with the columns that the machine was fitted on; others are not read.
    output
        Table to write; ``None`` writes none.
    model
        Folder of the machine.

    Returns
    -------
    DataFrame
        ``row`` (position), ``prediction``, and of classes their probabilities, ``p CLASS``.
    """
    check_free(output, force=force)
    machine, card = load(model)
    table = read_samples(path, target=None, features=card["features"])
    features: Any = table.features if card["named"] else table.features.to_numpy(dtype=np.float64)
    out = pd.DataFrame({"row": table.rows, "prediction": machine.predict(features)})  # type: ignore[attr-defined]
    if card["task"] == "classification":
        shares = machine.predict_proba(features)  # type: ignore[attr-defined]
        for at, name in enumerate(card["classes"]):
            out[f"p {name}"] = shares[:, at]
    if output is not None:
        write_whole(output, out.to_csv(sep="\t", index=False, float_format="%.6g"))
        inputs = {str(path): fingerprint_file(path), str(model): f"sha256:{card['sha256']}"}
        write_run(output, "rfm predict", inputs=inputs, seed=0)
    (talk or Talk()).note(f"{len(out)} rows predicted")
    return out


def _read(machine: RecursiveFeatureMachine, table: Table, *, permutations: int, seed: int) -> dict[str, Any]:
    """Scores of features with errors and a null, directions with their stability."""
    everyone, target = np.arange(len(table.features)), table.target
    if target is None:
        raise TypeError

    def fitted(made: RecursiveFeatureMachine, rows: np.ndarray, y: np.ndarray) -> RecursiveFeatureMachine:
        groups = None if table.groups is None else table.groups[rows]
        if groups is not None and len(set(groups)) < 2:
            groups = None
        return made.fit(table.features.iloc[rows], y, groups=groups)

    names = [str(c) for c in table.features.columns]
    found = importance(
        machine.feature_scores_().to_numpy(),
        n=len(everyone),
        names=names,
        groups=table.groups,
        refit=lambda rows: fitted(machine.as_chosen(), rows, target[rows]).feature_scores_().to_numpy(),
        k=0,
        seed=seed,
    )
    # What was chosen is chosen anew on permuted targets: a metric would else be learned from noise because the data
    # had one. Shares sum to 1 in noise too, so they count by what the machine predicts of rows held out.
    rng, null = np.random.default_rng(seed), []
    for _ in range(permutations):
        y = target[rng.permutation(everyone)]
        again = fitted(clone(machine), everyone, y)
        null.append(again.feature_scores_().to_numpy() * _skill(again, y))
    drawn, skill = np.array(null).reshape(-1, len(names)), _skill(machine, target)
    own = machine.feature_scores_().to_numpy() * skill
    chance = pd.DataFrame(
        {"p_value": max_null(own, drawn), "null": drawn.mean(axis=0) / max(skill, 1e-12) if null else np.nan},
        index=names,
    )
    features = found.table.drop(columns=["p_value", "null"]).join(chance, on="feature")
    told = f"The targets were permuted {permutations} times, and everything chosen anew." if permutations else ""
    return {
        "features": features,
        "directions": _directions(machine),
        "stability": _stability(machine, seed),
        "notes": (*(note for note in found.notes if "ermut" not in note), *([told] if told else [])),
    }


def _skill(machine: RecursiveFeatureMachine, y: np.ndarray) -> float:
    """What is predicted of held-out training rows: R², or the share of the classes' entropy; never below 0."""
    if machine.task_ == "regression":
        return max(machine.loo_score_, 0.0)
    at = np.searchsorted(machine.classes_.astype(str), np.asarray(y).astype(str))
    shares = np.bincount(at) / len(at)
    entropy = -float(shares @ np.log(np.maximum(shares, 1e-12)))
    return max(1 - log_loss(machine.loo_, at) / entropy, 0.0)


def _directions(machine: RecursiveFeatureMachine) -> pd.DataFrame:
    agop = machine.agop_
    trace = float(np.trace(agop)) or 1.0
    names, rows = machine.coordinates_, []
    for number, direction in enumerate(machine.directions_(_DIRECTIONS), start=1):
        share = float(direction @ agop @ direction) / trace
        for at in np.argsort(-np.abs(direction), kind="stable")[:_LOADINGS]:
            weight = float(direction[at])
            rows.append({"direction": number, "share": share, "coordinate": names[at], "weight": weight})
    return pd.DataFrame(rows)


def _stability(machine: RecursiveFeatureMachine, seed: int) -> pd.DataFrame:
    """Of the one machine, over random halves of blocks of its rows."""
    leaf = machine._model.leaves[0]
    rows = np.random.default_rng(seed).permutation(len(leaf.centres))[:2000]
    if len(rows) < 2 * _BLOCKS or len(machine.coordinates_) <= 2:
        return pd.DataFrame(columns=["directions", "angle", "angle_90", "chance"])
    blocks = [leaf.outer_products(rows=np.sort(part)) for part in np.array_split(rows, _BLOCKS)]
    resamples = [np.asarray(each) for each in resampled_sums(blocks, seed=seed)]
    return stability(machine.agop_, resamples, k=min(_DIRECTIONS, len(machine.coordinates_) - 1), seed=seed)


def _chosen(machine: RecursiveFeatureMachine) -> dict[str, Any]:
    last = machine.trials_.iloc[-1]
    return {
        "kernel": f"exp(-(d_{last['norm']:g} / L)^{last['exponent']:g})",
        "metric": last["metric"],
        "times learned": int(last["iteration"]),
        "bandwidth, in median distances": float(last["bandwidth"]),
        "ridge": float(last["ridge"]),
    }


def _predictions(answers: pd.DataFrame, table: Table, classes: np.ndarray) -> pd.DataFrame:
    out = pd.DataFrame({"row": table.rows, "fold": answers["fold"]})
    for name, column in (("truth", "truth"), ("prediction", "feature machine")):
        out[name] = classes[answers[column].astype(int)] if len(classes) else answers[column]
    if len(classes):
        out["probability"] = answers["confidence"]
    return out
