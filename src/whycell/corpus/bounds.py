"""What no selection can beat: the linear relaxation of a cover, its prices, and a proof where the problem is small.

The bound does not rest on the solver's word: from the prices ``w`` that it returns, whatever they are,

    sum_u need_u w_u - sum_i max(0, sum_r a_ir w - c_i) - (rows that saturate, files that open)

is below every answer (weak duality); it is computed from them here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

from whycell.corpus.demands import Problem

__all__ = ["EXACT_ROWS", "Exact", "Relaxed", "most_gain", "relax", "solve_exactly"]

#: Offers up to which a proof is tried, and files and donors stand in the relaxation one by one.
EXACT_ROWS = 2_000
_GAP = 1e-4


@dataclass(frozen=True)
class Relaxed:
    """The relaxation, solved.

    Parameters
    ----------
    x
        (n_offers,) 0..1, how much of each offer it takes.
    worth
        (n_demands,) MB that one unit of each demand is worth, never zero.
    bound
        MB below every answer.
    """

    x: np.ndarray
    worth: np.ndarray
    bound: float


@dataclass(frozen=True)
class Exact:
    """What branch and bound found in its time: an answer, if any, and a bound."""

    taken: np.ndarray | None
    bound: float


@dataclass(frozen=True)
class _Program:
    """min c v, A v >= b, 0 <= v <= upper: offers first, then shortfalls, rows that saturate, files."""

    c: np.ndarray
    A: sp.csr_matrix
    b: np.ndarray
    upper: np.ndarray
    n_demands: int


def relax(problem: Problem) -> Relaxed:
    """Solve the linear relaxation; with many offers in a weaker form that is as quick as one row a demand.

    Parameters
    ----------
    problem
        Offers and demands.
    """
    if not len(problem.cost) or not len(problem.need):
        return Relaxed(np.zeros(len(problem.cost)), _positive(np.zeros(len(problem.need)), problem), 0.0)
    program = _program(problem, full=len(problem.cost) <= EXACT_ROWS)
    solved = linprog(
        program.c, A_ub=-program.A, b_ub=-program.b, bounds=np.column_stack([0 * program.upper, program.upper])
    )
    if solved.x is None:
        return Relaxed(np.zeros(len(problem.cost)), _positive(np.zeros(len(problem.need)), problem), 0.0)
    dual = np.maximum(-solved.ineqlin.marginals, 0.0)
    return Relaxed(
        x=np.asarray(solved.x[: len(problem.cost)]),
        worth=_positive(dual[: program.n_demands], problem),
        bound=_weak_duality(program, dual),
    )


def solve_exactly(problem: Problem, *, seconds: float) -> Exact:
    """Branch and bound (HiGHS) for some time.

    Parameters
    ----------
    problem
        Offers and demands.
    seconds
        Allowed.
    """
    program = _program(problem, full=True)
    whole = np.zeros(len(program.c))
    whole[: len(problem.cost)] = 1
    found = milp(
        program.c,
        constraints=LinearConstraint(program.A, lb=program.b),
        integrality=whole,
        bounds=Bounds(0, program.upper),
        options={"time_limit": seconds, "mip_rel_gap": _GAP},
    )
    bound = found.mip_dual_bound if found.mip_dual_bound is not None and np.isfinite(found.mip_dual_bound) else 0.0
    return Exact(found.x[: len(problem.cost)] > 0.5 if found.x is not None else None, float(bound))


def most_gain(problem: Problem, budget: float, *, tangents: tuple[np.ndarray, np.ndarray, np.ndarray]) -> float:
    """The relaxation of a budget: no offers within it have a larger sum of concave gains.

    Parameters
    ----------
    problem
        Offers and demands.
    budget
        MB.
    tangents
        (n_tangents,) the demand, the slope and the height at zero of lines above the gains; a gain is at most each of
        its lines.
    """
    owner, slope, height = tangents
    n, n_demands = len(problem.cost), len(problem.asked)
    if not n:
        return 0.0
    n_rows = len(problem.owner)
    to_demand = sp.csr_matrix((np.ones(n_rows), (np.arange(n_rows), problem.owner)), shape=(n_rows, n_demands))
    sizes = np.bincount(problem.file_of, minlength=problem.n_files)
    cost = problem.cost + problem.opening / sizes[problem.file_of]
    counted = sp.csr_matrix(problem.amounts, dtype=np.float64, copy=True)
    counted.data = np.minimum(counted.data, problem.most[counted.indices])
    line = sp.csr_matrix((slope, (np.arange(len(owner)), owner)), shape=(len(owner), n_demands))
    gain = sp.csr_matrix((np.ones(len(owner)), (np.arange(len(owner)), owner)), shape=(len(owner), n_demands))
    # Variables: offers, what demands have, gains. Rows: have <= sum of offers, gain <= each line, cost <= budget.
    A = sp.bmat(
        [
            [_capped(counted @ to_demand, problem.asked).T, -sp.identity(n_demands), None],
            [None, line, -gain],
            [sp.csr_matrix(-cost[None, :]), None, None],
        ],
        format="csr",
    )
    program = _Program(
        c=np.concatenate([np.zeros(n + n_demands), -np.ones(n_demands)]),
        A=A,
        b=np.concatenate([np.zeros(n_demands), -height, [-budget]]),
        upper=np.concatenate([np.ones(n), problem.asked, np.ones(n_demands)]),
        n_demands=n_demands,
    )
    solved = linprog(
        program.c, A_ub=-program.A, b_ub=-program.b, bounds=np.column_stack([0 * program.upper, program.upper])
    )
    if solved.x is None:
        return float(n_demands)
    return -_weak_duality(program, np.maximum(-solved.ineqlin.marginals, 0.0))


def _program(problem: Problem, *, full: bool) -> _Program:
    """The program; ``full`` with every donor and file as a variable, else as one row a demand: weaker, and quick."""
    n, n_demands = len(problem.cost), len(problem.need)
    n_rows = len(problem.owner)
    to_demand = sp.csr_matrix((np.ones(n_rows), (np.arange(n_rows), problem.owner)), shape=(n_rows, n_demands))
    counted = sp.csr_matrix(problem.amounts, dtype=np.float64, copy=True)
    # No offer counts for more than is needed: a tighter relaxation with the same answers.
    counted.data = np.minimum(counted.data, np.minimum(problem.most, problem.need[problem.owner])[counted.indices])
    slack = sp.identity(n_demands)
    if not full:
        # A donor met twice counts twice, and a file is opened by parts.
        sizes = np.bincount(problem.file_of, minlength=problem.n_files)
        cost = problem.cost + problem.opening / sizes[problem.file_of]
        A = sp.hstack([_capped(counted @ to_demand, problem.need).T, slack], format="csr")
        upper = np.concatenate([np.ones(n), problem.need])
        return _Program(np.concatenate([cost, problem.price]), A, problem.need, upper, n_demands)
    plain, limited = np.flatnonzero(np.isinf(problem.most)), np.flatnonzero(np.isfinite(problem.most))
    n_files = problem.n_files if problem.opening > 0 else 0
    opens = sp.csr_matrix((np.ones(n), (np.arange(n), problem.file_of)), shape=(n, problem.n_files))
    blocks = [[_capped(counted[:, plain] @ to_demand[plain], problem.need).T, slack, to_demand[limited].T, None]]
    if len(limited):
        blocks.append([counted[:, limited].T, None, -sp.identity(len(limited)), None])
    if n_files:
        blocks.append([-sp.identity(n), None, None, opens])
    widths = (n, n_demands, len(limited), n_files)
    filled = [
        sp.hstack(
            [sp.csr_matrix((row[0].shape[0], w)) if part is None else part for part, w in zip(row, widths, strict=True)]
        )
        for row in blocks
    ]
    return _Program(
        c=np.concatenate([problem.cost, problem.price, np.zeros(len(limited)), np.full(n_files, problem.opening)]),
        A=sp.vstack(filled, format="csr"),
        b=np.concatenate([problem.need, np.zeros(len(limited) + (n if n_files else 0))]),
        upper=np.concatenate([np.ones(n), problem.need, problem.most[limited], np.ones(n_files)]),
        n_demands=n_demands,
    )


def _capped(amounts: sp.spmatrix, need: np.ndarray) -> sp.csr_matrix:
    out = sp.csr_matrix(amounts)
    out.data = np.minimum(out.data, need[out.indices])
    return out


def _weak_duality(program: _Program, dual: np.ndarray) -> float:
    reduced = program.c - program.A.T @ dual
    return float(program.b @ dual + np.minimum(reduced, 0.0) @ program.upper)


def _positive(worth: np.ndarray, problem: Problem) -> np.ndarray:
    """Worths for the greedy: a demand that others serve in passing is worth a little, so that it is served at all."""
    scale = worth.max() if len(worth) and worth.max() > 0 else 1.0
    fair = scale / np.maximum(problem.need, 1.0)
    return np.asarray(worth + 1e-6 * scale + (1e-3 * fair if worth.max(initial=0) == 0 else 0.0))
