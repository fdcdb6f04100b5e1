"""The stress table: does confidence fall when the file gets worse?

Every model is trained on clean donors and asked about held-out ones whose counts were made worse in a known way. At
every level the mean confidence should not exceed the share right by more than 0.05.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from whycell.compute import Talk, n_threads
from whycell.data.splits import By, make_split
from whycell.data.stresses import Stressed, each_stress
from whycell.errors import WhycellError
from whycell.jobs.crossfit import tree_for, truth_terms
from whycell.jobs.fitting import fit_rows
from whycell.jobs.record import write_run
from whycell.jobs.specs import build, specs_for
from whycell.knowledge.labels import is_unknown_label
from whycell.knowledge.terms import Ontology
from whycell.metrics.decomposition import KINDS, decompose
from whycell.metrics.intervals import bootstrap_sums
from whycell.metrics.measures import group_sums, ratio
from whycell.metrics.tree import TermTree
from whycell.models.backoff import class_term

__all__ = ["LARGEST_GAP", "stress_references", "write_stress"]

#: Mean confidence minus accuracy that is still honest.
LARGEST_GAP = 0.05


def stress_references(
    references: Any,
    *,
    by: By = "donor",
    model_specs: Sequence[Any] = (),
    only: Sequence[str] | None = None,
    n_folds: int | None = None,
    ontology: Ontology | None = None,
    seed: int = 0,
    threads: int = 0,
    device: str = "auto",
    talk: Talk | None = None,
) -> pd.DataFrame:
    """Try every model on every stress, on donors that training did not see.

    Parameters
    ----------
    references
        As ``jobs.references.load_references`` gives them, with linear counts.
    only
        Names of the models to try, of the defaults and ``model_specs``; all without.

    Returns
    -------
    DataFrame, one row a (model, stress, level): ``n, accuracy, confidence, gap, low, high, honest, unknown,
    wrong_branch_of_calls, refused``. ``gap`` is the mean confidence of the leaf minus the share right, with its 95 %
    interval over groups; ``honest`` is ``gap <= 0.05``; ``refused`` counts the folds in which the model declined to
    answer, which is as honest. A cell that holds two is right if the leaf names either.
    """
    talk, ontology = talk or Talk(), ontology or Ontology.load()
    obs = references.obs
    has = {c: c for c in ("donor", "study") if c in obs and obs[c].notna().any()}
    split = make_split(
        obs, by=by, donor=has.get("donor"), study=has.get("study"), n_folds=n_folds, seed=seed, unknown="drop"
    )
    tree = tree_for(ontology, dict(references.label_ids))
    known = ~np.array([is_unknown_label(x) for x in obs["label"]], dtype=bool)
    rows: list[dict[str, Any]] = []
    for spec in [s for s in specs_for(model_specs) if only is None or s.name in only]:
        parts: dict[tuple[str, float], list[pd.DataFrame]] = {}
        refused: dict[tuple[str, float], int] = {}
        with talk.progress(f"stressing {spec.name}", total=len(split.folds)) as step:
            for fold in split.folds:
                model = build(spec, seed=seed, threads=n_threads(threads), device=device)
                model = fit_rows(model, references, fold.train[known[fold.train]], ontology=ontology)
                seen = {_term(x, references) for x in obs["label"].to_numpy()[fold.train[known[fold.train]]]}
                for name, level, stressed in each_stress(references.X[fold.test], references.genes, seed=seed):
                    try:
                        part = _answers(model, stressed, obs.iloc[fold.test], references, tree, seen)
                        parts.setdefault((name, level), []).append(part)
                    except WhycellError:
                        refused[name, level] = refused.get((name, level), 0) + 1
                step.advance()
        for name, level in dict.fromkeys([*parts, *refused]):
            found = parts.get((name, level), [])
            rows.append(
                {"model": spec.name, "stress": name, "level": level}
                | _summary(pd.concat(found) if found else None, seed)
                | {"refused": refused.get((name, level), 0)}
            )
    return pd.DataFrame(rows)


def write_stress(table: pd.DataFrame, output: Path | str, *, inputs: dict[str, str], seed: int = 0) -> None:
    """Write ``stress.tsv`` and its ``run.json`` into a folder."""
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "stress.tsv", sep="\t", index=False)
    write_run(folder / "stress.tsv", "stress", inputs=inputs, seed=seed)


def _term(label: Any, references: Any) -> str:
    return class_term(str(label), references.label_ids.get(str(label), ""))


def _answers(
    model: Any, stressed: Stressed, obs: pd.DataFrame, references: Any, tree: TermTree, seen: set[str]
) -> pd.DataFrame:
    """One row a cell whose truth is a trained class."""
    called = model.call(stressed.X, genes=stressed.genes).reset_index(drop=True)
    frame = pd.DataFrame(
        {
            "truth_label": obs["label"].astype(str).to_numpy(),
            "truth_id": [references.label_ids.get(str(x), "") for x in obs["label"]],
            "call_label": called["call"].astype(str),
            "call_id": called["call_term_id"].astype(str),
            "leaf_label": called["leaf"].astype(str),
            "leaf_id": called["leaf_term_id"].astype(str),
        }
    )
    truth, leaf = truth_terms(frame, "truth"), truth_terms(frame, "leaf")
    second = np.where(stressed.also >= 0, truth[stressed.also], truth)
    calls = truth_terms(frame, "call")
    kinds = [decompose(tree.codes(each), tree.codes(calls), tree=tree) for each in (truth, second)]
    # The kinds are ordered from best to worst but for unknown, which does not depend on the truth.
    kind = np.where((kinds[1] >= 0) & (kinds[1] < kinds[0]), kinds[1], kinds[0])
    answers = pd.DataFrame(
        {
            "donor": obs["donor"].astype(str).to_numpy() if "donor" in obs else "",
            "confidence": called["leaf_confidence"].astype(float),
            "right": (leaf == truth) | (leaf == second),
            "unknown": kind == KINDS.index("unknown"),
            "wrong": kind == KINDS.index("wrong_branch"),
        }
    )
    return answers[np.isin(truth, list(seen)) & (kind >= 0)]


def _summary(answers: pd.DataFrame | None, seed: int) -> dict[str, Any]:
    if answers is None or answers.empty:
        none = float("nan")
        return {
            "n": 0, "accuracy": none, "confidence": none, "gap": none, "low": none, "high": none,
            "honest": True, "unknown": none, "wrong_branch_of_calls": none,
        }  # fmt: skip
    names, group = np.unique(answers["donor"].to_numpy().astype(str), return_inverse=True)
    gap = (answers["confidence"] - answers["right"]).to_numpy()
    found = bootstrap_sums(group_sums(group, len(names), gap, 1), ratio, seed=seed)
    made = int((~answers["unknown"]).sum())
    return {
        "n": len(answers),
        "accuracy": float(answers["right"].mean()),
        "confidence": float(answers["confidence"].mean()),
        "gap": found.value,
        "low": found.low,
        "high": found.high,
        "honest": bool(found.value <= LARGEST_GAP),
        "unknown": float(answers["unknown"].mean()),
        "wrong_branch_of_calls": float(answers["wrong"].sum() / made) if made else 0.0,
    }
