"""The layers of a network: what they are called, how many units they have, and which stretch of the input each reads.

What a unit reads is found by trying: a position of the input is made NaN, and every unit that becomes NaN reads it.
That holds for whatever the layers are written with. Nearer to an end than half of what it reads, a unit reads less;
its place is that of its neighbours continued, not the middle of what is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from whycell.errors import UsageError
from whycell.lenses.assembling import record
from whycell.lenses.given import tensor_like
from whycell.lenses.heads import LAST, layer_value
from whycell.lenses.tape import Tape

__all__ = ["Fields", "Layer", "fields_of", "layers_of"]

_AT_ONCE = 64


@dataclass(frozen=True)
class Layer:
    """A layer that ``deeplift`` takes as ``at``.

    Parameters
    ----------
    name
        As the module calls it; ``name#0``, ``name#1`` where it is called several times.
    units
        Their shape for one example: ``(channels, positions)`` behind a convolution, ``(units,)`` behind a dense layer.
    """

    name: str
    units: tuple[int, ...]


@dataclass(frozen=True)
class Fields:
    """What the units at each position of a layer read of the input's last axis.

    Parameters
    ----------
    centre
        (positions,) float64: the middle of what a unit reads, counted in the input's positions from 0.
    first, last
        (positions,) int64: the first and the last position read.
    width
        Positions read by a unit far from the ends.
    """

    centre: np.ndarray
    first: np.ndarray
    last: np.ndarray
    width: int


def layers_of(module: nn.Module, x: Any) -> list[Layer]:
    """Every layer on the way to the output, in order, and ``"@last"`` where the last units with a place are.

    Parameters
    ----------
    module
        Any network; it is left as it was.
    x
        (n, ...) inputs, one is enough.
    """
    tape, _ = _recorded(module, x)
    found = []
    for name, values in tape.marks.items():
        calls = sorted(set(values))
        if name and calls:
            many = len(calls) > 1
            found += [Layer(f"{name}#{at}" if many else name, tape.shapes[value][1:]) for at, value in enumerate(calls)]
    try:
        found.append(Layer(LAST, tape.shapes[layer_value(tape, LAST)][1:]))
    except UsageError:  # no unit of it has a place
        return found
    return found


def fields_of(module: nn.Module, x: Any, *, layer: str) -> Fields:
    """Where the units of a layer look.

    Parameters
    ----------
    module, x
        As of ``layers_of``; the last axis of ``x`` (n, channels, length) is the one looked along.
    layer
        Its name.

    Raises
    ------
    UsageError
        No such layer, or its units have no place: it is not (channels, positions), or each of them reads everything.
    """
    tape, inputs = _recorded(module, x)
    value = layer_value(tape, layer)
    shape = tape.shapes[value][1:]
    if len(shape) != 2 or len(inputs) != 1:
        msg = f"the units of {layer!r} are {shape} and have no place; wanted a layer of (channels, positions)."
        raise UsageError(msg)
    reads = _reads(tape.until(value), inputs[0][:1])
    length = reads.shape[1]
    first, last = reads.argmax(axis=1), length - 1 - reads[:, ::-1].argmax(axis=1)
    whole = np.flatnonzero((first > 0) & (last < length - 1))
    if not reads.any(axis=1).all() or (len(whole) < 2 and shape[1] > 1):
        msg = f"each unit of {layer!r} reads most of the {length} positions and has no place; choose an earlier layer."
        raise UsageError(msg)
    middle = (first + last) / 2
    if len(whole) > 1:
        step = (middle[whole[-1]] - middle[whole[0]]) / (whole[-1] - whole[0])
        middle = middle[whole[0]] + step * (np.arange(len(middle)) - whole[0])
    width = int((last - first + 1)[whole].max() if len(whole) else length)
    return Fields(middle.astype(np.float64), first, last, width)


def _recorded(module: nn.Module, x: Any) -> tuple[Tape, tuple[Tensor, ...]]:
    like = next((each for each in module.parameters() if each.is_floating_point()), None)
    inputs = tuple(tensor_like(each, like, exact=False) for each in (x if isinstance(x, tuple) else (x,)))
    with torch.no_grad():
        return record(module, module, inputs), inputs


def _reads(tape: Tape, x: Tensor) -> np.ndarray:
    """(positions, length) whether the units at a position change with a position of the input."""
    length, parts = x.shape[-1], []
    for start in range(0, length, _AT_ONCE):
        places = torch.arange(start, min(start + _AT_ONCE, length))
        asked = x.expand(len(places), *x.shape[1:]).clone()
        asked[torch.arange(len(places)), :, places] = torch.nan
        values: dict[int, Tensor] = {**tape.constants, tape.inputs[0]: asked}
        with torch.no_grad():
            for step in tape.steps:
                out = step.run([values[value] for value in step.inputs], len(places))
                outs = out if isinstance(out, (tuple, list)) else (out,)
                values.update((v, each) for v, each in zip(step.outputs, outs, strict=True) if v is not None)
        parts.append(values[tape.output].isnan().any(dim=1).cpu())
    return torch.cat(parts).T.numpy()
