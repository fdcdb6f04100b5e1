"""What an evaluation does beyond its scores, where asked: the stress table, types left out, a logger for the search."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from whycell.data.splits import Split
from whycell.errors import UsageError
from whycell.jobs.novelty import leave_types_out
from whycell.jobs.specs import DEFAULT_SPECS, Spec, read_spec, specs_for
from whycell.jobs.stress import stress_references, stress_warnings
from whycell.results import Evaluation

__all__ = ["further_protocols", "logged", "names_tried", "split_warnings"]


def further_protocols(
    result: Evaluation,
    references: Any,
    *,
    stress: bool,
    types: bool,
    model_specs: Sequence[Spec],
    settings: Mapping[str, Any],
) -> Evaluation:
    """The same result with the tables that were asked for, and the warnings they call for.

    Parameters
    ----------
    result, references
        What was evaluated, and on what.
    stress, types
        Whether to try worse files, and to leave out each type in turn.
    model_specs
        Those given beside the defaults; see :func:`names_tried`.
    settings
        Handed on: ``by, unknown_groups, n_folds, ontology, seed, threads, device, talk``.
    """
    only = names_tried(model_specs)
    tables: dict[str, pd.DataFrame] = {}
    warnings: list[str] = []
    if stress:
        tables["stress"] = stress_references(references, model_specs=model_specs, only=only, **settings)
        warnings += stress_warnings(tables["stress"])
        honest = int(tables["stress"]["honest"].astype(bool).sum())
        settings["talk"].note(f"stress.tsv: confidence is honest at {honest} of {len(tables['stress'])} levels")
    if types:
        tables["novelty"] = leave_types_out(references, model_specs=model_specs, only=only, **settings)
    return replace(result, tables=tables, warnings=(*result.warnings, *warnings))


def names_tried(model_specs: Sequence[Any]) -> list[str]:
    """Our typer and the models that were named: the baselines are tried only where asked for, since it takes long."""
    # One of a baseline's name and other parameters goes by a longer name; see specs_for.
    given = [_read(one) for one in model_specs]
    usual = {spec.name for spec in DEFAULT_SPECS[1:] if spec not in given}
    return [spec.name for spec in specs_for(model_specs) if spec.name not in usual]


def logged(model_specs: Sequence[Any], logger: str | None, folder: Path) -> tuple[Spec, ...]:
    """The specs read, every search among them told to log with ``logger``, into a folder of its own below ``folder``.

    Raises :class:`UsageError` where there is a logger and no search.
    """
    specs = tuple(_read(one) for one in model_specs)
    if logger is None:
        return specs
    if not any(spec.search for spec in specs):
        msg = f"got the logger {logger!r} and nothing to log; a logger needs a --model-spec with a table [search]"
        raise UsageError(msg)
    return tuple(
        replace(spec, search={"folder": folder / _plain(spec.name), **spec.search, "logger": logger})
        if spec.search
        else spec
        for spec in specs
    )


def split_warnings(split: Split) -> list[str]:
    """What a reader must know of who was held out."""
    found = []
    if split.leaking:
        found.append(
            "Cells were split at random, so training and test share donors (leaking): a new donor will fare worse."
        )
    if split.dropped.get("duplicates"):
        found.append(f"{split.dropped['duplicates']} cells with is_primary_data False are second copies; left out.")
    if split.dropped.get("unknown_group"):
        found.append(f"{split.dropped['unknown_group']} cells of unknown or pooled donors were left out, as asked.")
    return found


def _read(one: Any) -> Spec:
    return one if isinstance(one, Spec) else read_spec(one)


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).strip(".") or "model"
