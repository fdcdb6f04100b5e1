"""Probabilities that can be trusted: measured on groups of cells that the model did not learn from.

*Temperature.* Log-probabilities are divided by one number, found by maximum likelihood on held-out cells; small panels
deserve less certainty, so the number is found at several shares of what the model reads and interpolated.

*Threshold.* The call is the most informative term whose probability clears a threshold, the smallest one at which
held-out calls off the true branch are at most the stated share: the mean over held-out groups plus one standard
error, so that few or unlike groups make the model more careful, not less.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["COVERAGES", "Folds", "choose_threshold", "fit_temperature", "make_folds", "pick_nodes", "temperature_at"]

COVERAGES = (1.0, 0.5, 0.25, 0.1, 0.05)
_MAX_FOLDS = 4
_FEWEST_GROUPS = 3
_ENOUGH = 4_000  # cells that one temperature is read off


@dataclass(frozen=True)
class Folds:
    """Which cells are held out together.

    Parameters
    ----------
    unit
        ``"study"``, ``"donor"`` or ``"cell"``.
    fold
        (n_cells,) int.
    group
        (n_cells,) the study, donor or fold that each cell belongs to.
    cautious
        Whether too few groups were at hand to trust the result as it is.
    """

    unit: str
    fold: np.ndarray
    group: np.ndarray
    cautious: bool


def make_folds(study: np.ndarray, donor: np.ndarray | None, kind: np.ndarray, rng: np.random.Generator) -> Folds:
    """Hold out whole studies where there are two, else whole donors where there are three, else random cells."""
    if len(np.unique(study)) >= 2:
        return Folds("study", _spread(study), study, cautious=len(np.unique(study)) < _FEWEST_GROUPS)
    if donor is not None and len(np.unique(donor)) >= _FEWEST_GROUPS:
        return Folds("donor", _spread(donor), donor, cautious=False)
    fold = np.empty(len(study), dtype=np.int64)
    for k in np.unique(kind):
        rows = rng.permutation(np.flatnonzero(kind == k))
        fold[rows] = np.arange(len(rows)) % min(3, _MAX_FOLDS)
    return Folds("cell", fold, fold, cautious=True)


def _spread(group: np.ndarray) -> np.ndarray:
    """Groups to folds, the largest first into the emptiest."""
    names, codes, counts = np.unique(group, return_inverse=True, return_counts=True)
    load = np.zeros(min(_MAX_FOLDS, len(names)))
    home = np.empty(len(names), dtype=np.int64)
    for g in np.argsort(-counts, kind="stable"):
        home[g] = int(np.argmin(load))
        load[home[g]] += counts[g]
    return home[codes]


def fit_temperature(log_p: np.ndarray, meaning: np.ndarray) -> float:
    """The temperature of greatest likelihood.

    Parameters
    ----------
    log_p
        (n_cells, n_leaves) log-probabilities of held-out cells.
    meaning
        (n_cells, n_leaves) bool, the leaves that the truth may be.
    """

    from scipy.optimize import minimize_scalar  # a fifth of a second that typing a file need not wait for

    log_p = log_p[:: max(len(log_p) // _ENOUGH, 1)].astype(np.float32)
    meaning = meaning[:: max(len(meaning) // _ENOUGH, 1)].astype(np.float32)
    log_p = log_p - log_p.max(axis=1, keepdims=True)

    def loss(log_t: float) -> float:
        p = np.exp(log_p * np.float32(np.exp(-log_t)))
        within = np.einsum("nk,nk->n", p, meaning) / p.sum(axis=1)
        return float(-np.log(np.maximum(within, 1e-12)).mean(dtype=np.float64))

    return float(np.exp(minimize_scalar(loss, bounds=(-1.0, 2.5), method="bounded", options={"xatol": 1e-3}).x))


def temperature_at(coverage: float, levels: np.ndarray, temperatures: np.ndarray) -> float:
    """Temperature at a share of what the model reads; linear in the logarithms, flat outside the levels measured."""
    order = np.argsort(levels)
    return float(np.exp(np.interp(np.log(coverage), np.log(levels[order]), np.log(temperatures[order]))))


def pick_nodes(of_nodes: np.ndarray, information: np.ndarray, threshold: float) -> np.ndarray:
    """The most informative node that clears the threshold.

    Parameters
    ----------
    of_nodes
        (n_cells, n_nodes) probabilities.
    information
        (n_nodes,) information content; ties go to the more probable.
    threshold
        Least probability of a call.

    Returns
    -------
    (n_cells,) int, -1 where no node clears it.
    """
    worth = np.where(of_nodes >= threshold - 1e-9, information + 1e-6 * of_nodes, -1.0)
    best = worth.argmax(axis=1)
    return np.where(worth.max(axis=1) >= 0, best, -1)


def choose_threshold(
    of_nodes: np.ndarray,
    on_branch: np.ndarray,
    group: np.ndarray,
    information: np.ndarray,
    *,
    error: float,
    margin: bool,
) -> tuple[float, float]:
    """The smallest threshold that keeps held-out calls on the true branch.

    Parameters
    ----------
    of_nodes
        (n_cells, n_nodes) calibrated probabilities of held-out cells.
    on_branch
        (n_cells, n_nodes) bool, whether a call of the node is on the branch of the cell's truth.
    group
        (n_cells,) the held-out group of each cell.
    information
        (n_nodes,).
    error
        Largest share of calls off the branch.
    margin
        Whether the mean over groups plus one standard error must keep to ``error``, or the mean alone (studies: they
        are so few and so unlike that no threshold would keep to it).

    Returns
    -------
    threshold, share of held-out calls off the branch at it
    """
    names, codes = np.unique(group, return_inverse=True)
    rows = np.arange(len(of_nodes))
    wrong_share = 1.0
    for threshold in (*np.arange(0.5, 0.9, 0.02), *np.arange(0.9, 0.99, 0.005), 0.99, 0.995, 0.998):
        node = pick_nodes(of_nodes, information, threshold)
        made = node >= 0
        wrong = made & ~on_branch[rows, np.maximum(node, 0)]
        calls = np.bincount(codes, weights=made, minlength=len(names))
        wrongs = np.bincount(codes, weights=wrong, minlength=len(names))
        shares = (wrongs + 0.5) / (calls + 1.0)
        n = len(names)
        pooled = (wrongs.sum() + 1) / (calls.sum() + 1)
        spread = shares.std(ddof=1) / np.sqrt(n) if n > 1 else np.sqrt(pooled * (1 - pooled) / (calls.sum() + 1))
        wrong_share = float(pooled)
        if max(pooled, shares.mean()) + (spread if margin else 0.0) <= error:
            break
    return float(threshold), wrong_share
