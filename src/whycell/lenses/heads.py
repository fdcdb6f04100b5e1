"""What of a network's output is explained: a column, a difference of two, a function of it, a neuron inside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from whycell.errors import UsageError
from whycell.lenses.assembling import record
from whycell.lenses.tape import Step, Tape

__all__ = ["LAST", "Head", "head_of", "layer_value"]

#: Stands for the last value of (channels, positions) that everything behind it comes from, whether or not a module
#: gave it: a sum of residuals has no name of its own.
LAST = "@last"

#: Operations that only change the shape, between a network's last function and its output.
_SHAPES = frozenset(
    [
        "view",
        "_unsafe_view",
        "squeeze",
        "unsqueeze",
        "alias",
        "clone",
        "detach",
        "_to_copy",
        "select",
        "slice",
        "t",
        "transpose",
    ]
)


@dataclass
class Head:
    """A tape cut at what is explained, and the weights of its output's elements, by example or for all."""

    tape: Tape
    weights: Callable[[Tensor], Tensor]

    def seed(self, rows: Tensor, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Multipliers to start from, one row for each of the examples ``rows``."""
        weights = self.weights(rows).to(like)
        return weights.expand(shape).contiguous()

    def read(self, values: Tensor, rows: Tensor) -> Tensor:
        """The explained number of every row."""
        return (values * self.weights(rows).to(values)).flatten(1).sum(1) if values.ndim > 1 else values


def head_of(module: nn.Module, inputs: tuple[Tensor, ...], target: Any, neuron: tuple[str, Any] | None) -> Head:
    """Record the module and find what is asked for."""
    function: Callable[..., Any] = module
    if callable(target):
        function = lambda *given: target(module(*given))  # noqa: E731
    tape = record(function, module, inputs)
    if neuron is not None:
        return _neuron(tape, module, neuron)
    tape = _before_link(tape)
    shape = tape.shapes[tape.output]
    if tape.batch.get(tape.output, (0, 1)) != (0, 1):
        msg = (
            "the output does not keep one row for each example on its first axis; give target= as a function that does"
        )
        raise UsageError(msg)
    if callable(target) and len(shape) != 1:
        msg = f"target= gave {len(shape)} axes, wanted one number for each example"
        raise UsageError(msg)
    return Head(tape, _weights(target, shape, len(inputs[0])))


def layer_value(tape: Tape, name: str) -> int:
    """Number of the value that a layer gives; ``name#0`` is its first call where there are several."""
    if name == LAST:
        return _last_with_places(tape)
    layer, _, call = name.partition("#")
    found = tape.marks.get(layer, [])
    if not found:
        known = ", ".join(each for each, values in tape.marks.items() if values and each)
        msg = (
            f"{layer!r} is no layer on the way to the output; wanted one of {known or 'none, the network has no parts'}"
        )
        raise UsageError(msg)
    if len(set(found)) > 1 and not call:
        msg = f"{layer!r} is called {len(found)} times; say which, {layer + '#0'!r} for the first"
        raise UsageError(msg)
    return found[int(call) if call else -1]


def _last_with_places(tape: Tape) -> int:
    """Walk back from the output: where one value with positions is all that the rest still asks for, it is that."""
    asked = {tape.output}
    for step in reversed(tape.steps):
        if asked.isdisjoint(value for value in step.outputs if value is not None):
            continue
        if len(asked) == 1:
            (value,) = asked
            shape = tape.shapes[value]
            if len(shape) == 3 and shape[2] > 1:
                return value
        asked.difference_update(value for value in step.outputs if value is not None)
        asked.update(value for value in step.inputs if value in tape.depends)
    msg = f"{LAST!r} is no layer of this network: at no point does all that follows come from units with positions"
    raise UsageError(msg)


def _neuron(tape: Tape, module: nn.Module, neuron: tuple[str, Any]) -> Head:
    name, index = neuron
    value = layer_value(tape, name)
    sample = tape.shapes[value][1:]
    place = (index,) if isinstance(index, (int, np.integer)) else tuple(index)
    if not 0 < len(place) <= len(sample) or any(not 0 <= i < size for i, size in zip(place, sample, strict=False)):
        msg = f"neuron {place} of {name!r}: wanted up to {len(sample)} numbers within {sample}"
        raise UsageError(msg)
    weights = torch.zeros(1, *sample)
    weights[(0, *place)] = 1
    return Head(tape.until(value), lambda rows: weights)


def _weights(target: Any, shape: tuple[int, ...], n: int) -> Callable[[Tensor], Tensor]:
    if len(shape) == 1:
        return lambda rows: torch.ones(1)
    if target is None or callable(target):
        if int(np.prod(shape[1:])) != 1:
            msg = f"the network gives {shape[1:]} numbers an example; say which with target="
            raise UsageError(msg)
        return lambda rows: torch.ones(1, *shape[1:])
    if len(shape) != 2:
        msg = f"the network gives {shape[1:]} numbers an example; give target= as a function that makes one of them"
        raise UsageError(msg)
    parts = [_column(part, shape[1], n) for part in (target if isinstance(target, tuple) else (target,))]
    if len(parts) == 1:
        return lambda rows: torch.eye(shape[1])[parts[0][rows]]
    if len(parts) != 2:
        msg = f"target= is a tuple of {len(parts)}; wanted two columns, whose difference is explained"
        raise UsageError(msg)
    return lambda rows: torch.eye(shape[1])[parts[0][rows]] - torch.eye(shape[1])[parts[1][rows]]


def _column(target: Any, columns: int, n: int) -> Tensor:
    wanted = torch.as_tensor(np.asarray(target), dtype=torch.long).reshape(-1)
    wanted = wanted.expand(n) if len(wanted) == 1 else wanted
    if len(wanted) != n:
        msg = f"targets for {len(wanted)} examples, inputs of {n}: wanted one target an example"
        raise UsageError(msg)
    if int(wanted.min()) < 0 or int(wanted.max()) >= columns:
        msg = f"target {int(wanted.max())}: wanted 0 to {columns - 1}, one of the network's {columns} outputs"
        raise UsageError(msg)
    return wanted


def _before_link(tape: Tape) -> Tape:
    """A sigmoid or softmax at the very end is taken off, so that the logit is explained.

    A logit means something only against the others: of a softmax, each less the mean of all is explained.
    """
    makers = {value: number for number, step in enumerate(tape.steps) for value in step.outputs if value is not None}
    value = tape.output
    while value in makers:
        number = makers[value]
        step = tape.steps[number]
        if step.kind == "sigmoid":
            return _replaced(tape, number, _same)
        if step.kind in ("_softmax", "_log_softmax"):
            return _replaced(tape, number, _centred(step.leaves[1]))
        if step.kind not in _SHAPES:
            break
        value = step.inputs[0]
    return tape


def _centred(dim: int) -> Callable[[Tensor], Tensor]:
    return lambda z: z - z.mean(dim, keepdim=True)


def _same(z: Tensor) -> Tensor:
    return z.clone()


def _replaced(tape: Tape, number: int, function: Callable[..., Tensor]) -> Tape:
    old = tape.steps[number]
    leaves, spec = tree_flatten(((old.inputs[0],), {}))
    step = Step(_Linear(function), leaves, spec, old.inputs[:1], old.outputs, old.layer, (0,))
    tape.steps[number] = step
    return tape


class _Linear:
    """A linear function that stands on a tape like torch's own."""

    __name__ = "logit"

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function

    def __call__(self, z: Tensor) -> Tensor:
        return self.function(z)
