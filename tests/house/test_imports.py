"""Floors are kept, and what must start at once loads nothing heavy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    "anndata",
    "h5py",
    "jinja2",
    "matplotlib",
    "numba",
    "numpy",
    "pandas",
    "pyarrow",
    "rich",
    "scipy",
    "sklearn",
    "torch",
)


def test_a_room_imports_only_from_the_floors_below_it() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "code",
    [
        "import whycell; whycell.WhycellError; dir(whycell)",
        "import whycell; whycell.__version__",
        "import whycell; whycell.tl.annotate; whycell.pl",
        "from whycell.cli import main; main(['--help'])",
        "from whycell.cli import main; main(['annotate', '--help'])",
        "from whycell.cli import main; main(['--version'])",
    ],
)
def test_starting_is_light(code: str) -> None:
    watch = (
        "import atexit, sys\n"
        f"atexit.register(lambda: print('LOADED', *(m for m in {HEAVY!r} if m in sys.modules)))\n{code}"
    )
    # A coverage tool or a plugin of this test run must not count against the package.
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run(
        [sys.executable, "-c", watch], capture_output=True, text=True, check=False, env=environment, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split()[1:] == []


def test_every_name_the_package_offers_is_there() -> None:
    import whycell

    for name in whycell.__all__:
        assert getattr(whycell, name) is not None
    with pytest.raises(AttributeError, match=r"no attribute 'celltyper'; it offers CellTyper"):
        whycell.celltyper  # noqa: B018
