"""A gathering killed with -9 at random, twenty times: at a request, encoding, mixing, clearing up.

Asked: the finished corpus is byte for byte the undisturbed one, every time one is finished, and no range of a fragment
that was there is asked for again. The run is that of the test of the same name.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType

from _harness import report

KILLS = 20


def main() -> None:
    tests = _tests()
    with tempfile.TemporaryDirectory() as study, tempfile.TemporaryDirectory() as work:
        tests.write_study(Path(study))
        began = time.perf_counter()
        done = tests.kill_and_compare(Path(study), Path(work), KILLS)
    results = {"files": 3, "cells": 720, **done, "seconds": round(time.perf_counter() - began, 1)}
    holds = report(
        "gather_killed",
        results,
        limits={
            "kills with -9": (done["kills"], ">=", KILLS),
            "corpora finished that differ in a byte": (done["different"], "<=", 0),
            "ranges of finished fragments asked for again": (done["asked again"], "<=", 0),
        },
    )
    sys.exit(0 if holds else 1)


def _tests() -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "tests" / "corpus" / "test_gather.py"
    spec = importlib.util.spec_from_file_location("test_gather", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
