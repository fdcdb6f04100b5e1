"""What a machine is fitted to: rows, targets, weights and groups, copies merged; how a held-out answer is judged."""

# n - row, c - output, d - coordinate

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

__all__ = ["Problem", "judge", "merged"]

_SHARPNESS = (2.0, 4.0, 8.0, 16.0)
_FLOOR = 1e-12


@dataclass(frozen=True)
class Problem:
    """Rows without copies.

    Parameters
    ----------
    rows
        (n, d) coordinates.
    targets
        (n, c); of a classification the share of each class, without the first where there are two.
    weights
        (n,) above 0, of mean 1.
    groups
        (n,) codes of rows that belong together, or ``None``.
    classes
        Number of classes; 0 in a regression.
    flags
        (d,) bool, columns with two values.
    """

    rows: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    groups: torch.Tensor | None
    classes: int
    flags: torch.Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, at: np.ndarray) -> Problem:
        """The rows at these positions."""
        where = torch.from_numpy(at).to(self.rows.device)
        return replace(
            self,
            rows=self.rows[where],
            targets=self.targets[where],
            weights=self.weights[where],
            groups=None if self.groups is None else self.groups[where],
        )

    def single(self) -> Problem:
        """The same in float32: enough to choose by."""
        return replace(self, rows=self.rows.float(), targets=self.targets.float(), weights=self.weights.float())

    def halves(self, *, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Two parts without a row, or a group, in common, alike in their targets; at most ``most`` rows each.

        Rows, or groups, are put in the order of their target and dealt out in turn.
        """
        key = self._order_key()
        if self.groups is not None:
            codes, at = np.unique(self.groups.cpu().numpy(), return_inverse=True)
            sums = np.bincount(at, weights=key)[: len(codes)] / np.bincount(at)
            rank = np.argsort(np.argsort(sums, kind="stable"), kind="stable")[at]
        else:
            rank = np.argsort(np.argsort(key, kind="stable"), kind="stable")
        first, second = np.flatnonzero(rank % 4 % 3 == 0), np.flatnonzero(rank % 4 % 3 != 0)
        return _thinned(first, rank, most), _thinned(second, rank, most)

    def sample(self, most: int) -> np.ndarray:
        """Positions of at most ``most`` rows, evenly along the order of their target."""
        if len(self) <= most:
            return np.arange(len(self))
        key = self._order_key()
        return _thinned(np.arange(len(self)), np.argsort(np.argsort(key, kind="stable"), kind="stable"), most)

    def _order_key(self) -> np.ndarray:
        targets = self.targets.cpu().numpy()
        if self.classes > 2:
            return targets.argmax(axis=1).astype(np.float64)
        return targets[:, 0].astype(np.float64)


def _thinned(rows: np.ndarray, rank: np.ndarray, most: int) -> np.ndarray:
    if len(rows) <= most:
        return rows
    in_order = rows[np.argsort(rank[rows], kind="stable")]
    return np.sort(in_order[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)])


def merged(
    rows: np.ndarray, targets: np.ndarray, weights: np.ndarray, groups: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]:
    """Rows that are copies become one, with the sum of their weights and the mean of their targets.

    The fit is the same, for squared errors differ by a constant; but no copy of a row is left when it is held out, and
    a weight of two means what two copies mean. Rows come out in the order of their values, whatever order they came in.

    Parameters
    ----------
    rows, targets, weights
        (n, d), (n, c), (n,); rows of weight 0 are dropped.
    groups
        (n,) codes; copies in different groups stay apart.

    Returns
    -------
    rows, targets, weights, groups, and (n,) the merged row of every given one, -1 where dropped
    """
    kept = np.flatnonzero(weights > 0)
    key = rows[kept] if groups is None else np.column_stack([rows[kept], groups[kept]])
    order = np.lexsort(key.T[::-1])
    new = np.ones(len(kept), dtype=bool)
    new[1:] = (key[order[1:]] != key[order[:-1]]).any(axis=1)
    place = np.empty(len(kept), dtype=np.int64)
    place[order] = np.cumsum(new) - 1
    first = kept[order[new]]
    heavy = np.bincount(place, weights=weights[kept])
    mean = np.stack([np.bincount(place, weights=weights[kept] * t[kept]) for t in targets.T], axis=1) / heavy[:, None]
    where = np.full(len(rows), -1, dtype=np.int64)
    where[kept] = place
    return rows[first], mean, heavy, None if groups is None else groups[first], where


def judge(problem: Problem, held_out: torch.Tensor) -> torch.Tensor:
    """How wrong held-out answers are: less is better.

    Of a regression the mean squared error in units of the variance of each output; of classes the share called wrongly
    plus half the log loss in nats at the best of four sharpnesses, which tells apart what calls alike.

    Parameters
    ----------
    problem
        Its targets and weights.
    held_out
        (s, n, c) answers of several machines.

    Returns
    -------
    (s,)
    """
    share = problem.weights / problem.weights.sum()
    truth = problem.targets
    if not problem.classes:
        variance = (share @ (truth - share @ truth).square()).clamp_min(_FLOOR)
        return ((share @ (truth - held_out).square()) / variance).mean(-1)
    if problem.classes == 2:
        held_out, truth = torch.cat([1 - held_out, held_out], -1), torch.cat([1 - truth, truth], -1)
    called = held_out.argmax(-1, keepdim=True)
    right = truth.expand_as(held_out).gather(-1, called)[..., 0] @ share
    sharpness = torch.tensor(_SHARPNESS, dtype=truth.dtype, device=truth.device)[:, None, None, None]
    log_loss = -((truth * torch.log_softmax(held_out * sharpness, -1)).sum(-1) @ share)
    return 1 - right + 0.5 * log_loss.amin(0)
