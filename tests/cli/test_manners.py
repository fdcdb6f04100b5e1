"""stdout is the answer, stderr is talk, the exit code says how it ended."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer

from whycell.cli.app import app
from whycell.cli.manners import as_plain
from whycell.cli.talk import ScreenTalk
from whycell.errors import GeneError, UsageError

TOP = typer.main.get_command(app).commands
#: Every command that does something, those of a group under both names.
COMMANDS = {name: command for name, command in TOP.items() if not hasattr(command, "commands")} | {
    f"{group} {name}": command
    for group, commands in TOP.items()
    for name, command in getattr(commands, "commands", {}).items()
}
TRAIN = ("train", "ref.h5ad", "--label", "cell_type", "-o", "model")


def test_no_arguments_is_a_call_for_help(run) -> None:
    assert run() == run("--help") == run("-h")
    assert run().code == 0


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_has_an_example_and_explains_every_option(run, command: str) -> None:
    done = run(*command.split(), "--help")
    assert done.code == 0
    assert f"  Example:\n    whycell {command} " in done.out or f"  Example:\n    whycell {command}\n" in done.out
    unexplained = [each.name for each in COMMANDS[command].params if not getattr(each, "help", None)]
    assert unexplained == []


def test_an_option_means_the_same_in_every_command() -> None:
    meanings: dict[str, set[tuple[str, ...]]] = {}
    for command in COMMANDS.values():
        for option in command.params:
            meanings.setdefault(option.name, set()).add(tuple(sorted(option.opts)))
    assert {name: each for name, each in meanings.items() if len(each) > 1} == {}


@pytest.mark.parametrize(
    ("error", "code"),
    [(GeneError("12 of 765 genes are known"), 1), (UsageError("no such split"), 2), (FileExistsError(17, "exists"), 1)],
)
def test_an_error_is_one_sentence_and_a_code(run, fake, error: Exception, code: int) -> None:
    fake("train", error)
    done = run(*TRAIN)
    assert (done.code, done.out) == (code, "")
    assert done.err == f"whycell: {error}\n"


def test_the_traceback_is_shown_only_with_debug(run, fake) -> None:
    fake("train", ZeroDivisionError("division by zero"))
    quiet, loud = run(*TRAIN), run(*TRAIN, "--debug")
    assert (quiet.code, loud.code) == (1, 1)
    assert "Traceback" not in quiet.err
    assert "--debug" in quiet.err
    assert "Traceback" in loud.err


def test_an_interrupt_is_130(run, fake) -> None:
    fake("train", KeyboardInterrupt())
    assert run(*TRAIN).code == 130


@pytest.mark.parametrize(
    "wrong",
    [("nope",), ("train", "ref.h5ad", "-o", "m"), ("train", "--nope"), (*TRAIN, "--device", "tpu"), ("annotate",)],
)
def test_what_was_asked_wrongly_is_2(run, wrong: tuple[str, ...]) -> None:
    done = run(*wrong)
    assert (done.code, done.out) == (2, "")
    assert done.err


def test_version_is_one_line_a_program_can_read(run) -> None:
    done = run("--version")
    assert done.code == 0
    assert done.out.split() == ["whycell", __import__("whycell").__version__]


def test_a_closed_pipe_is_no_traceback() -> None:
    whycell = Path(sys.executable).with_name("whycell")
    done = subprocess.run(f"'{whycell}' --help | true", shell=True, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr


def test_quiet_talk_says_nothing_and_a_pipe_gets_no_bar(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in (True, False):
        talk = ScreenTalk(quiet=quiet)
        talk.note("reading")
        with talk.progress("cells", total=3) as step:
            step.advance(2)
    assert capsys.readouterr() == ("", "reading\n")


def test_numbers_become_json_that_any_parser_reads() -> None:
    value = {
        "nan": float("nan"),
        "array": np.array([1.5, np.inf]),
        "scalar": np.int64(3),
        "path": Path("a/b"),
        "table": pd.DataFrame({"x": [1, 2]}),
        "set": {"b", "a"},
    }
    assert json.loads(json.dumps(as_plain(value), allow_nan=False)) == {
        "nan": None,
        "array": [1.5, None],
        "scalar": 3,
        "path": "a/b",
        "table": [{"x": 1}, {"x": 2}],
        "set": ["a", "b"],
    }
