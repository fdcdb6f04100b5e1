"""A choice of rows: what was asked, what it got, what it lacks, and the plan that a gathering reads."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from whycell.data.whole import written_whole

__all__ = ["PLAN", "Demands", "Prices", "Selection", "donor_names", "tell", "tissue_names", "type_names", "write_plan"]

#: Columns of a plan.
PLAN = (
    "key",
    "address",
    "etag",
    "size",
    "start",
    "stop",
    "n",
    "cell_type",
    "cell_type_id",
    "donor",
    "study",
    "tissue",
    "nbytes",
)


@dataclass(frozen=True)
class Demands:
    """What is asked of a corpus.

    Parameters
    ----------
    per_type
        Cells of every cell type.
    min_donors
        Distinct donors of every cell type.
    per_donor
        Cells that a donor must give of a type to count in full; fewer count in part.
    per_tissue
        Cells of every tissue.
    cap
        Cells of a type at most; 0 for no limit.
    """

    per_type: int = 5000
    min_donors: int = 0
    per_donor: int = 10
    per_tissue: int = 0
    cap: int = 0


@dataclass(frozen=True)
class Prices:
    """What things cost, in MB.

    Parameters
    ----------
    request
        A request: what the line would carry in the time that one takes.
    file
        A file of which anything is read.
    cell, donor
        A cell and a donor that are lacking.
    """

    request: float = 1.5
    file: float = 5.0
    cell: float = 10.0
    donor: float = 1000.0


@dataclass(frozen=True)
class Selection:
    """What was chosen, and how far from the best it can be.

    Parameters
    ----------
    plan
        One row a run of rows to fetch.
    demands
        What was asked.
    types
        One row a cell type: ``cell_type, cell_type_id, asked, cells, donors``.
    shortfalls
        What the plan lacks: ``demand, name, asked, held, got`` (held by the catalogue, got by the plan).
    objective
        MB of the offers chosen, with requests, files and what is lacking beyond what cannot be had; with a budget,
        the gain.
    bound
        No choice of offers has a smaller objective; with a budget, none has a larger gain.
    gap
        Of the objective to the bound, as a share of the bound.
    proven
        Whether the choice is known to be the best.
    cost_mb
        MB of the plan as it is, cut to what is needed, with requests and files.
    budget_mb
        What might be spent, or ``None``.
    n_offers
        Offers to choose from.
    catalog, where, seed
        What it was made of.
    """

    plan: pd.DataFrame
    demands: Demands
    types: pd.DataFrame
    shortfalls: pd.DataFrame
    objective: float
    bound: float
    gap: float
    proven: bool
    cost_mb: float
    budget_mb: float | None
    n_offers: int
    catalog: str
    where: str
    seed: int

    @property
    def n_cells(self) -> int:
        """Cells of the plan."""
        return int(self.plan["n"].sum())

    def sentences(self) -> list[str]:
        """What a person should know of it."""
        stored = self.plan["nbytes"].sum() / 1e6
        told = [
            f"{self.n_cells:,} cells in {len(self.plan):,} runs of {self.plan['key'].nunique():,} files, "
            f"{stored:,.1f} MB to read, {self.cost_mb:,.1f} MB with requests and files",
        ]
        if self.budget_mb is not None:
            told.append(f"gain {self.objective:.4g}, bound {self.bound:.4g}: within {self.gap:.1%} of the best")
        elif self.proven:
            told.append(f"offers chosen cost {self.objective:,.1f} MB, and no choice of them costs less")
        else:
            told.append(
                f"offers chosen cost {self.objective:,.1f} MB; none costs less than {self.bound:,.1f} MB: gap "
                f"{self.gap:.1%}"
            )
        if len(self.shortfalls):
            told.append(f"{len(self.shortfalls)} demands are not met in full")
        return told


def write_plan(selection: Selection, path: Path, *, force: bool = False) -> Path:
    """Write the plan as Parquet; what it promises stands in the schema's metadata.

    Parameters
    ----------
    selection
        From `select`.
    path
        Where to.
    force
        Replace a file that is there.
    """
    told = {
        "kind": "whycell.plan",
        "catalog": selection.catalog,
        "where": selection.where,
        "demands": json.dumps(asdict(selection.demands)),
        "objective": repr(selection.objective),
        "bound": repr(selection.bound),
        "gap": repr(selection.gap),
        "cost_mb": repr(selection.cost_mb),
        "budget_mb": json.dumps(selection.budget_mb),
        "shortfalls": selection.shortfalls.to_json(orient="records"),
        "seed": str(selection.seed),
        "version": version("whycell"),
    }
    table = pa.Table.from_pandas(selection.plan, preserve_index=False)
    with written_whole(path, force=force) as scratch:
        pq.write_table(table.replace_schema_metadata(told), scratch, compression="zstd")
    return path


def type_names(runs: pd.DataFrame) -> pd.Series:
    """The ontology's id of each run's type, else its label: two spellings of one type are one demand."""
    return runs["cell_type_id"].where(runs["cell_type_id"] != "", runs["cell_type"])


def donor_names(runs: pd.DataFrame) -> pd.Series:
    """``study / donor`` of each run: two studies may both have a donor 1."""
    return runs["study"] + " / " + runs["donor"]


def tissue_names(runs: pd.DataFrame) -> pd.Series:
    """The ontology's id of each run's tissue, else its name."""
    return runs["tissue_id"].where(runs["tissue_id"] != "", runs["tissue"])


def tell(plan: pd.DataFrame, runs: pd.DataFrame, demands: Demands) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What each type got, and every demand that is not met.

    Parameters
    ----------
    plan, runs
        What is fetched, and all that was wanted.
    demands
        What was asked.

    Returns
    -------
    ``types`` and ``shortfalls`` of a `Selection`
    """
    held = runs.assign(n=runs["stop"] - runs["start"])
    tissue_of = held.drop_duplicates(["tissue"]).set_index("tissue")["tissue_id"]
    got = plan.assign(tissue_id=plan["tissue"].map(tissue_of).fillna(""))
    tables = []
    for which, asked, names, count in (
        ("cells of a type", demands.per_type, type_names, _cells),
        ("donors of a type", demands.min_donors, type_names, lambda t: _donors(t, demands.per_donor)),
        ("cells of a tissue", demands.per_tissue, tissue_names, _cells),
    ):
        have, can = count(got.assign(name=names(got))), count(held.assign(name=names(held)))
        table = pd.DataFrame({"held": can, "got": have}).fillna(0.0)
        tables.append(table.assign(demand=which, asked=asked).rename_axis("name").reset_index())
    cells, donors, _ = tables
    labels = held.assign(name=type_names(held)).drop_duplicates("name").set_index("name")
    types = pd.DataFrame(
        {
            "cell_type": labels["cell_type"].reindex(cells["name"]).to_numpy(),
            "cell_type_id": labels["cell_type_id"].reindex(cells["name"]).to_numpy(),
            "asked": demands.per_type,
            "cells": cells["got"].astype(int),
            "donors": donors["got"].to_numpy() if demands.min_donors else _distinct(got, cells["name"]),
        }
    )
    together = pd.concat(tables, ignore_index=True)
    lacking = together[together["got"] < together["asked"] - 1e-9]
    lacking = lacking.assign(label=labels["cell_type"].reindex(lacking["name"]).fillna("").to_numpy())
    return types, lacking[["demand", "name", "label", "asked", "held", "got"]].reset_index(drop=True)


def _cells(table: pd.DataFrame) -> pd.Series:
    return table.groupby("name")["n"].sum().astype(float)


def _donors(table: pd.DataFrame, per_donor: int) -> pd.Series:
    each = table.assign(giver=donor_names(table)).groupby(["name", "giver"])["n"].sum()
    return (each / per_donor).clip(upper=1.0).groupby("name").sum()


def _distinct(table: pd.DataFrame, names: pd.Series) -> np.ndarray:
    each = table.assign(name=type_names(table), giver=donor_names(table)).groupby("name")["giver"].nunique()
    return np.asarray(each.reindex(names.to_numpy()).fillna(0))
