"""Types never trained on: learn the map, leave each type out to see what it is worth, and keep it only where it helps.

For a type left out three answers are scored on donors that training did not see: the nearest term of all, the nearest
below what the typer backs off to, and what the typer backs off to by itself (its deepest ancestor that training knows).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from whycell.compute import Talk
from whycell.data.splits import make_split
from whycell.errors import UsageError
from whycell.jobs.fitting import fit_rows
from whycell.jobs.record import write_run
from whycell.jobs.references import References
from whycell.jobs.sweep import labelled_cells
from whycell.jobs.words import Words
from whycell.knowledge.terms import Ontology
from whycell.metrics.closeness import lin
from whycell.metrics.intervals import t_interval
from whycell.metrics.tree import TermTree
from whycell.models.text_scores import text_embedding
from whycell.models.unseen import UnseenMap, fit_unseen, save_unseen
from whycell.results.unseen import Unseen

__all__ = ["WAYS", "below", "candidates", "learn_unseen"]

#: The answers that are compared: of the map alone, of the map below the typer's call, and of the typer alone.
WAYS = ("map", "map below the call", "call", "deepest seen ancestor")
_MOST_CELLS = 20_000
_MOST_OF_A_TYPE = 500
_TOP = 5
_MOSTLY = 0.5


@dataclass(frozen=True)
class _Task:
    """What every left-out type is tried on."""

    references: References
    terms: np.ndarray
    cells: np.ndarray
    candidates: np.ndarray
    definitions: np.ndarray
    ontology: Ontology
    tree: TermTree


def learn_unseen(
    reference: Any,
    output: Path | None = None,
    *,
    label: str,
    words: Words,
    donor: str | None = None,
    study: str | None = None,
    root: str = "",
    label_map: Path | None = None,
    n_folds: int = 2,
    model: Callable[[], Any] | None = None,
    most_cells: int = _MOST_CELLS,
    seed: int = 0,
    threads: int = 0,
    force: bool = False,
    talk: Talk | None = None,
) -> Unseen:
    """Learn a map from cells to definitions, and say by types left out whether it helps.

    Parameters
    ----------
    reference
        A labelled file, several, or an AnnData.
    output
        Folder for the map; ``None`` writes nothing.
    label, donor, study
        Columns of obs; donors, else studies, are held out as well as types.
    words
        As ``jobs.words.open_words`` gives them.
    root
        Candidates are the terms below this one; all terms where empty.
    label_map
        TSV of label and Cell Ontology id.
    n_folds
        Parts that donors are held out in; a typer is trained for every part and type.
    model
        Gives a new typing model to compare with; the typer where ``None``.
    most_cells
        More cells than this are sampled.
    seed
        Of the sample and of the typer.
    threads
        Cores.
    force
        Replace a folder that is there.
    talk
        Told of progress.

    Raises
    ------
    UsageError
        Fewer than four types map to terms with a definition.
    """
    talk = talk or Talk()
    held = labelled_cells(
        reference,
        label=label,
        donor=donor,
        study=study,
        label_map=label_map,
        most_cells=most_cells,
        seed=seed,
        threads=threads,
        talk=talk,
    )
    wanted = candidates(words.ontology, root)
    cells = text_embedding(held.references.X, held.references.genes, vectors=words.vectors, threads=threads)
    task = _Task(
        held.references,
        np.asarray(held.classes, dtype=str),
        cells,
        wanted,
        words.definitions(wanted.tolist(), talk=talk),
        words.ontology,
        TermTree.of(words.ontology),
    )
    types = [t for t in np.unique(task.terms) if t in set(wanted)]
    if len(types) < 4:
        msg = f"{len(types)} labels map to terms that can be looked for; four or more are needed to leave one out."
        raise UsageError(msg)
    by = held.split.by
    folds = make_split(
        held.references.obs, by=by, donor="donor", study="study" if study else None, n_folds=n_folds, seed=seed
    ).folds
    rows = []
    with talk.progress("leaving types out", len(types) * len(folds)) as bar:
        for left in types:
            for fold in folds:
                rows += _left_out(task, left, fold.name, fold.train, fold.test, model or _typer(seed, threads), seed)
                bar.advance()
    answers = _by_type(pd.DataFrame(rows), words.ontology)
    summary, helps = _judged(answers)
    found = fit_unseen(cells, task.terms, terms=wanted, definitions=task.definitions)
    about = {
        "root": root,
        "ontology": {"release": words.ontology.release},
        "vectors": {**words.about, "facets": list(words.vectors.facets), "fingerprint": words.vectors.fingerprint},
        "helps": helps,
        "summary": summary.to_dict(orient="records"),
        "left_out": answers.to_dict(orient="records"),
        "split": f"{'cells' if by == 'random' else by + 's'} held out in {len(folds)} parts, and each type from all",
        "seed": seed,
    }
    if output is not None:
        save_unseen(found, Path(output), about=about, force=force)
        write_run(
            Path(output), "genes unseen", inputs=held.references.fingerprints, seed=seed, parameters={"root": root}
        )
    return Unseen(summary, answers, helps, found.seen, found.penalty, found.start, held.warnings, about)


def candidates(ontology: Ontology, root: str = "") -> np.ndarray:
    """(n_terms,) ids of the terms that may be answered: those below ``root``, none too broad to say anything."""
    under = ontology.descendants(root) if root else frozenset(map(str, ontology.ids))
    return np.array(sorted(under - ontology.stop_terms), dtype=str)


def below(map_: UnseenMap, calls: Sequence[str], *, ontology: Ontology) -> np.ndarray:
    """(n_cells, n_terms) bool: candidates at or below each call that training did not know; all where there is none.

    Parameters
    ----------
    map_
        Whose candidates.
    calls
        (n_cells,) term ids; "" for unknown.
    ontology
        The release.
    """
    unseen = ~np.isin(map_.terms, map_.seen)
    masks = {}
    for call in set(calls):
        under = ontology.descendants(call) if ontology.is_live(call) else None
        mask = unseen if under is None else unseen & np.isin(map_.terms, list(under))
        masks[call] = mask if mask.any() else map_.terms == call
    return np.stack([masks[call] for call in calls]) if len(calls) else np.zeros((0, len(map_.terms)), dtype=bool)


def _typer(seed: int, threads: int) -> Callable[[], Any]:
    from whycell.models.typing_model import WhycellModel

    return lambda: WhycellModel(seed=seed, threads=max(threads, 1))


def _left_out(
    task: _Task, left: str, fold: str, train: np.ndarray, test: np.ndarray, model: Callable[[], Any], seed: int
) -> list[dict[str, Any]]:
    train, test = train[task.terms[train] != left], test[task.terms[test] == left]
    if not len(test) or len(np.unique(task.terms[train])) < 3:
        return []
    test = np.sort(np.random.default_rng(seed).permutation(test)[:_MOST_OF_A_TYPE])
    map_ = fit_unseen(task.cells[train], task.terms[train], terms=task.candidates, definitions=task.definitions)
    typer = fit_rows(model(), task.references, train, ontology=task.ontology)
    calls = typer.call(task.references.X[test], genes=task.references.genes)
    said = calls["call_term_id"].astype(object).fillna("").astype(str).to_numpy()
    allowed = below(map_, said, ontology=task.ontology)
    ranked = {
        "map": map_.best(task.cells[test], most=_TOP),
        "map below the call": map_.best(task.cells[test], most=_TOP, allowed=allowed),
    }
    ids = np.append(map_.terms, "")
    rows = [_scored(task, left, fold, way, ids[order]) for way, order in ranked.items()]
    ancestor = _deepest_seen(left, task.terms[train], task.ontology)
    rows.append(_scored(task, left, fold, "call", said[:, None]))
    return [*rows, _scored(task, left, fold, "deepest seen ancestor", np.full((len(test), 1), ancestor))]


def _scored(task: _Task, left: str, fold: str, way: str, answers: np.ndarray) -> dict[str, Any]:
    first = answers[:, 0]
    line = task.ontology.ancestors(left) | task.ontology.descendants(left)
    close = lin(np.full(len(first), left), np.where(np.isin(first, task.tree.ids), first, ""), tree=task.tree)
    return {
        "left_out": left,
        "fold": fold,
        "way": way,
        "cells": len(first),
        "top1": float((first == left).mean()),
        "top5": float((answers == left).any(axis=1).mean()),
        "on_branch": float(np.isin(first, list(line - task.ontology.stop_terms)).mean()),
        "lin": float(np.nan_to_num(close).mean()),
    }


def _deepest_seen(left: str, seen: np.ndarray, ontology: Ontology) -> str:
    """The most telling ancestor of a type that is also one of a type seen: the best that backing off could say."""
    known = set().union(*(ontology.ancestors(t) for t in np.unique(seen) if ontology.is_live(t)))
    shared = sorted((ontology.ancestors(left) & known) - ontology.stop_terms - {left})
    content = ontology.information_content()
    return max(shared, key=lambda t: content[ontology.index[t]], default="")


def _by_type(rows: pd.DataFrame, ontology: Ontology) -> pd.DataFrame:
    """One row a type left out and way of answering; folds weigh by their cells."""
    kept = []
    for (left, way), own in rows.groupby(["left_out", "way"], sort=False):
        weights = own["cells"].to_numpy(dtype=float)
        means = {name: float(np.average(own[name], weights=weights)) for name in ("top1", "top5", "on_branch", "lin")}
        kept.append({"left_out": left, "name": ontology.name(left), "way": way, "cells": int(weights.sum()), **means})
    return pd.DataFrame(kept)


def _judged(answers: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Means over types with intervals, the gap to the call in likeness to the truth, and which way to keep, if any.

    Any term is a little like the truth and "unknown" is not, so a map is kept only where most of its answers lie on the
    right branch too.
    """
    wide = {name: answers.pivot(index="left_out", columns="way", values=name) for name in _MEASURES}
    rows, helps = [], ""
    for way in WAYS:
        row: dict[str, Any] = {"way": way, "types": len(wide["lin"])}
        for name in _MEASURES:
            own = t_interval(wide[name][way].to_numpy())
            row |= {name: own.value, f"{name}_low": own.low, f"{name}_high": own.high}
        gap = t_interval((wide["lin"][way] - wide["lin"]["call"]).to_numpy())
        rows.append(row | {"beyond_call": gap.value, "beyond_low": gap.low, "beyond_high": gap.high})
        if way.startswith("map") and gap.low > 0 and row["on_branch"] >= _MOSTLY and not helps:
            helps = way
    return pd.DataFrame(rows), helps


_MEASURES = ("top1", "top5", "on_branch", "lin")
