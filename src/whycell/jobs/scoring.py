"""From a table of calls to everything an evaluation shows: scores, differences, tables, curves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from whycell._keys import UNKNOWN
from whycell.jobs.crossfit import Tested, truth_terms
from whycell.knowledge.terms import Ontology
from whycell.metrics.calibration import ece_noise_floor, reliability_table
from whycell.metrics.coverage import risk_coverage
from whycell.metrics.decomposition import KINDS, decompose, information_kept
from whycell.metrics.flat import class_table
from whycell.metrics.intervals import FEW_GROUPS
from whycell.metrics.measures import Measure, ScoredCells
from whycell.metrics.scorecard import compare_measures, measures, scorecard
from whycell.metrics.scored_cells import leaf_verdict
from whycell.metrics.tree import TermTree
from whycell.models.backoff import OWN_CLASS
from whycell.results import Evaluation

__all__ = ["assemble", "interval_groups", "paired", "scored", "warnings_for"]

_MOST_POINTS = 400
#: A table of confusion shows at most so many terms a side.
_MOST_TERMS = 150
_OTHER = -2
#: Scores of the table donor by donor.
DONOR_KEYS = (
    "accuracy",
    "macro_f1",
    "ece",
    "overconfidence",
    *KINDS,
    "wrong_branch_of_calls",
    "information_kept",
)


def interval_groups(calls: pd.DataFrame, by: str) -> tuple[np.ndarray, str]:
    """(n,) the group of every cell that intervals resample, and what it is.

    Studies where studies were held out and there are enough of them; else donors (of their study); else studies.
    """
    donors = calls["donor"]
    if calls["study"].nunique() > 1:
        # Two studies may both have a donor "1"; where the reader has put the study in front already, once is enough.
        pairs = zip(calls["study"], donors, strict=True)
        donors = pd.Series([d if d.startswith(f"{s}:") else f"{s} / {d}" for s, d in pairs], index=donors.index)
    if by == "study" and calls["study"].nunique() >= FEW_GROUPS:
        return calls["study"].to_numpy(), "study"
    if (calls["donor"] != "").any():
        return donors.to_numpy(), "donor"
    return calls["study"].to_numpy(), "study"


def scored(calls: pd.DataFrame, group: np.ndarray, *, tree: TermTree) -> ScoredCells:
    """One model's table of calls as scores take it."""
    names, codes = np.unique(group.astype(str), return_inverse=True)
    number = {c: calls[c].to_numpy(dtype=np.float64) for c in ("confidence", "leaf_confidence", "novelty")}
    return ScoredCells(
        group=codes,
        groups=names,
        truth=tree.codes(truth_terms(calls, "truth")),
        call=tree.codes(truth_terms(calls, "call")),
        leaf=tree.codes(truth_terms(calls, "leaf")),
        confidence=number["confidence"],
        leaf_confidence=number["leaf_confidence"],
        novelty=number["novelty"],
        reach=calls["reach"].to_numpy(dtype=object),
        trained=calls["trained"].to_numpy(dtype=bool) & tree.usable(tree.codes(truth_terms(calls, "truth"))),
        ideal=tree.codes(calls["ideal_id"].to_numpy(dtype=object)),
    )


def assemble(
    tested: Mapping[str, Tested],
    *,
    by: str,
    tree: TermTree,
    ontology: Ontology,
    warnings: Iterable[str] = (),
    provenance: Mapping[str, Any],
    seed: int = 0,
) -> Evaluation:
    """Score every model, compare the first with each other one, and gather what a page shows.

    Parameters
    ----------
    tested
        Of every model its calls on the same cells in the same order.
    """
    found: dict[str, dict[str, Measure]] = {}
    cells: dict[str, ScoredCells] = {}
    for name, one in tested.items():
        group, _ = interval_groups(one.calls, by)
        cells[name] = scored(one.calls, group, tree=tree)
        sums = one.sums(cells[name].group, len(cells[name].groups), tree=tree)
        found[name] = measures(cells[name], tree=tree, probabilities=sums)
    first = next(iter(tested))
    calls = pd.concat([one.calls for one in tested.values()], ignore_index=True)
    names = {str(t): ontology.name(str(t)) for t in _terms_used(cells.values(), tree) if ontology.is_live(str(t))}
    return Evaluation(
        scores={name: scorecard(each, seed=seed) for name, each in found.items()},
        comparisons=paired({first: found[first]}, {k: v for k, v in found.items() if k != first}, seed=seed),
        per_class=pd.concat([_per_class(name, each, tree, names) for name, each in cells.items()], ignore_index=True),
        per_donor=pd.concat([_per_group(name, cells[name], each) for name, each in found.items()], ignore_index=True),
        calls=calls,
        curves={name: _curves(each, tree) for name, each in cells.items()},
        confusion={name: _confusion(each, tree) for name, each in cells.items()},
        warnings=(*warnings, *warnings_for(cells[first].groups, interval_groups(tested[first].calls, by)[1])),
        provenance={**provenance, "term_names": names},
    )


