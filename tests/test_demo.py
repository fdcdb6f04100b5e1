"""``make demo`` is the first thing a person runs: it ends well, within its time, with both files where it says."""

import subprocess
import sys
import time
from pathlib import Path

DEMO = Path(__file__).resolve().parents[1] / "demo" / "run.py"


def test_the_demo_prints_where_the_typed_cells_and_the_report_are(tmp_path: Path) -> None:
    start = time.perf_counter()
    done = subprocess.run([sys.executable, DEMO, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - start < 180
    for name in ("typed.h5ad", "report.html"):
        assert str(tmp_path / name) in done.stdout
        assert (tmp_path / name).stat().st_size > 10_000
    assert (tmp_path / "run.json").exists()
    assert (tmp_path / "model" / "run.json").exists()
