"""Gradients of anything that can be asked: central differences, with a step of its own for every feature.

A step too small drowns in rounding (or, in a forest, never leaves its leaf), one too large bends. Each feature's step
is chosen on some of the points from a ladder of shares of its spread: the one at which the slope changes least from
step to step. A function made of stairs shows no slope at small steps and one at large ones: it gets the largest step,
and the slopes are then those of the function seen through a window that wide.
"""

# n - point, c - output, d - feature, s - step of the ladder

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from whycell.errors import UsageError

__all__ = ["LADDER", "Differences", "spreads"]

#: Steps tried, in standard deviations of a feature.
LADDER = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.5)
_ROWS = 20_000  # asked at once
_POINTS = 24
_MIDDLE = 4  # the rung of a feature of which nothing is known


def spreads(X: np.ndarray) -> np.ndarray:
    """(d,) standard deviation of every feature; of a constant one its size, or 1: there is no other unit for it."""
    deviation = X.std(axis=0)
    size = np.abs(X).max(axis=0, initial=0)
    constant = deviation <= 1e-12 * np.maximum(size, 1e-300)
    return np.asarray(np.where(constant, np.where(size > 0, size, 1.0), deviation))


@dataclass
class Differences:
    """Gradients of a function of an array.

    Parameters
    ----------
    ask
        From (n, d) to (n,) or (n, c).
    step
        (d,) steps, or one number in standard deviations; chosen by feature where ``None``.
    """

    ask: Callable[[np.ndarray], np.ndarray]
    step: np.ndarray | float | None = None
    how: str = ""
    steps: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def prepare(self, X: np.ndarray, *, seed: int = 0) -> None:
        """Choose the steps.

        Parameters
        ----------
        X
            (n, d) points.
        seed
            Of the points that the steps are tried on.
        """
        unit = spreads(X)
        if self.step is None:
            some = np.random.default_rng(seed).permutation(len(X))[:_POINTS]
            rungs, stairs = self._climb(X[np.sort(some)], unit)
            self.steps = unit * np.asarray(LADDER)[rungs]
            self.how = "central differences, steps chosen by feature"
            if stairs.any():
                self.how += f"; in {int(stairs.sum())} features stairs, seen in steps of {LADDER[-1]:g} deviations"
            return
        self.steps = np.broadcast_to(self.step * unit if np.ndim(self.step) == 0 else self.step, unit.shape).copy()
        if not (self.steps > 0).all():
            msg = f"The smallest step is {self.steps.min():g}; steps above 0 are needed."
            raise UsageError(msg)
        self.how = "central differences, steps given"

    def blocks(self, batches: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """(n, c, d) gradients of every batch of rows."""
        for rows in batches:
            yield self.slopes(rows, self.steps)

    def slopes(self, rows: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """(n, c, d) difference quotients at ``rows`` (n, d) with ``steps`` (d,)."""
        n, d = rows.shape
        at_once = max(1, _ROWS // (2 * max(n, 1)))
        parts = []
        for start in range(0, d, at_once):
            which = np.arange(start, min(start + at_once, d))
            moved = np.broadcast_to(rows, (2, len(which), n, d)).copy()
            for i, k in enumerate(which):
                moved[0, i, :, k] += steps[k]
                moved[1, i, :, k] -= steps[k]
            told = self._told(moved.reshape(-1, d)).reshape(2, len(which), n, -1)
            # What was really moved by, after rounding.
            wide = (moved[0] - moved[1])[np.arange(len(which)), :, which]
            parts.append((told[0] - told[1]) / wide[:, :, None])
        return np.concatenate(parts).transpose(1, 2, 0)

    def _told(self, rows: np.ndarray) -> np.ndarray:
        told = np.asarray(self.ask(rows), dtype=np.float64)
        if told.ndim not in (1, 2) or len(told) != len(rows):
            msg = f"The model answers {len(rows)} rows with shape {told.shape}; (n,) or (n, outputs) is needed."
            raise UsageError(msg)
        if not np.isfinite(told).all():
            msg = f"The model answers {int((~np.isfinite(told)).sum())} of {told.size} numbers with NaN or infinity."
            raise UsageError(msg)
        return told

    def _climb(self, rows: np.ndarray, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(d,) rung of the ladder for each feature, and whether it is one of stairs."""
        ladder = [self.slopes(rows, unit * share) for share in LADDER]
        found = np.stack([each.transpose(2, 0, 1).reshape(len(unit), -1) for each in ladder])  # (s, d, n c)
        change = np.abs(np.diff(found, axis=0)).mean(axis=2)  # (s - 1, d)
        size = np.abs(found).mean(axis=2)
        rung = change.argmin(axis=0) + 1
        # Stairs: between most of the points and their neighbours nothing changes, yet over a wide step it does.
        still = (found[:4] == 0).mean(axis=(0, 2))
        stairs = (still > 0.5) & (size.max(axis=0) > 0)
        # A feature that none of these points moves may have a step elsewhere, on which a small step would be a cliff.
        silent = size.max(axis=0) == 0
        if stairs.any():
            stairs = stairs | silent
        rung = np.where(silent, _MIDDLE, rung)
        return np.where(stairs, len(LADDER) - 1, rung), stairs
