"""A folder that holds a model of any kind: ``weights.safetensors`` and ``about.json``. Nothing in it can run code.

``about.json`` carries the digest of the weights and of itself, so that a truncated, edited or foreign folder is refused
in one sentence before anything is computed with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from whycell.data.whole import card_digest, folder_written_whole
from whycell.errors import ModelError, OutputError

__all__ = ["ABOUT", "WEIGHTS", "read_about", "read_folder", "write_folder"]

WEIGHTS, ABOUT = "weights.safetensors", "about.json"


def write_folder(
    folder: Path,
    tensors: Mapping[str, np.ndarray],
    *,
    kind: str,
    about: Mapping[str, Any],
    version: int = 1,
    files: Mapping[str, bytes | None] | None = None,
    force: bool = False,
) -> Path:
    """Write a model to a folder of its own, whole or not at all.

    Parameters
    ----------
    folder
        Where to; must not exist unless ``force``.
    tensors
        Its weights, by name.
    kind
        Name of what it is, such as ``"whycell.SequenceModel"``; what is read back must have the same.
    about
        Its card; plain values.
    version
        Of the format.
    files
        Further files that such a model may have beside, by name; ``None`` for one that this model has not.
    force
        Replace a model of the same kind. A folder that holds anything else is never replaced.

    Raises
    ------
    OutputError
        The folder exists and may not be replaced, or cannot be written.
    """
    files = dict(files or {})
    if folder.exists():
        ours = folder.is_dir() and {p.name for p in folder.iterdir()} <= {WEIGHTS, ABOUT, "run.json", *files}
        if not force or not ours:
            cure = "use --force to replace it" if ours else "choose another name: it holds other files"
            msg = f"{folder} exists already; {cure}."
            raise OutputError(msg)
    weights = save_tensors({name: np.ascontiguousarray(value) for name, value in tensors.items()})
    card = {**about, "kind": kind, "format": version, "weights_sha256": hashlib.sha256(weights).hexdigest()}
    card["sha256"] = card_digest(card)
    try:
        with folder_written_whole(folder, force=force) as scratch:
            scratch.mkdir(mode=0o755)
            for name, content in {WEIGHTS: weights, **files}.items():
                if content is not None:
                    (scratch / name).write_bytes(content)
            (scratch / ABOUT).write_text(json.dumps(card, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        msg = f"{folder} cannot be written: {error.strerror}. Choose a folder that may be written to."
        raise OutputError(msg) from error
    return folder


def read_folder(
    folder: Path, *, kind: str, version: int | tuple[int, ...] = 1, cure: str = "Give a folder that whycell wrote."
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Weights and card of a saved model.

    Parameters
    ----------
    folder
        That ``write_folder`` wrote.
    kind, version
        What it must be; one of several versions.
    cure
        Sentence for one that is no such folder: where to get one.

    Raises
    ------
    ModelError
        The folder is missing, foreign, truncated or edited.
    """
    card = read_about(folder, kind=kind, version=version, cure=cure)
    path = Path(folder) / WEIGHTS
    weights = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(weights).hexdigest() != card["weights_sha256"]:
        msg = (
            f"The weights in {folder} are not those its {ABOUT} was written with: truncated or replaced. Copy the "
            "model again, or train it anew."
        )
        raise ModelError(msg)
    return load_tensors(weights), card


def read_about(
    folder: Path, *, kind: str, version: int | tuple[int, ...] = 1, cure: str = "Give a folder that whycell wrote."
) -> dict[str, Any]:
    """The card of a saved model, checked against its own digest; parameters as of ``read_folder``."""
    path = Path(folder) / ABOUT
    if not path.is_file():
        msg = f"{folder} is not a saved model: it has no {ABOUT}. {cure}"
        raise ModelError(msg)
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        found = card.get("kind")
    except (ValueError, AttributeError):
        card, found = {}, None
    if found != kind:
        ours = str(found).startswith("whycell.")
        got = f"holds a {found}, wanted is a {kind}" if ours else "was not written by whycell, or is cut short"
        msg = f"{path} {got}. {cure}"
        raise ModelError(msg)
    versions = version if isinstance(version, tuple) else (version,)
    if card.get("format") not in versions:
        msg = (
            f"{path} has format {card.get('format')}, this whycell reads {_formats(versions)}. "
            "Install the whycell that wrote it, or train anew."
        )
        raise ModelError(msg)
    if card.get("sha256") != card_digest(card):
        msg = (
            f"{path} was edited after it was written, so its figures cannot be trusted. Copy the model again, or "
            "train it anew."
        )
        raise ModelError(msg)
    return dict(card)


def _formats(versions: tuple[int, ...]) -> str:
    return f"format{'s' if len(versions) > 1 else ''} {' and '.join(map(str, versions))}"
