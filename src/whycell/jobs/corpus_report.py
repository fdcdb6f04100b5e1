"""``whycell corpus report`` and ``query``: what a catalogue says, as a page or as a table."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from whycell.corpus.catalog import Catalog
from whycell.corpus.depth import LEVELS, histogram_edges
from whycell.data.whole import check_free, written_whole
from whycell.results.corpus import CorpusSummary

__all__ = ["query", "report", "summarise"]

_FAR = 3.5  # modified z-score beyond which Iglewicz and Hoaglin (1993) call a value an outlier
_LEAST_SPREAD = 0.1  # decades: files nearer than this to the others are no outliers, however alike the others are


def query(catalog: Path | str, sql: str) -> pd.DataFrame:
    """The answer of a catalogue to one question.

    Parameters
    ----------
    catalog
        The folder that ``corpus scan`` wrote.
    sql
        One SELECT over the views ``files, cells, runs, var, dist, labels, columns``.

    Raises
    ------
    UsageError
        It is no question, or is not understood.
    """
    with Catalog(catalog) as opened:
        return opened.sql(sql)


def report(catalog: Path | str, output: Path | str, *, force: bool = False) -> CorpusSummary:
    """Write the page of a catalogue.

    Parameters
    ----------
    catalog
        The folder that ``corpus scan`` wrote.
    output
        The HTML page.
    force
        Replace what is there.
    """
    from whycell.reports.corpus import corpus_page

    check_free(output, force=force)
    summary = summarise(catalog)
    with written_whole(Path(output), force=force) as path:
        path.write_text(corpus_page(summary), encoding="utf-8")
    return summary


def summarise(catalog: Path | str) -> CorpusSummary:
    """What the page shows.

    Parameters
    ----------
    catalog
        The folder that ``corpus scan`` wrote.
    """
    with Catalog(catalog) as opened:
        files = _files(opened)
        return CorpusSummary(
            summary=opened.sql(_NUMBERS).iloc[0].to_dict(),
            files=files,
            edges=histogram_edges().tolist(),
            unreadable=opened.sql("select address, reason from files where status <> 'ok' order by address"),
            types=opened.sql(_TYPES),
            rules=opened.sql(_RULES),
            unmapped=opened.sql(_UNMAPPED),
            columns=opened.sql(_COLUMNS),
            provenance={
                "catalogue": Path(catalog).name,
                "files that give their own totals": int((files["counts_source"].str.startswith("obs:")).sum()),
                "whycell": version("whycell"),
            },
        )


_GROUPS = """
groups as materialized (
    select key, study, donor, cell_type, cell_type_id, coalesce(tissue_id, tissue) as tissue, is_primary, sum(n) as n
    from runs group by all
)
"""
_NUMBERS = f"""
with {_GROUPS}, first as (select * from groups where is_primary)
select (select count(*) from files) as files,
       (select count(*) from files where status <> 'ok') as unreadable,
       (select coalesce(sum(n), 0)::bigint from first) as cells,
       (select coalesce(sum(n), 0)::bigint from groups where not is_primary) as twice,
       (select count(distinct cell_type_id) from first) as types,
       (select count(*) from (select distinct study, donor from first where donor is not null)) as donors,
       (select count(distinct study) from first) as studies,
       (select count(distinct tissue) from first) as tissues,
       (select coalesce(sum(size), 0)::bigint from files) as bytes,
       (select coalesce(sum(bytes_read), 0)::bigint from files) as bytes_read
"""
_TYPES = f"""
with {_GROUPS}, named as (
    select id, min(name) as name from labels where "column" = 'cell_type' and id <> '' group by id
)
select cell_type_id, any_value(coalesce(named.name, cell_type)) as name, sum(n)::bigint as cells,
       count(distinct (study, donor)) filter (donor is not null) as donors,
       count(distinct study) as studies, count(distinct key) as files
from groups left join named on cell_type_id = id
where is_primary and cell_type_id is not null group by cell_type_id order by cells desc, cell_type_id
"""
_RULES = """
select "column", rule, count(distinct value) as labels, sum(n)::bigint as cells
from labels group by all order by "column", cells desc, rule
"""
_UNMAPPED = """
select "column", value, sum(n)::bigint as cells, count(distinct key) as files
from labels where id = '' and rule = 'none' group by all order by cells desc, "column", value
"""
_COLUMNS = """
select field, "column", rule, count(*) as files from columns group by all order by field, files desc, "column"
"""
_FILES = """
select key, address, n_cells, n_genes, matrix, values, encoding, organism, size from files where status = 'ok'
"""


def _files(opened: Catalog) -> pd.DataFrame:
    """Every readable file with its two distributions, outliers first."""
    files = opened.sql(_FILES)
    dist = opened.sql("select key, what, source, sampled, quantiles, histogram from dist")
    middle = LEVELS.index(0.5)
    dist["median"] = [float(q[middle]) if len(q) else np.nan for q in dist["quantiles"]]
    for what in ("counts", "genes"):
        here = dist[dist["what"] == what].set_index("key").reindex(files["key"])
        files[what] = here["median"].to_numpy(dtype=float)
        files[f"{what}_sampled"] = np.array([each is True or each == 1 for each in here["sampled"]])
        files[f"{what}_source"] = here["source"].fillna("").to_numpy()
        files[f"{what}_histogram"] = [list(map(int, each)) if _is_list(each) else None for each in here["histogram"]]
    files["name"] = [address.rsplit("/", 1)[-1] for address in files["address"]]
    files["outlier"] = _outliers(files)
    order = np.lexsort((files["address"], -files["n_cells"], files["outlier"] == ""))
    return files.iloc[order].drop(columns="key").reset_index(drop=True)


def _outliers(files: pd.DataFrame) -> list[str]:
    """What sets a file apart from the others: its depth, or that no counts were found in it."""
    reasons: list[list[str]] = [[] for _ in range(len(files))]
    for i, values in enumerate(files["values"]):
        if values != "counts":
            reasons[i].append(f"no counts: {values.replace('_', ' ')}" if values else "values not looked at")
    counted = (files["values"] == "counts").to_numpy()
    for what in ("counts", "genes"):
        logs = np.log10(np.maximum(files[what].to_numpy(dtype=float), 1.0))
        known = counted & np.isfinite(logs)
        if known.sum() < 3:
            continue
        centre = float(np.median(logs[known]))
        spread = max(float(np.median(np.abs(logs[known] - centre))) / 0.6745, _LEAST_SPREAD)
        for i in np.flatnonzero(known & (np.abs(logs - centre) > _FAR * spread)):
            reasons[i].append(f"{'few' if logs[i] < centre else 'many'} {what}")
    return [", ".join(each) for each in reasons]


def _is_list(value: object) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str)
