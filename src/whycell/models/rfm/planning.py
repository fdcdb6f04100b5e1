"""From the words of an estimator to what the recursion may choose among."""

from __future__ import annotations

from typing import Literal

from whycell.errors import UsageError
from whycell.models.rfm.choosing import BANDWIDTHS, RIDGES, Chain
from whycell.models.rfm.geometry import Shape
from whycell.models.rfm.learning import Plan

__all__ = ["KERNELS", "plan_of"]

#: Kernels by name: norm p and exponent q.
KERNELS = {"laplace": Shape(2.0, 1.0), "gaussian": Shape(2.0, 2.0), "product": Shape(1.0, 1.0)}
_ITERATIONS = 5
#: With more coordinates than this a full metric is learned only where it is asked for.
_MOST_FULL = 3000


def plan_of(
    kernel: str | tuple[float, float],
    metric: str | int,
    *,
    bandwidth: float | None,
    ridge: float | None,
    power: float,
    shrinkage: float,
    iterations: int | None,
    centre: bool,
    coordinates: int,
) -> Plan:
    """Read the parameters of an estimator.

    Parameters
    ----------
    kernel, metric, bandwidth, ridge, power, shrinkage, iterations, centre
        As in :class:`whycell.models.rfm.RecursiveFeatureMachine`.
    coordinates
        Coordinates of a row.

    Raises
    ------
    UsageError
        A value that means nothing.
    """
    for name, value in (("bandwidth", bandwidth), ("ridge", ridge)):
        if value is not None and not value > 0:
            msg = f"{name} is {value}; wanted a number above 0, or None to choose it by leave-one-out."
            raise UsageError(msg)
    if not 0 < power <= 2 or not 0 <= shrinkage < 1:
        msg = f"Got power {power} and shrinkage {shrinkage}; wanted a power in (0, 2] and a shrinkage in [0, 1)."
        raise UsageError(msg)
    if iterations is not None and iterations < 0:
        msg = f"iterations is {iterations}; wanted 0 or more, or None to choose."
        raise UsageError(msg)
    shapes = list(KERNELS.values()) if kernel == "auto" else [_shape(kernel)]
    told = {"power": power, "shrinkage": shrinkage, "centre": centre, "coordinates": coordinates}
    chains = [_chain(shape, metric, alone=len(shapes) == 1, **told) for shape in shapes]
    return Plan(
        chains=tuple(sorted(chains, key=lambda chain: chain.kind == "none"))
        if iterations is not None
        else tuple(chains),
        bandwidths=BANDWIDTHS if bandwidth is None else (float(bandwidth),),
        ridges=RIDGES if ridge is None else (float(ridge),),
        iterations=_ITERATIONS if iterations is None else int(iterations),
        choose=iterations is None or len(chains) > 1,
    )


def _shape(kernel: str | tuple[float, float]) -> Shape:
    if isinstance(kernel, str):
        if kernel not in KERNELS:
            msg = f"There is no kernel {kernel!r}; there are auto, {', '.join(KERNELS)}, and pairs (p, q)."
            raise UsageError(msg)
        return KERNELS[kernel]
    norm, exponent = kernel
    if not 0 < exponent <= norm <= 2:
        msg = f"Got the kernel {kernel}: it is one only for 0 < q <= p <= 2."
        raise UsageError(msg)
    return Shape(float(norm), float(exponent))


def _chain(
    shape: Shape, metric: str | int, *, power: float, shrinkage: float, centre: bool, coordinates: int, alone: bool
) -> Chain:
    kind: Literal["none", "diagonal", "full"]
    rank = None
    if isinstance(metric, str):
        if metric not in ("auto", "full", "diagonal", "none"):
            msg = f"There is no metric {metric!r}; there are auto, full, diagonal, none, and a number of directions."
            raise UsageError(msg)
        if metric == "auto":
            kind = "diagonal" if shape.norm != 2 or coordinates > _MOST_FULL else "full"
            if shape.exponent == 2 and not alone:
                kind = "none"
        else:
            kind = metric  # type: ignore[assignment]
    else:
        if metric < 1:
            msg = f"metric is {metric}; wanted one direction at least, or a word."
            raise UsageError(msg)
        kind, rank = "full", min(int(metric), coordinates)
    return Chain(shape, kind, power=power, floor=shrinkage, rank=rank, centre=centre)
