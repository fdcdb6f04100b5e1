"""What an explanation is compared with: perturbation, gradients and their integrals, behind the interface of DeepLIFT.

All take any ``torch.nn.Module`` and give :class:`~whycell.lenses.inputs.InputScores`; the module is left as it was.
None says where in the module something is lost, so ``residual_by_layer`` is empty; ``residual`` is the explained
difference minus the sum of the values, as everywhere.

What these names mean in every function here:

module
    Runs in evaluation mode, on its own device and in its own precision.
x
    (n, ...) inputs, an array or a tensor; a tuple of them for a module of several inputs.
reference
    None for zeros; an array of the shape of ``x``, one for each example; (k, ...) for all examples or (n, k, ...), k
    for each, averaged; or a function of ``x`` that gives one of these, called on a few examples at a time. A tuple
    where ``x`` is one. See :mod:`whycell.lenses.references`.
target
    What is explained of the output: the number of a column, (n,) one for each example, a tuple of two for their
    difference, a function from the output to (n,), or None where the module gives one number an example.
simplex
    The axis of ``x`` along which letters lie where the input is one-hot: 1 for (n, 4, length). Gradients are then
    corrected by subtracting their mean along it (Majdandzic et al., Genome Biology 2023, 24:109): the part that leads
    off the simplex is one that no sequence ever showed the network.
chunk
    Rows given to the module at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from whycell.lenses.asked import Asked, Collected, indices, parts, undisturbed
from whycell.lenses.inputs import InputScores

__all__ = [
    "at_random",
    "evenly",
    "expected_gradients",
    "gradient",
    "gradient_times_input",
    "integrated_gradients",
    "mean_slopes",
]

Nodes = Callable[[int], tuple[np.ndarray, np.ndarray]]

#: Examples whose paths are followed side by side.
_BLOCK = 16


def gradient(
    module: nn.Module, x: Any, *, target: Any = None, simplex: int | None = None, chunk: int = 256
) -> InputScores:
    """The slope of the output at ``x`` (Simonyan et al., 2014). It explains no difference: ``residual`` is NaN."""
    asked, found = Asked(module, x, target=target), Collected()
    with undisturbed(module):
        for part in parts(asked.n, chunk):
            out, slope = asked.gradients(asked.rows(part), indices(part))
            found.add(_corrected(asked, slope, simplex)[:, None], output=out, before=None)
    return found.scores(asked, "gradient")


def gradient_times_input(
    module: nn.Module,
    x: Any,
    *,
    reference: Any = None,
    target: Any = None,
    simplex: int | None = None,
    chunk: int = 256,
) -> InputScores:
    """gradient(x) · (x - reference) (Shrikumar et al., 2016)."""
    asked, found = Asked(module, x, reference=reference, target=target), Collected()
    with undisturbed(module):
        for part in parts(asked.n, chunk):
            rows, references = asked.rows(part), asked.references(part)
            out, slope = asked.gradients(rows, indices(part))
            each = _corrected(asked, slope, simplex)[:, None] * (rows[:, None] - references)
            found.add(each, output=out, before=asked.at_references(references, part, chunk=chunk))
    return found.scores(asked, "gradient x input")


def integrated_gradients(
    module: nn.Module,
    x: Any,
    *,
    reference: Any = None,
    target: Any = None,
    simplex: int | None = None,
    steps: int = 50,
    chunk: int = 256,
) -> InputScores:
    """(x - reference) · mean gradient on the straight way between them (Sundararajan et al., ICML 2017).

    Parameters
    ----------
    steps
        Points on the way, with Gauss-Legendre weights. What so few points miss is in ``residual``.
    """
    asked = Asked(module, x, reference=reference, target=target)
    return _along_paths(asked, evenly(steps), simplex, chunk=chunk, rule="integrated gradients")


def expected_gradients(
    module: nn.Module,
    x: Any,
    *,
    reference: Any,
    target: Any = None,
    simplex: int | None = None,
    draws: int = 200,
    seed: int = 0,
    chunk: int = 256,
) -> InputScores:
    """Integrated gradients in expectation over references and points at random (Erion et al., 2021).

    Parameters
    ----------
    reference
        Many, as a rule: a set of samples. Every one is used.
    draws
        Random points for each example in all, shared out evenly among its references, at least one for each; those of
        one reference lie one in each of as many equal parts of the way. The points are the same for every example.
    """
    asked = Asked(module, x, reference=reference, target=target)
    return _along_paths(asked, at_random(draws, seed), simplex, chunk=chunk, rule="expected gradients")


def evenly(steps: int) -> Nodes:
    """Gauss-Legendre: for k references the (k, steps) points between 0 and 1, and their (steps,) weights."""
    points, weights = np.polynomial.legendre.leggauss(steps)
    return lambda k: (np.tile((points + 1) / 2, (k, 1)), weights / 2)


def at_random(draws: int, seed: int) -> Nodes:
    """``draws`` points in all, shared out evenly among k references; one at random in each part of the way."""

    def nodes(k: int) -> tuple[np.ndarray, np.ndarray]:
        each = max(1, draws // k)
        jitter = np.random.default_rng(seed).random((k, each))
        return (np.arange(each) + jitter) / each, np.full(each, 1 / each)

    return nodes


def _along_paths(asked: Asked, nodes: Nodes, simplex: int | None, *, chunk: int, rule: str) -> InputScores:
    """Gradients averaged over points between reference and input: ``nodes(k)`` gives (k, s) points, (s,) weights."""
    found = Collected()
    with undisturbed(asked.module):
        for part in parts(asked.n, _BLOCK):
            rows, references = asked.rows(part), asked.references(part)
            slopes = mean_slopes(asked, rows, references, nodes(references.shape[1]), start=part.start, chunk=chunk)
            each = _corrected(asked, slopes, simplex).view(references.shape) * (rows[:, None] - references)
            found.add(
                each,
                output=asked.outputs(rows, indices(part), chunk=chunk),
                before=asked.at_references(references, part, chunk=chunk),
            )
    return found.scores(asked, rule)


def mean_slopes(
    asked: Asked, rows: Tensor, references: Tensor, nodes: tuple[np.ndarray, np.ndarray], *, start: int, chunk: int
) -> Tensor:
    """(m * k, p) weighted mean gradient between every example and each of its references.

    ``rows`` (m, p) and ``references`` (m, k, p) are those of the examples of ``asked`` from ``start`` on; ``nodes`` the
    points on the way and their weights, as :func:`evenly` and :func:`at_random` give them for k.
    """
    points, weights = (torch.as_tensor(each).to(rows) for each in nodes)
    (m, k, p), s = references.shape, len(weights)
    slopes = torch.zeros(m * k, p, dtype=rows.dtype, device=rows.device)
    for piece in torch.arange(m * k * s, device=rows.device).split(chunk):
        pair, step = piece // s, piece % s
        example, which = pair // k, pair % k
        there = references[example, which]
        at = there + points[which, step][:, None] * (rows[example] - there)
        _, slope = asked.gradients(at, example + start)
        slopes.index_add_(0, pair, slope * weights[step][:, None])
    return slopes


def _corrected(asked: Asked, slope: Tensor, simplex: int | None) -> Tensor:
    if simplex is None:
        return slope
    shaped = slope.view(len(slope), *asked.shapes[0])
    return (shaped - shaped.mean(dim=asked.letters_axis(simplex), keepdim=True)).flatten(1)
