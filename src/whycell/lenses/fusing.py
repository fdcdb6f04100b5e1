"""A tape made faster on a processor: channels side by side in memory, and a relu and the pool after it as one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten

from whycell.lenses.engine import Node, Rule
from whycell.lenses.kernels import overlap_add, pool_back, pool_forward, relu_back
from whycell.lenses.tape import Step, Tape

__all__ = ["FusedPool", "Pooled", "channels_last", "convolve", "fused", "overlap", "relu_multipliers"]

aten = torch.ops.aten
KINDS = (torch.float32, torch.float64)


def channels_last(x: Tensor) -> Tensor:
    """(rows, height, width, c) of (rows, c, width) or (rows, c, height, width): a view where memory lies so."""
    return (x.unsqueeze(2) if x.ndim == 3 else x).permute(0, 2, 3, 1).contiguous()


def _channels_first(x: Tensor, ndim: int) -> Tensor:
    """Back, as a view."""
    x = x.permute(0, 3, 1, 2)
    return x.squeeze(2) if ndim == 3 else x


def convolve(x: Tensor, w: Tensor, bias: Tensor | None, *settings: Any) -> Tensor:
    """``aten.convolution`` with channels side by side, which processors do several times faster."""
    if not _suits(x) or x.ndim not in (3, 4):
        return aten.convolution(x, w, bias, *settings)
    stride, padding, dilation, transposed, more, groups = settings
    if x.ndim == 4:
        return aten.convolution(channels_last(x).permute(0, 3, 1, 2), w, bias, *settings)
    wide = [[1, *stride], [0, *padding], [1, *dilation], transposed, [0, *more], groups]
    return aten.convolution(channels_last(x).permute(0, 3, 1, 2), w.unsqueeze(2), bias, *wide).squeeze(2)


def _suits(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype in KINDS


def overlap(m: Tensor, w: Tensor, settings: Sequence[Any], length: int) -> Tensor | None:
    """Transpose of a convolution to a few channels, over (rows, c, length): one product, and sums; None for others."""
    (stride,), (padding,), (dilation,), transposed, _, groups = settings if m.ndim == 3 else ([0], [0], [0], True, 0, 0)
    if transposed or groups != 1 or dilation != 1 or w.shape[1] > 8 or not _suits(m):
        return None
    rows, _, places = m.shape
    _, channels, taps = w.shape
    parts = m.transpose(1, 2).reshape(rows * places, -1) @ w.permute(0, 2, 1).reshape(len(w), -1)
    reach = max((places - 1) * stride + taps, length + padding)
    out = parts.new_zeros(rows, reach * channels)
    overlap_add(parts.view(rows, places, -1).numpy(), out.numpy(), stride * channels)
    return out.view(rows, reach, channels)[:, padding : padding + length].transpose(1, 2)


def relu_multipliers(m: Tensor, x: Tensor, r: Tensor) -> Tensor | None:
    """Rescale through relu; None where the compiled loop does not apply."""
    if not _suits(m) or m.dtype != x.dtype or m.ndim < 2:
        return None
    apart = m.ndim in (3, 4) and not x.is_contiguous()
    m, x, r = ((channels_last(each) if apart else each.contiguous()) for each in (m, x, r))
    out = torch.empty_like(m)
    relu_back(*(each.view(len(each), -1).numpy() for each in (m, x, r, out)))
    return _channels_first(out, 3 if apart and out.shape[1] == 1 else 4) if apart else out


class Pooled:
    """A maximum pool over windows, or ``relu`` and one; stands on a tape like torch's own."""

    def __init__(self, window: tuple[int, ...], floor: float, ndim: int) -> None:
        self.window, self.floor, self.ndim = window, floor, ndim
        self.__name__ = "relu_max_pool" if floor == 0 else "max_pool"

    def __call__(self, x: Tensor) -> Tensor:
        z = channels_last(x)
        kh, kw, sh, sw, ph, pw = self.window
        tall = (z.shape[1] + 2 * ph - kh) // sh + 1
        wide = (z.shape[2] + 2 * pw - kw) // sw + 1
        out = z.new_empty(len(z), tall, wide, z.shape[3])
        pool_forward(z.numpy(), out.numpy(), self.window, z.new_tensor(self.floor).numpy()[()])
        return _channels_first(out, self.ndim)