def paired(
    first: Mapping[str, Mapping[str, Measure]], second: Mapping[str, Mapping[str, Measure]], *, seed: int = 0
) -> pd.DataFrame:
    """Rows ``model, against, metric, difference, low, high, n_groups`` for every model of one against every other."""
    parts = [
        compare_measures(one, other, seed=seed).assign(model=name, against=rival)
        for name, one in first.items()
        for rival, other in second.items()
    ]
    columns = ["model", "against", "metric", "difference", "low", "high", "n_groups"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def warnings_for(groups: np.ndarray, what: str) -> list[str]:
    """Sentences on how far the intervals can be believed."""
    n = len(groups)
    if n == 1:
        return [f"All cells are of one {what}: nothing can be said of another one, and no interval is given."]
    if n < FEW_GROUPS:
        plural = "studies" if what == "study" else f"{what}s"
        return [f"Only {n} {plural}: intervals over fewer than {FEW_GROUPS} are wide and still too narrow."]
    return []


def _terms_used(cells: Iterable[ScoredCells], tree: TermTree) -> np.ndarray:
    codes = np.unique(np.concatenate([np.concatenate([c.truth, c.call, c.leaf]) for c in cells]))
    return np.asarray(tree.ids[codes[codes >= 0]])


def _label(codes: np.ndarray, tree: TermTree) -> np.ndarray:
    """Ids, labels of classes without one, and words for no term and for the rest."""
    words = {-1: UNKNOWN, _OTHER: "other"}
    return np.array([words.get(c) or str(tree.ids[c]).removeprefix(OWN_CLASS) for c in codes.tolist()], dtype=object)


def _per_class(name: str, cells: ScoredCells, tree: TermTree, names: Mapping[str, str]) -> pd.DataFrame:
    usable = cells[tree.usable(cells.truth)]
    table = class_table(tree.names(usable.truth), tree.names(usable.leaf))
    kinds = decompose(usable.truth, usable.call, tree=tree)
    shares = pd.DataFrame({kind: (kinds == i).astype(float) for i, kind in enumerate(KINDS)})
    shares["information_kept"] = information_kept(usable.truth, usable.call, tree=tree)
    shares["trained"] = usable.trained
    means = shares.groupby(tree.names(usable.truth)).mean()
    table = table.merge(means, left_on="class", right_index=True, how="left")
    ids = table.pop("class").astype(str)
    table.insert(0, "model", name)
    table.insert(1, "class", [names.get(t, t.removeprefix(OWN_CLASS)) for t in ids])
    table.insert(2, "term_id", ["" if t.startswith(OWN_CLASS) else t for t in ids])
    return table.sort_values(["support", "class"], ascending=[False, True], kind="stable")


def _per_group(name: str, cells: ScoredCells, found: Mapping[str, Measure]) -> pd.DataFrame:
    g = len(cells.groups)
    columns: dict[str, Any] = {"model": name, "donor": cells.groups, "n": np.bincount(cells.group, minlength=g)}
    for key in DONOR_KEYS:
        measure = found.get(key)
        if measure is not None and measure.resample is not None:
            # Drawing one donor once and no other gives that donor's own score.
            columns[key] = measure.resample(np.eye(g))
        if key == "ece" and key in found:
            confident = [cells.leaf_confidence[(cells.group == i) & cells.trained] for i in range(g)]
            columns["ece_noise_floor"] = [ece_noise_floor(each[~np.isnan(each)]) for each in confident]
    return pd.DataFrame(columns)


def _curves(cells: ScoredCells, tree: TermTree) -> dict[str, pd.DataFrame]:
    rows, correct = leaf_verdict(cells, tree=tree)
    confidence = cells.leaf_confidence[rows]
    if not len(rows) or np.isnan(confidence).any():
        return {}
    curve = risk_coverage(confidence, correct)
    if len(curve) > _MOST_POINTS:
        curve = curve.iloc[np.unique(np.linspace(0, len(curve) - 1, _MOST_POINTS).astype(int))]
    return {"reliability": reliability_table(confidence, correct), "risk_coverage": curve.reset_index(drop=True)}


def _confusion(cells: ScoredCells, tree: TermTree) -> pd.DataFrame:
    """Truth by call, counts, both in the order of the tree so that near types stand together; unknown comes last."""
    usable = cells[tree.usable(cells.truth)]
    call = np.where(tree.usable(usable.call), usable.call, -1)
    truth, call = _commonest(usable.truth), _commonest(call)
    width = len(tree.ids) + 2
    keys, n = np.unique((truth + 2) * width + call + 2, return_counts=True)
    counts = pd.DataFrame({"truth": keys // width - 2, "call": keys % width - 2, "n": n})
    table = counts.pivot_table(index="truth", columns="call", values="n", fill_value=0, aggfunc="sum").astype(int)
    order = _tree_order(np.union1d(truth[truth >= 0], call[call >= 0]), tree)
    table = table.reindex(
        index=[c for c in [*order, _OTHER] if c in table.index],
        columns=[c for c in [*order, _OTHER, -1] if c in table.columns],
    )
    table.index = pd.Index(_label(table.index.to_numpy(), tree), name="truth")
    table.columns = pd.Index(_label(table.columns.to_numpy(), tree), name="call")
    return table


def _commonest(codes: np.ndarray) -> np.ndarray:
    """The codes, rare ones beyond the most that a table can show gathered as other."""
    names, counts = np.unique(codes, return_counts=True)
    kept = names[np.argsort(-counts, kind="stable")[:_MOST_TERMS]]
    return np.where(np.isin(codes, kept) | (codes < 0), codes, _OTHER)


def _tree_order(codes: np.ndarray, tree: TermTree) -> list[int]:
    """Depth first: by the names of the ancestors, the least telling first."""

    def path(code: int) -> list[tuple[float, str]]:
        above = tree.closure.indices[tree.closure.indptr[code] : tree.closure.indptr[code + 1]]
        return sorted((float(tree.information[a]), str(tree.ids[a])) for a in above)

    return sorted(map(int, codes), key=path)
