"""Fused operations written out in elementary ones, while a computation is recorded."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from whycell.errors import UsageError

__all__ = ["decomposed"]

aten = torch.ops.aten


def decomposed(func: Any, args: tuple[Any, ...]) -> Callable[..., Any] | None:
    """The function that writes ``func`` out, or None where it is elementary or has a rule of its own."""
    if func is aten.native_batch_norm.default and not args[5]:
        return None
    return _WRITTEN_OUT.get(func)


def _lstm_layer(
    x: Tensor,
    w_in: Tensor,
    w_state: Tensor,
    b_in: Tensor,
    b_state: Tensor,
    h: Tensor,
    c: Tensor,
    reverse: bool,  # noqa: FBT001  the signature is torch's
    batch_sizes: Any,
    mode: int,
    hidden_size: int,
    num_layers: int,
    has_biases: bool,  # noqa: FBT001
    bidirectional: bool,  # noqa: FBT001
    batch_first: bool,  # noqa: FBT001
    train: bool,  # noqa: FBT001
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One direction of one layer of an LSTM over (time, batch, features)."""
    gates_in = torch.matmul(x, w_in.t())
    if has_biases:
        gates_in = gates_in + (b_in + b_state)
    steps = list(gates_in.unbind(0))
    out = []
    for gates in reversed(steps) if reverse else steps:
        i, f, g, o = (gates + torch.mm(h, w_state.t())).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        out.append(h)
    if reverse:
        out.reverse()
    return torch.stack(out), h, c, torch.zeros(0)


def _addmm(bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return _biased(torch.mm(a, b), bias, beta, alpha)


def _baddbmm(bias: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return _biased(torch.bmm(a, b), bias, beta, alpha)


def _biased(product: Tensor, bias: Tensor, beta: float, alpha: float) -> Tensor:
    product = product if alpha == 1 else product * alpha
    return product + (bias if beta == 1 else bias * beta)


def _addcmul(x: Tensor, a: Tensor, b: Tensor, *, value: float = 1) -> Tensor:
    return x + value * (a * b)


def _addcdiv(x: Tensor, a: Tensor, b: Tensor, *, value: float = 1) -> Tensor:
    return x + value * (a / b)


def _lerp(start: Tensor, end: Tensor, weight: Any) -> Tensor:
    return start + weight * (end - start)


def _glu(x: Tensor, dim: int = -1) -> Tensor:
    a, b = x.chunk(2, dim)
    return a * torch.sigmoid(b)


def _group_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, n: int, c: int, hxw: int, groups: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    flat = x.reshape(n, groups, -1)
    out = aten.native_layer_norm(flat, [flat.shape[-1]], None, None, eps)[0].reshape(x.shape)
    return _per_channel(out, weight, bias), *_no_statistics(x)


def _batch_norm_of_input(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, *others: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """Statistics of the input itself: torch writes instance normalisation so, with all examples as one."""
    if x.shape[0] != 1:
        msg = (
            "a batch normalisation without running statistics mixes the examples of a batch; "
            "train it with track_running_stats=True"
        )
        raise UsageError(msg)
    flat = x.flatten(2)
    out = aten.native_layer_norm(flat, [flat.shape[-1]], None, None, others[-1])[0].reshape(x.shape)
    return _per_channel(out, weight, bias), *_no_statistics(x)


def _training_batch_norm(x: Tensor, weight: Any, bias: Any, *others: Any) -> tuple[Tensor, Tensor, Tensor]:
    return _batch_norm_of_input(x, weight, bias, others[-1])


def _per_channel(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    shape = (1, -1, *[1] * (x.ndim - 2))
    x = x if weight is None else x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


def _no_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.new_empty(0), x.new_empty(0)


def _variance(x: Tensor, dim: Any = None, *, correction: float | None = None, keepdim: bool = False) -> Tensor:
    dims = list(range(x.ndim)) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    centred = x - x.mean(dims, keepdim=True)
    count = math.prod(x.shape[each] for each in dims)
    return (centred * centred).sum(dims, keepdim=keepdim) / (count - (1 if correction is None else correction))


def _deviation(x: Tensor, dim: Any = None, *, correction: float | None = None, keepdim: bool = False) -> Tensor:
    return torch.sqrt(_variance(x, dim, correction=correction, keepdim=keepdim))


def _variance_and_mean(
    x: Tensor, dim: Any = None, *, correction: float | None = None, keepdim: bool = False
) -> tuple[Tensor, Tensor]:
    dims = list(range(x.ndim)) if dim is None else dim
    return _variance(x, dim, correction=correction, keepdim=keepdim), x.mean(dims, keepdim=keepdim)


def _rms_norm(x: Tensor, shape: Any, weight: Tensor | None, eps: float | None) -> tuple[Tensor, Tensor]:
    axes = list(range(-len(shape), 0))
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    scale = torch.rsqrt((x * x).mean(axes, keepdim=True) + eps)
    out = x * scale
    return out if weight is None else out * weight, scale


def _rrelu(x: Tensor, noise: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, *others: Any) -> Tensor:
    """In evaluation: the mean slope."""
    return aten.leaky_relu(x, (lower + upper) / 2)


_WRITTEN_OUT: dict[Any, Callable[..., Any]] = {
    aten.mkldnn_rnn_layer.default: _lstm_layer,
    aten.addmm.default: _addmm,
    aten.baddbmm.default: _baddbmm,
    aten.addcmul.default: _addcmul,
    aten.addcdiv.default: _addcdiv,
    aten.lerp.Scalar: _lerp,
    aten.lerp.Tensor: _lerp,
    aten._fused_rms_norm.default: _rms_norm,
    aten._native_batch_norm_legit.default: _training_batch_norm,
    aten._native_batch_norm_legit.no_stats: _batch_norm_of_input,
    aten.glu.default: _glu,
    aten.native_batch_norm.default: _training_batch_norm,
    aten.native_group_norm.default: _group_norm,
    aten.rrelu_with_noise.default: _rrelu,
    aten.std.correction: _deviation,
    aten.var.correction: _variance,
    aten.var_mean.correction: _variance_and_mean,
}
