"""Two results folders against each other, on the same cells, donor by donor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from whycell.errors import UsageError
from whycell.jobs.crossfit import tree_for
from whycell.jobs.results_folder import read_calls, read_json
from whycell.jobs.scoring import interval_groups, scored
from whycell.knowledge.terms import Ontology
from whycell.metrics.intervals import t_interval
from whycell.metrics.measures import Measure
from whycell.metrics.scorecard import compare_measures, measures
from whycell.metrics.tree import TermTree

__all__ = ["compare"]


def compare(a: Path | str, b: Path | str, *, seed: int = 0) -> pd.DataFrame:
    """Paired differences of every score that needs calls and confidences, first minus second.

    Both folders, ``a`` and ``b``, must have tested the same cells against the same truths: where both carry a split's
    hash, the hashes must agree. Models of one name are compared; two folders with one model each are compared
    whatever its name.

    Returns
    -------
    DataFrame ``model, against, metric, first, second, difference, low, high, n_groups, donor_mean, donor_low,
    donor_high``. The interval takes the same donors on both sides of every draw; the last three are the mean of the
    donors' own differences and Student's interval over them, for the scores that exist donor by donor.

    Raises
    ------
    UsageError
        The folders tested different cells, or hold no model in common.
    """
    a, b = Path(a), Path(b)
    first, second = read_calls(a), read_calls(b)
    by = _same_split(a, b)
    pairs = _pairs(first, second, a, b)
    release = read_json(a / "scores.json").get("about", {}).get("ontology_release")
    tree = _tree(pd.concat([first, second]), Ontology.load(release))
    parts = []
    for name, rival in pairs:
        one = first[first["model"] == name].set_index("cell", drop=False)
        other = second[second["model"] == rival].set_index("cell", drop=False)
        other = _lined_up(one, other, a, b)
        group, _ = interval_groups(one, by)
        own, theirs = (measures(scored(calls, group, tree=tree), tree=tree) for calls in (one, other))
        table = compare_measures(own, theirs, seed=seed).assign(model=name, against=rival)
        parts.append(table.join(_by_donor(own, theirs, table["metric"])))
    columns = ["model", "against", "metric", "first", "second", "difference", "low", "high", "n_groups"]
    return pd.concat(parts, ignore_index=True)[[*columns, "donor_mean", "donor_low", "donor_high"]]


def _by_donor(first: dict[str, Measure], second: dict[str, Measure], keys: pd.Series) -> pd.DataFrame:
    rows = []
    for key in keys:
        one, other = first[key], second[key]
        alone = np.eye(one.n_groups)
        if one.resample is None or other.resample is None:
            rows.append((np.nan,) * 3)
            continue
        found = t_interval(one.resample(alone) - other.resample(alone))
        rows.append((found.value, found.low, found.high))
    return pd.DataFrame(rows, columns=["donor_mean", "donor_low", "donor_high"])


def _same_split(a: Path, b: Path) -> str:
    about = [read_json(folder / "scores.json").get("about", {}) for folder in (a, b)]
    hashes = [one.get("split_hash") for one in about]
    if all(hashes) and hashes[0] != hashes[1]:
        msg = (
            f"{a.name} and {b.name} were made on different splits ({hashes[0][:19]}, {hashes[1][:19]}), so their "
            "difference would mix the models with the cells; evaluate both with the same files, --split and --seed"
        )
        raise UsageError(msg)
    return str(about[0].get("split", "donor"))


def _pairs(first: pd.DataFrame, second: pd.DataFrame, a: Path, b: Path) -> list[tuple[str, str]]:
    left, right = list(first["model"].unique()), list(second["model"].unique())
    if len(left) == len(right) == 1:
        return [(left[0], right[0])]
    shared = [name for name in left if name in right]
    if not shared:
        msg = (
            f"{a.name} holds {', '.join(left)} and {b.name} {', '.join(right)}; wanted a model of the same name in both"
        )
        raise UsageError(msg)
    return [(name, name) for name in shared]


def _lined_up(one: pd.DataFrame, other: pd.DataFrame, a: Path, b: Path) -> pd.DataFrame:
    if one.index.has_duplicates or other.index.has_duplicates:
        # Two files may use one barcode; then only the order of the frozen split pairs the cells.
        same = len(one) == len(other) and (one.index == other.index).all()
    else:
        same = len(one) == len(other) and one.index.isin(other.index).all()
        other = other.loc[one.index] if same else other
    if not same or (one["truth_id"].to_numpy() != other["truth_id"].to_numpy()).any():
        msg = f"{a.name} and {b.name} did not test the same cells against the same truths; evaluate both alike"
        raise UsageError(msg)
    return other


def _tree(calls: pd.DataFrame, ontology: Ontology) -> TermTree:
    labels: dict[str, str] = {}
    for what in ("truth", "call", "leaf"):
        distinct = calls[[f"{what}_label", f"{what}_id"]].drop_duplicates()
        labels.update({name: term for name, term in distinct.itertuples(index=False) if not term})
    return tree_for(ontology, labels)
