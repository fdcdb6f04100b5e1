"""Types left out of training: are they recognised as unlike anything seen, and what are they called?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from whycell.compute import Talk, n_threads
from whycell.data.splits import By, Unknown, make_split
from whycell.jobs.crossfit import tree_for, truth_terms
from whycell.jobs.fitting import fit_rows, vectors_for
from whycell.jobs.specs import build, specs_for
from whycell.knowledge.labels import is_unknown_label
from whycell.knowledge.terms import Ontology
from whycell.metrics.decomposition import KINDS, decompose
from whycell.metrics.novelty import auroc, fpr_at_tpr
from whycell.models.backoff import class_term

__all__ = ["leave_types_out"]


def leave_types_out(
    references: Any,
    *,
    types: Iterable[Sequence[str]] | None = None,
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
    """Train without some types, and ask about cells of theirs and of others on donors that training did not see.

    Parameters
    ----------
    references
        As ``jobs.references.load_references`` gives them.
    types
        Sets of labels to leave out together; every label in turn where not given. Labels of one term go together.
    only
        Names of the models to try, of the defaults and ``model_specs``; all without.
    unknown_groups, n_folds
        See :func:`whycell.data.splits.make_split`.

    Returns
    -------
    DataFrame, one row a (model, left out, type): ``type`` is each label left out and, where several are, ``all``;
    ``auroc`` and ``fpr95`` of its cells against those of trained types, over all folds together; ``n_novel, n_seen``;
    of its cells the shares called ``unknown``, an ancestor (``on_branch``) or something else (``wrong_branch``).
    """
    talk, ontology = talk or Talk(), ontology or Ontology.load()
    obs = references.obs
    labels = obs["label"].astype(str).to_numpy()
    known = ~np.array([is_unknown_label(x) for x in labels], dtype=bool)
    has = {c: c for c in ("donor", "study") if c in obs and obs[c].notna().any()}
    split = make_split(
        obs, by=by, donor=has.get("donor"), study=has.get("study"), n_folds=n_folds, seed=seed, unknown=unknown_groups
    )
    tree = tree_for(ontology, dict(references.label_ids))
    term = np.array([class_term(x, references.label_ids.get(x, "")) for x in labels], dtype=object)
    chosen = [[x] for x in np.unique(labels[known])] if types is None else [list(one) for one in types]
    rows: list[dict[str, Any]] = []
    for spec in [s for s in specs_for(model_specs) if only is None or s.name in only]:
        with talk.progress(f"leaving types out of {spec.name}", total=len(chosen) * len(split.folds)) as step:
            for left_out in chosen:
                gone = np.isin(term, [class_term(x, references.label_ids.get(x, "")) for x in left_out])
                parts = []
                for fold in split.folds:
                    step.advance()
                    train = fold.train[known[fold.train] & ~gone[fold.train]]
                    test = fold.test[known[fold.test]]
                    if len(np.unique(term[train])) < 2 or not len(test):
                        continue
                    model = build(spec, seed=seed, threads=n_threads(threads), device=device)
                    model = fit_rows(model, references, train, ontology=ontology)
                    called = model.call(
                        references.X[test], genes=references.genes, **vectors_for(model, references, test)
                    )
                    frame = pd.DataFrame({"call_label": called["call"].astype(str), "call_id": called["call_term_id"]})
                    calls = tree.codes(truth_terms(frame.astype(str), "call"))
                    parts.append(
                        pd.DataFrame(
                            {
                                "type": labels[test],
                                "gone": gone[test],
                                "novelty": called["novelty"].to_numpy(dtype=float),
                                "kind": decompose(tree.codes(term[test]), calls, tree=tree),
                            }
                        )
                    )
                if parts:
                    rows += _rows(spec.name, left_out, pd.concat(parts, ignore_index=True))
                else:
                    talk.warn(f"Without {', '.join(left_out)} fewer than two types are left to train on; not tried.")
    return pd.DataFrame(rows)


def _rows(model: str, left_out: Sequence[str], cells: pd.DataFrame) -> list[dict[str, Any]]:
    seen = cells[~cells["gone"]]
    groups = {name: cells[cells["gone"] & (cells["type"] == name)] for name in left_out}
    if len(left_out) > 1:
        groups = {"all": cells[cells["gone"]], **groups}
    found = []
    for name, novel in groups.items():
        score = np.concatenate([novel["novelty"], seen["novelty"]])
        which = np.arange(len(score)) < len(novel)
        kind = novel["kind"].to_numpy()
        shares = {word: np.isin(kind, [KINDS.index(k) for k in kinds]) for word, kinds in _SHARES.items()}
        found.append(
            {
                "model": model,
                "left_out": ", ".join(left_out),
                "type": name,
                "auroc": auroc(score, which),
                "fpr95": fpr_at_tpr(score, which),
                "n_novel": len(novel),
                "n_seen": len(seen),
                **{word: float(share.mean()) if len(novel) else float("nan") for word, share in shares.items()},
            }
        )
    return found


_SHARES = {"unknown": ("unknown",), "on_branch": ("exact", "under", "over"), "wrong_branch": ("wrong_branch",)}
