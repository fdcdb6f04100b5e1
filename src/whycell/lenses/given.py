"""Inputs and references in whatever form they were given."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from whycell.errors import UsageError

__all__ = ["References", "tensor_like"]


def tensor_like(x: Any, like: Tensor | None, *, exact: bool) -> Tensor:
    """``x`` on the device and in the precision of a network's parameters; whole numbers as they are where ``exact``."""
    x = torch.as_tensor(x).detach()
    device = x.device if like is None else like.device
    if exact and not x.is_floating_point():
        return x.to(device)
    return x.to(device, like.dtype if like is not None else x.dtype if x.is_floating_point() else torch.float32)


#: Examples that a function makes references for in one call.
BLOCK = 16


class References:
    """References in whatever form they were given: shared by all examples, some for each, or made when asked for."""

    def __init__(self, given: Any, inputs: tuple[Tensor, ...], *, several: bool) -> None:
        self.given, self.inputs, self.several = given, inputs, several
        self.n = len(inputs[0])
        #: Examples for which references are made at once: a function's own, so that its answer cannot depend on chunks.
        self.block = BLOCK if callable(given) else self.n
        self.start = -1
        self.make(0)

    def make(self, start: int) -> None:
        """Those of the block that begins at an example."""
        if start == self.start:
            return
        self.start = start
        inputs = tuple(x[start : start + self.block] for x in self.inputs)
        given = self.given
        if callable(given):
            given = given(inputs if self.several else inputs[0])
        each = [None] * len(inputs) if given is None else (given if self.several else (given,))
        if len(each) != len(inputs):
            msg = f"references for {len(each)} inputs, {len(inputs)} inputs: wanted one for each, as a tuple"
            raise UsageError(msg)
        found = [_laid(r, x) for r, x in zip(each, inputs, strict=True)]
        self.k = max(r.shape[1] for r in found)
        self.shared = all(r.shape[0] == 1 for r in found)
        if any(r.shape[1] not in (1, self.k) for r in found):
            msg = f"references of {', '.join(str(r.shape[1]) for r in found)}: wanted as many for each input"
            raise UsageError(msg)
        self.tensors = [r.expand(r.shape[0], self.k, *r.shape[2:]) for r in found]

    def rows(self, examples: slice, which: slice) -> list[Tensor]:
        """(m, k', ...) of some examples of one block; m is 1 where all share them."""
        start, stop = examples.start - self.start, examples.stop - self.start
        out = []
        for r, x in zip(self.tensors, self.inputs, strict=True):
            r = r[:, which]
            if not self.shared:
                r = r[start:stop] if len(r) > 1 else r.expand(stop - start, *r.shape[1:])
            out.append(r.to(x))  # only now: letters may be kept as bytes
        return out


def _laid(reference: Any, x: Tensor) -> Tensor:
    """(n or 1, k, ...) of one input's reference."""
    sample, n = tuple(x.shape[1:]), len(x)
    if reference is None:
        return x.new_zeros(1, 1, *sample)
    reference = torch.as_tensor(reference).detach()
    shape = tuple(reference.shape)
    if shape == (n, *sample):
        return reference.unsqueeze(1)
    if len(shape) == len(sample) + 2 and shape[0] in (1, n) and shape[2:] == sample:
        return reference
    if shape == sample:
        return reference[None, None]
    if shape[1:] == sample:
        return reference[None]
    words = ", ".join(map(str, sample))
    msg = (
        f"a reference of shape {shape} for inputs of shape {(n, *sample)}: wanted that shape, "
        f"(k, {words}) for all, or ({n}, k, {words})"
    )
    raise UsageError(msg)
