"""The cheapest offers that meet every demand: weighted set multi-cover with priced shortfalls, and a bound on it.

    min  sum_i c_i x_i + k sum_f y_f + sum_u pi_u s_u
    s.t. sum_{r of u} z_r + s_u >= need_u,   z_r <= sum_i a_ir x_i,   z_r <= most_r,   x_i <= y_f(i),   x binary

``x`` says which offers are taken, ``y`` which files are opened, ``s`` what a demand lacks. A demand for cells has one
row ``r``; a demand for distinct donors has one a donor with ``most`` 1, so that a second fragment of the same donor
counts for nothing. The problem always has an answer: what cannot be had is a shortfall, which costs.

Solved by a greedy whose worths are the prices of the linear relaxation, from several roundings of that, pruned, then
improved by taking small parts away and serving them anew. The relaxation is also the bound that is told with the
answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from whycell.corpus.bounds import EXACT_ROWS, Relaxed, relax, solve_exactly
from whycell.corpus.cover_loops import greedy, prune, rebuild
from whycell.corpus.demands import Problem

__all__ = ["Cover", "cover", "objective"]

_ROUNDINGS = (0.3, 0.5, 0.7, 1.0 - 1e-6)
_TRIES, _WIDTH = 20_000, 6
_WORK = 600_000_000  # places of the matrix: two seconds or three, however wide the offers are
_NEAR = 0.25
_EXACT_SECONDS = 20.0


@dataclass(frozen=True)
class Cover:
    """Offers taken, and how far from the best they can be.

    Parameters
    ----------
    taken
        (n_offers,) bool.
    cost
        Of the offers and of the files opened, in MB.
    penalty
        Price of what the answer lacks beyond what no answer could have.
    unavoidable
        Price of what the catalogue does not hold; part of every answer, and of no gap.
    bound
        No answer has a smaller ``cost + penalty``.
    short
        (n_demands,) what each demand lacks, the unavoidable included.
    proven
        Whether the answer is known to be the best.
    """

    taken: np.ndarray
    cost: float
    penalty: float
    unavoidable: float
    bound: float
    short: np.ndarray
    proven: bool

    @property
    def gap(self) -> float:
        """How much dearer than the bound, as a share of it; 0 where the answer is known to be the best."""
        return max(0.0, (self.cost + self.penalty) / self.bound - 1.0) if self.bound > 0 else 0.0


def cover(problem: Problem, *, exact: bool | None = None, tries: int = _TRIES, seed: int = 0) -> Cover:
    """Choose offers.

    Parameters
    ----------
    problem
        Offers and demands.
    exact
        Whether HiGHS proves the answer, within twenty seconds; where the problem is small if ``None``.
    tries
        Times that a small part is taken away and served anew.
    seed
        Of the parts.

    Returns
    -------
    Cover
    """
    relaxed = relax(problem)
    state = _best_start(problem, relaxed)
    if tries and len(problem.cost):
        _improve(problem, relaxed, state, tries, seed)
    taken, bound, proven = state.taken, relaxed.bound, False
    exact = len(problem.cost) <= EXACT_ROWS if exact is None else exact
    best = objective(problem, taken)
    if exact and best > bound * (1 + 1e-9):
        found = solve_exactly(problem, seconds=_EXACT_SECONDS)
        bound = max(bound, found.bound)
        if found.taken is not None and objective(problem, found.taken) < best - 1e-12:
            taken, best = found.taken, objective(problem, found.taken)
    bound = min(bound, best)
    proven = best <= bound * (1 + 1e-6)
    lacking = problem.short(taken)
    unavoidable = problem.asked - problem.need
    cost = problem.cost_of(taken)
    return Cover(
        taken=taken,
        cost=cost,
        penalty=best - cost,
        unavoidable=float(problem.price @ unavoidable),
        bound=bound,
        short=lacking + unavoidable,
        proven=proven,
    )


def objective(problem: Problem, taken: np.ndarray) -> float:
    """Cost of some offers and price of what they lack of what can be had."""
    return problem.cost_of(taken) + float(problem.price @ problem.short(taken))


class _State:
    """What the loops change in place."""

    def __init__(self, problem: Problem, taken: np.ndarray) -> None:
        self.taken = taken.copy()
        self.have = np.asarray(problem.amounts.T @ taken.astype(np.float64)).ravel()
        counted = np.minimum(self.have, problem.most)
        self.short = problem.need - np.bincount(problem.owner, weights=counted, minlength=len(problem.need))
        self.opened = np.bincount(problem.file_of[taken], minlength=problem.n_files).astype(np.int64)


def _best_start(problem: Problem, relaxed: Relaxed) -> _State:
    """The cheapest of several: from nothing and from roundings of the relaxation, filled up greedily and pruned."""
    best: tuple[float, _State] | None = None
    starts = [np.zeros(len(problem.cost), dtype=bool), *(relaxed.x > level for level in _ROUNDINGS)]
    for start in starts:
        state = _State(problem, start)
        _fill(problem, relaxed.worth, state)
        value = objective(problem, state.taken)
        if best is None or value < best[0] - 1e-12:
            best = (value, state)
    if best is None:
        return _State(problem, starts[0])
    return best[1]


def _fill(problem: Problem, worth: np.ndarray, state: _State) -> None:
    files, by_file = problem.files
    greedy(
        *_arrays(problem.amounts),
        problem.owner,
        problem.most,
        problem.cost,
        problem.file_of,
        problem.opening,
        by_file,
        files,
        worth,
        problem.price,
        state.taken,
        state.have,
        state.short,
        state.opened,
    )
    reduced = problem.cost - problem.amounts @ worth[problem.owner]
    held = np.flatnonzero(state.taken)
    prune(
        *_arrays(problem.amounts),
        problem.owner,
        problem.most,
        problem.cost,
        problem.file_of,
        problem.opening,
        problem.price,
        held[np.argsort(-reduced[held], kind="stable")],
        state.taken,
        state.have,
        state.short,
        state.opened,
    )


def _improve(problem: Problem, relaxed: Relaxed, state: _State, tries: int, seed: int) -> None:
    # Offers that the relaxation finds far too dear are not looked at: six times as many tries in the time.
    reduced = problem.cost - problem.amounts @ relaxed.worth[problem.owner]
    near = (reduced < _NEAR * problem.cost) | state.taken
    columns = sp.csc_matrix(sp.diags(near.astype(np.float64)) @ problem.amounts)
    columns.eliminate_zeros()
    rebuild(
        *_arrays(problem.amounts),
        problem.owner,
        problem.most,
        problem.cost,
        problem.file_of,
        problem.opening,
        columns.indptr.astype(np.int64),
        columns.indices.astype(np.int64),
        relaxed.worth,
        problem.price,
        state.taken,
        state.have,
        state.short,
        state.opened,
        tries,
        _WIDTH,
        _WORK,
        np.random.default_rng(seed),
    )


def _arrays(matrix: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int64), matrix.data.astype(np.float64)
