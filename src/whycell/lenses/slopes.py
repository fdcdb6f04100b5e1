"""Slopes of the straight line between two points of a function: (f(a) - f(b)) / (a - b), without cancellation.

Where a formula without subtraction exists it is used; elsewhere the quotient, and for differences too small for the
type the derivative half way, whose error is of third order.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["SLOPES", "quotient"]

Slope = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

#: Smooth functions: for differences below this, by type, the derivative half way is nearer than the quotient.
NEAR = {torch.float64: 1e-4, torch.float32: 5e-3}
SMOOTH = {
    "cos", "erf", "expm1", "gelu", "log_sigmoid_forward", "mish", "sin", "softplus",
    "atan", "sinh", "cosh", "asinh", "erfc", "exp2",
}  # fmt: skip


def quotient(ends: tuple[Tensor, Tensor, Tensor, Tensor], *, name: str, function: Callable[[Tensor], Tensor]) -> Tensor:
    """For any function of one number; where nothing differs, the derivative at the reference."""
    a, b, ya, yb = ends
    d = a - b
    near = d.abs() < NEAR.get(a.dtype, 5e-3) if name in SMOOTH else d == 0
    slope = (ya - yb) / torch.where(d == 0, 1, d)
    if not bool(near.any()):
        return slope
    middle = ((a + b) / 2).expand_as(near)[near]
    return slope.masked_scatter(near, _derivative(function, middle).to(slope.dtype))


def _derivative(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = at.detach().requires_grad_()
        out = function(leaf)
        if not out.requires_grad:
            return torch.zeros_like(at)
        (grad,) = torch.autograd.grad(out.sum(), leaf, allow_unused=True)
    return torch.zeros_like(at) if grad is None else grad


def _exact(a: Tensor, b: Tensor, ya: Tensor, yb: Tensor, at_zero: Tensor) -> Tensor:
    """Quotient of a function made of straight pieces, which loses nothing; ``at_zero`` where nothing differs."""
    d = a - b
    same = d == 0
    return torch.where(same, at_zero, (ya - yb) / torch.where(same, 1, d))


def _relu(a: Tensor, b: Tensor, ya: Tensor, yb: Tensor) -> Tensor:
    """Between 0 and 1."""
    return _exact(a, b, ya, yb, (b > 0).to(a.dtype))


def _tanh(a: Tensor, b: Tensor, ya: Tensor, yb: Tensor) -> Tensor:
    """tanh a - tanh b = _tanh(a - b) (1 - tanh a tanh b)."""
    d = a - b
    same = d == 0
    return torch.where(same, 1, torch.tanh(d) / torch.where(same, 1, d)) * (1 - ya * yb)


def _sigmoid(a: Tensor, b: Tensor, ya: Tensor, yb: Tensor) -> Tensor:
    """Through tanh of the half."""
    return _tanh(a / 2, b / 2, 2 * ya - 1, 2 * yb - 1) / 4


def _exp(a: Tensor, b: Tensor, ya: Tensor, yb: Tensor) -> Tensor:
    """The smaller value times expm1(d) / d; the quotient where the two are far apart."""
    d = (a - b).abs()
    same = d == 0
    divisor = torch.where(same, 1, d)
    near = torch.minimum(ya, yb) * torch.expm1(d.clamp(max=1)) / divisor
    return torch.where(same, ya, torch.where(d < 1, near, (ya - yb).abs() / divisor))


def _log(a: Tensor, b: Tensor, ya: Tensor, yb: Tensor) -> Tensor:
    """log1p of the relative difference."""
    low, d = torch.minimum(a, b), (a - b).abs()
    same = d == 0
    return torch.where(same, 1 / low, torch.log1p(d / low) / torch.where(same, 1, d))


def _log1p(a: Tensor, b: Tensor, ya: Tensor, yb: Tensor) -> Tensor:
    """As the logarithm."""
    return _log(1 + a, 1 + b, ya, yb)


def _sqrt(a: Tensor, b: Tensor, ya: Tensor, yb: Tensor) -> Tensor:
    """1 / (√a + √b)."""
    total = ya + yb
    return torch.where(total == 0, 0, 1 / torch.where(total == 0, 1, total))


def _rsqrt(a: Tensor, b: Tensor, ya: Tensor, yb: Tensor) -> Tensor:
    """-1 / (√a √b (√a + √b)), in terms of the values."""
    return -(ya * ya * yb * yb) / (ya + yb)


def _reciprocal(a: Tensor, b: Tensor, ya: Tensor, yb: Tensor) -> Tensor:
    """-1 / (a b)."""
    return -ya * yb


def _square(a: Tensor, b: Tensor, ya: Tensor, yb: Tensor) -> Tensor:
    """a + b."""
    return a + b


def _silu(a: Tensor, b: Tensor, ya: Tensor, yb: Tensor) -> Tensor:
    """x σ(x) by the product rule, which for one variable is the slope itself."""
    sa, sb = torch.sigmoid(a), torch.sigmoid(b)
    return (sa + sb) / 2 + (a + b) / 2 * _sigmoid(a, b, sa, sb)


#: By name of the operation. Those that are absent take the quotient.
SLOPES: dict[str, Slope] = {
    "exp": _exp,
    "log": _log,
    "log1p": _log1p,
    "reciprocal": _reciprocal,
    "relu": _relu,
    "rsqrt": _rsqrt,
    "sigmoid": _sigmoid,
    "silu": _silu,
    "sqrt": _sqrt,
    "square": _square,
    "tanh": _tanh,
}
