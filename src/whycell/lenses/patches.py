"""Windows that slide over an input: what a convolution reads, and what its filters are compared with.

A convolution maps every patch u_p of its input to z_p = W u_p. As functions of the patches, outputs have gradients

    ∂f/∂u_p = W' ∂f/∂z_p

so that the AGOP over patches is W' (mean of ∂f/∂z ∂f/∂z') W: its eigenvectors are the edge detectors and motifs that
the network decides along (Beaglehole, Radhakrishnan, Pandit and Belkin, arXiv 2309.00570). For a model without such a
layer the windows are cut from the gradient by the input itself.
"""

# n - example, p - position, c - output, d - entry of a patch

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from whycell.errors import UsageError
from whycell.lenses.outer_products import OuterProducts

__all__ = ["SLIDING", "filters", "outer_of_patches", "positions", "windows"]

#: Layers that read patches.
SLIDING = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def filters(layer: nn.Module) -> tuple[Tensor, tuple[int, ...]]:
    """Weights of a linear layer or a convolution as a matrix, a row an output.

    Parameters
    ----------
    layer
        ``nn.Linear`` or one of :data:`SLIDING`.

    Returns
    -------
    weights : (n_outputs, d) with d the entries of what one output reads; channels outermost
    shape : ``(n_inputs,)``, or ``(channels a group, *kernel)``
    """
    weight = layer.weight.detach()
    return weight.flatten(1), tuple(weight.shape[1:])


def positions(gradient: Tensor, layer: nn.Module) -> Tensor:
    """Gradients by a layer's output, a row a position.

    Parameters
    ----------
    gradient
        (c, n, channels, *places) of a convolution, (c, n, *places, channels) of a linear layer.
    layer
        The layer.

    Returns
    -------
    (n, p, c, channels)
    """
    if isinstance(layer, SLIDING):
        gradient = gradient.flatten(3).transpose(2, 3)  # (c, n, p, channels)
    else:
        gradient = gradient.reshape(*gradient.shape[:2], -1, gradient.shape[-1])
    return gradient.permute(1, 2, 0, 3)


def outer_of_patches(sums: OuterProducts, layer: nn.Module) -> OuterProducts:
    """From sums over gradients by a layer's output to sums over gradients by what it reads.

    Parameters
    ----------
    sums
        Of the gradients by the output, whole (not a diagonal).
    layer
        ``nn.Linear`` or one of :data:`SLIDING`. Groups of a grouped convolution share one kind of patch and are summed.
    """
    weight, _ = filters(layer)
    weight = weight.to(sums.scatter)
    groups = getattr(layer, "groups", 1)
    if groups == 1:
        return sums.mapped(weight.T)
    size = len(weight) // groups
    scatter: Any = 0.0
    means = []
    for g in range(groups):
        rows = slice(g * size, (g + 1) * size)
        scatter = scatter + weight[rows].T @ sums.scatter[rows, rows] @ weight[rows]
        means.append(sums.mean[:, rows] @ weight[rows])
    mean = torch.cat(means)
    return OuterProducts(sums.weight, sums.n, mean, scatter, mean * float("nan"))


def windows(gradient: Tensor, size: int | tuple[int, ...]) -> tuple[Tensor, tuple[int, ...]]:
    """Patches of gradients by an input (n, c, channels, *places), every place a window fits.

    Parameters
    ----------
    gradient
        (n, c, channels, *places)
    size
        Width of the window along each place; one number for all.

    Returns
    -------
    (n, p, c, d), and the shape (channels, *size) of a patch

    Raises
    ------
    UsageError
        Where the input has no places, or is narrower than the window.
    """
    places = gradient.shape[3:]
    widths = (size,) * len(places) if isinstance(size, int) else tuple(size)
    if not places or len(widths) != len(places) or any(w < 1 or w > p for w, p in zip(widths, places, strict=True)):
        msg = f"patches={size} of inputs shaped {tuple(gradient.shape[2:])}: wanted (channels, places...) no narrower."
        raise UsageError(msg)
    for axis, width in enumerate(widths):
        gradient = gradient.unfold(3 + axis, width, 1)  # the windows' own axes gather at the end
    k = len(places)
    order = [0, *range(3, 3 + k), 1, 2, *range(3 + k, 3 + 2 * k)]
    shape = (gradient.shape[2], *widths)
    return gradient.permute(order).flatten(1, k).flatten(3), shape
