"""The models at hand: those shipped with the package, and folders that `train` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from whycell.errors import ModelError

__all__ = ["BUILT_IN", "available", "card", "find"]

#: The model used where none is named.
BUILT_IN = "human-blood"


def _shelf() -> Path:
    import whycell

    return Path(whycell.__file__).parent / "models" / "_shipped"


def find(model: str | Path | None) -> Path:
    """Folder of a model, by name or path; the built-in one for ``None``.

    Raises
    ------
    ModelError
        There is no such model.
    """
    if model is None:
        model = BUILT_IN
    path = Path(model)
    if path.is_dir():
        return path
    shipped = _shelf() / str(model)
    if path.name == str(model) and shipped.is_dir():
        return shipped
    names = sorted(p.name for p in _shelf().glob("*") if p.is_dir()) if _shelf().is_dir() else []
    shelf = ", ".join(names) or "(none shipped)"
    msg = f"There is no model {str(model)!r}; give a folder written by `whycell train`, or one of: {shelf}."
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