class FusedPool(Rule):
    """Of both at once: Δ relu(max) / Δx at the place of the larger maximum."""

    def back(self, node: Node, m: Sequence[Tensor | None]) -> list[Tensor | None]:
        if m[0] is None:
            return [None]
        pool, value, sweep = node.step.func, node.value(0), node.sweep
        x, r, come = (channels_last(each) for each in (sweep.xs[value], sweep.rs[value], m[0]))
        out = come.new_zeros(len(come), *x.shape[1:])
        floor = x.new_tensor(pool.floor).numpy()[()]
        pool_back(come.numpy(), x.numpy(), r.numpy(), out.numpy(), pool.window, floor)
        return [_channels_first(out, pool.ndim)]


def fused(tape: Tape, wanted: set[int]) -> Tape:
    """The same tape in fewer and faster steps; values in ``wanted`` stay."""
    first = tape.constants or {}
    if any(each.device.type != "cpu" for each in first.values()):
        return tape
    readers: dict[int, list[int]] = {}
    makers: dict[int, int] = {}
    for number, step in enumerate(tape.steps):
        for value in step.inputs:
            readers.setdefault(value, []).append(number)
        makers.update((value, number) for value in step.outputs if value is not None)
    steps: list[Step | None] = list(tape.steps)
    for number, step in enumerate(tape.steps):
        if step.kind == "max_pool2d_with_indices":
            _pool(tape, steps, number, readers, makers, wanted)
        elif step.kind == "convolution":
            steps[number] = Step(convolve, step.leaves, step.spec, step.inputs, step.outputs, step.layer, step.places)
    return tape.with_steps([step for step in steps if step is not None])


def _pool(
    tape: Tape,
    steps: list[Step | None],
    number: int,
    readers: dict[int, list[int]],
    makers: dict[int, int],
    wanted: set[int],
) -> None:
    """Replace a pool, the changes of shape around it in one dimension, and a relu before it."""
    step = tape.steps[number]
    window = _window(step)
    if window is None or step.inputs[0] not in tape.depends or step.outputs[1] in readers:
        return
    source, out, gone, ndim = step.inputs[0], step.outputs[0], [number], 4

    def only(value: int) -> bool:
        return len(readers.get(value, ())) == 1 and value not in wanted

    before = tape.steps[makers[source]] if source in makers else None
    if before is not None and before.kind == "unsqueeze" and before.leaves[1:] in ([-2], [2]):
        after = [n for n in readers.get(out, ()) if tape.steps[n].kind == "squeeze"]
        if len(after) != 1 or not (only(source) and only(out)) or len(tape.shapes[before.inputs[0]]) != 3:
            return
        gone += [makers[source], after[0]]
        source, out, ndim = before.inputs[0], tape.steps[after[0]].outputs[0], 3
    elif len(tape.shapes[source]) != 4:
        return
    floor = float("-inf")
    before = tape.steps[makers[source]] if source in makers else None
    if before is not None and before.kind == "relu" and only(source):
        gone.append(makers[source])
        source, floor = before.inputs[0], 0.0
    for each in gone:
        steps[each] = None
    leaves, spec = tree_flatten(((0,), {}))
    steps[max(gone)] = Step(Pooled(window, floor, ndim), leaves, spec, (source,), (out,), step.layer, (0,))


def _window(step: Step) -> tuple[int, ...] | None:
    args, _ = step.arguments([None], 0)
    size, stride, padding, dilation, ceil = (*args[1:], *([], [0], [1], False)[len(args) - 2 :])
    if ceil or any(each != 1 for each in dilation):
        return None
    stride = stride or size
    return tuple(int(each[i % len(each)]) for each in (size, stride, padding) for i in range(2))
