"""The report of 20,000 cells must show something within two seconds of being opened, and the map soon after.

First paint is Chromium's own (``performance.getEntriesByType("paint")``), in a new browser process for every repeat, so
that nothing is cached; the map is there when the page's script marks it (``whycell-map``).
"""

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from _harness import report
from whycell.reports.annotation import annotation_page
from whycell.results import Annotation, Finding, TreeNode

TYPES = ("CD4-positive, alpha-beta T cell", "CD14-positive monocyte", "B cell", "natural killer cell", "dendritic cell")
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
ENTRIES = (
    "performance.getEntries().filter(e => ['paint', 'mark'].includes(e.entryType)).map(e => [e.name, e.startTime])"
)


def made_up(n: int) -> Annotation:
    """An annotation of ``n`` cells of five types and eight donors."""
    random = np.random.default_rng(0)
    kind = random.integers(0, len(TYPES), n)
    names = np.array(TYPES, dtype=object)[kind]
    confidence = random.uniform(0.4, 1, n).astype(np.float32)
    calls = pd.DataFrame(
        {
            "call": names,
            "call_term_id": "CL:0000000",
            "confidence": confidence,
            "leaf": names,
            "leaf_term_id": "CL:0000000",
            "leaf_confidence": confidence,
            "runner_up": np.roll(names, 1),
            "novelty": random.beta(1, 9, n).astype(np.float32),
            "flag": np.where(random.random(n) < 0.02, "low_counts", ""),
        },
        index=[f"AAACATACAACCAC-{i}" for i in range(n)],
    )
    xy = random.normal(0, 8, (len(TYPES), 2))[kind] + random.normal(0, 1, (n, 2))
    tree = (TreeNode("CL:0000000", "cell", (), n, n),)
    donors = np.array([f"donor {k}" for k in random.integers(1, 9, n)])
    finding = Finding("log1p_cp10k", "info", "X holds log1p of counts per 10,000.", mended=True)
    return Annotation(
        calls, donors, np.arange(n), xy.astype(np.float32), "UMAP", tree, (finding,), {"name": "made up"}, {}
    )


def opened(path: Path, program: str) -> dict[str, float]:
    """Milliseconds from the start of the navigation to the first paint and to the map."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program, args=ARGUMENTS.split())
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(path.as_uri())
        page.wait_for_function("window.whycell && window.whycell.drawn()")
        page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length > 0")
        entries = dict(page.evaluate(ENTRIES))
        browser.close()
    return {"first_paint_ms": entries["first-contentful-paint"], "map_ms": entries["whycell-map"]}


def main() -> bool:
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        print("no Chromium on this machine")
        return False
    results: dict[str, Any] = {}
    for cells in (20_000, 100_000):
        start = time.perf_counter()
        text = annotation_page(made_up(cells))
        made = time.perf_counter() - start
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "report.html"
            path.write_text(text, encoding="utf-8")
            times = [opened(path, program) for _ in range(5)]
        median = {key: round(statistics.median(t[key] for t in times), 1) for key in times[0]}
        worst = max(t["first_paint_ms"] for t in times)
        results[f"{cells} cells"] = median | {
            "worst_first_paint_ms": round(worst, 1),
            "repeats": len(times),
            "page_mb": round(len(text.encode()) / 1e6, 2),
            "made_in_s": round(made, 2),
        }
    paint = results["20000 cells"]["first_paint_ms"] / 1000
    return report("report_paint", results, limits={"first paint of 20,000 cells, s": (paint, "<=", 2.0)})


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
