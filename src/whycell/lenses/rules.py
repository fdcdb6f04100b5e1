"""Which rule each operation has, by its name in torch's own list of elementary operations (aten)."""

from __future__ import annotations

import torch

from whycell.lenses.engine import Rule
from whycell.lenses.fallback import PathIntegral
from whycell.lenses.fusing import FusedPool
from whycell.lenses.rules_choice import Copy, MaskedFill, Where
from whycell.lenses.rules_elementwise import Add, BatchNorm, Divide, Multiply, Rescale, RevealCancel, Subtract
from whycell.lenses.rules_linear import Convolution, Moving, Product, Reshaping
from whycell.lenses.rules_norm import LayerNorm, LogSoftmax, LogSumExp, Softmax, VectorNorm
from whycell.lenses.rules_pooling import Extreme, ExtremeOfTwo, MaxPool
from whycell.lenses.tape import Step, Tape

__all__ = ["rules_of"]

MOVING = """
    _adaptive_avg_pool2d _adaptive_avg_pool3d _to_copy _unsafe_index _upsample_bilinear2d_aa
    _upsample_nearest_exact1d _upsample_nearest_exact2d adaptive_avg_pool1d alias as_strided avg_pool1d avg_pool2d
    avg_pool3d cat channel_shuffle clone col2im concat constant_pad_nd contiguous cumsum detach diag_embed diagonal
    diagonal_copy embedding expand flip gather im2col index index_add index_select lift_fresh logit mean movedim
    narrow permute pixel_shuffle pixel_unshuffle reflection_pad1d reflection_pad2d reflection_pad3d repeat
    replication_pad1d replication_pad2d replication_pad3d roll rot90 scatter_add select select_scatter slice
    slice_scatter split split_with_sizes split_with_sizes_copy squeeze stack sum t transpose tril triu unbind unfold
    unsafe_split unsqueeze upsample_bicubic2d upsample_bilinear2d upsample_linear1d upsample_nearest1d
    upsample_nearest2d upsample_nearest3d upsample_trilinear3d
"""
RESHAPING = "view _unsafe_view reshape unsqueeze squeeze flatten _reshape_alias alias clone contiguous detach"

#: RevealCancel is for what a network calls an activation, not for every function of one number.
ACTIVATIONS = """
    celu elu gelu hardshrink hardsigmoid hardswish hardtanh leaky_relu log_sigmoid_forward mish relu relu6 _prelu_kernel
    selu sigmoid silu softplus softshrink tanh threshold
"""

_SHAPES = Reshaping()
RULES: dict[str, Rule] = {
    **{name: Moving() for name in MOVING.split()},
    **dict.fromkeys(RESHAPING.split(), _SHAPES),
    "_log_softmax": LogSoftmax(),
    "_native_batch_norm_legit_no_training": BatchNorm(),
    "_safe_softmax": Softmax(),
    "_softmax": Softmax(),
    "adaptive_max_pool2d": MaxPool(2),
    "adaptive_max_pool3d": MaxPool(3),
    "add": Add(),
    "amax": Extreme(1),
    "amin": Extreme(-1),
    "bmm": Product(),
    "convolve": Convolution(),
    "copy": Copy(),
    "convolution": Convolution(),
    "div": Divide(),
    "linalg_vector_norm": VectorNorm(),
    "logsumexp": LogSumExp(),
    "max_pool2d_with_indices": MaxPool(2),
    "max_pool3d_with_indices": MaxPool(3),
    "masked_fill": MaskedFill(),
    "max_pool": FusedPool(),
    "relu_max_pool": FusedPool(),
    "max": Extreme(1),
    "maximum": ExtremeOfTwo(1),
    "min": Extreme(-1),
    "minimum": ExtremeOfTwo(-1),
    "mm": Product(),
    "mul": Multiply(),
    "native_layer_norm": LayerNorm(),
    "sub": Subtract(),
    "where": Where(),
}
_RESCALE, _REVEAL, _PATH = Rescale(), RevealCancel(), PathIntegral()
_ACTIVATIONS = frozenset(ACTIVATIONS.split())


def rules_of(tape: Tape, rule: str) -> dict[int, Rule]:
    """Rule of every step that changes with the input, by its number."""
    origin: dict[int, str] = {}
    found = {}
    for number, step in enumerate(tape.steps):
        active = [value for value in step.inputs if value in tape.depends]
        if not active:
            continue
        found[number] = _rule(step, active, tape, rule, origin)
        source = _source(step, active) or origin.get(active[0], "")
        origin.update((value, source) for value in step.outputs if value is not None)
    return found


def _source(step: Step, active: list[int]) -> str:
    if step.kind in ("convolution", "convolve"):
        return "convolution"
    return "dense" if step.kind in ("mm", "bmm") and len(active) == 1 else ""


def _rule(step: Step, active: list[int], tape: Tape, rule: str, origin: dict[int, str]) -> Rule:
    kind = step.kind
    if kind in _ACTIVATIONS and len(active) == 1:
        reveals = rule == "reveal-cancel" or (rule == "genomics" and origin.get(active[0]) == "dense")
        return _REVEAL if reveals else _RESCALE
    if kind == "native_batch_norm" and not step.leaves[5]:
        return RULES["_native_batch_norm_legit_no_training"]
    known = RULES.get(kind)
    if known is not None and _fits(known, step, active, tape):
        return known
    if len(active) == 1 and torch.Tag.pointwise in getattr(step.func, "tags", ()) and _same_shape(step, active, tape):
        return _RESCALE
    return _PATH


def _fits(known: Rule, step: Step, active: list[int], tape: Tape) -> bool:
    """Whether the step is a case that the rule covers: weights constant, a norm of power two, and so on."""
    where = [i for i, value in enumerate(step.inputs) if value in tape.depends]
    if step.kind in ("embedding", "gather", "index", "_unsafe_index", "index_select"):
        return where == [0]  # places that depend on the input are no linear matter
    if step.kind in ("index_add", "scatter_add"):
        return 1 not in where
    if isinstance(known, (BatchNorm, Convolution, LayerNorm, Softmax, LogSoftmax)) and where != [0]:
        return False
    if step.kind == "linalg_vector_norm":
        return len(step.leaves) < 2 or step.leaves[1] == 2
    rounds = any(leaf in ("floor", "trunc") for leaf in step.leaves if isinstance(leaf, str))
    return not (step.kind == "div" and rounds)


def _same_shape(step: Step, active: list[int], tape: Tape) -> bool:
    return len(step.outputs) >= 1 and tape.shapes[active[0]] == tape.shapes[step.outputs[0]]
