"""``run.json``: how an answer was made, written beside it, so that a methods section writes itself."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from whycell.data.whole import write_whole

__all__ = ["RUN_FILE", "fingerprint_file", "versions", "write_run"]

RUN_FILE = "run.json"

#: The packages whose version can change a number in an answer.
RECORDED = (
    "whycell",
    "anndata",
    "cellxgene-ontology-guide",
    "h5py",
    "numpy",
    "pandas",
    "scikit-learn",
    "scipy",
    "torch",
)


def fingerprint_file(path: Path | str) -> str:
    """``"sha256:..."`` of the bytes of the file at ``path``."""
    with Path(path).open("rb") as stream:
        return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a number, read without importing them."""
    found = {"python": platform.python_version()}
    for package in RECORDED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write_run(
    output: Path | str,
    command: str,
    *,
    inputs: Mapping[str, str],
    seed: int,
    parameters: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``run.json`` into a folder of answers, or beside a single file.

    A second answer in the same place does not lose the first one's record: that moves to ``earlier``, and leaves only
    with its file or when the same answer is made again.

    Parameters
    ----------
    output
        The answer: a folder, or a file (a zarr folder counts as a file).
    command
        Name of the job, ``"annotate"``. The command line as typed is kept beside it.
    inputs
        Path of each input and its fingerprint, ``"sha256:..."``.
    seed
        The run's seed.
    parameters
        The other arguments, as plain values.

    Returns
    -------
    Path of the file written.

    Raises
    ------
    OutputError
        The folder cannot be written to.
    """
    output = Path(output)
    folder = output if output.is_dir() and output.suffix != ".zarr" else output.parent
    record = {
        "output": output.name,
        "command": command,
        "arguments": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "versions": versions(),
        "inputs": {str(path): fingerprint for path, fingerprint in inputs.items()},
        "seed": seed,
        "parameters": dict(parameters or {}),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    target = folder / RUN_FILE
    earlier = [
        each for each in _records(target) if each["output"] != output.name and (folder / each["output"]).exists()
    ]
    if earlier:
        record["earlier"] = earlier
    write_whole(target, json.dumps(record, indent=2, ensure_ascii=False, default=str) + "\n")
    return target


def _records(path: Path) -> Sequence[dict[str, Any]]:
    """Every record that a run.json holds, newest first; none if the file is absent or not ours."""
    try:
        newest = json.loads(path.read_text(encoding="utf-8"))
        records = [newest, *newest.pop("earlier", [])]
        return [each for each in records if isinstance(each["output"], str)]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return []
