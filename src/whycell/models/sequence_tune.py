"""The search for the numbers of a network on DNA, inside the sequences that train.

Whole chromosomes, or groups of near copies, are held out in turn. What calibrates and what is scored on the card is not
looked at. A trial is scored by minus the held-out loss of its best pass: what decides in training too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from whycell.compute import Talk
from whycell.data.sequences import Sequences
from whycell.errors import DataError
from whycell.models.sequence import SequenceModel
from whycell.models.sequence_data import learnable
from whycell.models.tune import TrialLogger, inner_folds, search

__all__ = ["SPACES", "tune_sequences"]

_SHARED = {"channels": [32, 64, 96], "dropout": {"low": 0.0, "high": 0.5}}
_CLASS = {
    **_SHARED,
    "width": [9, 11, 15, 19],
    "layers": {"low": 1, "high": 4},
    "learning_rate": {"low": 1e-3, "high": 1e-2, "log": True},
    "weight_decay": {"low": 1e-3, "high": 1.0, "log": True},
}
#: What is searched, by kind; see ``models.tune.search``.
SPACES: dict[str, dict[str, Any]] = {
    "class": _CLASS,
    "counts": _CLASS,
    "profile": {
        **_CLASS,
        "width": [15, 21, 25],
        "layers": {"low": 3, "high": 8},
        "learning_rate": {"low": 5e-4, "high": 5e-3, "log": True},
    },
}


def tune_sequences(
    model: SequenceModel,
    sequences: Sequences,
    y: Any = None,
    *,
    negatives: str = "given",
    trials: int = 20,
    inner: int = 3,
    space: Mapping[str, Any] | None = None,
    storage: Path | None = None,
    logger: TrialLogger | None = None,
    talk: Talk | None = None,
) -> dict[str, Any]:
    """Set the numbers of ``model`` that fare best; its own stay where none of the trials is better.

    Parameters
    ----------
    model
        Not trained yet; its other numbers are those of every trial.
    sequences, y, negatives
        As of ``SequenceModel.fit``, which is to follow.
    trials
        Beside one of the model as it is.
    inner
        Parts held out in turn.
    space
        What is searched; ``SPACES`` of the kind without.
    storage
        A file, from which an interrupted search goes on.
    logger, talk
        Told of every score, and of trials done.

    Returns
    -------
    ``trials`` (one dict each), ``best`` (the numbers set, none where the model's own are), ``score`` and
    ``score_as_given``: minus the loss, over the inner parts.

    Raises
    ------
    MissingExtraError
        Optuna is not installed.
    DataError
        Too few chromosomes or groups are left to hold any out.
    """
    given = learnable(sequences, y, kind=model.kind, negatives=negatives, seed=model.seed)
    training = given.training
    if len(set(given.group[training])) < 2:
        msg = f"the sequences that train are of one group of {given.held_out_by}; wanted two or more to search with."
        raise DataError(msg)
    folds = inner_folds(given.group[training], inner, seed=model.seed)
    with (talk or Talk()).progress("searching", (trials + 1) * len(folds)) as bar:

        def score(parameters: Mapping[str, Any], rows: np.ndarray, held_out: np.ndarray) -> float:
            trial = clone(model).set_params(**parameters)
            trial.take_shape(given)
            curve = trial.train(given.rows[rows], given.rows[held_out].with_shuffles(model.seed))
            bar.advance()
            return -min(one["held_out"] for one in curve)

        as_given = float(np.mean([score({}, training[rows], training[held]) for rows, held in folds]))
        found = search(
            score,
            SPACES[model.kind] if space is None else space,
            given.group,
            rows=training,
            n_trials=trials,
            n_inner=inner,
            seed=model.seed,
            storage=storage,
            name=f"sequences {model.mark(given)}",
            logger=logger,
        )
    best = found.best if found.value > as_given else {}
    model.set_params(**best)
    record = found.trials.drop(columns="seconds")  # the same search is the same record
    rows = [{k: v for k, v in row.items() if v == v} for row in record.to_dict("records")]
    return {"trials": rows, "best": best, "score": max(found.value, as_given), "score_as_given": as_given}
