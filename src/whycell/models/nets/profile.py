"""A network that reads one-hot DNA and says how many reads fall on it, and where.

``Profile`` has the shape of BPNet (Avsec et al. 2021) and ChromBPNet (Pampari et al. 2025) without a bias track: motif
detectors, residual convolutions that reach 2, 4, 8 ... positions apart, and two heads. One gives the logarithm of one
plus the count of all reads, the other a logit a base, whose softmax is the share of the reads that falls there.
"""

from __future__ import annotations

import torch
from torch import nn

from whycell.models.nets.dna import reverse_complement

__all__ = ["PROFILE_NETWORKS", "CountsOf", "Profile", "ProfileOf", "turned_joint"]

_SPREAD = 25  # bases of the convolution that draws the profile


class Profile(nn.Module):
    """Motifs, dilated residual convolutions, a profile and a count for each task.

    Parameters
    ----------
    n_tasks, channels, width, layers
        Outputs; motif detectors; letters that each reads; residual convolutions of 3 letters, ``2**i`` apart.
    out_length
        Bases of the profile, in the middle of the sequence.
    dropout
        Share of the channels dropped before the count in training.
    """

    def __init__(
        self,
        *,
        n_tasks: int,
        out_length: int,
        channels: int = 64,
        width: int = 21,
        layers: int = 6,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.out_length = out_length
        self.first = nn.Conv1d(4, channels, width, padding=width // 2)
        self.further = nn.ModuleList(
            nn.Conv1d(channels, channels, 3, padding=2**i, dilation=2**i) for i in range(1, layers + 1)
        )
        self.profile = nn.Conv1d(channels, n_tasks, _SPREAD, padding=_SPREAD // 2)
        self.dropped = nn.Dropout(dropout)
        self.last = nn.Linear(channels, n_tasks)

    def joint(self, x: torch.Tensor) -> torch.Tensor:
        """(n, n_tasks, 1 + out_length): the log count, then the logits of the profile, for (n, 4, length)."""
        h = self._read(x)
        return torch.cat([self._count(h)[..., None], self._drawn(h)], dim=-1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, n_tasks) logarithms of one plus the count, for (n, 4, length)."""
        return self._count(self._read(x))

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """(n, n_tasks, out_length) logits of the profile, for (n, 4, length)."""
        return self._drawn(self._read(x))

    def _read(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.first(x))
        for layer in self.further:
            h = h + torch.relu(layer(h))
        return h

    def _count(self, h: torch.Tensor) -> torch.Tensor:
        return self.last(self.dropped(h.mean(dim=-1)))

    def _drawn(self, h: torch.Tensor) -> torch.Tensor:
        drawn = self.profile(h)
        before = (drawn.shape[-1] - self.out_length) // 2
        return drawn[..., before : before + self.out_length]


def turned_joint(joint: torch.Tensor) -> torch.Tensor:
    """What ``Profile.joint`` gave for the other strand, as of this one: the count as it is, the profile turned."""
    return torch.cat([joint[..., :1], joint[..., 1:].flip(-1)], dim=-1)


class CountsOf(nn.Module):
    """One task's output alone, mean of both strands: (n, 1) for (n, 4, length).

    Parameters
    ----------
    net
        Gives (n, n_tasks).
    task
        Which column.
    """

    def __init__(self, net: nn.Module, task: int) -> None:
        super().__init__()
        self.net, self.task = net, task

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 1)."""
        both = (self.net(x) + self.net(reverse_complement(x))) / 2
        return both[:, self.task : self.task + 1]


class ProfileOf(nn.Module):
    """One number for a task's profile, so that it can be explained: ``sum_i softmax(z)_i (z_i - mean z)``.

    The shares are detached, as in BPNet: a gradient takes them for constants. Both strands are averaged in the logits.

    Parameters
    ----------
    net
        A ``Profile``.
    task
        Which.
    """

    def __init__(self, net: nn.Module, task: int) -> None:
        super().__init__()
        self.net, self.task = net, task

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, 1)."""
        z = (self.net.logits(x) + self.net.logits(reverse_complement(x)).flip(-1)) / 2
        z = z[:, self.task]
        z = z - z.mean(dim=-1, keepdim=True)
        return (torch.softmax(z.detach(), dim=-1) * z).sum(dim=-1, keepdim=True)


PROFILE_NETWORKS = {"dilated": Profile}
