"""The folder that ``subgroups`` leaves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from whycell.data.whole import write_whole, written_whole
from whycell.errors import OutputError
from whycell.jobs.record import write_run
from whycell.reports.groups import groups_page
from whycell.results.groups import Groups

__all__ = ["FILES", "MODELS", "check_folder", "forget_other_models", "write_groups"]

MODELS = "models"
#: What the folder holds.
FILES = {
    "groups.tsv": "one row a sample: its class, its group, how close it is to it",
    "classes.tsv": "one row a class: how many groups, and the evidence",
    "stability.tsv": "one row a class and number of groups tried",
    "features.tsv": "features that set each group apart",
    "donors.tsv": "donors of each group",
    "teachers.tsv": "training samples that helped and harmed each group",
    "typical.tsv": "typical members of each group",
    "supporters.tsv": "supporters and opponents of the samples asked about",
    "weights.npy": "what each training sample did for each prediction, float32",
    "weight_columns.txt": "names of its columns; its rows are those of groups.tsv",
    "groups.json": "the plan and the evidence, for programs; written last",
    "run.json": "command, versions, inputs, seed",
    MODELS: "finished blocks of models",
}


def check_folder(output: Path, *, force: bool) -> None:
    """Refuse a folder with results, unless ``force``; one that a killed run left is gone on with."""
    if output.exists() and not output.is_dir():
        msg = f"{output} is a file; choose a folder"
        raise OutputError(msg)
    if (output / "groups.json").exists() and not force:
        msg = f"{output} holds results already; choose another folder, or replace them with --force"
        raise OutputError(msg)
    foreign = output.exists() and any(output.iterdir()) and not (output / MODELS).exists()
    if foreign and not (output / "groups.json").exists():
        msg = f"{output} stands already and holds other things; choose another folder"
        raise OutputError(msg)


def forget_other_models(folder: Path, *, n_models: int) -> None:
    """Remove the blocks of a finished run, so that ``--force`` may ask for something else."""
    if (folder.parent / "groups.json").exists() and folder.exists() and n_models > 0:
        shutil.rmtree(folder)


def write_groups(
    result: Groups, output: Path, *, weights: np.ndarray, columns: np.ndarray, report: Path | str | None, seed: int
) -> None:
    """Write every file under another name and rename it; ``groups.json`` comes last."""
    tables = {
        "groups.tsv": result.samples,
        "classes.tsv": result.classes,
        "stability.tsv": result.curves,
        "features.tsv": result.features,
        "donors.tsv": result.donors,
        "teachers.tsv": result.teachers,
        "typical.tsv": result.typical,
        "supporters.tsv": result.supporters,
    }
    try:
        output.mkdir(parents=True, exist_ok=True)
        (output / "groups.json").unlink(missing_ok=True)
        for name, table in tables.items():
            write_whole(output / name, table.to_csv(sep="\t", index=False, float_format="%.6g").encode())
        with written_whole(output / "weights.npy", force=True) as scratch, scratch.open("wb") as stream:
            np.save(stream, weights, allow_pickle=False)
        write_whole(output / "weight_columns.txt", ("\n".join(map(str, columns)) + "\n").encode())
        if report is not None:
            Path(report).parent.mkdir(parents=True, exist_ok=True)
            write_whole(Path(report), groups_page(result).encode())
        told = {
            "classes": _records(result.classes),
            "groups": _records(result.described),
            "plan": result.plan,
            "warnings": list(result.warnings),
            "provenance": result.provenance,
        }
        write_whole(output / "groups.json", (json.dumps(_plain(told), indent=1, allow_nan=False) + "\n").encode())
    except OSError as error:
        msg = f"{output} cannot be written: {error.strerror or error}; choose a folder that you may write to"
        raise OutputError(msg) from error
    parameters = {k: v for k, v in result.plan.items() if "seconds" not in k}
    write_run(output, "subgroups", inputs=result.provenance["inputs"], seed=seed, parameters=parameters)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in table.to_dict(orient="records")]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
