"""What a sum of megabytes buys: the most gain under a budget, with a bound.

Every demand ``u`` has a concave gain, ``g_u(n) = log(1 + n / k) / log(1 + asked / k)`` up to what is asked (0 for none,
1 for all, the first cells of a type worth the most), and gains add. The sum is monotone and submodular, so the offer of
most gain a megabyte, again and again, with the best single offer as a rival, is within (1 - 1/e)/2 of the best. The
bound told is usually much nearer: the least of the linear relaxation, in which each gain lies under its tangents, and,
for sets S met on the way,

    best <= gain(S) + the fractional knapsack of the gains that single offers add to S.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from whycell.corpus.bounds import most_gain
from whycell.corpus.demands import Problem

__all__ = ["Spent", "spend"]

_KNEE = 50.0
_TANGENTS = np.array([0.0, 0.003, 0.01, 0.03, 0.07, 0.15, 0.3, 0.5, 0.75, 1.0])  # shares of what is asked


@dataclass(frozen=True)
class Spent:
    """What was bought.

    Parameters
    ----------
    taken
        (n_offers,) bool.
    cost
        MB.
    gain
        Sum of the gains, at most the number of demands.
    bound
        No choice within the budget gains more.
    short
        (n_demands,) what each demand lacks of what was asked.
    """

    taken: np.ndarray
    cost: float
    gain: float
    bound: float
    short: np.ndarray

    @staticmethod
    def gain_of(problem: Problem, taken: np.ndarray) -> float:
        """Gain of any set of offers."""
        return float(_Gain(problem).of(_have(problem, taken)).sum())


class _Gain:
    """g and what it is made of."""

    def __init__(self, problem: Problem) -> None:
        donors = np.zeros(len(problem.asked), dtype=bool)
        donors[problem.owner[np.isfinite(problem.most)]] = True
        self.knee = np.where(donors, 1.0, _KNEE)
        self.asked = np.maximum(problem.asked, 1e-9)
        self.scale = 1.0 / np.log1p(self.asked / self.knee)

    def of(self, have: np.ndarray) -> np.ndarray:
        """(n_demands,) gain where demands have (n_demands,) so much."""
        return np.asarray(np.log1p(np.minimum(have, self.asked) / self.knee) * self.scale)

    def tangents(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Demand, slope and height at zero of lines that no gain rises above."""
        at = _TANGENTS[:, None] * self.asked
        slope = self.scale / (self.knee + at)
        height = np.log1p(at / self.knee) * self.scale - slope * at
        owner = np.tile(np.arange(len(self.asked)), len(_TANGENTS))
        return owner, slope.ravel(), height.ravel()

    def one(self, u: np.ndarray, have: np.ndarray) -> np.ndarray:
        """Gain of some demands alone."""
        return np.asarray(np.log1p(np.minimum(have, self.asked[u]) / self.knee[u]) * self.scale[u])


def spend(problem: Problem, *, budget: float) -> Spent:
    """Choose offers of the most gain within a budget.

    Parameters
    ----------
    problem
        Offers and demands; prices of shortfalls play no part.
    budget
        MB that may be spent, files opened included.
    """
    gain = _Gain(problem)
    state = _Buying(problem, gain)
    affordable = problem.cost + problem.opening <= budget
    open_to = np.flatnonzero(affordable).tolist()
    queue = [(-state.worth(i) / (problem.cost[i] + problem.opening), i) for i in open_to]
    heapq.heapify(queue)
    bound = state.bound(budget)
    spent, bought, next_bound = 0.0, 0, 1
    while queue:
        rate, i = heapq.heappop(queue)
        price = state.price(i)
        if state.taken[i] or spent + price > budget:
            continue
        now = -state.worth(i) / price
        if queue and now > queue[0][0] + 1e-15 and now > rate + 1e-15:
            heapq.heappush(queue, (now, i))
            continue
        if now >= 0:
            break
        for j in state.take(i):
            heapq.heappush(queue, (-state.worth(j) / problem.cost[j], int(j)))
        spent, bought = spent + price, bought + 1
        if bought == next_bound:
            bound, next_bound = min(bound, state.bound(budget)), bought * 2
    bound = min(bound, state.bound(budget), most_gain(problem, budget, tangents=gain.tangents()))
    taken = state.taken
    total = float(gain.of(state.have).sum())
    alone = _best_alone(problem, gain, affordable)
    if alone is not None and alone[1] > total:
        taken, total = alone
    have = _have(problem, taken)
    return Spent(taken, problem.cost_of(taken), total, max(bound, total), np.maximum(problem.asked - have, 0.0))


