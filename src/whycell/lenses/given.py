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


class References:
    """References in whatever form they were given: shared by all examples, or some for each."""

    def __init__(self, given: Any, inputs: tuple[Tensor, ...], *, several: bool) -> None:
        if callable(given):
            given = given(inputs if several else inputs[0])
        each = [None] * len(inputs) if given is None else (given if several else (given,))
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
        """(m, k', ...) of some examples; m is 1 where all share them."""
        m = len(range(examples.start, examples.stop))
        out = []
        for r in self.tensors:
            r = r[:, which]
            if not self.shared:
                r = r[examples] if len(r) > 1 else r.expand(m, *r.shape[1:])
            out.append(r)
        return out


def _laid(reference: Any, x: Tensor) -> Tensor:
    """(n or 1, k, ...) of one input's reference."""
    sample, n = tuple(x.shape[1:]), len(x)
    if reference is None:
        return x.new_zeros(1, 1, *sample)
    reference = torch.as_tensor(reference).detach().to(x)
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
