"""A module, its inputs, what is explained of its output, and the references: as the comparators need them.

Inputs are laid out flat, (n, p) for all inputs of an example together, so that one input and several are one case.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from whycell.errors import UsageError
from whycell.lenses.given import References
from whycell.lenses.inputs import InputScores

__all__ = ["Asked", "Collected", "indices", "parts", "undisturbed"]


def parts(n: int, size: int) -> Iterator[slice]:
    """0..n in pieces of ``size``."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def indices(part: slice) -> Tensor:
    """The whole numbers in ``part``."""
    return torch.arange(part.start, part.stop)


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Run in evaluation mode; give each part its own mode back, also where the computation fails."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


class Asked:
    """What is asked of a module; see :mod:`whycell.lenses.comparators` for the parameters."""

    def __init__(self, module: nn.Module, x: Any, *, reference: Any = None, target: Any = None) -> None:
        self.module, self.target, self.reference = module, target, reference
        self.several = isinstance(x, tuple)
        numbers = next((each for each in module.parameters() if each.is_floating_point()), None)
        self.given = [_tensor(each, numbers) for each in (x if self.several else (x,))]
        if len({len(each) for each in self.given}) != 1:
            msg = f"inputs of {', '.join(str(len(each)) for each in self.given)} examples: wanted as many in each"
            raise UsageError(msg)
        self.shapes = [tuple(each.shape[1:]) for each in self.given]
        self.sizes = [int(np.prod(shape)) for shape in self.shapes]
        self.n, self.p = len(self.given[0]), sum(self.sizes)
        self.known = References(None if callable(reference) else reference, tuple(self.given), several=self.several)
        for which in _each(target):
            if np.ndim(which) and len(which) != self.n:
                msg = f"targets for {len(which)} examples, inputs of {self.n}: wanted one target an example"
                raise UsageError(msg)

    def rows(self, part: slice) -> Tensor:
        """(m, p) flat inputs of the examples in ``part``."""
        return torch.cat([each[part].flatten(1) for each in self.given], dim=1)

    def references(self, part: slice) -> Tensor:
        """(m, k, p) flat references of the examples in ``part``; a view where all share them."""
        own = tuple(each[part] for each in self.given)
        if callable(self.reference):
            found, part = References(self.reference, own, several=self.several), slice(0, len(own[0]))
        else:
            found = self.known
        rows = found.rows(part, slice(None))
        return torch.cat([each.flatten(2).expand(len(own[0]), -1, -1) for each in rows], dim=2)

    def module_inputs(self, flat: Tensor) -> list[Tensor]:
        """Flat rows in the shapes that the module takes."""
        pieces = flat.split(self.sizes, dim=1)
        return [piece.reshape(-1, *shape) for piece, shape in zip(pieces, self.shapes, strict=True)]

    def output(self, flat: Tensor, examples: Tensor) -> Tensor:
        """(m,) explained outputs of flat rows, made from the examples of those indices."""
        out = self.module(*self.module_inputs(flat))
        found = _chosen(out, self.target, examples)
        if not isinstance(found, Tensor) or found.shape != (len(flat),):
            got = f"{tuple(found.shape[1:])} numbers" if isinstance(found, Tensor) else f"a {type(found).__name__}"
            msg = f"an output of {got} for each example: wanted one number; say which by target="
            raise UsageError(msg)
        return found

    def outputs(self, flat: Tensor, examples: Tensor, *, chunk: int) -> Tensor:
        """As :meth:`output`, without gradient, ``chunk`` rows at once."""
        with torch.no_grad():
            pieces = zip(flat.split(chunk), examples.split(chunk), strict=True)
            return torch.cat([self.output(rows, which) for rows, which in pieces])

    def gradients(self, flat: Tensor, examples: Tensor) -> tuple[Tensor, Tensor]:
        """(m,) outputs and (m, p) their gradients; parameters get none."""
        with torch.enable_grad():
            flat = flat.detach().requires_grad_(True)  # noqa: FBT003
            out = self.output(flat, examples)
            if out.grad_fn is None:
                return out.detach(), torch.zeros_like(flat)
            (slope,) = torch.autograd.grad(out.sum(), flat, allow_unused=True)
        return out.detach(), torch.zeros_like(flat) if slope is None else slope

    def at_references(self, references: Tensor, part: slice, *, chunk: int) -> Tensor:
        """(m,) mean output over the references (m, k, p) of the examples in ``part``."""
        m, k = references.shape[:2]
        examples = indices(part).repeat_interleave(k)
        return self.outputs(references.reshape(m * k, -1), examples, chunk=chunk).view(m, k).mean(dim=1)

    def letters_axis(self, simplex: int) -> int:
        """``simplex``, if it is an axis of the one input."""
        if self.several or not 1 <= simplex <= len(self.shapes[0]):
            msg = f"simplex={simplex}: wanted the axis of the letters of one input, 1 to {len(self.shapes[0])}"
            raise UsageError(msg)
        return simplex

    def shaped(self, flat: np.ndarray) -> Any:
        """Flat values in the shape of what was given: an array, or a tuple where the inputs are one."""
        pieces = np.split(flat, np.cumsum(self.sizes)[:-1], axis=1)
        shaped = tuple(piece.reshape(-1, *shape) for piece, shape in zip(pieces, self.shapes, strict=True))
        return shaped if self.several else shaped[0]


