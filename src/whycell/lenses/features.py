"""Which features a predictor decides by: the average gradient outer product (AGOP) of any model.

    AGOP = mean over points x of  Σ_c ∇f_c(x) ∇f_c(x)'

Its diagonal says how much each input moves the outputs, its eigenvectors along which combinations, its spectrum how
many of them there are. It is about the model: a direction that the labels depend on and the model does not is absent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from whycell.errors import DataError, UsageError
from whycell.lenses.features_ways import Way, names_of, way_of
from whycell.lenses.outer_products import OuterProducts, library
from whycell.results.features import Agop

__all__ = ["Agop", "agop", "agop_of_sums", "outer_products", "outer_products_by"]

_MOST = 20_000  # features of a whole matrix: 3.2 GB


def agop(
    model: Any,
    X: Any,
    *,
    at: str | None = None,
    targets: Any = None,
    centre: bool = False,
    weights: np.ndarray | None = None,
    chunk: int = 128,
    diagonal: bool = False,
    patches: int | tuple[int, ...] | None = None,
    ask: str | None = None,
    step: np.ndarray | float | None = None,
    names: Sequence[str] | None = None,
) -> Agop:
    """Average gradient outer product of any model.

    Torch modules are differentiated, kernel machines have a closed form (``KernelMachine``, an object with
    ``kernel_machine()``, scikit-learn's ``KernelRidge`` and ``SVR`` with rbf or laplacian kernel), everything else is
    asked at shifted points.

    Parameters
    ----------
    model
        A torch module, a fitted estimator, a kernel machine, or a function from (n, d) to (n,) or (n, c).
    X
        (n, ...) points: an array, a tensor, a DataFrame, or for modules an iterable of batches (of which the first
        member is taken where they are tuples).
    at
        For modules: layer whose *input* the gradients are by, so that the AGOP can be laid beside its W'W. Of a linear
        layer with further axes every place is a point, of a convolution every patch; of an embedding it is the output.
    targets
        Which outputs: ``None`` for all (of two mirrored probabilities, the second), a number, some, or for modules a
        function from what the module gives to (n,) or (n, c).
    centre
        Take the mean gradient of each output off: what is left is what a linear model cannot do.
    weights
        (n,) weights of the examples.
    chunk
        Examples at once.
    diagonal
        Keep the diagonal alone: for inputs too many for a matrix.
    patches
        For modules whose input is (channels, places...): the AGOP of windows of that width cut from it.
    ask
        For estimators: the method asked; the first that there is of ``predict_proba, decision_function, predict``.
    step
        For differences: (d,) steps, or one in standard deviations; chosen by feature where ``None``.
    names
        (d,) names of the features; the columns of a DataFrame, or what the estimator was fitted with.

    Returns
    -------
    Agop

    Raises
    ------
    UsageError
        Asked for what the model does not have, or for a matrix that does not fit.
    """
    way = way_of(model, X, at=at, targets=targets, patches=patches, ask=ask, step=step, chunk=chunk)
    sums = outer_products(way, weights=weights, diagonal=diagonal)
    return agop_of_sums(sums, way, centre=centre, names=names_of(X, model, names))


def outer_products(way: Way, *, weights: np.ndarray | None = None, diagonal: bool = False) -> OuterProducts:
    """Sums over all points of the outer products of their gradients.

    Parameters
    ----------
    way
        How gradients come.
    weights
        (n,) weights of the examples.
    diagonal
        Keep the diagonal alone.
    """
    if way.closed is not None:
        machine, rows = way.closed
        return machine.outer_products(rows, weights=weights, diagonal=diagonal)
    total, start = None, 0
    for found in way.parts():
        n, p = found.shape[:2]
        some = _picked(found, way)
        if some.shape[-1] > _MOST and not diagonal:
            msg = f"A matrix of {some.shape[-1]} x {some.shape[-1]} does not fit; ask with diagonal=True or patches=."
            raise UsageError(msg)
        of_points = None
        if weights is not None:
            own = np.asarray(weights, dtype=np.float64)[start : start + n]
            if len(own) < n:
                break
            of_points = _like(np.repeat(own, p), some)
        here = OuterProducts.of(some, of_points, diagonal=diagonal and not way.through)
        total = here if total is None else total + here
        start += n
    if weights is not None and start != len(weights):
        msg = f"Got {len(weights)} weights for another number of examples; one each is needed."
        raise DataError(msg)
    if total is None:
        msg = "Got no examples; an AGOP is a mean over at least one."
        raise DataError(msg)
    return way.finish(total)


def outer_products_by(way: Way, codes: np.ndarray, *, diagonal: bool = False) -> list[OuterProducts]:
    """The same sums group by group, in one pass.

    Parameters
    ----------
    way
        How gradients come.
    codes
        (n,) the group of each example, 0 and up, none empty.
    diagonal
        Keep the diagonal alone.
    """
    if way.closed is not None:
        machine, rows = way.closed
        _one_each(len(rows), codes)
        return [machine.outer_products(rows[codes == g], diagonal=diagonal) for g in range(int(codes.max()) + 1)]
    totals: list[OuterProducts | None] = [None] * (int(codes.max()) + 1)
    start = 0
    for found in way.parts():
        n, p = found.shape[:2]
        some, own = _picked(found, way), np.repeat(codes[start : start + n], p)
        _one_each(len(some), own)
        for g in np.unique(own):
            here = OuterProducts.of(some[_like(own == g, some)], diagonal=diagonal and not way.through)
            before = totals[g]
            totals[g] = here if before is None else before + here
        start += n
    _one_each(start, codes)
    return [way.finish(each) for each in totals if each is not None]


def agop_of_sums(sums: OuterProducts, way: Way, *, centre: bool, names: Sequence[str] | None) -> Agop:
    """The result, in numpy.

    Parameters
    ----------
    sums
        Over all points.
    way
        How they came.
    centre
        Take the mean gradients off.
    names
        (d,) or ``None``.
    """
    matrix = _numpy(sums.matrix(centre=centre))
    per_target = _numpy(sums.diagonals(centre=centre))
    shape, d = way.shape(), matrix.shape[0]
    if names is not None and len(names) != d:
        msg = f"Got {len(names)} names for {d} features; one each is needed."
        raise UsageError(msg)
    given = [str(name) for name in names] if names is not None else [f"x{k}" for k in range(d)]
    mean = _numpy(sums.mean)
    return Agop(
        matrix=matrix,
        n=sums.n,
        per_target=None if np.isnan(per_target).any() else per_target,
        mean=mean,
        names=np.array(given, dtype=object),
        target_names=np.array([str(c) for c in (way.only or range(len(mean)))], dtype=object),
        shape=shape if int(np.prod(shape)) == d else (d,),
        centred=centre,
        how=way.how(),
    )


def _picked(found: Any, way: Way) -> Any:
    """(points, c, d) in double precision, of the outputs asked for."""
    flat = found.reshape(-1, *found.shape[2:])
    flat = flat.double() if hasattr(flat, "double") else flat.astype(np.float64, copy=False)
    if way.only is None or _is_tensor(flat):
        return flat
    which = list(way.only)
    if not which or not all(0 <= k < flat.shape[1] for k in which):
        msg = f"targets={which}: wanted some of 0 to {flat.shape[1] - 1}, the model's outputs."
        raise UsageError(msg)
    return flat[:, which]


def _is_tensor(array: Any) -> bool:
    return library(array) is not np


def _like(values: np.ndarray, array: Any) -> Any:
    if not _is_tensor(array):
        return values
    import torch

    kind = torch.bool if values.dtype == bool else array.dtype
    return torch.as_tensor(values, dtype=kind, device=array.device)


def _one_each(n: int, codes: np.ndarray) -> None:
    if n != len(codes):
        msg = f"Got {len(codes)} groups for another number of examples; one each is needed."
        raise DataError(msg)


def _numpy(array: Any) -> np.ndarray:
    return array.detach().cpu().numpy() if _is_tensor(array) else np.asarray(array)
