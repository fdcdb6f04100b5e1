"""The model that typed a file: found by what the file says of it, and believed only where its fingerprint agrees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from whycell.compute import Talk
from whycell.data.cells import Cells
from whycell.errors import ModelError
from whycell.jobs.models import available, find
from whycell.jobs.record import RUN_FILE
from whycell.models.answer import Answerer
from whycell.models.store import fingerprint, load, read_card

__all__ = ["model_of"]


def model_of(cells: Cells, model: str | None, *, key: str, talk: Talk) -> tuple[Answerer, dict[str, Any], Path]:
    """The model to explain a file by.

    Without a name it is the one recorded in the file's uns, looked for among the models shipped and in the ``run.json``
    beside the file.

    Parameters
    ----------
    cells
        The open file.
    model
        Folder or name; ``None`` for the one recorded.
    key
        Under which ``annotate`` wrote.
    talk
        Warned where the model named is not the one recorded.

    Returns
    -------
    The model, its card, and its folder.

    Raises
    ------
    ModelError
        No model is recorded, or the one recorded is not to be found.
    """
    recorded = cells.uns(key)
    recorded = recorded if isinstance(recorded, dict) else {}
    wanted = str(recorded.get("model_fingerprint", ""))
    if model is not None:
        folder = find(model)
        answerer, about = load(folder)
        if wanted and fingerprint(about) != wanted:
            talk.warn(
                f"{cells.name} was typed by another model ({recorded.get('model')}) than {folder.name}: the calls "
                f"explained are those of {folder.name}, and may differ from the column {key!r}"
            )
        return answerer, about, folder
    if not wanted:
        msg = (
            f"{cells.name} does not say which model typed it (uns has no {key!r} written by annotate): name the model "
            "with --model, or the key with --key."
        )
        raise ModelError(msg)
    for folder in _candidates(cells, str(recorded.get("model", ""))):
        if _matches(folder, wanted):
            return *load(folder), folder
    msg = (
        f"{cells.name} was typed by the model {str(recorded.get('model'))!r} ({wanted[:19]}...), which is neither "
        "shipped with whycell nor where the run.json beside the file says: give its folder with --model."
    )
    raise ModelError(msg)


def _candidates(cells: Cells, name: str) -> list[Path]:
    folders = [Path(card["folder"]) for card in available()]
    if cells.path is not None:
        folders += _from_run(cells.path)
        folders.append(cells.path.parent / name)
    return [folder for folder in folders if folder.is_dir()]


def _from_run(path: Path) -> list[Path]:
    try:
        newest = json.loads((path.parent / RUN_FILE).read_text(encoding="utf-8"))
        records = [newest, *newest.get("earlier", [])]
        named = [r["parameters"]["model"] for r in records if r["output"] == path.name and "model" in r["parameters"]]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return []
    return [folder for each in named for folder in (Path(str(each)), path.parent / str(each))]


def _matches(folder: Path, wanted: str) -> bool:
    try:
        return fingerprint(read_card(folder)) == wanted
    except ModelError:
        return False