class Collected:
    """Contributions part by part, until all are there."""

    def __init__(self) -> None:
        self.kept: list[list[Tensor]] = [[], [], [], []]

    def add(self, each: Tensor, *, output: Tensor, before: Tensor | None) -> None:
        """Contributions (m, k, p) against each reference; outputs (m,) there and, on average, at the references."""
        before = torch.full_like(output, torch.nan) if before is None else before
        new = (each.mean(dim=1), each.std(dim=1, correction=0), output, before)
        for kept, piece in zip(self.kept, new, strict=True):
            kept.append(piece)

    def scores(self, asked: Asked, rule: str) -> InputScores:
        """All of them; the residual is the explained difference minus the sum of the values."""
        if asked.n:
            values, spread, output, before = (torch.cat(each).cpu().numpy() for each in self.kept)
        else:
            values, output = np.zeros((0, asked.p), dtype=np.float32), np.zeros(0, dtype=np.float32)
            spread, before = values, output
        return InputScores(
            values=asked.shaped(values),
            residual=output - before - values.sum(axis=1),
            spread=asked.shaped(spread),
            residual_by_layer={},
            output=output,
            reference_output=before,
            rule=rule,
        )


def _tensor(x: Any, like: Tensor | None) -> Tensor:
    x = torch.as_tensor(x).detach()
    kind = like.dtype if like is not None else (x.dtype if x.is_floating_point() else torch.float32)
    return x.to(device=like.device if like is not None else x.device, dtype=kind)


def _each(target: Any) -> tuple[Any, ...]:
    return target if isinstance(target, tuple) else (target,)


def _chosen(out: Any, target: Any, examples: Tensor) -> Any:
    if callable(target):
        return target(out)
    if target is None:
        return out.squeeze(1) if isinstance(out, Tensor) and out.ndim == 2 and out.shape[1] == 1 else out
    if not isinstance(out, Tensor) or out.ndim != 2:
        msg = "an output that is no table (examples, targets): wanted target= as a function from it to one number each"
        raise UsageError(msg)
    if isinstance(target, tuple):
        return _column(out, target[0], examples) - _column(out, target[1], examples)
    return _column(out, target, examples)


def _column(out: Tensor, which: Any, examples: Tensor) -> Tensor:
    wanted = torch.as_tensor(which, device=out.device)
    wanted = wanted[examples] if wanted.ndim else wanted.expand(len(out))
    if len(wanted) and not 0 <= int(wanted.min()) <= int(wanted.max()) < out.shape[1]:
        msg = f"target {int(wanted.max())}: wanted 0 to {out.shape[1] - 1}, one of the module's {out.shape[1]} outputs"
        raise UsageError(msg)
    return out.gather(1, wanted[:, None].long())[:, 0]
