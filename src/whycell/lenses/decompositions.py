"""Fused operations written out in elementary ones, while a computation is recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["decomposed"]

aten = torch.ops.aten


def decomposed(func: Any) -> Callable[..., Any] | None:
    """The function that writes ``func`` out, or None where it is elementary or has a rule of its own."""
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


_WRITTEN_OUT: dict[Any, Callable[..., Any]] = {
    aten.mkldnn_rnn_layer.default: _lstm_layer,
    aten.addmm.default: _addmm,
    aten.baddbmm.default: _baddbmm,
    aten.addcmul.default: _addcmul,
    aten.addcdiv.default: _addcdiv,
    aten.lerp.Scalar: _lerp,
    aten.lerp.Tensor: _lerp,
}
