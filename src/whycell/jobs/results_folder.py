"""The folder that an evaluation leaves, and its way back into memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from whycell.data.whole import folder_written_whole
from whycell.errors import FormatError, OutputError
from whycell.results import Evaluation

__all__ = ["RESULT_FILES", "check_output", "read_calls", "read_json", "write_results", "write_table"]

#: What the folder holds.
RESULT_FILES = {
    "scores.json": "every score of every model, with its interval",
    "comparisons.tsv": "paired differences between models",
    "per_class.tsv": "one row a (model, class)",
    "per_donor.tsv": "one row a (model, donor)",
    "calls.parquet": "one row a (model, cell)",
    "split.json": "who was held out when, with the hash",
    "run.json": "command, versions, inputs, seed",
    "report.html": "the page",
}
#: And where asked for: trials.tsv, every trial of every search; stress.tsv; novelty.tsv.


def check_output(output: Path, *, force: bool) -> None:
    """Refuse a folder that stands already, unless it holds results and ``force`` says to replace them."""
    if not output.exists():
        return
    ours = output.is_dir() and ((output / "scores.json").exists() or not any(output.iterdir()))
    if force and ours:
        return
    if force:
        msg = f"{output} stands already and holds no results of an evaluation, so --force will not remove it"
        raise OutputError(msg)
    if not (output.is_dir() and not any(output.iterdir())):
        msg = f"{output} stands already; choose another folder, or replace it with --force"
        raise OutputError(msg)


def write_results(
    result: Evaluation,
    output: Path,
    *,
    page: Callable[[Evaluation], str] | None = None,
    extra: Mapping[str, Callable[[Path], object]] | None = None,
    force: bool = False,
) -> None:
    """Write the folder under a temporary name, then rename it, so that no half one is ever met.

    Parameters
    ----------
    page
        Makes the HTML page; no page without.
    extra
        Name of a further file and what writes it, given its path.
    """
    check_output(output, force=force)
    try:
        with folder_written_whole(output, force=True) as folder:
            folder.mkdir()
            _write_json(folder / "scores.json", _scores(result))
            result.comparisons.to_csv(folder / "comparisons.tsv", sep="\t", index=False)
            result.per_class.to_csv(folder / "per_class.tsv", sep="\t", index=False)
            result.per_donor.to_csv(folder / "per_donor.tsv", sep="\t", index=False)
            result.calls.to_parquet(folder / "calls.parquet", index=False)
            for name, write in (extra or {}).items():
                write(folder / name)
            if page is not None:
                (folder / "report.html").write_text(page(result), encoding="utf-8")
    except OSError as error:
        msg = f"{output} cannot be written: {error.strerror or error}; choose a folder that you may write to"
        raise OutputError(msg) from error


def read_calls(folder: Path | str) -> pd.DataFrame:
    """The table of calls of a results folder."""
    path = Path(folder) / "calls.parquet"
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        msg = f"{folder} holds no results of an evaluation ({error}); wanted a folder that whycell evaluate wrote"
        raise FormatError(msg) from error


def read_json(path: Path) -> dict[str, Any]:
    """One of the folder's JSON files; raises :class:`FormatError` where it is absent or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"{path} cannot be read ({error}); wanted a folder that whycell evaluate wrote"
        raise FormatError(msg) from error
    if not isinstance(found, dict):
        msg = f"{path} holds no table of names; wanted a folder that whycell evaluate wrote"
        raise FormatError(msg)
    return found


def write_table(table: pd.DataFrame, path: Path) -> None:
    """A table as tab-separated text."""
    table.to_csv(path, sep="\t", index=False)


def _scores(result: Evaluation) -> dict[str, Any]:
    """The first model's scores by key, then those of all models, then what every reader must know."""
    first = next(iter(result.scores))
    return {**result.scores[first], "model": first, "models": result.scores, "about": _about(result)}


def _about(result: Evaluation) -> dict[str, Any]:
    """What every reader of the scores must know."""
    keys = ("split", "split_hash", "leaking", "ontology_release", "interval_groups")
    found = {key: result.provenance[key] for key in keys if key in result.provenance}
    return {**found, "warnings": list(result.warnings)}


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
