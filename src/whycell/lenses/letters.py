"""What every letter would add where it does not stand: the hypothetical contributions that motif discovery reads.

With the multipliers ``m`` of a sequence against a reference ``r``, a letter b at position l would contribute

    H[b, l] = sum over letters c of (1[c = b] - r[c, l]) m[c, l]

(Shrikumar et al., TF-MoDISco, arXiv:1811.00416). At the letter that stands there it is the position's contribution.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from whycell.errors import UsageError
from whycell.lenses.asked import Asked, Collected, indices, parts, undisturbed
from whycell.lenses.attributing import RULES, _Plan, _Work
from whycell.lenses.comparators import at_random, evenly, mean_slopes
from whycell.lenses.engine import Sweep
from whycell.lenses.given import References
from whycell.lenses.heads import head_of
from whycell.lenses.inputs import InputScores
from whycell.lenses.pairs import Multiplier

__all__ = ["hypothetical"]

_PATHS = {"integrated gradients": lambda: evenly(50), "expected gradients": lambda: at_random(200, 0)}


def hypothetical(
    module: nn.Module,
    x: Any,
    *,
    reference: Any,
    target: Any = None,
    rule: str = "rescale",
    simplex: int = 1,
    neuron: tuple[str, Any] | None = None,
    chunk: int | None = None,
) -> InputScores:
    """Contributions that every letter would have at every position.

    Parameters
    ----------
    module
        Any network; it is left as it was.
    x
        (n, 4, length) one-hot sequences, or any one-hot array.
    reference
        As for :func:`~whycell.lenses.inputs.deeplift`, with columns that sum to one: shuffles, or a background.
    target
        As for :func:`~whycell.lenses.inputs.deeplift`.
    rule
        One of DeepLIFT's, ``"integrated gradients"`` or ``"expected gradients"``.
    simplex
        Axis of ``x`` along which the letters lie.
    neuron
        As for :func:`~whycell.lenses.inputs.deeplift`, whose rules alone explain it.
    chunk
        Pairs computed at once; None for what the rule takes by itself.

    Returns
    -------
    ``values`` (n, 4, length) as above, averaged over references; ``spread`` likewise. ``residual`` is that of the
    contributions at the letters which stand there: the difference explained minus the sum of ``values * x``.
    """
    if rule in _PATHS and neuron is not None:
        msg = f"rule {rule!r} explains the output alone; for a neuron take one of {', '.join(RULES)}"
        raise UsageError(msg)
    if rule in _PATHS:
        found = _along_paths(module, x, reference, target=target, rule=rule, simplex=simplex, chunk=chunk or 256)
    elif rule in RULES:
        found = _by_deeplift(
            module, x, reference, target=target, rule=rule, simplex=simplex, neuron=neuron, chunk=chunk
        )
    else:
        msg = f"rule {rule!r}: wanted one of {', '.join((*RULES, *_PATHS))}"
        raise UsageError(msg)
    here = np.asarray(torch.as_tensor(x).cpu())
    explained = (found.values * here).reshape(len(here), -1).sum(axis=1)
    return replace(found, residual=found.output - found.reference_output - explained)


def _letters(pos: Tensor, neg: Tensor, reference: Tensor, axis: int) -> Tensor:
    """``H`` from the multipliers of what rises and of what falls: the letter comes, those of the reference go."""
    gone = (reference * neg).sum(dim=axis, keepdim=True)
    return (1 - reference) * pos + reference * neg - gone


class _Hypothetical(_Work):
    """DeepLIFT's work with every letter in the place of the one that stands there."""

    simplex = 1
    adds_up = False

    def contributions(self, sweep: Sweep, value: int, m: Multiplier | None) -> Tensor:  # type: ignore[override]
        if m is None:
            return super().contributions(sweep, value, m)
        pairs, axis = sweep.pairs, sweep.tape.batch[value][0]
        each = (part.movedim(axis, 0) for part in (m.pos, m.negative, sweep.r_of(value)))
        pos, neg, reference = each
        return _letters(pos, neg, reference, self.simplex).unflatten(0, (pairs.n, pairs.k))


def _by_deeplift(
    module: nn.Module,
    x: Any,
    reference: Any,
    *,
    target: Any,
    rule: str,
    simplex: int,
    neuron: tuple[str, Any] | None,
    chunk: int | None,
) -> InputScores:
    asked = Asked(module, x)
    asked.letters_axis(simplex)
    inputs = tuple(asked.given)
    with torch.no_grad():
        head = head_of(module, inputs, target, neuron)
        work = _Hypothetical(_Plan.of(head, rule, None), inputs, References(reference, inputs, several=False), chunk)
        work.simplex = simplex
        return work.done().scores(rule, several=False)


def _along_paths(
    module: nn.Module, x: Any, reference: Any, *, target: Any, rule: str, simplex: int, chunk: int
) -> InputScores:
    asked, found = Asked(module, x, reference=reference, target=target), Collected()
    axis = asked.letters_axis(simplex)
    with undisturbed(module):
        for part in parts(asked.n, 16):
            rows, references = asked.rows(part), asked.references(part)
            m, k = references.shape[:2]
            slopes = mean_slopes(asked, rows, references, _PATHS[rule]()(k), start=part.start, chunk=chunk)
            slopes, shaped = (each.reshape(m * k, *asked.shapes[0]) for each in (slopes, references))
            found.add(
                _letters(slopes, slopes, shaped, axis).reshape(m, k, -1),
                output=asked.outputs(rows, indices(part), chunk=chunk),
                before=asked.at_references(references, part, chunk=chunk),
            )
    return found.scores(asked, rule)
