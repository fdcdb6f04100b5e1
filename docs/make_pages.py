"""Writes the pages that the code itself tells: docs/cli.md from --help, the file list in docs/architecture.md.

With --check it writes nothing and only says whether they are current.
"""

import ast
import os
import re
import sys
from pathlib import Path

os.environ["COLUMNS"] = "100"  # before typer is imported: the width of the help is fixed, whatever the terminal

import typer
from typer.testing import CliRunner

from whycell.cli.app import app

DOCS = Path(__file__).resolve().parent
SOURCE = DOCS.parent / "src" / "whycell"
BEGIN, END = "<!-- files: made by make docs -->\n", "<!-- end of files -->"
HEAD = """# The command line

Made from `--help` by `make docs`; do not edit. The answer goes to stdout, everything said on the way to stderr.
Exit codes: 0 done, 1 could not, 2 asked wrongly, 130 interrupted.
"""


def command_line() -> str:
    """The whole of cli.md."""
    group = typer.main.get_command(app)
    parts = [HEAD, _section("whycell", [])]
    for name, command in group.commands.items():
        parts.append(_section(f"whycell {name}", [name]))
        parts += [_section(f"whycell {name} {each}", [name, each]) for each in getattr(command, "commands", ())]
    return "\n".join(parts)


def _section(title: str, arguments: list[str]) -> str:
    help_text = CliRunner().invoke(app, [*arguments, "--help"], prog_name="whycell").stdout
    return f"## {title}\n\n```text\n{help_text.rstrip()}\n```\n"


def architecture() -> str:
    """architecture.md with its list of files brought up to date."""
    page = (DOCS / "architecture.md").read_text(encoding="utf-8")
    return re.sub(f"{BEGIN}.*?{END}", lambda _: f"{BEGIN}\n{_files()}\n{END}", page, flags=re.DOTALL)


def _files() -> str:
    """One line a file, with the first sentence of what it says of itself; a room's own sentence first."""
    lines = []
    for folder in [SOURCE, *sorted(path for path in SOURCE.rglob("*") if (path / "__init__.py").exists())]:
        room = folder.relative_to(SOURCE).as_posix()
        lines += [
            "" if lines else None,
            f"**{'whycell' if room == '.' else room + '/'}**: {_says(folder / '__init__.py')}",
            "",
        ]
        files = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
        lines += [f"- `{path.name}`: {_says(path)}" for path in files]
    return "\n".join(line for line in lines if line is not None).replace("\n\n\n", "\n\n")


def _says(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "(says nothing of itself)"
    return " ".join(text.split("\n\n")[0].split())


if __name__ == "__main__":
    stale = []
    for name, text in (("cli.md", command_line()), ("architecture.md", architecture())):
        path = DOCS / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(f"docs/{name}")
            if "--check" not in sys.argv:
                path.write_text(text, encoding="utf-8")
    if stale and "--check" in sys.argv:
        sys.exit(f"{' and '.join(stale)}: not what the code says; run make docs")