class _Buying:
    """What has been bought so far."""

    def __init__(self, problem: Problem, gain: _Gain) -> None:
        self.problem, self.gain = problem, gain
        self.taken = np.zeros(len(problem.cost), dtype=bool)
        self.opened = np.zeros(problem.n_files, dtype=bool)
        self.rows = np.zeros(len(problem.owner))
        self.have = np.zeros(len(problem.asked))
        self.starts, self.by_file = problem.files

    def price(self, i: int) -> float:
        opening = 0.0 if self.opened[self.problem.file_of[i]] else self.problem.opening
        return float(self.problem.cost[i] + opening)

    def worth(self, i: int) -> float:
        u, more = self._adds(i)
        return float((self.gain.one(u, self.have[u] + more) - self.gain.one(u, self.have[u])).sum())

    def take(self, i: int) -> np.ndarray:
        """Buy one; the offers that are cheaper now."""
        u, more = self._adds(i)
        self.have[u] += more
        amounts = self.problem.amounts
        at = slice(amounts.indptr[i], amounts.indptr[i + 1])
        self.rows[amounts.indices[at]] += amounts.data[at]
        self.taken[i] = True
        f = self.problem.file_of[i]
        if self.opened[f] or not self.problem.opening:
            self.opened[f] = True
            return np.zeros(0, dtype=np.int64)
        self.opened[f] = True
        mine = self.by_file[self.starts[f] : self.starts[f + 1]]
        return np.asarray(mine[~self.taken[mine]])

    def bound(self, budget: float) -> float:
        """Gain so far, and what the budget would buy more of at today's rates; files are opened by parts."""
        worth = self._worths()
        sizes = np.bincount(self.problem.file_of, minlength=self.problem.n_files)
        shut = ~self.opened[self.problem.file_of] if len(self.opened) else np.zeros(0, dtype=bool)
        cost = self.problem.cost + shut * self.problem.opening / np.maximum(sizes, 1)[self.problem.file_of]
        order = np.argsort(-worth / cost, kind="stable")
        paid = np.cumsum(cost[order])
        part = np.clip((budget - (paid - cost[order])) / cost[order], 0.0, 1.0)
        return float(self.gain.of(self.have).sum() + worth[order] @ part)

    def _adds(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Demands that one offer adds to, each once, and by how much."""
        amounts = self.problem.amounts
        at = slice(amounts.indptr[i], amounts.indptr[i + 1])
        r = amounts.indices[at]
        most = self.problem.most[r]
        more = np.minimum(self.rows[r] + amounts.data[at], most) - np.minimum(self.rows[r], most)
        u, place = np.unique(self.problem.owner[r], return_inverse=True)
        return u, np.bincount(place, weights=more, minlength=len(u))

    def _worths(self) -> np.ndarray:
        """(n_offers,) what each adds now; an offer that serves a demand by several rows counts them one by one, which
        is no less."""
        amounts, problem = self.problem.amounts, self.problem
        most, have = problem.most[amounts.indices], self.rows[amounts.indices]
        more = np.minimum(have + amounts.data, most) - np.minimum(have, most)
        u = problem.owner[amounts.indices]
        added = self.gain.one(u, self.have[u] + more) - self.gain.one(u, self.have[u])
        starts = np.repeat(np.arange(len(problem.cost)), np.diff(amounts.indptr))
        out = np.bincount(starts, weights=added, minlength=len(problem.cost))
        return np.asarray(np.where(self.taken, 0.0, out))


def _have(problem: Problem, taken: np.ndarray) -> np.ndarray:
    rows = np.minimum(np.asarray(problem.amounts.T @ taken.astype(np.float64)).ravel(), problem.most)
    return np.bincount(problem.owner, weights=rows, minlength=len(problem.asked))


def _best_alone(problem: Problem, gain: _Gain, affordable: np.ndarray) -> tuple[np.ndarray, float] | None:
    if not affordable.any():
        return None
    worths = np.where(affordable, _Buying(problem, gain)._worths(), -1.0)
    taken = np.zeros(len(affordable), dtype=bool)
    taken[int(worths.argmax())] = True
    return taken, float(gain.of(_have(problem, taken)).sum())
