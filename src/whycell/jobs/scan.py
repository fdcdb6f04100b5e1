"""``whycell corpus scan``: every file of a place into one catalogue, here, in processes or on a cluster."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from whycell.compute import Engine, Talk
from whycell.corpus.parts import key_of, start_catalog, tidy, write_part
from whycell.corpus.scan import died_with, scan_into
from whycell.data.remote import list_addresses

__all__ = ["AT_ONCE", "scan"]

AT_ONCE = 16  # files that one worker has in hand: most of the time is waiting


def scan(
    where: str | Path,
    catalog: Path | str,
    *,
    executor: str = "here",
    shard: str = "",
    at_once: int = AT_ONCE,
    talk: Talk | None = None,
) -> dict[str, Any]:
    """Look at every h5ad file of a place and keep what it holds.

    A file that is in the catalogue already and has not changed is not read again, so a scan that was stopped goes on
    where it was. A file that cannot be read becomes a row with the reason.

    Parameters
    ----------
    where
        A folder, a prefix such as ``s3://bucket/prefix/``, the address of a list, or one file.
    catalog
        The folder of the catalogue; made where it is not there. Workers on other machines must see it too.
    executor, shard
        As of `compute.Engine`.
    at_once
        Files that one worker has in hand at the same time.
    talk
        What to say on the way.

    Returns
    -------
    ``files, new, unreadable, cells``: numbers, of this shard; and ``reasons``, of the unreadable ones by address.
    """
    talk = talk or Talk()
    catalog = Path(catalog).absolute()
    engine = Engine(executor, shard=shard)
    addresses = list_addresses(where)
    mine = engine.share(addresses)
    start_catalog(catalog)
    shared = "" if len(mine) == len(addresses) else f", {len(mine):,} of them in shard {shard}"
    talk.note(f"{len(addresses):,} files in {where}{shared}.")
    told: dict[str, Any] = {"files": 0, "new": 0, "unreadable": 0, "cells": 0, "reasons": {}}
    with talk.progress("scanning", len(mine)) as step:
        for outcome in engine.map(partial(scan_into, catalog), mine, at_once=at_once):
            row = outcome.value
            if row is None:
                row = died_with(outcome.item, outcome.error) | {"new": True}
                columns = {name: [value] for name, value in row.items() if name != "new"}
                write_part(catalog, "files", key=key_of(outcome.item), columns=columns)
            told["files"] += 1
            told["new"] += bool(row["new"])
            told["cells"] += row["n_cells"] or 0
            if row["status"] != "ok":
                told["unreadable"] += 1
                told["reasons"][outcome.item] = row["reason"]
            step.advance()
    tidy(catalog, {key_of(address) for address in mine})
    for address, reason in told["reasons"].items():
        talk.warn(reason if address in reason else f"{address}: {reason}")
    return told
