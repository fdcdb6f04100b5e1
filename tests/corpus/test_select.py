"""From a catalogue to a plan: what is asked is met or listed, rows are named once, and no more than needed is read."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whycell.corpus.parts import SCHEMAS, start_catalog, write_part
from whycell.corpus.select import select
from whycell.corpus.selection import Demands, write_plan
from whycell.errors import DataError, UsageError
from whycell.jobs.select import megabytes


def write_catalog(folder: Path, runs: dict[str, list[tuple]]) -> Path:
    """``runs``: by file, (type, donor, tissue, rows, is_primary) in the order of the file."""
    start_catalog(folder)
    for key, each in runs.items():
        table = pd.DataFrame(each, columns=["cell_type", "donor", "tissue", "n", "is_primary"])
        stop = table["n"].cumsum()
        table = table.assign(start=stop - table["n"], stop=stop, study=f"study {key}", cell_type_id="", tissue_id="")
        n = int(table["n"].sum())
        one = pd.DataFrame({"address": [f"s3://b/{key}.h5ad"], "etag": '"1"', "size": 5000 * n, "n_cells": n})
        one = one.assign(status="ok", encoding="csr", columns="{}")
        for part, frame in (("runs", table), ("files", one)):
            absent = {name: [None] * len(frame) for name in SCHEMAS[part].names if name not in frame and name != "key"}
            write_part(folder, part, key=key, columns={**absent, **frame.to_dict("list")})
    return folder


def _random_runs(seed: int) -> dict[str, list[tuple]]:
    rng = np.random.default_rng(seed)
    runs = {}
    for f in range(int(rng.integers(1, 6))):
        runs[f"f{f}"] = [
            (
                f"type {rng.integers(4)}" if rng.random() < 0.9 else "unknown",
                f"donor {rng.integers(3)}",
                f"tissue {rng.integers(2)}",
                int(rng.choice([1, 7, 60, 700, 3000])),
                bool(rng.random() < 0.85),
            )
            for _ in range(int(rng.integers(1, 30)))
        ]
    return runs


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10_000),
    per_type=st.sampled_from([50, 900, 5000]),
    min_donors=st.integers(0, 3),
    per_tissue=st.sampled_from([0, 2000]),
    cap=st.sampled_from([0, 5000]),
)
def test_every_demand_is_met_or_listed(tmp_path_factory, seed, per_type, min_donors, per_tissue, cap):
    catalog = write_catalog(tmp_path_factory.mktemp("c") / "catalog", _random_runs(seed))
    demands = Demands(per_type, min_donors, 10, per_tissue, cap)
    try:
        found = select(catalog, demands=demands, seed=seed)
    except DataError:
        return
    plan = found.plan
    ordered = plan.sort_values(["key", "start"])
    same = ordered["key"] == ordered["key"].shift()
    assert (ordered["start"] >= ordered["stop"].shift())[same].all()
    runs = pd.read_parquet(catalog / "runs").astype({"key": str, "cell_type": str, "donor": str, "tissue": str})
    known = runs[runs["is_primary"] & (runs["cell_type"] != "unknown")]
    for row in plan.itertuples():  # every stretch lies within one run of its type, that is no duplicate
        inside = known[(known["key"] == row.key) & (known["start"] <= row.start) & (known["stop"] >= row.stop)]
        assert (inside["cell_type"] == row.cell_type).all()
        assert len(inside) == 1
    listed = {(row.demand, row.name): row.got for row in found.shortfalls.itertuples()}
    for name, held in known.groupby("cell_type")["n"].sum().items():
        got = plan.loc[plan["cell_type"] == name, "n"].sum()
        if got < per_type:
            assert listed["cells of a type", name] == got
            assert got == held  # a cell costs a thousandth of what its lack does
        assert not cap or got <= cap
    for name, of_type in known.groupby("cell_type"):
        can = of_type.groupby(["key", "donor"])["n"].sum().div(10).clip(upper=1).sum()
        mine = plan[plan["cell_type"] == name].groupby(["key", "donor"])["n"].sum().div(10).clip(upper=1).sum()
        assert mine >= min(can, min_donors) - 1e-9 or ("donors of a type", name) in listed
    for name, held in known.groupby("tissue")["n"].sum().items():
        got = plan.loc[plan["tissue"] == name, "n"].sum()
        assert got >= min(held, per_tissue) or (cap and ("cells of a tissue", name) in listed)
    assert found.bound <= found.objective * (1 + 1e-9)
    assert found.cost_mb <= found.objective + 1e-6


def test_long_runs_are_cut_to_what_is_needed(tmp_path):
    catalog = write_catalog(
        tmp_path / "c", {"a": [("T", "d", "blood", 100_000, True), ("B", "d", "blood", 80_000, True)]}
    )
    found = select(catalog, demands=Demands(per_type=1234))
    assert sorted(found.plan["n"]) == [1234, 1234]


def test_duplicates_and_unknown_types_are_left_out(tmp_path):
    catalog = write_catalog(
        tmp_path / "c",
        {"a": [("T", "d", "blood", 50, False), ("unknown", "d", "blood", 50, True), ("T", "d", "x", 9, True)]},
    )
    assert select(catalog, demands=Demands(per_type=40)).n_cells == 9
    assert select(catalog, demands=Demands(per_type=40), duplicates=True).n_cells == 40
    with pytest.raises(DataError, match="ask for less"):
        select(catalog, where="tissue = 'moon'")
    with pytest.raises(UsageError, match="colour"):
        select(catalog, where="colour = 'red'")


def test_a_budget_is_kept(tmp_path):
    catalog = write_catalog(tmp_path / "c", _random_runs(5))
    found = select(catalog, demands=Demands(per_type=900), budget_mb=30.0)
    assert found.cost_mb <= 30.0
    assert 0 < found.objective <= found.bound
    assert [megabytes(text) for text in ("50GB", "200 MB", "3000000")] == [50_000, 200, 3]
    with pytest.raises(UsageError, match="50GB"):
        megabytes("lots")


def test_the_plan_says_what_it_promises(tmp_path):
    catalog = write_catalog(tmp_path / "c", _random_runs(2))
    found = select(catalog, demands=Demands(per_type=10**6))
    write_plan(found, tmp_path / "plan.parquet")
    table = pq.read_table(tmp_path / "plan.parquet")
    told = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    assert {"key", "address", "etag", "size", "start", "stop", "n", "nbytes"} <= set(table.column_names)
    assert float(told["bound"]) <= float(told["objective"])
    assert {row["demand"] for row in json.loads(told["shortfalls"])} == {"cells of a type"}
    again = select(catalog, demands=Demands(per_type=10**6))
    write_plan(again, tmp_path / "again.parquet")
    assert (tmp_path / "plan.parquet").read_bytes() == (tmp_path / "again.parquet").read_bytes()
