"""``whycell --help`` must feel instant: under 0.5 s for the process, beside ``python -c pass`` in the same run."""

import sys
from pathlib import Path

from _harness import measure_command, report

WHYCELL = Path(sys.executable).with_name("whycell")


def main() -> bool:
    measure_command([WHYCELL, "--help"], repeats=1)  # byte-compile, so that the first repeat is like the others
    bare = measure_command([sys.executable, "-c", "pass"], repeats=9)
    ours = measure_command([WHYCELL, "--help"], repeats=9)
    results = {"python -c pass": bare, "whycell --help": ours, "ratio": round(ours.median / bare.median, 2)}
    return report("help_time", results, limits={"whycell --help, s": (ours.median, "<=", 0.5)})


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
