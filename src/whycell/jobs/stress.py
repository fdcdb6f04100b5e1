"""The stress table: does confidence fall when the file gets worse?

Every model is trained on clean donors and asked about held-out ones whose counts were made worse in a known way. The
file goes through the door that a person's file goes through: the doctor looks at it and mends what can be mended, and
our typer compares its genes with those it knows. At every level the mean confidence should not exceed the share right
by more than 0.05; a file refused gets no confidence at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from whycell.compute import Talk, n_threads
from whycell.data.cells import open_cells
from whycell.data.doctor import examine
from whycell.data.splits import By, Unknown, make_split
from whycell.data.stresses import Stressed, each_stress
from whycell.data.values import to_linear
from whycell.errors import UsageError, WhycellError
from whycell.jobs.crossfit import tree_for, truth_terms
from whycell.jobs.fitting import fit_rows
from whycell.jobs.likeness import columns_for
from whycell.jobs.record import write_run
from whycell.jobs.specs import build, specs_for
from whycell.knowledge.labels import is_unknown_label
from whycell.knowledge.terms import Ontology
from whycell.metrics.decomposition import KINDS, decompose
from whycell.metrics.intervals import bootstrap_sums
from whycell.metrics.measures import group_sums, ratio
from whycell.metrics.tree import TermTree
from whycell.models.backoff import class_term

__all__ = ["LARGEST_GAP", "stress_references", "stress_warnings", "write_stress"]

#: Mean confidence minus accuracy that is still honest.
LARGEST_GAP = 0.05


def stress_references(
    references: Any,
    *,
    by: By = "donor",
    model_specs: Sequence[Any] = (),
    only: Sequence[str] | None = None,
    unknown_groups: Unknown = "drop",
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
    unknown_groups, n_folds
        See :func:`whycell.data.splits.make_split`.

    Returns
    -------
    DataFrame, one row a (model, stress, level): ``n, accuracy, confidence, gap, low, high, honest, unknown,
    wrong_branch_of_calls, call_confidence, call_gap, refused, said``. ``gap`` is the mean confidence of the leaf minus
    the share right, with its 95 % interval over groups; ``honest`` is ``gap <= 0.05``; ``call_gap`` is the mean
    confidence of the calls that were made minus the share of them on the right branch; ``refused`` counts the folds in
    which the file was refused, which is as honest, and ``said`` is what was said of it. A cell that holds two is right
    if the leaf names either.
    """
    talk, ontology = talk or Talk(), ontology or Ontology.load()
    obs = references.obs
    has = {c: c for c in ("donor", "study") if c in obs and obs[c].notna().any()}
    split = make_split(
        obs, by=by, donor=has.get("donor"), study=has.get("study"), n_folds=n_folds, seed=seed, unknown=unknown_groups
    )
    tree = tree_for(ontology, dict(references.label_ids))
    known = ~np.array([is_unknown_label(x) for x in obs["label"]], dtype=bool)
    rows: list[dict[str, Any]] = []
    for spec in [s for s in specs_for(model_specs) if only is None or s.name in only]:
        parts: dict[tuple[str, float], list[pd.DataFrame]] = {}
        refused: dict[tuple[str, float], list[str]] = {}
        tried: dict[tuple[str, float], None] = {}
        with talk.progress(f"stressing {spec.name}", total=len(split.folds)) as step:
            for fold in split.folds:
                model = build(spec, seed=seed, threads=n_threads(threads), device=device)
                if getattr(model, "obsm_keys", ()):
                    msg = f"{spec.name!r} reads embeddings, which worse counts do not change: leave out --stress."
                    raise UsageError(msg)
                model = fit_rows(model, references, fold.train[known[fold.train]], ontology=ontology)
                seen = {_term(x, references) for x in obs["label"].to_numpy()[fold.train[known[fold.train]]]}
                for name, level, stressed in each_stress(references.X[fold.test], references.genes, seed=seed):
                    tried[name, level] = None
                    try:
                        part = _answers(model, stressed, obs.iloc[fold.test], references, tree, seen)
                        parts.setdefault((name, level), []).append(part)
                    except WhycellError as error:
                        refused.setdefault((name, level), []).append(str(error))
                step.advance()
        for name, level in tried:
            found, said = parts.get((name, level), []), refused.get((name, level), [])
            rows.append(
                {"model": spec.name, "stress": name, "level": level}
                | _summary(pd.concat(found) if found else None, seed)
                | {"refused": len(said), "said": said[0] if said else ""}
            )
    return pd.DataFrame(rows)


def stress_warnings(table: pd.DataFrame) -> list[str]:
    """One sentence a model that is too sure of itself at some level."""
    found = []
    for model, rows in table[~table["honest"].astype(bool)].groupby("model", sort=False):
        where = ", ".join(
            f"{stress.replace('_', ' ')} {level:g} (by {gap:.2f})"
            for stress, level, gap in rows[["stress", "level", "gap"]].itertuples(index=False)
        )
        found.append(
            f"Under stress the mean confidence of {model} exceeds the share right by more than {LARGEST_GAP}: {where}."
        )
    return found


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
    values = _through_the_door(model, stressed, species=getattr(references, "species", "human"))
    called = model.call(values, genes=stressed.genes).reset_index(drop=True)
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
            "call_confidence": called["confidence"].astype(float),
            "unknown": kind == KINDS.index("unknown"),
            "wrong": kind == KINDS.index("wrong_branch"),
        }
    )
    return answers[np.isin(truth, list(seen)) & (kind >= 0)]


def _through_the_door(model: Any, stressed: Stressed, *, species: str) -> sparse.csr_matrix:
    """The linear values that the product would read from such a file; raises what a person would be told."""
    genes = pd.DataFrame(index=pd.Index(stressed.genes.astype(str)))
    with open_cells(ad.AnnData(stressed.X, var=genes)) as cells:
        answerer = getattr(getattr(model, "typer", None), "answerer_", None)
        diagnosis = examine(cells, model_genes=None if answerer is None else list(answerer.genes), species=species)
        diagnosis.raise_if_unusable()
        if answerer is not None:
            columns_for(cells, diagnosis, answerer)
    return stressed.X if diagnosis.kind is None else to_linear(stressed.X, diagnosis.kind)


def _summary(answers: pd.DataFrame | None, seed: int) -> dict[str, Any]:
    if answers is None or answers.empty:
        none = float("nan")
        return {
            "n": 0, "accuracy": none, "confidence": none, "gap": none, "low": none, "high": none,
            "honest": True, "unknown": none, "wrong_branch_of_calls": none, "call_confidence": none, "call_gap": none,
        }  # fmt: skip
    names, group = np.unique(answers["donor"].to_numpy().astype(str), return_inverse=True)
    gap = (answers["confidence"] - answers["right"]).to_numpy()
    found = bootstrap_sums(group_sums(group, len(names), gap, 1), ratio, seed=seed)
    calls = answers[~answers["unknown"]]
    wrong = float(calls["wrong"].mean()) if len(calls) else 0.0
    sure = float(calls["call_confidence"].mean()) if len(calls) else float("nan")
    return {
        "n": len(answers),
        "accuracy": float(answers["right"].mean()),
        "confidence": float(answers["confidence"].mean()),
        "gap": found.value,
        "low": found.low,
        "high": found.high,
        "honest": bool(found.value <= LARGEST_GAP),
        "unknown": float(answers["unknown"].mean()),
        "wrong_branch_of_calls": wrong,
        "call_confidence": sure,
        "call_gap": sure - (1 - wrong),
    }
