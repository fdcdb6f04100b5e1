"""Which rows of which files to fetch: demands in words, a cover in numbers, and the plan that a gathering reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from whycell.compute import Talk
from whycell.corpus.budget import spend
from whycell.corpus.cover import cover
from whycell.corpus.demands import Problem
from whycell.corpus.offers import Offers, cut, read_runs
from whycell.corpus.selection import (
    PLAN,
    Demands,
    Prices,
    Selection,
    donor_names,
    tell,
    tissue_names,
    type_names,
)
from whycell.corpus.trim import cap_pieces, trim_pieces
from whycell.errors import DataError, UsageError

__all__ = ["select"]


def select(
    catalog: Path,
    *,
    demands: Demands | None = None,
    where: str | None = None,
    prices: Prices | None = None,
    budget_mb: float | None = None,
    duplicates: bool = False,
    exact: bool | None = None,
    seed: int = 0,
    talk: Talk | None = None,
) -> Selection:
    """Choose the cheapest rows that meet demands, or the rows of most gain for a budget.

    Parameters
    ----------
    catalog
        What ``whycell corpus scan`` wrote.
    demands
        What is asked of every type that is there.
    where
        SQL over the columns of the view ``cells``.
    prices
        What things cost.
    budget_mb
        Spend no more than this, and lack what it does not buy.
    duplicates
        Keep copies of cells of other files.
    exact
        Prove the answer; where the problem is small if ``None``.
    seed
        Of the search.
    talk
        Told of progress.

    Returns
    -------
    Selection

    Raises
    ------
    DataError
        Where no run of the catalogue is wanted.
    """
    demands, prices, talk = demands or Demands(), prices or Prices(), talk or Talk()
    if min(demands.per_type, demands.min_donors, demands.per_tissue, demands.cap) < 0 or demands.per_donor < 1:
        msg = f"Demands are {demands}; none may be negative, and a donor must give at least one cell."
        raise UsageError(msg)
    if 0 < demands.cap < demands.per_type:
        msg = f"At most {demands.cap} cells of a type and at least {demands.per_type} were asked; raise --cap."
        raise UsageError(msg)
    runs, files = read_runs(catalog, where=where, duplicates=duplicates)
    if not len(runs):
        msg = f"No cell of {catalog} with a known type is left where {where or 'anything goes'}; ask for less."
        raise DataError(msg)
    asked = max(demands.per_type, demands.per_tissue, demands.min_donors * demands.per_donor, 1)
    offers = cut(runs, files, most_rows=int(np.clip(demands.per_type / 4, 500, 4000)), most_asked=asked)
    names = _Names(runs)
    problem = _problem(offers, names, demands, prices)
    talk.note(f"{len(runs):,} runs make {len(problem.cost):,} offers; {len(problem.asked):,} demands")
    if budget_mb is not None:
        bought = spend(problem, budget=budget_mb)
        taken, objective, bound = bought.taken, bought.gain, bought.bound
        gap, proven = 1.0 - objective / bound if bound > 0 else 0.0, objective >= bound
    else:
        found = cover(problem, exact=exact, seed=seed)
        taken, objective, bound = found.taken, found.cost + found.penalty, found.bound
        gap, proven = found.gap, found.proven
    starts, stops = _cut_to_need(offers, names, problem, taken, demands)
    plan = _plan(offers, starts, stops)
    of_types, shortfalls = tell(plan, runs, demands)
    return Selection(
        plan=plan,
        demands=demands,
        types=of_types,
        shortfalls=shortfalls,
        objective=float(objective),
        bound=float(bound),
        gap=float(gap),
        proven=bool(proven),
        cost_mb=_cost(offers, plan, starts < stops, prices),
        budget_mb=budget_mb,
        n_offers=len(problem.cost),
        catalog=str(Path(catalog).absolute()),
        where=where or "",
        seed=seed,
    )


class _Names:
    """Runs as codes: types, donors of a study, tissues."""

    def __init__(self, runs: pd.DataFrame) -> None:
        self.type, self.types = pd.factorize(type_names(runs), sort=True)
        self.donor, self.donors = pd.factorize(donor_names(runs), sort=True)
        self.tissue, self.tissues = pd.factorize(tissue_names(runs), sort=True)


def _problem(offers: Offers, names: _Names, demands: Demands, prices: Prices) -> Problem:
    n_offers = len(offers.file_of)
    size = (offers.stop - offers.start).astype(np.float64)
    parts: list[tuple[sp.csr_matrix, np.ndarray, np.ndarray, float, float]] = []

    def amounts(codes: np.ndarray, n: int, values: np.ndarray) -> sp.csr_matrix:
        return sp.csr_matrix((values, (offers.offer, codes)), shape=(n_offers, n))

    kind = names.type[offers.run]
    n_kinds = len(names.types)
    if demands.per_type:
        parts.append(
            (amounts(kind, n_kinds, size), np.arange(n_kinds), np.full(n_kinds, np.inf), demands.per_type, prices.cell)
        )
    if demands.min_donors:
        pair = kind.astype(np.int64) * len(names.donors) + names.donor[offers.run]
        pairs, at = np.unique(pair, return_inverse=True)
        donors = amounts(at, len(pairs), size / demands.per_donor)
        parts.append((donors, pairs // len(names.donors), np.ones(len(pairs)), demands.min_donors, prices.donor))
    if demands.per_tissue:
        n = len(names.tissues)
        tissue = amounts(names.tissue[offers.run], n, size)
        parts.append((tissue, np.arange(n), np.full(n, np.inf), demands.per_tissue, prices.cell))
    if not parts:
        msg = "Nothing is asked: give --per-type, --min-donors or --per-tissue."
        raise UsageError(msg)
    n_each = [int(owner.max()) + 1 for _, owner, _, _, _ in parts]
    shift = np.concatenate([[0], np.cumsum(n_each)[:-1]])
    return Problem(
        amounts=sp.hstack([part[0] for part in parts], format="csr"),
        owner=np.concatenate([part[1] + s for part, s in zip(parts, shift, strict=True)]).astype(np.int64),
        most=np.concatenate([part[2] for part in parts]),
        asked=np.repeat([float(part[3]) for part in parts], n_each),
        price=np.repeat([part[4] for part in parts], n_each),
        cost=offers.cost(price_request=prices.request),
        file_of=offers.file_of,
        opening=prices.file,
    )


def _cut_to_need(
    offers: Offers, names: _Names, problem: Problem, taken: np.ndarray, demands: Demands
) -> tuple[np.ndarray, np.ndarray]:
    """(n_pieces,) rows kept of each piece: none where its offer is not taken."""
    kept = taken[offers.offer]
    starts, stops = offers.start.copy(), np.where(kept, offers.stop, offers.start)
    kind, donor, tissue = names.type[offers.run], names.donor[offers.run], names.tissue[offers.run]
    starts, stops = trim_pieces(
        starts,
        stops,
        offers.offer,
        groups=(
            (kind, float(demands.per_type)),
            (kind.astype(np.int64) * len(names.donors) + donor, float(demands.per_donor if demands.min_donors else 0)),
            (tissue, float(demands.per_tissue)),
        ),
    )
    if demands.cap:
        starts, stops = cap_pieces(starts, stops, kind, donor, cap=demands.cap)
    return starts, stops


def _plan(offers: Offers, starts: np.ndarray, stops: np.ndarray) -> pd.DataFrame:
    """One row a run. The rows of a run are alike: what was taken of it in pieces is taken from its start, in one go."""
    use = np.flatnonzero(stops > starts)
    run, first = np.unique(offers.run[use], return_index=True)
    n = np.bincount(np.searchsorted(run, offers.run[use]), weights=(stops - starts)[use], minlength=len(run))
    rows = offers.runs.iloc[run].reset_index(drop=True)
    single = np.bincount(offers.run, minlength=len(offers.runs))[run] == 1
    rows["start"] = np.where(single, starts[use][first], rows["start"])
    rows["n"] = n.astype(np.int64)
    rows["stop"] = rows["start"] + rows["n"]
    of = offers.files.loc[rows["key"]].reset_index(drop=True)
    rows = rows.assign(address=of["address"], etag=of["etag"], size=of["size"])
    rows["nbytes"] = np.rint(rows["n"] * of["bytes_per_row"]).astype(np.int64)
    return rows[list(PLAN)]


def _cost(offers: Offers, plan: pd.DataFrame, used: np.ndarray, prices: Prices) -> float:
    """MB of the plan as it is cut: each offer of which anything is left is requested, offers of one run together."""
    _, first = np.unique(offers.run, return_index=True)
    stretch = offers.offer[first][np.searchsorted(offers.run[first], offers.run)]
    left = np.unique(stretch[used])
    of = offers.files.iloc[offers.file_of[left]]
    fixed = of["overshoot"].sum() / 1e6 + of["arrays"].sum() * prices.request
    return float(plan["nbytes"].sum() / 1e6 + fixed + prices.file * plan["key"].nunique())
