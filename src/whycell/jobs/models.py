"""The models at hand: those shipped with the package, folders that `train` wrote, and those at an address."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from whycell.data.fetch import is_remote, local_folder
from whycell.data.hub import to_hub
from whycell.errors import ModelError, UsageError

__all__ = ["BUILT_IN", "available", "card", "find", "push"]

#: The model used where none is named.
BUILT_IN = "human-blood"
#: What a model's folder holds; where a folder cannot be listed, the last is fetched last.
FILES, MAY_HOLD = ("weights.safetensors", "about.json"), ("examples.safetensors", "gene_vectors.parquet")


def _shelf() -> Path:
    import whycell

    return Path(whycell.__file__).parent / "models" / "_shipped"


def find(model: str | Path | None) -> Path:
    """Folder of a model, by name, path, ``https://`` or ``hf://owner/name``; the built-in one for ``None``.

    Raises
    ------
    ModelError
        There is no such model.
    FormatError
        An address that cannot be reached.
    """
    if model is None:
        model = BUILT_IN
    if is_remote(model):
        return local_folder(model, files=FILES, optional=MAY_HOLD)
    path = Path(model)
    if path.is_dir():
        return path
    shipped = _shelf() / str(model)
    if path.name == str(model) and shipped.is_dir():
        return shipped
    names = sorted(p.name for p in _shelf().glob("*") if p.is_dir()) if _shelf().is_dir() else []
    shelf = ", ".join(names) or "(none shipped)"
    msg = (
        f"There is no model {str(model)!r}; give a folder written by `whycell train`, or one of: {shelf}; or "
        "hf://owner/name."
    )
    raise ModelError(msg)


def card(model: str | Path | None) -> dict[str, Any]:
    """The card of a model: what it knows, what taught it, how it was tested.

    Parameters
    ----------
    model
        Name or folder.

    Returns
    -------
    Plain values; ``genes`` lists the ids it reads.
    """
    from whycell.models.store import read_card

    folder = find(model)
    if _reads_sequences(folder):
        return _sequence_card(folder)
    about = read_card(folder)
    about["genes"] = about.pop("model_genes")
    for inner in ("space", "numbers", "other_genes"):
        about.pop(inner, None)
    about.setdefault("species", "human")
    return {
        "name": about.pop("name", folder.name),
        "n_classes": len(about["classes"]),
        "n_genes": len(about["genes"]),
        "species": about.pop("species"),
        "ontology_release": about["ontology"]["release"],
        "description": about.pop("description", ""),
        "folder": str(folder),
        **about,
    }


def available() -> list[dict[str, Any]]:
    """Cards of the models shipped with the package."""
    shelf = _shelf()
    return [card(folder) for folder in sorted(shelf.glob("*")) if folder.is_dir()] if shelf.is_dir() else []


def push(source: str | Path, address: str, *, private: bool = False) -> str:
    """Put a model, or gene vectors, into a repository of the Hugging Face Hub.

    ``run.json`` stays behind: it names files of this machine.

    Parameters
    ----------
    source
        Folder or name of a model; or a file that ``whycell genes embed`` wrote.
    address
        ``hf://owner/name``; made where there is none.
    private
        Seen by its owner alone, where it is made.

    Returns
    -------
    The address of the commit

    Raises
    ------
    UsageError
        The address is not of the hub.
    ModelError, FormatError
        The source is not what a reader would take.
    OutputError
        The hub cannot be reached, or refuses.
    """
    if not address.startswith("hf://"):
        msg = f"{address} is not on the hub; give hf://owner/name."
        raise UsageError(msg)
    if Path(source).is_file():
        from whycell.encode.gene_vectors import read_gene_vectors

        read_gene_vectors(source)
        return to_hub([Path(source)], address, private=private)
    from whycell.models.sequence import SequenceModel
    from whycell.models.store import load

    folder = find(source)
    if _reads_sequences(folder):
        SequenceModel.load(folder)
    else:
        load(folder)
    files = [path for path in sorted(folder.iterdir()) if path.name in (*FILES, *MAY_HOLD)]
    return to_hub(files, address, private=private)


def _reads_sequences(folder: Path) -> bool:
    """Whether the model in a folder reads DNA; what is no model is left to the reader of the other kind to refuse."""
    from whycell.models.sequence import KIND

    try:
        return bool(json.loads((folder / FILES[1]).read_text(encoding="utf-8"))["kind"] == KIND)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _sequence_card(folder: Path) -> dict[str, Any]:
    """The card of a network on DNA."""
    from whycell.models.folder import read_about
    from whycell.models.sequence import KIND

    about = read_about(folder, kind=KIND)
    return {"name": about.pop("name", folder.name), "tasks": about.pop("tasks"), "folder": str(folder), **about}
