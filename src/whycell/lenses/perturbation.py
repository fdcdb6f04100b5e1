"""What the output does when one feature is changed: the slow comparator that asks the module itself.

See :mod:`whycell.lenses.comparators` for what ``module``, ``x``, ``reference``, ``target``, ``simplex`` and ``chunk``
mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from whycell.errors import UsageError
from whycell.lenses.asked import Asked, Collected, indices, parts, undisturbed
from whycell.lenses.inputs import InputScores

__all__ = ["in_silico_perturbation", "mutation_effects"]

#: Examples, times references, whose features are looked at together.
_BLOCK = 64


def in_silico_perturbation(
    module: nn.Module,
    x: Any,
    *,
    reference: Any = None,
    target: Any = None,
    simplex: int | None = None,
    groups: Any = None,
    chunk: int = 1024,
) -> InputScores:
    """f(x) - f(x with one feature at its reference), feature by feature: one run of the module for each.

    With ``simplex``, letters are replaced instead: the value of the letter at a position is f(x) minus the mean of f
    over the other letters there, and zero stands at the letters that are absent; ``reference`` is not used and
    ``residual`` is NaN. :func:`mutation_effects` gives every replacement by itself.

    Parameters
    ----------
    groups
        Names of the shape of one example: features of one name are perturbed together, and share the effect evenly.
    """
    if simplex is not None:
        return _of_mutations(module, x, target=target, simplex=simplex, chunk=chunk)
    asked, found = Asked(module, x, reference=reference, target=target), Collected()
    group_of = _grouped(asked, groups)
    size = torch.bincount(group_of) if groups is not None else 1
    with undisturbed(module):
        for part in parts(asked.n, _BLOCK):
            rows, references = asked.rows(part), asked.references(part)
            out = asked.outputs(rows, indices(part), chunk=chunk)
            changes = _Changes(asked, rows, references, group_of if groups is not None else None)
            each = changes.falls(out, start=part.start, chunk=chunk) / size
            found.add(each[..., group_of], output=out, before=asked.at_references(references, part, chunk=chunk))
    return found.scores(asked, "in-silico perturbation")


def mutation_effects(
    module: nn.Module, x: Any, *, target: Any = None, simplex: int = 1, chunk: int = 1024
) -> np.ndarray:
    """f(x with another letter at one position) - f(x), for every letter and position; the shape of ``x``.

    Zero at the letters that are there. The saturation mutagenesis of a sequence, 3 · length runs of the module.
    """
    asked = Asked(module, x, target=target)
    with undisturbed(module):
        found = [_mutated(asked, part, simplex=simplex, chunk=chunk)[0] for part in parts(asked.n, _BLOCK)]
    return torch.cat(found).cpu().numpy() if found else np.zeros((0, *asked.shapes[0]), dtype=np.float32)


def _of_mutations(module: nn.Module, x: Any, *, target: Any, simplex: int, chunk: int) -> InputScores:
    asked, found = Asked(module, x, target=target), Collected()
    with undisturbed(module):
        for part in parts(asked.n, _BLOCK):
            effects, out = _mutated(asked, part, simplex=simplex, chunk=chunk)
            others = -effects.sum(dim=simplex, keepdim=True) / (effects.shape[simplex] - 1)
            found.add((asked.given[0][part] * others).flatten(1)[:, None], output=out, before=None)
    return found.scores(asked, "in-silico perturbation")


def _mutated(asked: Asked, part: slice, *, simplex: int, chunk: int) -> tuple[Tensor, Tensor]:
    """Effects of every other letter in the shape of ``x``, and the (m,) outputs."""
    axis = asked.letters_axis(simplex)
    x = asked.given[0][part].movedim(axis, 1)
    letters, places = x.flatten(2) if x.ndim > 2 else x[..., None], x.shape[2:]
    output = asked.outputs(asked.rows(part), indices(part), chunk=chunk)
    effects = torch.zeros_like(letters)
    for piece in (letters != 1).nonzero().split(chunk):
        example, letter, place = piece.T
        rows, each = letters[example], torch.arange(len(piece), device=x.device)
        rows[each, :, place] = 0
        rows[each, letter, place] = 1
        whole = rows.reshape(len(piece), -1, *places).movedim(1, axis).flatten(1)
        out = asked.outputs(whole, example + part.start, chunk=chunk)
        effects[example, letter, place] = out - output[example]
    return effects.reshape(x.shape).movedim(1, axis), output


class _Changes:
    """One feature, or one group of features, of one example at one of its references."""

    def __init__(self, asked: Asked, rows: Tensor, references: Tensor, group_of: Tensor | None) -> None:
        self.asked, self.rows, self.references, self.group_of = asked, rows, references, group_of

    def falls(self, output: Tensor, *, start: int, chunk: int) -> Tensor:
        """(m, k, groups) falls of the output; what equals its reference cannot change it and is not run."""
        moved = self._moved()
        falls = torch.zeros(moved.shape, dtype=output.dtype, device=output.device)
        for piece in moved.nonzero().split(chunk):
            example, which, feature = piece.T
            after = self.asked.outputs(self._changed(example, which, feature), example + start, chunk=chunk)
            falls[example, which, feature] = output[example] - after
        return falls

    def _moved(self) -> Tensor:
        moved = self.rows[:, None] != self.references
        if self.group_of is None:
            return moved
        n_groups = int(self.group_of.max()) + 1
        counts = torch.zeros(*moved.shape[:2], n_groups, dtype=torch.int64, device=moved.device)
        return counts.index_add_(2, self.group_of, moved.long()) > 0

    def _changed(self, example: Tensor, which: Tensor, feature: Tensor) -> Tensor:
        rows, there = self.rows[example], self.references[example, which]
        if self.group_of is not None:
            return torch.where(self.group_of == feature[:, None], there, rows)
        each = torch.arange(len(rows), device=rows.device)
        rows[each, feature] = there[each, feature]
        return rows


def _grouped(asked: Asked, groups: Any) -> Tensor:
    """(p,) number of the group of every feature."""
    device = asked.given[0].device
    if groups is None:
        return torch.arange(asked.p, device=device)
    names = groups if asked.several else (groups,)
    if [np.shape(each) for each in names] != asked.shapes:
        wanted = ", ".join(map(str, asked.shapes))
        msg = f"groups of shape {np.shape(groups)}: wanted a name for each feature of one example, shape {wanted}"
        raise UsageError(msg)
    codes = np.unique(np.concatenate([np.ravel(each).astype(str) for each in names]), return_inverse=True)[1]
    return torch.as_tensor(codes, device=device)
