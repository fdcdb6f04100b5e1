"""Gradients sample by sample: exact, of any module and any output; as outer products where the module is a plain MLP.

The gradient of a linear layer's weights is ``g a^T``: what came back through the layer times what went in. Kept as the
two factors, a thousand gradients of a million numbers are two thin matrices, and their inner products

    <g a^T, g' a'^T> = (g . g') (a . a')

cost two small matrix products. Everything else goes through ``torch.func``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.func import functional_call, grad, vmap

__all__ = ["Factors", "Output", "is_plain", "margin", "mlp_factors", "output_of", "per_sample_gradients", "value"]

#: From the module's output of one sample (k,) and its target, a number.
Output = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

#: Activations whose derivative can be told from what comes out and what goes in, and that have no weights.
_SMOOTH = (nn.ReLU, nn.GELU, nn.Tanh, nn.Sigmoid, nn.SiLU, nn.ELU, nn.Softplus, nn.LeakyReLU, nn.Identity)


def margin(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """``z_y - logsumexp of the others``: the log-odds of the class (the datamodels' margin in its smooth form).

    Parameters
    ----------
    z
        (k,) logits of one sample; one logit stands for two classes.
    y
        Its class, an int.
    """
    if z.shape[-1] == 1:
        return z[0] * (2.0 * y.to(z.dtype) - 1.0)
    own = torch.arange(z.shape[-1], device=z.device) == y
    return (z * own).sum() - torch.logsumexp(z.masked_fill(own, -torch.inf), dim=-1)


def value(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The predicted number itself, for regression; ``y`` is not looked at.

    Parameters
    ----------
    z
        (1,) output of one sample.
    y
        Its target.
    """
    return z.sum()


def output_of(output: str | Output) -> Output:
    """The function that a name stands for.

    Parameters
    ----------
    output
        ``"margin"``, ``"value"``, or a function as it is.
    """
    if callable(output):
        return output
    named: dict[str, Output] = {"margin": margin, "value": value}
    if output not in named:
        from whycell.errors import UsageError

        msg = f"output is {output!r}; wanted 'margin', 'value' or a function of (logits, target)."
        raise UsageError(msg)
    return named[output]


@dataclass(frozen=True)
class Factors:
    """Per-sample gradients of the weights of an MLP, layer by layer, as outer products.

    Parameters
    ----------
    back
        For each layer (n, n_out): gradient of the output by what the layer gives.
    fore
        For each layer (n, n_in): what the layer takes.
    bias
        For each layer, whether it has one.
    output
        (n,) the output itself.
    """

    back: tuple[torch.Tensor, ...]
    fore: tuple[torch.Tensor, ...]
    bias: tuple[bool, ...]
    output: torch.Tensor

    def kernel(self, other: Factors) -> torch.Tensor:
        """(n, m) inner products of these gradients with others, exact."""
        total: torch.Tensor | float = 0.0
        for g, a, h, b, bias in zip(self.back, self.fore, other.back, other.fore, self.bias, strict=True):
            inner = a @ b.T
            total = total + (g @ h.T) * (inner + 1.0 if bias else inner)
        return torch.as_tensor(total)

    def dense(self) -> torch.Tensor:
        """(n, n_parameters) the gradients written out, in the order of ``module.parameters()``."""
        parts = []
        for g, a, bias in zip(self.back, self.fore, self.bias, strict=True):
            parts.append((g[:, :, None] * a[:, None, :]).flatten(1))
            if bias:
                parts.append(g)
        return torch.cat(parts, dim=1)


def is_plain(module: nn.Module) -> bool:
    """Whether the module is a ``Linear``, or a ``Sequential`` of linear layers with plain activations between them."""
    layers = list(module) if isinstance(module, nn.Sequential) else [module]
    kinds = [type(layer) for layer in layers]
    return nn.Linear in kinds and all(kind is nn.Linear or kind in _SMOOTH for kind in kinds)


def mlp_factors(
    module: nn.Module,
    data: tuple[torch.Tensor, torch.Tensor],
    *,
    output: str | Output = "margin",
    weights: Mapping[str, torch.Tensor] | None = None,
) -> Factors:
    """Per-sample gradients of a plain MLP by one pass forth and one back.

    Parameters
    ----------
    module
        As ``is_plain`` wants it; a single ``Linear`` is the closed form of a linear-softmax head,
        ``(e_y - softmax over the others) (x) x``.
    data
        (n, d) inputs and (n,) targets.
    output
        See ``output_of``.
    weights
        State dict to use in place of the module's own weights.

    Returns
    -------
    Factors, without a graph behind them
    """
    x, y = data
    layers = list(module) if isinstance(module, nn.Sequential) else [module]
    prefix = "{}." if isinstance(module, nn.Sequential) else ""
    own = {name: value.detach() for name, value in module.named_parameters()} if weights is None else weights
    fore, sums, slopes, bias = [], [], [], []
    with torch.no_grad():
        for i, layer in enumerate(layers):
            if isinstance(layer, nn.Linear):
                name = prefix.format(i)
                fore.append(x)
                W, b = own[f"{name}weight"], own.get(f"{name}bias")
                bias.append(b is not None)
                sums.append(W)
                x = x @ W.T if b is None else torch.addmm(b, x, W.T)
                slopes.append(None)
            else:
                x, slope = _activate(layer, x)
                slopes[-1] = slope if slopes[-1] is None else slopes[-1] * slope
        f, g = _output_gradient(x, y, output_of(output))
        back = []
        for i in reversed(range(len(sums))):
            if slopes[i] is not None:
                g = g * slopes[i]
            back.append(g)
            g = g @ sums[i]
    return Factors(tuple(reversed(back)), tuple(fore), tuple(bias), f)


def per_sample_gradients(
    module: nn.Module,
    data: tuple[torch.Tensor, torch.Tensor],
    *,
    output: str | Output = "margin",
    weights: Mapping[str, torch.Tensor] | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradient of the output of each sample by all parameters, of any module that ``torch.func`` can follow.

    Parameters
    ----------
    module
        Takes (n, ...) and gives (n, k). It is used in evaluation mode.
    data
        (n, ...) inputs and (n,) targets; a block small enough that n gradients fit in memory.
    output
        See ``output_of``.
    weights
        State dict to use in place of the module's own weights.

    Returns
    -------
    gradients : (n, n_parameters), in the order of ``module.parameters()``
    outputs : (n,)
    """
    x, y = data
    measure = output_of(output)
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())} if weights is None else dict(weights)
    learned = {name: state.pop(name).detach() for name, _ in module.named_parameters()}
    fixed = {name: state[name].detach() for name, _ in module.named_buffers() if name in state}

    def one(parameters: dict[str, torch.Tensor], xi: torch.Tensor, yi: torch.Tensor) -> tuple[torch.Tensor, ...]:
        z = functional_call(module, (parameters, fixed), (xi[None],))[0]
        f = measure(z.reshape(-1), yi)
        return f, f

    before = module.training
    module.eval()
    try:
        found, f = vmap(grad(one, has_aux=True), in_dims=(None, 0, 0))(learned, x, y)
    finally:
        module.train(before)
    return torch.cat([found[name].flatten(1) for name in learned], dim=1).detach(), f.detach()


def _activate(layer: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if isinstance(layer, nn.ReLU):
        out = x.relu()
        return out, (out > 0).to(out.dtype)
    with torch.enable_grad():
        at = x.detach().requires_grad_()
        out = layer(at)
        (slope,) = torch.autograd.grad(out.sum(), at)
    return out.detach(), slope


def _output_gradient(z: torch.Tensor, y: torch.Tensor, measure: Output) -> tuple[torch.Tensor, torch.Tensor]:
    """The output of each sample and its gradient by the logits; the margin in closed form."""
    if measure is margin and z.shape[1] > 1:
        own = nn.functional.one_hot(y.long(), z.shape[1]).bool()
        rest = z.masked_fill(own, -torch.inf)
        f = z[own] - torch.logsumexp(rest, dim=1)
        return f, own.to(z.dtype) - torch.softmax(rest, dim=1)
    g, f = vmap(grad(lambda zi, yi: (measure(zi, yi),) * 2, has_aux=True))(z, y)
    return f, g
