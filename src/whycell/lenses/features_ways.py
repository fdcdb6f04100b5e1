"""By which way gradients of a model come: automatic differentiation, a closed form, or questions at shifted points."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from whycell.errors import DataError, UsageError
from whycell.lenses.features_differences import Differences
from whycell.lenses.kernel_machines import KernelMachine, as_kernel_machine
from whycell.lenses.outer_products import OuterProducts

__all__ = ["Way", "names_of", "way_of"]

_ASKED = ("predict_proba", "decision_function", "predict")


@dataclass
class Way:
    """How gradients come.

    Parameters
    ----------
    parts
        Yields (n, p, c, d) gradients, batch by batch.
    finish
        From sums over what ``parts`` gives to sums over gradients by the inputs.
    shape, how
        Shape of an input and the words for the way, known once some batch went through.
    only
        Outputs wanted, of those that ``parts`` gives.
    through
        Whether gradients come at a layer's output and are brought to its input by ``finish``.
    closed
        A kernel machine and the points: nothing then needs to be summed.
    """

    parts: Callable[[], Iterator[Any]]
    finish: Callable[[OuterProducts], OuterProducts]
    shape: Callable[[], tuple[int, ...]]
    how: Callable[[], str]
    only: Sequence[int] | None = None
    through: bool = False
    closed: tuple[KernelMachine, np.ndarray] | None = None


def way_of(model: Any, X: Any, *, at: Any, targets: Any, patches: Any, ask: str | None, step: Any, chunk: int) -> Way:
    """Decide how gradients of a model come.

    Parameters
    ----------
    model, X, at, targets, patches, ask, step, chunk
        As in ``features.agop``.
    """
    if _is_module(model):
        return _of_module(model, X, at=at, targets=targets, patches=patches, chunk=chunk)
    if at is not None or patches is not None:
        msg = f"at= and patches= are for torch modules; got a {type(model).__name__}."
        raise UsageError(msg)
    rows = _table(X)
    machine = None if ask or step is not None else as_kernel_machine(model)
    if machine is not None:
        return _closed(machine, rows, targets)
    asked, mirrored = _question(model, ask)
    differences = Differences(asked, step)
    differences.prepare(rows)
    parts = (rows[i : i + chunk] for i in range(0, len(rows), chunk))
    which = [1] if targets is None and mirrored else ([targets] if isinstance(targets, int) else targets)
    return Way(
        parts=lambda: (each[:, None] for each in differences.blocks(parts)),
        finish=lambda sums: sums,
        shape=lambda: (rows.shape[1],),
        how=lambda: differences.how,
        only=which,
    )


def _of_module(model: Any, X: Any, *, at: Any, targets: Any, patches: Any, chunk: int) -> Way:
    from whycell.lenses.features_torch import TorchGradients

    source = TorchGradients(model, targets, at, patches)
    return Way(
        parts=lambda: source.blocks(_batches(model, X, chunk)),
        finish=source.finish,
        shape=lambda: source.shape,
        how=lambda: source.how,
        through=source.through,
    )


def _closed(machine: KernelMachine, rows: np.ndarray, targets: Any) -> Way:
    if targets is not None:
        which = [targets] if isinstance(targets, int) else list(targets)
        intercept = np.broadcast_to(machine.intercept, machine.coefficients.shape[1:])[which]
        kept = {**machine.__dict__, "coefficients": machine.coefficients[:, which], "intercept": intercept}
        machine = KernelMachine(**kept)

    return Way(
        parts=lambda: iter(()),
        finish=lambda sums: sums,
        shape=lambda: (rows.shape[1],),
        how=lambda: "closed form of the kernel machine",
        closed=(machine, rows),
    )


def _question(model: Any, ask: str | None) -> tuple[Callable[[np.ndarray], np.ndarray], bool]:
    """What is asked, and whether its two columns mirror each other."""
    methods = (ask,) if ask else _ASKED
    for name in methods:
        method = getattr(model, name, None)
        if callable(method):
            mirrored = name == "predict_proba" and len(getattr(model, "classes_", ())) == 2
            return _plain(method, model), mirrored
    if ask is None and callable(model):
        return model, False
    msg = f"A {type(model).__name__} has none of {', '.join(methods)} and cannot be called; give a function of (n, d)."
    raise UsageError(msg)


def _plain(method: Callable[[Any], Any], model: Any) -> Callable[[np.ndarray], np.ndarray]:
    """An estimator fitted with names is asked with names, or it would warn at every question."""
    names = getattr(model, "feature_names_in_", None)
    if names is None:
        return method

    def named(rows: np.ndarray) -> np.ndarray:
        import pandas as pd

        return np.asarray(method(pd.DataFrame(rows, columns=names)))

    return named


def _batches(model: Any, X: Any, chunk: int) -> Iterator[Any]:
    """Batches of inputs on the module's device and in its precision."""
    import torch

    own = next((p for p in model.parameters() if p.is_floating_point()), None)

    def fit(x: Any) -> torch.Tensor:
        x = torch.as_tensor(x[0] if isinstance(x, (tuple, list)) else x).detach()
        kind = own.dtype if own is not None and x.is_floating_point() else x.dtype
        return x.to(device=x.device if own is None else own.device, dtype=kind)

    if hasattr(X, "to_numpy"):
        X = X.to_numpy()
    if isinstance(X, (np.ndarray, torch.Tensor)):
        if own is not None and isinstance(X, np.ndarray) and X.dtype.kind == "f":
            X = torch.as_tensor(X, dtype=own.dtype)
        return (fit(X[i : i + chunk]) for i in range(0, len(X), chunk))
    if not isinstance(X, Iterable):
        msg = f"Got a {type(X).__name__}; an array, a tensor or an iterable of batches is needed."
        raise UsageError(msg)
    given = iter(X)
    first = next(given, None)
    return iter(()) if first is None else (fit(batch) for batch in chain([first], given))


def _table(X: Any) -> np.ndarray:
    import scipy.sparse as sp

    rows = X.to_numpy() if hasattr(X, "to_numpy") else (X.toarray() if sp.issparse(X) else X)
    rows = np.asarray(rows, dtype=np.float64)
    if rows.ndim != 2 or not len(rows):
        msg = f"X has shape {rows.shape}; (n, d) with at least one row is needed."
        raise DataError(msg)
    if not np.isfinite(rows).all():
        msg = f"X holds {int((~np.isfinite(rows)).sum())} values that are NaN or infinite; slopes need numbers."
        raise DataError(msg)
    return rows


def names_of(X: Any, model: Any, names: Sequence[str] | None) -> Sequence[str] | None:
    """Names of the features: as given, as the table has them, or as the estimator was fitted with.

    Parameters
    ----------
    X, model, names
        As in ``features.agop``.
    """
    if names is not None:
        return names
    if hasattr(X, "columns"):
        return [str(column) for column in X.columns]
    found = getattr(model, "feature_names_in_", None)
    return None if found is None else [str(name) for name in found]


def _is_module(model: Any) -> bool:
    """Without importing torch where the model is none of its modules."""
    return any(base.__module__.startswith("torch.nn") for base in type(model).__mro__)
