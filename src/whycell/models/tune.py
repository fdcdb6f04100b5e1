"""The search for parameters, which cannot touch the test set: it is given training rows and knows no others.

Donors of those rows are held out in turn (inner folds). A trial reports its score after every inner fold and is stopped
where its running mean falls behind the median of earlier trials. The storage can be resumed: a finished search given
the same storage and name does nothing more, an interrupted one goes on. Every trial is recorded, poor and failed ones
too. Needs the package ``optuna``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from whycell.errors import GroupError, MissingExtraError, UsageError

__all__ = ["Searched", "TrialLogger", "inner_folds", "search"]

Score = Callable[[Mapping[str, Any], np.ndarray, np.ndarray], float]


class TrialLogger(Protocol):
    """Told of every score; see ``whycell.models.loggers``."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """``values`` at ``step``."""
        ...


@dataclass(frozen=True)
class Searched:
    """What a search found.

    Parameters
    ----------
    best
        Parameters of the best finished trial.
    value
        Its mean score over inner folds.
    trials
        One row a trial: ``number, state, value, seconds``, the parameters, and the score of each inner fold it saw.
    """

    best: dict[str, Any]
    value: float
    trials: pd.DataFrame


def search(
    score: Score,
    space: Mapping[str, Any],
    groups: Any,
    *,
    rows: np.ndarray | None = None,
    n_trials: int = 20,
    n_inner: int = 3,
    seed: int = 0,
    storage: Path | str | None = None,
    name: str = "whycell",
    logger: TrialLogger | None = None,
) -> Searched:
    """Search for the parameters with the highest mean score over inner folds.

    Parameters
    ----------
    score
        Takes parameters, rows to train on and rows to score, and gives a number, higher is better. It is only ever
        given rows out of ``rows``.
    space
        Of every parameter ``{"low": a, "high": b}``, optionally ``"log": true`` or ``"step": s`` (whole where the ends
        are), or a list to choose from.
    groups
        (n,) donor of every cell.
    rows
        (m,) rows that may be used: the training rows of the outer fold; all of them without.
    n_trials
        Trials in all, those of a resumed storage counted.
    storage
        A file: ``.db`` or ``.sqlite`` for SQLite, anything else for a journal. In memory without.
    name
        Of the search in that storage.

    Raises
    ------
    MissingExtraError
        Optuna is not installed.
    UsageError
        The space cannot be read, or no trial finished.
    GroupError
        The rows are of a single donor.
    """
    optuna = _optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # every trial is in the record; stderr is the talk's
    groups = np.asarray(groups).astype(str)
    rows = np.arange(len(groups)) if rows is None else np.asarray(rows)
    folds = inner_folds(groups[rows], n_inner, seed=seed)
    study = optuna.create_study(
        direction="maximize",
        study_name=name,
        storage=_storage(optuna, storage),
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=0),
    )

    def objective(trial: Any) -> float:
        chosen = {key: _suggest(trial, key, what) for key, what in space.items()}
        found: list[float] = []
        for i, (train, held_out) in enumerate(folds):
            found.append(float(score(chosen, rows[train], rows[held_out])))
            trial.set_user_attr(f"fold_{i + 1}", found[-1])
            trial.report(float(np.mean(found)), i)
            if logger is not None:
                logger.log(trial.number * len(folds) + i, {"score": found[-1], "mean": float(np.mean(found))})
            if i + 1 < len(folds) and trial.should_prune():
                raise optuna.TrialPruned
        return float(np.mean(found))

    done = sum(t.state.is_finished() for t in study.trials)
    if n_trials > done:
        study.optimize(objective, n_trials=n_trials - done, gc_after_trial=False)
    finished = [t for t in study.trials if t.state.name == "COMPLETE"]
    if not finished:
        msg = f"none of {len(study.trials)} trials finished, so no parameters are best; ask for more trials"
        raise UsageError(msg)
    return Searched(dict(study.best_params), float(study.best_value), _table(study.trials))


def inner_folds(groups: np.ndarray, n_folds: int, *, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """(train, held out) positions; whole groups are held out, about equally many cells a fold.

    Raises :class:`GroupError` for a single group.
    """
    names, codes, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < 2:
        msg = f"the training cells are of {len(names)} donor; wanted two or more, to search on some and score on others"
        raise GroupError(msg)
    n = min(n_folds, len(names))
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    fold_of, filled = np.zeros(len(names), dtype=np.int64), np.zeros(n)
    for group in order:
        fold_of[group] = int(np.argmin(filled))
        filled[fold_of[group]] += sizes[group]
    own = fold_of[codes]
    return [(np.flatnonzero(own != i), np.flatnonzero(own == i)) for i in range(n)]


def _suggest(trial: Any, key: str, what: Any) -> Any:
    if isinstance(what, list | tuple) and what:
        return trial.suggest_categorical(key, list(what))
    if isinstance(what, Mapping) and {"low", "high"} <= set(what) <= {"low", "high", "log", "step"}:
        low, high = what["low"], what["high"]
        more = {k: what[k] for k in ("log", "step") if k in what}
        whole = isinstance(low, int) and isinstance(high, int)
        return (trial.suggest_int if whole else trial.suggest_float)(key, low, high, **more)
    msg = f"the space of {key!r} is {what!r}; wanted a list to choose from, or low and high, optionally log or step"
    raise UsageError(msg)


def _storage(optuna: Any, path: Path | str | None) -> Any:
    if path is None:
        return None
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".db", ".sqlite"):
        return f"sqlite:///{path}"
    backend = optuna.storages.journal.JournalFileBackend(str(path))
    return optuna.storages.JournalStorage(backend)


def _table(trials: list[Any]) -> pd.DataFrame:
    rows = []
    for trial in trials:
        seconds = trial.duration.total_seconds() if trial.duration else float("nan")
        own = {"number": trial.number, "state": trial.state.name.lower(), "value": trial.value, "seconds": seconds}
        rows.append(own | dict(trial.params) | dict(trial.user_attrs))
    return pd.DataFrame(rows)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        msg = "the search for parameters needs the package optuna; install it with: pip install 'whycell[tune]'"
        raise MissingExtraError(msg) from error
    return optuna
