"""The documentation says what the program says."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_the_pages_made_from_the_code_are_current() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "make_pages.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/architecture.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    import re

    path = ROOT / page
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (path.parent / link).exists()] == []


def test_the_architecture_page_names_every_room() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = [path for path in (ROOT / "src" / "whycell").iterdir() if not path.name.startswith("__")]
    absent = [room.name for room in rooms if f"{room.name}{'/' if room.is_dir() else ''}" not in text]
    assert absent == []


def test_every_column_and_flag_is_explained() -> None:
    from whycell._keys import FLAGS, ObsKeys

    page = (ROOT / "docs" / "output.md").read_text(encoding="utf-8")
    assert [name for name in ObsKeys().all() if f"`{name}`" not in page] == []
    assert [word for word, meaning in FLAGS.items() if f"| `{word}` | {meaning} |" not in page] == []


def test_every_page_is_reached_from_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert [page.name for page in sorted((ROOT / "docs").glob("*.md")) if f"({page.name})" not in index[1:]] == [
        "index.md"
    ]
