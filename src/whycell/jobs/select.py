"""From a catalogue to a plan: which rows of which files to fetch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from whycell.compute import Talk
from whycell.data.whole import check_free
from whycell.errors import UsageError

if TYPE_CHECKING:
    from whycell.corpus.selection import Selection

__all__ = ["megabytes", "select_corpus"]

_UNITS = {"": 1e-6, "b": 1e-6, "kb": 1e-3, "mb": 1.0, "gb": 1e3, "tb": 1e6}
_MOST_SAID = 8


def select_corpus(
    catalog: Path,
    output: Path,
    *,
    per_type: int = 5000,
    min_donors: int = 0,
    per_donor: int = 10,
    per_tissue: int = 0,
    cap: int = 0,
    where: str | None = None,
    budget: str = "",
    price_request: float = 1.5,
    price_file: float = 5.0,
    duplicates: bool = False,
    exact: bool | None = None,
    seed: int = 0,
    force: bool = False,
    talk: Talk | None = None,
) -> Selection:
    """Choose rows and write the plan.

    Parameters
    ----------
    catalog
        What ``whycell corpus scan`` wrote.
    output
        The plan, Parquet.
    per_type, min_donors, per_donor, per_tissue, cap
        See ``corpus.selection.Demands``.
    where
        SQL over the columns of the view ``cells``; ``None`` for all.
    budget
        ``"50GB"``: spend no more, and get as much of what is asked as that buys; empty for no limit.
    price_request, price_file
        MB that a request and a file opened are worth.
    duplicates
        Keep copies of cells of other files.
    exact
        Prove the answer; where the problem is small if ``None``.

    Returns
    -------
    Selection

    Raises
    ------
    WhycellError
        Whatever is wrong with the catalogue, what was asked, or the place to write to.
    """
    from whycell.corpus.select import select
    from whycell.corpus.selection import Demands, Prices, write_plan

    talk = talk or Talk()
    check_free(output, force=force)
    selection = select(
        Path(catalog),
        demands=Demands(per_type, min_donors, per_donor, per_tissue, cap),
        where=where,
        prices=Prices(request=price_request, file=price_file),
        budget_mb=megabytes(budget) if budget else None,
        duplicates=duplicates,
        exact=exact,
        seed=seed,
        talk=talk,
    )
    write_plan(selection, Path(output), force=force)
    for sentence in selection.sentences():
        talk.note(sentence)
    for row in selection.shortfalls.head(_MOST_SAID).itertuples():
        name = f"{row.label} ({row.name})" if row.label and row.label != row.name else row.name
        talk.warn(f"{row.demand}, {name}: asked {row.asked:g}, the catalogue holds {row.held:g}, the plan {row.got:g}")
    if len(selection.shortfalls) > _MOST_SAID:
        talk.warn(f"and {len(selection.shortfalls) - _MOST_SAID} more; all of them stand in the plan's metadata")
    return selection


def megabytes(text: str) -> float:
    """``"50GB"``, ``"200 MB"`` or a number of bytes, in MB.

    Parameters
    ----------
    text
        What was typed.
    """
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?b?)\s*", text.lower())
    unit = found[2] if found else "?"
    unit = f"{unit}b" if unit in ("k", "m", "g", "t") else unit
    if found is None or unit not in _UNITS or float(found[1]) <= 0:
        msg = f"Got {text!r} for --budget; a size like 50GB or 200MB is needed."
        raise UsageError(msg)
    return float(found[1]) * _UNITS[unit]
