"""The source as parsed trees, so that the rules are checked without importing anything heavy."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "whycell"


@pytest.fixture(scope="session")
def modules() -> dict[str, ast.Module]:
    """Every module of the package: dotted name -> syntax tree."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found
