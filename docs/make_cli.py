"""Writes docs/cli.md from what ``whycell --help`` prints; with --check, only says whether it is current."""

import os
import sys
from pathlib import Path

os.environ["COLUMNS"] = "100"

import typer
from typer.testing import CliRunner

from whycell.cli.app import app

PAGE = Path(__file__).with_name("cli.md")
HEAD = """# The command line

Made from `--help` by `make docs`; do not edit. The answer goes to stdout, everything said on the way to stderr.
Exit codes: 0 done, 1 could not, 2 asked wrongly, 130 interrupted.
"""


def page() -> str:
    """The whole page as text."""
    group = typer.main.get_command(app)
    parts = [HEAD, _section("whycell", [])]
    parts += [_section(f"whycell {name}", [name]) for name in group.commands]
    return "\n".join(parts)


def _section(title: str, arguments: list[str]) -> str:
    help_text = CliRunner().invoke(app, [*arguments, "--help"], prog_name="whycell").stdout
    return f"## {title}\n\n```text\n{help_text.rstrip()}\n```\n"


if __name__ == "__main__":
    if "--check" in sys.argv:
        current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == page()
        sys.exit(0 if current else "docs/cli.md is not what --help prints; run make docs")
    PAGE.write_text(page(), encoding="utf-8")
