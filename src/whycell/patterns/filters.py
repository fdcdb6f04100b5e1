"""What drives a channel of a layer: the stretches of sequence where it adds most, and the shares of letters in them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from whycell.patterns.scan import codes_of

__all__ = ["TopWindows", "meme_of"]


class TopWindows:
    """Keeps, for each channel, the windows whose contributions are largest, however many sequences are shown.

    Parameters
    ----------
    channels
        Of the layer.
    first
        (positions,) where the window of each begins in the sequence; windows that reach beyond it are left out.
    width
        Letters of a window.
    most
        Windows kept.
    least
        Left out in the end are those that add less than this share of what the best adds.
    """

    def __init__(self, channels: int, first: np.ndarray, width: int, *, most: int = 200, least: float = 0.25) -> None:
        self.first, self.width, self.most, self.least = first, width, most, least
        self.added = np.zeros((channels, 0), dtype=np.float32)
        self.codes = np.zeros((channels, 0, width), dtype=np.uint8)

    def add(self, x: np.ndarray, contributions: np.ndarray) -> None:
        """Show sequences (n, 4, length) and what the channels add there (n, channels, positions)."""
        codes = codes_of(x)
        inside = np.flatnonzero((self.first >= 0) & (self.first + self.width <= x.shape[2]))
        if not len(inside):
            return
        windows = np.lib.stride_tricks.sliding_window_view(codes, self.width, axis=1)[:, self.first[inside]]
        windows = windows.reshape(-1, self.width)
        values = contributions[:, :, inside].swapaxes(0, 1).reshape(len(self.added), -1)
        keep = min(self.most, values.shape[1])
        best = np.argpartition(-values, keep - 1, axis=1)[:, :keep]
        added = np.concatenate([self.added, np.take_along_axis(values, best, axis=1)], axis=1)
        codes = np.concatenate([self.codes, windows[best]], axis=1)
        order = np.argsort(-added, axis=1, kind="stable")[:, : self.most]
        self.added = np.take_along_axis(added, order, axis=1)
        self.codes = np.take_along_axis(codes, order[:, :, None], axis=1)

    def letters(self) -> tuple[np.ndarray, np.ndarray]:
        """(channels, 4, width) shares of letters, a quarter each where nothing adds; (channels,) windows they rest on.

        A channel that adds nothing anywhere has none.
        """
        used = (self.added > 0) & (self.added >= self.least * self.added[:, :1])
        counts = np.stack([((self.codes == letter) & used[:, :, None]).sum(axis=1) for letter in range(4)], axis=1)
        totals = counts.sum(axis=1, keepdims=True)
        return np.where(totals > 0, counts / np.maximum(totals, 1), 0.25), used.sum(axis=1)


def meme_of(letters: np.ndarray, sites: np.ndarray, *, names: Sequence[str]) -> str:
    """Motifs in MEME's format, without its head; those without a site are left out.

    Parameters
    ----------
    letters
        (n, 4, width) shares.
    sites
        (n,) windows that each rests on.
    names
        Of each.
    """
    lines = []
    for name, shares, n in zip(names, letters, sites, strict=True):
        if n:
            lines += [f"MOTIF {name}"]
            lines += [f"letter-probability matrix: alength= 4 w= {shares.shape[1]} nsites= {n} E= 0"]
            lines += [*(" ".join(f"{share:.6f}" for share in column) for column in shares.T), ""]
    return "".join(f"{line}\n" for line in lines)
