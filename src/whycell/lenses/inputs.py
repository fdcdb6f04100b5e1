"""DeepLIFT of any network: what each input adds to the difference between an output and a reference's output."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

__all__ = ["InputScores", "deeplift"]


@dataclass(frozen=True)
class InputScores:
    """What the inputs add, and what is known about how far to trust it.

    Attributes
    ----------
    values
        Of the shape of the input (a tuple where the inputs are one): contributions to the output, averaged over the
        references, in the output's unit.
    residual
        (n,) the difference explained less the sum of the values: what does not add up.
    spread
        Of the shape of ``values``: standard deviation over the references, 0 for one.
    residual_by_layer
        Where something was lost or had to be closed: ``"layer (operation)"`` -> (n,), in the output's unit.
    output
        (n,) the explained number.
    reference_output
        (n,) its mean over the references.
    rule
        How it was computed.
    """

    values: Any
    residual: np.ndarray
    spread: Any
    residual_by_layer: dict[str, np.ndarray]
    output: np.ndarray
    reference_output: np.ndarray
    rule: str


def deeplift(
    module: nn.Module,
    x: Any,
    *,
    reference: Any = None,
    target: Any = None,
    rule: str = "rescale",
    at: str | None = None,
    neuron: tuple[str, Any] | None = None,
    chunk: int | None = None,
) -> InputScores:
    """Contributions by DeepLIFT (Shrikumar, Greenside, Kundaje, ICML 2017), which add up to the difference explained.

    The computation is recorded operation by operation, so that functional calls, in-place operations, attention,
    recurrent layers and layers used twice have their rules as modules have. The module is left as it was.

    Parameters
    ----------
    module
        Any network; it runs in evaluation mode, on its own device and in its own precision.
    x
        (n, ...) inputs, an array or a tensor; a tuple of them for a module of several inputs.
    reference
        None for zeros; an array of the shape of ``x``, one for each example; (k, ...) for all examples or (n, k, ...),
        k for each, averaged; or a function of ``x`` that gives one of these, called on a few examples at a time.
        A tuple where ``x`` is one. See :mod:`whycell.lenses.references`.
    target
        What is explained of the output: the number of a column, (n,) one for each example, a tuple of two for their
        difference, a function from the output to (n,), or None where the module gives one number an example. A sigmoid
        or softmax at the end is taken off: logits are explained, those of a softmax less their mean.
    rule
        ``"rescale"``, ``"reveal-cancel"``, or ``"genomics"``: Rescale after convolutions, RevealCancel after dense
        layers.
    at
        Name of a layer: contributions of its units instead of the inputs', which may then be whole numbers (tokens that
        the layer embeds). ``"name#0"`` is the first of several calls; ``"@last"`` the last (channels, positions) that
        all behind them come from, named or not. What bypasses the layer is in ``residual``.
    neuron
        Layer and position of a unit (a number, or a tuple) that is explained instead of the output; where fewer numbers
        are given than the layer has axes, the sum over the others (a channel: over its positions).
    chunk
        Pairs of example and reference computed at once; None for about 16 MB of them, more where steps are many.

    Returns
    -------
    Contributions, with what does not add up.

    Raises
    ------
    UsageError
        If the network mixes examples, draws random numbers, or was asked for what it does not have.
    """
    from whycell.lenses.attributing import attribute  # it needs InputScores

    return attribute(module, x, reference, target=target, rule=rule, at=at, neuron=neuron, chunk=chunk)


#: From the output of a network to (n,) numbers.
Target = Callable[[Any], Any]
