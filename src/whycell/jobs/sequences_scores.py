"""What a network that reads DNA makes of every base, and of every unit of its layers: on arrays, a few at a time.

    H[b, l] = f(x with letter b at l) - mean of f over the other three letters at l

is what saturation mutagenesis gives in the place of hypothetical contributions: where b stands at l, the contribution
of the base; anywhere else it differs from that by what replacing the base does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from whycell.encode.sequences import dinucleotide_shuffle
from whycell.errors import UsageError
from whycell.lenses import deeplift, fields_of, gradient, hypothetical, layers_of, mutation_effects
from whycell.lenses.inputs import InputScores
from whycell.models.nets.dna import BothStrands

__all__ = [
    "METHODS",
    "RULES",
    "UnitPlaces",
    "UnitScores",
    "base_scores",
    "layer_names",
    "unit_places",
    "unit_scores",
]

#: Rules of DeepLIFT.
RULES = ("genomics", "rescale", "reveal-cancel")
_OF_LETTERS = {"integrated-gradients": "integrated gradients", "expected-gradients": "expected gradients"}
#: Everything that scores bases.
METHODS = (*RULES, "mutagenesis", "gradient-times-input", *_OF_LETTERS)
#: Letters of the pairs computed at once: what they need stays in the processor's cache.
_LETTERS_AT_ONCE = 32_000


@dataclass(frozen=True)
class UnitPlaces:
    """Where the units of a layer look, on either strand, in letters of the sequence as given.

    Parameters
    ----------
    centre
        (2, positions) float64: the middle of what a unit reads; the first row for the strand given, the second for the
        units that read the other.
    first
        (positions,) int64: where the stretch that a unit reads begins, in the strand that it reads; negative where the
        sequence ends before.
    width
        Letters of that stretch.
    """

    centre: np.ndarray
    first: np.ndarray
    width: int


@dataclass(frozen=True)
class UnitScores:
    """What the units of a layer add to the output.

    Parameters
    ----------
    values
        (n, 2, channels, positions), or (n, 2, units) of a dense layer: for the strand given and for the other, whose
        positions run along the reverse complement. All of one sequence add up to ``output - reference_output``.
    residual
        (n,) what they miss of it.
    output, reference_output
        (n,) before calibration, and the mean over references.
    """

    values: np.ndarray
    residual: np.ndarray
    output: np.ndarray
    reference_output: np.ndarray

    @property
    def totals(self) -> np.ndarray:
        """(n, channels): both strands and all positions."""
        return self.values.sum(axis=(1, *range(3, self.values.ndim)))


def base_scores(
    module: nn.Module,
    x: np.ndarray,
    *,
    target: int | None = 0,
    method: str = "genomics",
    references: int = 20,
    neuron: tuple[str, Any] | None = None,
    seed: int = 0,
) -> InputScores:
    """What every letter adds, or would add, at every position.

    Parameters
    ----------
    module
        ``SequenceModel.module``, or any network of one-hot DNA.
    x
        (n, 4, length) one-hot; a column of zeros is an unknown base.
    target
        Column of the output.
    method
        One of ``METHODS``. DeepLIFT and the integrals of gradients compare with shuffles; the others do not.
    references
        Dinucleotide shuffles of each sequence.
    neuron
        A unit explained in place of the output: the layer of one strand's network and ``(channel, position)``, or
        ``(channel,)`` for its sum over positions. Of the strand given alone.
    seed
        Of the shuffles.

    Returns
    -------
    ``values`` (n, 4, length), hypothetical contributions; where ``x`` is one they are contributions. ``residual`` and
    ``reference_output`` are NaN where a method explains no difference.

    Raises
    ------
    UsageError
        No such method, or a neuron by another one than DeepLIFT.
    """
    if method not in METHODS:
        msg = f"method is {method!r}; wanted one of: {', '.join(METHODS)}."
        raise UsageError(msg)
    if neuron is not None and method not in RULES:
        msg = f"{method} explains the output alone; for a neuron take one of: {', '.join(RULES)}."
        raise UsageError(msg)
    x, chunk = x.astype(np.float32), _chunk(x)
    if method == "mutagenesis":
        effects = mutation_effects(module, x, target=target, chunk=chunk)
        output = gradient(module, x, target=target, chunk=chunk).output
        return _without_difference(effects - effects.sum(axis=1, keepdims=True) / 3, output, method)
    if method == "gradient-times-input":
        found = gradient(module, x, target=target, simplex=1, chunk=chunk)
        return _without_difference(found.values, found.output, method)
    shuffles = dinucleotide_shuffle(x, references, seed=seed)
    explained = module if neuron is None else _one_strand(module)
    return hypothetical(
        explained,
        x,
        reference=shuffles,
        target=target,
        rule=_OF_LETTERS.get(method, method),
        neuron=neuron,
        chunk=chunk,
    )


def unit_scores(
    module: nn.Module,
    x: np.ndarray,
    *,
    layer: str,
    target: int = 0,
    rule: str = "genomics",
    references: int = 20,
    seed: int = 0,
) -> UnitScores:
    """What each unit of a layer adds to the output, by DeepLIFT against dinucleotide shuffles.

    Parameters
    ----------
    module, x, target, references, seed
        As of ``base_scores``.
    layer
        One that ``layer_names`` has.
    rule
        One of ``RULES``.

    Raises
    ------
    UsageError
        No such layer.
    """
    net, x = _one_strand(module), x.astype(np.float32)
    shuffles = dinucleotide_shuffle(x, references, seed=seed)
    sides = [
        deeplift(net, each, reference=other, target=target, rule=rule, at=layer, chunk=_chunk(x))
        for each, other in ((x, shuffles), (x[:, ::-1, ::-1].copy(), shuffles[:, :, ::-1, ::-1].copy()))
    ]
    values = np.stack([side.values for side in sides], axis=1) / 2
    output, before = (sum(getattr(s, name) for s in sides) / 2 for name in ("output", "reference_output"))
    missed = output - before - values.reshape(len(x), -1).sum(axis=1)
    return UnitScores(values, missed, output, before)


def unit_places(module: nn.Module, length: int, *, layer: str) -> UnitPlaces:
    """Where the units of a layer look in sequences of ``length`` letters.

    Parameters
    ----------
    module
        As of ``base_scores``.
    length
        Letters.
    layer
        One that ``layer_names`` has.

    Raises
    ------
    UsageError
        No such layer, or its units have no place.
    """
    fields = fields_of(_one_strand(module), _blank(length), layer=layer)
    first = np.rint(fields.centre - (fields.width - 1) / 2).astype(np.int64)
    return UnitPlaces(np.stack([fields.centre, length - 1 - fields.centre]), first, fields.width)


def layer_names(module: nn.Module, length: int) -> dict[str, tuple[int, ...]]:
    """Every layer of one strand's network and the shape of its units; ``"@last"`` is the last with places."""
    return {layer.name: layer.units for layer in layers_of(_one_strand(module), _blank(length))}


def _one_strand(module: nn.Module) -> nn.Module:
    """The network that reads one strand, where ``module`` is its mean over both; else the module itself."""
    return module.net if isinstance(module, BothStrands) else module


def _blank(length: int) -> np.ndarray:
    x = np.zeros((1, 4, length), dtype=np.float32)
    x[:, 0] = 1
    return x


def _chunk(x: np.ndarray) -> int:
    return min(max(_LETTERS_AT_ONCE // max(x.shape[2], 1), 16), 256)


def _without_difference(values: np.ndarray, output: np.ndarray, rule: str) -> InputScores:
    unknown = np.full_like(output, np.nan)
    return InputScores(values, unknown, np.zeros_like(values), {}, output, unknown, rule)
