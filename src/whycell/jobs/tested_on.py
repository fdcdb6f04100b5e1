"""From results of evaluations to the tables that a model's card carries: new donors, new studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from whycell.compute import Talk
from whycell.errors import FormatError, UsageError
from whycell.jobs.results_folder import read_json

__all__ = ["ON_THE_CARD", "read_tested"]

#: The scores of an evaluation that a card shows, in this order.
ON_THE_CARD = (
    "accuracy",
    "macro_f1",
    "weighted_f1",
    "exact",
    "under",
    "over",
    "wrong_branch",
    "unknown",
    "information_kept",
    "wrong_branch_of_calls",
    "ece",
    "ece_noise_floor",
    "aurc",
)
_OURS = "whycell"
_HELD_OUT = ("donor", "study")


def read_tested(
    folders: Sequence[Path | str], *, fingerprints: Mapping[str, str], talk: Talk | None = None
) -> dict[str, Any]:
    """What the card says of how the model fared on donors, and on studies, that training did not see.

    Parameters
    ----------
    folders
        Results that ``whycell evaluate`` wrote, one split by donor, one by study, or either.
    fingerprints
        Of the training's files, by path; a warning is given where results were made of others.
    talk
        Told of that.

    Returns
    -------
    ``{"tested_on": {"donor": {metric: {"value", "low", "high"}}, "study": ...}, "tested_how": {"donor": {"split_hash",
    "folds", "ontology_release", "files"}, ...}}``, or nothing for no folders.

    Raises
    ------
    FormatError
        A folder holds no results, or none of our typer.
    UsageError
        Results of random cells or of given calls, or two of one kind.
    """
    talk = talk or Talk()
    scores: dict[str, Any] = {}
    how: dict[str, Any] = {}
    for folder in folders:
        found, run = (read_json(Path(folder) / name) for name in ("scores.json", "run.json"))
        about = found.get("about", {})
        by = about.get("split")
        if by not in _HELD_OUT or about.get("leaking"):
            msg = f"{folder} holds results of the split {by!r}; a card wants results by donor or by study"
            raise UsageError(msg)
        if by in scores:
            msg = f"{folder} is the second of results by {by}; give one by donor and one by study"
            raise UsageError(msg)
        own = found.get("models", {}).get(_OURS)
        if not own:
            msg = f"{folder} holds no scores of {_OURS}; wanted an evaluation with our typer among the models"
            raise FormatError(msg)
        scores[by] = {
            key: {part: own[key].get(part) for part in ("value", "low", "high")} for key in ON_THE_CARD if key in own
        }
        how[by] = {
            "split_hash": about.get("split_hash", ""),
            "folds": run.get("parameters", {}).get("n_folds"),
            "ontology_release": about.get("ontology_release", ""),
            "files": [Path(path).name for path in run.get("inputs", {})],
        }
        if not set(run.get("inputs", {}).values()) & set(fingerprints.values()):
            talk.warn(f"{folder} was made of none of the files trained on: the card says how another model fared.")
    order = [by for by in _HELD_OUT if by in scores]
    if not order:
        return {}
    return {"tested_on": {by: scores[by] for by in order}, "tested_how": {by: how[by] for by in order}}
