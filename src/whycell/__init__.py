"""whycell learns from biological data and says why.

Importing this package loads nothing heavy: every name below is fetched when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whycell.errors import WhycellError

if TYPE_CHECKING:
    from whycell import errors, knowledge, lenses, metrics, pl, tl
    from whycell.data.cells import open_cells
    from whycell.knowledge.terms import Ontology
    from whycell.models.rfm import RecursiveFeatureMachine
    from whycell.models.typer import CellTyper

    __version__: str

__all__ = [
    "CellTyper",
    "Ontology",
    "RecursiveFeatureMachine",
    "WhycellError",
    "__version__",
    "errors",
    "knowledge",
    "lenses",
    "metrics",
    "open_cells",
    "pl",
    "tl",
]

#: Where each lazy name lives: a module, or a name inside one.
_HOMES = {
    "CellTyper": ("whycell.models.typer", "CellTyper"),
    "Ontology": ("whycell.knowledge.terms", "Ontology"),
    "RecursiveFeatureMachine": ("whycell.models.rfm", "RecursiveFeatureMachine"),
    "errors": ("whycell.errors", None),
    "knowledge": ("whycell.knowledge", None),
    "lenses": ("whycell.lenses", None),
    "metrics": ("whycell.metrics", None),
    "open_cells": ("whycell.data.cells", "open_cells"),
    "pl": ("whycell.pl", None),
    "tl": ("whycell.tl", None),
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("whycell")
    if name not in _HOMES:
        msg = f"module 'whycell' has no attribute {name!r}; it offers {', '.join(__all__)}"
        raise AttributeError(msg)
    from importlib import import_module

    home, inner = _HOMES[name]
    module = import_module(home)
    value = module if inner is None else getattr(module, inner)
    globals()[name] = value  # fetched once
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
