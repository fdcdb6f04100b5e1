"""Networks that read one-hot DNA (n, 4, length) and give (n, n_tasks) numbers; one forward a strand.

``Basset`` is the convolution, pool, dense network of Alipanahi et al. 2015 and Kelley et al. 2016, small. ``Dilated``
widens its view by dilated convolutions with residual connections (Kelley et al. 2018; Avsec et al. 2021), over four
times as many detectors, which are short: held-out folds of bound sequences asked for many that read few letters.
``BothStrands`` gives any of them the mean over the two strands, so that a sequence and its reverse complement have the
same answer.
"""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["NETWORKS", "Basset", "BothStrands", "Dilated", "reverse_complement"]


def reverse_complement(x: torch.Tensor) -> torch.Tensor:
    """The other strand of one-hot DNA with rows A, C, G, T."""
    return x.flip(1, 2)


class Basset(nn.Module):
    """Motifs, their best match anywhere, and a dense layer on top.

    Parameters
    ----------
    n_tasks, channels, width, layers, dropout
        Outputs; motif detectors; letters that each reads; convolutions, each but the first after a pool of 4; share of
        the dense layer dropped in training.
    """

    def __init__(self, *, n_tasks: int, channels: int = 64, width: int = 19, layers: int = 2, dropout: float = 0.3):
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv1d(4, channels, width, padding=width // 2), nn.BatchNorm1d(channels), nn.ReLU()
        )
        self.further = nn.ModuleList(
            nn.Sequential(
                nn.MaxPool1d(4, ceil_mode=True),
                nn.Conv1d(channels, channels, 7, padding=3),
                nn.BatchNorm1d(channels),
                nn.ReLU(),
            )
            for _ in range(layers - 1)
        )
        self.dense = nn.Sequential(nn.Linear(channels, 64), nn.ReLU(), nn.Dropout(dropout))
        self.last = nn.Linear(64, n_tasks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, n_tasks) for (n, 4, length)."""
        h = self.first(x)
        for layer in self.further:
            h = layer(h)
        return self.last(self.dense(h.amax(dim=-1)))


class Dilated(nn.Module):
    """Motifs, then residual convolutions of growing reach; the best and the mean position, and a dense layer.

    The pool stands before the norm: what follows has a quarter of the positions and costs as little.

    Parameters
    ----------
    n_tasks, channels, width, layers, dropout
        As of ``Basset``, but that there are ``4 * channels`` motif detectors, and each channel mixes them;
        ``layers`` counts the dilated convolutions, which reach 1, 2, 4 ... positions apart.
    """

    def __init__(self, *, n_tasks: int, channels: int = 64, width: int = 11, layers: int = 2, dropout: float = 0.3):
        super().__init__()
        detectors = 4 * channels
        self.first = nn.Sequential(
            nn.Conv1d(4, detectors, width, padding=width // 2),
            nn.MaxPool1d(4, ceil_mode=True),
            nn.BatchNorm1d(detectors),
            nn.ReLU(),
        )
        self.mixed = nn.Conv1d(detectors, channels, 1)
        self.further = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(channels, channels, 5, padding=2 * 2**i, dilation=2**i), nn.BatchNorm1d(channels), nn.ReLU()
            )
            for i in range(layers)
        )
        self.dense = nn.Sequential(nn.Linear(2 * channels, 64), nn.ReLU(), nn.Dropout(dropout))
        self.last = nn.Linear(64, n_tasks)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, n_tasks) for (n, 4, length)."""
        h = self.mixed(self.first(x))
        for layer in self.further:
            h = h + layer(h)
        return self.last(self.dense(torch.cat([h.amax(dim=-1), h.mean(dim=-1)], dim=1)))


class BothStrands(nn.Module):
    """The mean of a network over a sequence and its reverse complement.

    Parameters
    ----------
    net
        Takes (n, 4, length).
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, n_tasks), the same for either strand."""
        return (self.net(x) + self.net(reverse_complement(x))) / 2


NETWORKS = {"basset": Basset, "dilated": Dilated}
