"""A file or folder is there whole or not at all: also when the process is killed while it replaces another."""

import subprocess
import sys

import pytest

from whycell.data.whole import folder_written_whole, write_whole, written_whole
from whycell.errors import OutputError

KILLED = """
import os, signal, sys
from pathlib import Path
from whycell.data import whole
kept = whole.shutil.rmtree
whole.shutil.rmtree = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
with whole.folder_written_whole(Path(sys.argv[1]), force=True) as folder:
    folder.mkdir()
    (folder / "what").write_text("new")
"""


def test_a_folder_replaced_by_a_process_that_is_killed_at_once_is_the_new_one(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "what").write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False)
    assert done.returncode == -9
    assert (folder / "what").read_text() == "new"


def test_a_block_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "calls.tsv"
    write_whole(path, "old\n")

    def fails(writer, make):
        with writer as scratch:
            make(scratch)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails(written_whole(path, force=True), lambda scratch: scratch.write_text("half"))
    with pytest.raises(ZeroDivisionError):
        fails(folder_written_whole(tmp_path / "folder"), lambda scratch: scratch.mkdir())
    assert path.read_text() == "old\n"
    assert [p.name for p in tmp_path.iterdir()] == ["calls.tsv"]


def test_what_is_there_is_not_replaced_unasked(tmp_path):
    write_whole(tmp_path / "a", b"1")
    with pytest.raises(OutputError, match="--force"), written_whole(tmp_path / "a"):
        pass
    with pytest.raises(OutputError, match="choose a folder"):
        write_whole(tmp_path / "a" / "b", b"1")
