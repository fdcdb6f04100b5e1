"""The command line run in this process, with jobs that only remember what they were asked."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from whycell.cli import main


@dataclass
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """``run("annotate", "q.h5ad")`` -> exit code, stdout, stderr."""

    def call(*arguments: object) -> Done:
        with pytest.raises(SystemExit) as stopped:
            main([str(each) for each in arguments])
        printed = capsys.readouterr()
        code = stopped.value.code
        return Done(code if isinstance(code, int) else int(code is not None), printed.out, printed.err)

    return call


@dataclass
class FakeJob:
    """Remembers its arguments; answers, or raises, what it was told to."""

    answer: Any = None
    asked: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, *positional: Any, **named: Any) -> Any:
        self.asked.append({"positional": positional, **named})
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeJob]:
    """``fake("train", answer)`` puts a remembering job in the place of ``whycell.jobs.train.train``."""

    def place(job: str, answer: Any = None, *, name: str | None = None) -> FakeJob:
        double = FakeJob(answer)
        module = sys.modules.get(f"whycell.jobs.{job}")
        if not isinstance(module, SimpleNamespace):
            module = SimpleNamespace()
        setattr(module, name or job, double)
        monkeypatch.setitem(sys.modules, f"whycell.jobs.{job}", module)
        monkeypatch.setattr("whycell.jobs." + job, module, raising=False)
        return double

    return place
