"""What every benchmark shares: repeats, medians, peak memory, and a JSON of results that says where they came from."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["Timing", "machine", "measure", "measure_command", "report"]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"


class Timing(dict):
    """Seconds of every repeat, their median, and the peak memory in MB; a dict, so that it goes into JSON as it is."""

    @property
    def median(self) -> float:
        return self["median_s"]


def _timing(seconds: Sequence[float], peak_mb: float) -> Timing:
    return Timing(
        seconds=[round(s, 4) for s in seconds],
        median_s=round(statistics.median(seconds), 4),
        repeats=len(seconds),
        peak_mb=round(peak_mb, 1),
    )


def measure(work: Callable[[], object], *, repeats: int = 3) -> Timing:
    """Time ``work`` in this process; its peak memory is that of the whole process so far."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return _timing(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measure_command(command: Sequence[str | Path], *, repeats: int = 3, threads: int | None = None) -> Timing:
    """Time a whole process, start to end, with the peak memory of that process alone (the largest of the repeats).

    Linux counts the parent's memory at the fork too: call this from a script that holds no large arrays itself.
    """
    environment = dict(os.environ)
    if threads is not None:
        environment |= {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")}
    seconds, peaks = [], []
    for _ in range(repeats):
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )
        told = process.stderr.read() if process.stderr else ""
        _, status, usage = os.wait4(process.pid, 0)  # unlike RUSAGE_CHILDREN, this child's peak only
        seconds.append(time.perf_counter() - start)
        peaks.append(usage.ru_maxrss / 1024)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            msg = f"{' '.join(map(str, command))} ended with {process.returncode}: {told[-2000:]}"
            raise RuntimeError(msg)
    return _timing(seconds, max(peaks))


def machine() -> dict[str, Any]:
    """Processor model and number of cores: what a reader needs to judge a time, and nothing that names a machine."""
    model = "unknown"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = (line for line in cpuinfo.read_text().splitlines() if line.startswith("model name"))
        model = next(lines, "model name: unknown").split(":", 1)[1].strip()
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "python": sys.version.split()[0]}


def _commit() -> str:
    """Short hash of the code measured; ``+`` where the tree holds more than that commit."""
    try:
        short = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        dirty = subprocess.run(
            ["git", "status", "--porcelain", "src"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return short.stdout.strip() + ("+" if dirty.stdout.strip() else "")


def report(
    name: str, results: Mapping[str, Any], *, limits: Mapping[str, tuple[float, str, float]] | None = None
) -> bool:
    """Print the results, and keep them as ``bench/results/NAME.json``.

    Parameters
    ----------
    name
        Name of the benchmark: that of its file.
    results
        Plain values, timings among them.
    limits
        What must hold, by sentence: ``{"help starts at once, s": (0.07, "<=", 0.5)}``.

    Returns
    -------
    Whether every limit holds.
    """
    checks = {
        sentence: {
            "measured": round(measured, 4),
            "relation": relation,
            "limit": limit,
            "holds": _holds(measured, relation, limit),
        }
        for sentence, (measured, relation, limit) in (limits or {}).items()
    }
    kept = {"name": name, "commit": _commit(), "machine": machine(), "results": dict(results), "limits": checks}
    RESULTS.mkdir(exist_ok=True)
    temporary = RESULTS / f".{name}.{os.getpid()}.tmp"
    temporary.write_text(json.dumps(kept, indent=2, default=_plain) + "\n", encoding="utf-8")
    temporary.replace(RESULTS / f"{name}.json")

    print(f"== {name} ({kept['commit']})")
    for key, value in results.items():
        shown = (
            f"{value['median_s']} s, median of {value['repeats']}, peak {value['peak_mb']} MB"
            if isinstance(value, Timing)
            else value
        )
        print(f"   {key}: {shown}")
    for sentence, check in checks.items():
        word = "holds" if check["holds"] else "FAILS"
        print(f"   {word}  {sentence}: {check['measured']} {check['relation']} {check['limit']}")
    return all(check["holds"] for check in checks.values())


def _holds(measured: float, relation: str, limit: float) -> bool:
    return measured <= limit if relation == "<=" else measured >= limit


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
