"""One model through every fold of a split: trained on some donors, asked about the others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from whycell.compute import Talk
from whycell.data.splits import Fold, Split
from whycell.errors import LabelError
from whycell.jobs.fitting import fit_rows, search_inside, vectors_for
from whycell.jobs.specs import Spec, build
from whycell.knowledge.labels import is_unknown_label
from whycell.knowledge.terms import Ontology
from whycell.metrics.coverage import conformal_threshold
from whycell.metrics.decomposition import deepest_trained, trained_reach
from whycell.metrics.scored_probabilities import ProbabilitySums, merged_classes
from whycell.metrics.tree import TermTree
from whycell.models.backoff import OWN_CLASS, class_term, own_classes
from whycell.models.baselines import Baseline

__all__ = ["CALL_TABLE", "FoldProbabilities", "Tested", "cross_fit", "tree_for", "truth_terms"]

#: Columns of the table of calls, one row a (model, cell).
CALL_TABLE = (
    "model",
    "cell",
    "donor",
    "study",
    "fold",
    "truth_label",
    "truth_id",
    "call_label",
    "call_id",
    "confidence",
    "leaf_label",
    "leaf_id",
    "leaf_confidence",
    "runner_up",
    "novelty",
    "reach",
    "trained",
    "ideal_id",
)

_ERROR = 0.1


@dataclass(frozen=True)
class FoldProbabilities:
    """What a model gave for the cells of one fold: (n,) rows of the table of calls, (n, k) values, (k,) terms."""

    rows: np.ndarray
    values: np.ndarray
    terms: np.ndarray


@dataclass(frozen=True)
class Tested:
    """One model's answers on cells that it was not trained on.

    Parameters
    ----------
    calls
        With the columns :data:`CALL_TABLE`, in the order of the split's rows.
    probabilities
        Fold by fold; empty where only calls are known.
    trials
        Every trial of the search for parameters, fold by fold; ``None`` where none was made.
    """

    calls: pd.DataFrame
    probabilities: list[FoldProbabilities] = field(default_factory=list)
    trials: pd.DataFrame | None = None

    def sums(self, group: np.ndarray, n_groups: int, *, tree: TermTree) -> ProbabilitySums | None:
        """The sums that scores of probabilities are made of; conformal sets of a fold are set by the other folds."""
        if not self.probabilities:
            return None
        truth = tree.codes(truth_terms(self.calls))
        found = ProbabilitySums(tree, n_groups)
        of_truth = [_of_truth(p, truth[p.rows], tree) for p in self.probabilities]
        for i, part in enumerate(self.probabilities):
            others = [x for j, x in enumerate(of_truth) if j != i]
            threshold = conformal_threshold(np.concatenate(others), error=_ERROR) if others else None
            found.add(part.values, part.terms, truth[part.rows], group[part.rows], conformal_threshold=threshold)
        return found


def tree_for(ontology: Ontology, label_ids: dict[str, str]) -> TermTree:
    """The ontology with the labels that map to no term as classes of their own."""
    known = {label: term for label, term in label_ids.items() if not is_unknown_label(label)}
    return TermTree.of(ontology, extra=own_classes(known))


def truth_terms(calls: pd.DataFrame, what: str = "truth") -> np.ndarray:
    """(n,) terms of the truth, the call or the leaf: the id, a stand-in for a class without one, ``""`` for unknown."""
    pairs = calls[[f"{what}_label", f"{what}_id"]].astype(str)
    distinct = pairs.drop_duplicates()
    terms = [
        "" if not t and is_unknown_label(name) else class_term(name, t) for name, t in distinct.itertuples(index=False)
    ]
    lookup = dict(zip(distinct.itertuples(index=False, name=None), terms, strict=True))
    return np.array([lookup[pair] for pair in pairs.itertuples(index=False, name=None)], dtype=object)


def cross_fit(
    spec: Spec,
    references: Any,
    split: Split,
    *,
    ontology: Ontology,
    tree: TermTree,
    seed: int = 0,
    threads: int = 1,
    device: str = "auto",
    talk: Talk | None = None,
) -> Tested:
    """Train and test one model on every fold.

    Parameters
    ----------
    references
        As ``jobs.references.load_references`` gives them.
    split
        Of ``references.obs``. Cells with an unknown label are tested on, to be counted, and never trained on.

    Raises
    ------
    LabelError
        A fold has no labelled cell to train on.
    """
    talk = talk or Talk()
    frames, probabilities, trials = [], [], []
    place = np.full(len(references.obs), -1, dtype=np.int64)
    place[split.rows] = np.arange(len(split.rows))
    labels = references.obs["label"].astype(object).to_numpy()
    known = ~np.array([is_unknown_label(x) for x in labels], dtype=bool)
    with talk.progress(f"testing {spec.name}", total=len(split.folds)) as step:
        for fold in split.folds:
            train = fold.train[known[fold.train]]
            if not len(train):
                msg = f"holding out {fold.name!r} leaves no labelled cell to train on; label others, or split otherwise"
                raise LabelError(msg)
            own = spec
            if spec.search:
                own, record = search_inside(
                    spec, references, train, split, fold, ontology=ontology, seed=seed, threads=threads, device=device
                )
                trials.append(record)
            model = build(own, seed=seed, threads=threads, device=device)
            model = fit_rows(model, references, train, ontology=ontology)
            X = references.X[fold.test]
            asked = {"genes": references.genes, **vectors_for(model, references, fold.test)}
            values, columns = model.predict_proba(X, **asked)
            called = model.call_from(values) if isinstance(model, Baseline) else model.call(X, **asked)
            terms = np.array([class_term(str(c), references.label_ids.get(str(c), "")) for c in columns], dtype=object)
            frames.append(_frame(spec.name, references, fold, called.reset_index(drop=True), labels[train], tree))
            probabilities.append(FoldProbabilities(place[fold.test], np.asarray(values, dtype=np.float32), terms))
            step.advance()
    order = np.argsort(np.concatenate([p.rows for p in probabilities]), kind="stable")
    calls = pd.concat(frames, ignore_index=True).iloc[order].reset_index(drop=True)
    return Tested(calls, probabilities, pd.concat(trials, ignore_index=True) if trials else None)


def _frame(
    name: str, references: Any, fold: Fold, called: pd.DataFrame, trained_on: np.ndarray, tree: TermTree
) -> pd.DataFrame:
    obs = references.obs.iloc[fold.test]
    label = obs["label"].astype(object).where(obs["label"].notna(), "unknown").astype(str).to_numpy()

    def group(column: str) -> np.ndarray:
        return obs[column].astype(str).to_numpy() if column in obs else np.full(len(obs), "", dtype=object)

    frame = pd.DataFrame(
        {
            "model": name,
            "cell": obs["cell"].astype(str).to_numpy() if "cell" in obs else obs.index.astype(str),
            "donor": group("donor"),
            "study": group("study"),
            "fold": fold.name,
            "truth_label": label,
            "truth_id": [references.label_ids.get(x, "") for x in label],
            "call_label": called["call"].astype(str),
            "call_id": called["call_term_id"].astype(str),
            "confidence": called["confidence"].astype(np.float32),
            "leaf_label": called["leaf"].astype(str),
            "leaf_id": called["leaf_term_id"].astype(str),
            "leaf_confidence": called["leaf_confidence"].astype(np.float32),
            "runner_up": called["runner_up"].astype(str),
            "novelty": called["novelty"].astype(np.float32),
        }
    )
    classes = [class_term(str(x), references.label_ids.get(str(x), "")) for x in np.unique(trained_on.astype(str))]
    truth = truth_terms(frame)
    frame["reach"] = trained_reach(truth, np.array(classes, dtype=object), tree=tree)
    frame["trained"] = np.isin(truth, classes)
    ideal = tree.names(deepest_trained(truth, np.array(classes, dtype=object), tree=tree))
    frame["ideal_id"] = ["" if x.startswith(OWN_CLASS) else x for x in ideal]
    return frame[list(CALL_TABLE)]


def _of_truth(part: FoldProbabilities, truth: np.ndarray, tree: TermTree) -> np.ndarray:
    """Probability of the truth, for the cells whose truth is a class of the fold."""
    merged, codes = merged_classes(part.values, tree.codes(part.terms))
    at = np.searchsorted(codes, truth).clip(0, len(codes) - 1)
    known = codes[at] == truth
    return np.asarray(merged[known, at[known]])
